package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/spacelift/spaceliftapi"
)

// ReadRun reads a run with its history and the stack's current labels and
// brakes. It leaves out a lock that Gantry's own key holds.
func (a *Activities) ReadRun(ctx context.Context, ref spacelift.RunRef) (spacelift.Run, error) {
	api, err := a.account(ref.Account)
	if err != nil {
		return spacelift.Run{}, err
	}
	run, err := a.read(ctx, api, ref)
	return kept(run), err
}

// read reads a run, with all labels of its stack and all of its history.
func (a *Activities) read(ctx context.Context, api Spacelift, ref spacelift.RunRef) (spacelift.Run, error) {
	run, err := api.Run(ctx, ref)
	if err != nil {
		return spacelift.Run{}, classify(ctx, err)
	}
	a.remember(run)
	a.dropOwnLock(ctx, ref.Account, &run.Brakes)
	return run, nil
}

// kept returns a run as histories keep it: with bounds, and without labels that only rules
// read.
func kept(run spacelift.Run) spacelift.Run {
	run.StackLabels = spacelift.OurLabels(run.StackLabels)
	return bounded(run)
}

// Bounds of a run, far above those of a real one: Temporal takes at most 2 MB.
const (
	maxHistory = 200   // transitions, the newest
	maxText    = 1_000 // bytes of a note and a message
)

// bounded cuts texts and lists that people can make as long as they like.
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

// upToDate reads a run. A run that is older than a state we know of is an error
// worth another attempt, until behindPatience has run out.
func (a *Activities) upToDate(ctx context.Context, api Spacelift, ref spacelift.RunRef, stateVersion int) (spacelift.Run, error) {
	run, err := a.read(ctx, api, ref)
	if err != nil {
		return spacelift.Run{}, err
	}
	if activity.GetInfo(ctx).Attempt < behindPatience && run.StateVersion < stateVersion && !run.State.Terminal() {
		return spacelift.Run{}, fmt.Errorf("the API shows run %s in %s (%d), older than the state version %d we know of",
			ref, run.State, run.StateVersion, stateVersion)
	}
	return run, nil
}

const (
	// freshFor bounds the time between the answer that an act is based on and the
	// sending of the act. In between are Gantry's own rules and freezes and, at times,
	// a token and a connection: milliseconds, unless the process is paused.
	freshFor = time.Second

	// freshTries bounds the checks of one attempt.
	freshTries = 3
)

// fresh marks the acts of ctx as based on what was read at a time.
func fresh(ctx context.Context, read time.Time) context.Context {
	return spaceliftapi.WithCheck(ctx, read, freshFor)
}

// checkedAnew carries out an activity, and repeats it from its check on while
// nothing was sent because the check had grown old, or Spacelift refused the token.
func checkedAnew[T any](carryOut func() (T, error)) (T, error) {
	for try := 1; ; try++ {
		result, err := carryOut()
		if try == freshTries || !errors.Is(err, spacelift.ErrStale) && !errors.Is(err, spacelift.ErrTokenRefused) {
			return result, err
		}
	}
}
