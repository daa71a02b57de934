package workflows

import (
	"runtime"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/decide/managed"
)

// guard calls a function, and takes a bug in it for a fault of the execution.
// Panics of the SDK are none: no value but a runtime error is Gantry's own.
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

// recovered returns the bug that a function ended with, and panics with whatever
// else it did; nil if it ended well.
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

// restart makes the execution go on as a new one, with all that is known and has
// come in.
func (m *manager) restart(ctx workflow.Context) error {
	m.receive()
	return workflow.NewContinueAsNewError(ctx, ManageRun, managed.ManageRunInput{
		Run: m.known.Run, Known: &m.known, Late: m.arrived.batches,
	})
}

// resume waits after a fault, and reads the run. It returns an error only when the
// execution is canceled.
func (m *manager) resume(ctx workflow.Context) error {
	m.post()
	if err := index(ctx, m.status(ctx), true); err != nil {
		return err
	}
	pause := m.known.Fault.Until().Sub(workflow.Now(ctx))
	if err := workflow.Sleep(ctx, max(pause, time.Second)); err != nil {
		return err
	}
	return m.step(managed.DoRead)(ctx, managed.Next{Do: managed.DoRead})
}
