package activities

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// maxAdoptable is how many of a stack's newest runs are looked at for one that
// counts. A stack has one run that goes on, and what ended before is older.
const maxAdoptable = 5

// adopt finds the run of a follower that counts for a chain, newest first; an
// empty outcome if a new one must be triggered.
//
//   - One that goes on counts, unless it applies a plan from before its turn.
//   - One that has ended since the chain's own first run was created counts as it
//     ended, unless it planned before its turn. What people stopped counts for
//     the commit that they stopped it on.
//   - One that Spacelift skipped when it was its turn counts: nothing that it
//     refers to has changed.
//
// A run of the chain's commit that goes on or finished comes before newer ones.
func (a *Activities) adopt(ctx context.Context, api Spacelift, in TriggerFollowerInput, lines []spacelift.RunLine) (result TriggerFollowerResult, err error) {
	lines = slices.SortedStableFunc(slices.Values(lines), func(a, b spacelift.RunLine) int { return in.rank(a) - in.rank(b) })
	for _, line := range lines[:min(len(lines), maxAdoptable)] {
		run, err := api.Run(ctx, line.Ref)
		if err != nil {
			return result, classify(ctx, err)
		}
		end, ended := run.End()
		switch {
		case !ended && in.tooEarly(run) && confirms(run.State):
			return result, nil
		case !ended:
			return adopted(run.Ref, "%s", in.whyAdopted(run)), nil
		case in.before(end.At, run) && in.rank(line) > 0: // and so did those before it
			return result, nil
		case in.before(end.At, run), passedOver(end):
			continue
		}
		us, err := a.ours(ctx, in.Account, run.TriggeredBy)
		if err != nil {
			return result, err
		}
		if in.counts(run, end, us && !run.CreatedAt.Before(in.Ended.Truncate(time.Second))) {
			return adopted(run.Ref, "%s", in.whyAdopted(run)), nil
		}
	}
	return result, nil
}

// rank is 0 for runs of the chain's commit that go on or finished, and 1 for all
// others.
func (in TriggerFollowerInput) rank(l spacelift.RunLine) int {
	if l.CommitHash == in.Commit && (!l.State.Terminal() || l.State == spacelift.RunStateFinished) {
		return 0
	}
	return 1
}

// before reports whether a run ended before the chain began. The API's times are
// whole seconds: within the same one the commit tells.
func (in TriggerFollowerInput) before(ended time.Time, run spacelift.Run) bool {
	begun := in.Begun.Truncate(time.Second)
	return ended.Before(begun) || ended.Equal(begun) && run.Commit.Hash != in.Commit
}

// passedOver reports whether Gantry itself ended a run because another one takes
// its place.
func passedOver(end spacelift.Transition) bool {
	return strings.HasPrefix(end.Note, policy.NoteGivesWay) || strings.HasPrefix(end.Note, policy.NoteOldPlan)
}

// tooEarly reports whether a run planned before a stack that goes first had
// applied its changes.
func (in TriggerFollowerInput) tooEarly(run spacelift.Run) bool {
	return !in.Applied.IsZero() && !run.PlannedAt().IsZero() && run.PlannedAt().Before(in.Applied.Truncate(time.Second))
}

// counts reports whether a run that has ended is the one that the chain waits
// for. us says that Gantry triggered it when it was its turn.
func (in TriggerFollowerInput) counts(run spacelift.Run, end spacelift.Transition, us bool) bool {
	_, native := in.native(run)
	same := run.Commit.Hash == in.Commit || native || us
	switch run.State {
	case spacelift.RunStateFinished:
		return !in.tooEarly(run)
	case spacelift.RunStateSkipped:
		return !end.At.Before(in.Ended.Truncate(time.Second))
	case spacelift.RunStateFailed:
		early := run.PlannedAt().IsZero() && !in.Applied.IsZero() && end.At.Before(in.Applied.Truncate(time.Second))
		return same && !early && !in.tooEarly(run)
	}
	return same
}

// native reports whether Spacelift made the run because the stack depends on a
// parent there too, and which. It names the parent's stack as who triggered it
// (https://docs.spacelift.io/concepts/stack/stack-dependencies).
func (in TriggerFollowerInput) native(run spacelift.Run) (parent spacelift.StackID, ok bool) {
	by := spacelift.StackID(run.TriggeredBy)
	return by, slices.Contains(in.After, by)
}

// whyAdopted says where a run comes from that counts.
func (in TriggerFollowerInput) whyAdopted(run spacelift.Run) string {
	if parent, ok := in.native(run); ok {
		return fmt.Sprintf("Spacelift made run %s itself, because the stack depends on %s there", run.Ref.Run, parent)
	}
	switch {
	case run.Commit.Hash == in.Commit && in.Commit != "":
		return fmt.Sprintf("run %s of the same commit was there already", run.Ref.Run)
	case run.TriggeredBy != "":
		return fmt.Sprintf("run %s, which %s triggered, plans after all that it follows", run.Ref.Run, run.TriggeredBy)
	}
	return fmt.Sprintf("run %s of a newer push plans after all that it follows", run.Ref.Run)
}
