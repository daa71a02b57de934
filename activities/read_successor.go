package activities

import (
	"context"

	"github.com/gantryhq/gantry/spacelift"
)

// Successor is a run and the run that took its place.
type Successor struct {
	Run   spacelift.Run    `json:"run"`
	Newer spacelift.RunRef `json:"newer,omitzero"` // zero: there is none
}

// ReadSuccessor reads a tracked run, and finds a newer one of its stack that may
// have changed the stack or still may: a retry that a person made in Spacelift, or
// the run of a newer commit.
func (a *Activities) ReadSuccessor(ctx context.Context, ref spacelift.RunRef) (Successor, error) {
	api, err := a.account(ref.Account)
	if err != nil {
		return Successor{}, err
	}
	run, err := api.Run(ctx, ref)
	if err != nil {
		return Successor{}, classify(ctx, err)
	}
	newer, err := newerThan(ctx, api, run)
	if err != nil {
		return Successor{}, err
	}
	for _, line := range newer {
		if !line.DriftDetection && takesPlace(line.State) {
			return Successor{Run: run, Newer: line.Ref}, nil
		}
	}
	return Successor{Run: run}, nil
}
