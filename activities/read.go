package activities

import (
	"context"

	"github.com/gantryhq/gantry/spacelift"
)

// ReadRun reads a run with its history and the stack's current labels and
// brakes. A lock that Gantry's own key holds is left out.
func (a *Activities) ReadRun(ctx context.Context, ref spacelift.RunRef) (spacelift.Run, error) {
	api, err := a.account(ref.Account)
	if err != nil {
		return spacelift.Run{}, err
	}
	return a.read(ctx, api, ref)
}

func (a *Activities) read(ctx context.Context, api Spacelift, ref spacelift.RunRef) (spacelift.Run, error) {
	run, err := api.Run(ctx, ref)
	if err != nil {
		return spacelift.Run{}, classify(ctx, err)
	}
	// Gantry reads no other labels, and what is read here ends up in histories.
	run.StackLabels = spacelift.OurLabels(run.StackLabels)
	a.dropOwnLock(ctx, ref.Account, &run.Brakes)
	return run, nil
}
