package workflows

import (
	"runtime"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/decide/managed"
)

// guard calls a function, and records a bug in it as a fault of the execution.
// Only runtime errors count: the SDK panics with other values.
func (m *manager) guard(ctx workflow.Context, do func() error) (err error) {
	defer func() {
		if bug := recovered(recover()); bug != nil {
			m.faulty = true
			m.known.Broke(workflow.Now(ctx).UTC(), bug)
			m.log.Error("Gantry's own code failed on a run", "run", m.known.Run.String(), "error", bug)
			err = temporal.NewNonRetryableApplicationError("Gantry's own code failed on this run: "+bug.Error(), managed.ErrTypeFault, nil)
		}
	}()
	return do()
}

// recovered returns the bug that ended a function, or nil if it ended well. It
// passes every other panic on.
func recovered(p any) runtime.Error {
	if p == nil {
		return nil
	}
	bug, ok := p.(runtime.Error)
	if !ok {
		panic(p)
	}
	return bug
}

// restart continues the run in a new execution, with everything that is known
// and has come in.
func (m *manager) restart(ctx workflow.Context) error {
	m.receive()
	return workflow.NewContinueAsNewError(ctx, ManageRun, managed.ManageRunInput{
		Run: m.known.Run, Known: &m.known, Late: m.arrived.batches,
	})
}

// pauseAfterFault waits if the execution before failed on the run, and then reads
// the run. It returns an error only when the execution is canceled.
func (m *manager) pauseAfterFault(ctx workflow.Context) error {
	if m.known.Fault == nil {
		return nil
	}
	m.sendMessages()
	if err := m.publish(ctx, true); err != nil {
		return err
	}
	pause := m.known.Fault.Until().Sub(workflow.Now(ctx))
	if err := sleep(ctx, max(pause, time.Second), "Pause after a failure of Gantry's own code: "+m.known.Fault.Reason); err != nil {
		return err
	}
	return m.readRun(ctx, managed.Next{Do: managed.DoRead})
}
