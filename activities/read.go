package activities

import (
	"context"

	"github.com/gantryhq/gantry/spacelift"
)

// ReadRun reads a run with its history and the stack's current labels.
func (a *Activities) ReadRun(ctx context.Context, ref spacelift.RunRef) (spacelift.Run, error) {
	api, err := a.account(ref.Account)
	if err != nil {
		return spacelift.Run{}, err
	}
	run, err := api.Run(ctx, ref)
	if err != nil {
		return spacelift.Run{}, classify(err)
	}
	// Gantry reads no other labels, and what is read here ends up in histories.
	run.StackLabels = spacelift.OurLabels(run.StackLabels)
	return run, nil
}
