package activities

import (
	"context"
	"slices"
	"strings"

	"github.com/gantryhq/gantry/decide/policy"
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
	return bounded(run), nil
}

// Bounds of a run that is read, far above those of a real one: Temporal takes no
// more than 2 MB.
const (
	maxHistory = 200   // transitions, the newest
	maxText    = 1_000 // bytes of a note and a message
)

// bounded cuts what people may have written without end.
func bounded(run spacelift.Run) spacelift.Run {
	run.History = slices.Clone(run.History[max(0, len(run.History)-maxHistory):])
	for i := range run.History {
		run.History[i].Note = shorten(run.History[i].Note, maxText)
	}
	run.Title, run.Commit.Message, run.Command = shorten(run.Title, maxText), shorten(run.Commit.Message, maxText), shorten(run.Command, maxText)
	run.StackLabels = policy.TrimLabels(run.StackLabels)
	return run
}

// shorten cuts a text of more than limit bytes at a rune's end.
func shorten(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit-len("…")], "") + "…"
}
