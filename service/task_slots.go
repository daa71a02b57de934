package service

import (
	"context"
	"sync"
	"time"

	"go.temporal.io/sdk/worker"
	"golang.org/x/sync/semaphore"
)

// runningTasks limits the workflow tasks that the worker runs or polls for at the same time.
// A task is some milliseconds of a processor, mostly to replay its execution, so more at
// once make none faster, but webhooks wait for them. The SDK shares them between new tasks
// and those of executions in memory.
const runningTasks = 16

// waitingAfter is the age from which a workflow task counts as waiting: for Spacelift, or
// for another execution, which is asked with a task of its own.
const waitingAfter = 100 * time.Millisecond

// taskSlots are the slots of workflow tasks: few for those that run, and as many as the SDK
// has for those that wait in a local activity. If those that wait kept the others from
// running, a Spacelift that hangs would leave people's decisions without an answer.
type taskSlots struct {
	worker.SlotSupplier // all
	running             *semaphore.Weighted
}

// slot is a permit for a task.
type slot struct {
	leave func()      // from those that run; it may be called more than once
	timer *time.Timer // calls it; nil until the task runs
}

// tuner is the SDK's own, with taskSlots for workflow tasks.
type tuner struct {
	worker.WorkerTuner
	tasks *taskSlots
}

func newTuner() *tuner {
	usual, _ := worker.NewFixedSizeTuner(worker.FixedSizeTunerOptions{}) // it has a default for each size: a thousand
	return &tuner{usual, &taskSlots{usual.GetWorkflowTaskSlotSupplier(), semaphore.NewWeighted(runningTasks)}}
}

// GetWorkflowTaskSlotSupplier implements [worker.WorkerTuner].
func (t *tuner) GetWorkflowTaskSlotSupplier() worker.SlotSupplier { return t.tasks }

// ReserveSlot implements [worker.SlotSupplier].
func (t *taskSlots) ReserveSlot(ctx context.Context, info worker.SlotReservationInfo) (*worker.SlotPermit, error) {
	if err := t.running.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	permit, err := t.SlotSupplier.ReserveSlot(ctx, info)
	if err != nil {
		t.running.Release(1)
		return nil, err
	}
	return t.issued(permit), nil
}

// TryReserveSlot implements [worker.SlotSupplier].
func (t *taskSlots) TryReserveSlot(info worker.SlotReservationInfo) *worker.SlotPermit {
	if !t.running.TryAcquire(1) {
		return nil
	}
	permit := t.SlotSupplier.TryReserveSlot(info)
	if permit == nil {
		t.running.Release(1)
		return nil
	}
	return t.issued(permit)
}

func (t *taskSlots) issued(permit *worker.SlotPermit) *worker.SlotPermit {
	permit.UserData = &slot{leave: sync.OnceFunc(func() { t.running.Release(1) })}
	return permit
}

// MarkSlotUsed implements [worker.SlotSupplier].
func (t *taskSlots) MarkSlotUsed(info worker.SlotMarkUsedInfo) {
	if s, ok := info.Permit().UserData.(*slot); ok {
		s.timer = time.AfterFunc(waitingAfter, s.leave)
	}
}

// ReleaseSlot implements [worker.SlotSupplier].
func (t *taskSlots) ReleaseSlot(info worker.SlotReleaseInfo) {
	if s, ok := info.Permit().UserData.(*slot); ok {
		if s.timer != nil {
			s.timer.Stop()
		}
		s.leave()
	}
	t.SlotSupplier.ReleaseSlot(info)
}
