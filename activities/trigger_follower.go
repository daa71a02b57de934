package activities

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/spacelift/spaceliftapi"
)

// TriggerFollowerInput names a stack whose turn has come.
type TriggerFollowerInput struct {
	Account spacelift.Account   `json:"account"`
	Stack   spacelift.StackID   `json:"stack"`
	After   []spacelift.StackID `json:"after"`            // the stacks of the chain that it follows
	Labels  string              `json:"labels,omitempty"` // Follower.Labels as the chain knows them; empty: any will do

	// Begun is the time at which the run that begins the chain was created, and
	// Commit the commit that it works on.
	Begun  time.Time `json:"begun"`
	Commit string    `json:"commit,omitempty"`

	// Ended is the end of the last run that the stack waited for, and Applied the end
	// of the last of them that applied changes: an earlier plan is old. Zero: none
	// applied any.
	Ended   time.Time `json:"ended,omitzero"`
	Applied time.Time `json:"applied,omitzero"`

	Void []spacelift.RunID `json:"void,omitempty"` // runs of the stack that the chain had and that do not count

	OpenWork

	kept time.Time // Applied, for a stack whose policy keeps old plans
}

// FollowOutcome is the outcome of TriggerFollower.
type FollowOutcome string

// The outcomes.
const (
	FollowTriggered  FollowOutcome = "triggered"  // by this attempt
	FollowAdopted    FollowOutcome = "adopted"    // the stack has a run that counts
	FollowWaits      FollowOutcome = "waits"      // nothing was done: a stack of another chain goes first
	FollowHeld       FollowOutcome = "held"       // nothing was done, and something must change first
	FollowRelabelled FollowOutcome = "relabelled" // nothing was done: the stack follows others than the chain knows
)

// TriggerFollowerResult is the result of TriggerFollower.
type TriggerFollowerResult struct {
	Outcome FollowOutcome    `json:"outcome"`
	Reason  string           `json:"reason,omitempty"` // a sentence, unless triggered
	Run     spacelift.RunRef `json:"run,omitzero"`     // triggered or adopted
	Block   *managed.Block   `json:"block,omitempty"`  // when held by a brake in Spacelift, such as a lock
	Keeps   bool             `json:"keeps,omitempty"`  // the stack's policy keeps old plans

	// Of is the run outside the chain that is in the way, or the root of the chain that
	// is; zero for none.
	Of spacelift.RunRef `json:"of,omitzero"`
}

// TriggerFollower makes sure that a stack has a tracked run that plans after
// everything that it waited for: one that exists, or else a new one, once however
// often it is attempted. Spacelift has no idempotency keys, so each attempt checks
// before it triggers.
//
// adopt decides which run counts; it does not matter who triggered it. So a run of
// the same push, a run that Spacelift made because the stack depends on a parent
// there too, a run of another chain, and a run that an earlier attempt triggered
// without getting an answer all count.
func (a *Activities) TriggerFollower(ctx context.Context, in TriggerFollowerInput) (TriggerFollowerResult, error) {
	api, err := a.account(in.Account)
	if err != nil {
		return TriggerFollowerResult{}, err
	}
	return checkedAnew(func() (TriggerFollowerResult, error) { return a.follow(ctx, api, in) })
}

func (a *Activities) follow(ctx context.Context, api Spacelift, in TriggerFollowerInput) (TriggerFollowerResult, error) {
	labels, lines, err := trackedRuns(ctx, api, in.Stack)
	if errors.Is(err, spacelift.ErrNotFound) {
		return heldBack("the stack %s does not exist: it was deleted, or Gantry's API key may not read it", in.Stack), nil
	}
	if err != nil {
		return TriggerFollowerResult{}, err
	}
	rules, err := a.resolve(ctx, a.definitions(), in.Account, in.Stack, labels)
	if err != nil {
		return TriggerFollowerResult{}, err
	}
	parents := chain.ParentsOf(in.Stack, rules.After.Value)
	if !spacelift.Managed(labels) || in.Labels != "" && chain.LabelsFingerprint(parents) != in.Labels {
		return TriggerFollowerResult{Outcome: FollowRelabelled, Reason: fmt.Sprintf("the labels of the stack %s have changed", in.Stack)}, nil
	}
	keeps := rules.OldPlans.Value == policy.OldPlansKeep
	if keeps {
		in.Applied, in.kept = time.Time{}, in.Applied
	}
	result, err := a.waitsOutside(ctx, api, in, parents)
	if err == nil && result.Outcome == "" {
		result, err = a.adopt(ctx, api, in, without(lines, in.Void))
	}
	if err == nil && result.Outcome == "" {
		result, err = a.triggerFollower(ctx, api, in, lines)
	}
	result.Keeps = keeps
	return result, err
}

// triggerFollower triggers a run of a stack that has none that counts.
func (a *Activities) triggerFollower(ctx context.Context, api Spacelift, in TriggerFollowerInput, lines []spacelift.RunLine) (TriggerFollowerResult, error) {
	// The run names the chain it belongs to, for policies and people.
	marked := spaceliftapi.WithRunMetadata(ctx, activity.GetInfo(ctx).WorkflowExecution.ID+" "+string(in.Stack))
	known := newestOf(lines)
	started, err := a.triggerAfter(marked, api, in.Account, in.Stack, sameCommit(in.Commit, without(lines, in.Void)), known)
	switch {
	case err != nil:
		return TriggerFollowerResult{}, err
	case started.why != "":
		return TriggerFollowerResult{Outcome: FollowHeld, Reason: started.why, Block: started.block}, nil
	}
	first, err := giveWay(ctx, api, started.run, known)
	if err != nil || first.Run == "" {
		// The run exists: a later failure is no reason to trigger another.
		return TriggerFollowerResult{Outcome: FollowTriggered, Run: started.run}, nil //nolint:nilerr // see above
	}
	return adopted(first, "run %s of the same commit appeared while Gantry triggered one", first.Run), nil
}

// sameCommit returns the commit to trigger a run on: that of the chain if the stack's
// newest run works on it. Empty means the head of what the stack tracks: a stack of
// another repository doesn't know the commit, and a stack with newer commits must
// not go back.
func sameCommit(commit string, lines []spacelift.RunLine) string {
	if len(lines) > 0 && lines[0].CommitHash == commit {
		return commit
	}
	return ""
}

// triggering is the final result of a trigger.
type triggering struct {
	run   spacelift.RunRef
	why   string         // no run was triggered, as a sentence
	block *managed.Block // when a brake in Spacelift, such as a lock, is why
}

// newestOf returns the first of some runs; empty if there is none.
func newestOf(lines []spacelift.RunLine) spacelift.RunID {
	if len(lines) == 0 {
		return ""
	}
	return lines[0].Ref.Run
}

// triggerAfter triggers a tracked run of a stack, as trigger does, unless the stack's
// labels or brakes forbid it. known is the newest run of those that the caller checked:
// another one is ErrStale, and the check must be made anew.
func (a *Activities) triggerAfter(ctx context.Context, api Spacelift, account spacelift.Account, id spacelift.StackID, commit string, known spacelift.RunID) (triggering, error) {
	return trigger(ctx, api, id, spacelift.Trigger{CommitSHA: commit}, func(s spacelift.Stack) (string, *managed.Block, error) {
		a.dropOwnLock(ctx, account, &s.Brakes)
		rules, err := a.resolveWith(ctx, a.definitions(), account, id, s.Labels, s.Traits())
		if err != nil {
			return "", nil, err
		}
		if why, block := chain.WhyNotTriggered(managed.ToFollow, s, rules); why != "" {
			return why, block, nil
		}
		_, lines, err := trackedRuns(ctx, api, id)
		if err == nil && newestOf(lines) != known {
			err = spacelift.ErrStale
		}
		return "", nil, err
	})
}

// trigger reads a stack, and triggers a run of it unless there is a reason against it.
// An error is worth another attempt, which must look for the run of this one.
func trigger(ctx context.Context, api Spacelift, id spacelift.StackID, how spacelift.Trigger, against func(spacelift.Stack) (why string, block *managed.Block, err error)) (triggering, error) {
	stack, err := api.Stack(ctx, id)
	if err != nil {
		return triggering{}, classify(ctx, err)
	}
	read := time.Now()
	why, block, err := against(stack)
	if err != nil || why != "" {
		return triggering{why: why, block: block}, err
	}
	started, err := api.TriggerRun(fresh(ctx, read), id, how)
	switch {
	case err == nil:
		return triggering{run: started.Ref}, nil
	case errors.Is(err, spacelift.ErrAmbiguous):
		return triggering{}, unclear(ctx, err)
	case !refusal(err):
		return triggering{}, classify(ctx, err)
	}
	return triggering{why: fmt.Sprintf("Spacelift would not trigger a run of %s: %v", id, err)}, nil
}

// giveWay cancels a run that was just triggered if the same commit got an older one
// that the check could not see: a push or another chain came in between. known is the
// newest run that was checked. It returns the older one, which stays; the newer one is
// in the queue behind it.
func giveWay(ctx context.Context, api Spacelift, run spacelift.RunRef, known spacelift.RunID) (first spacelift.RunRef, err error) {
	_, lines, err := trackedRuns(ctx, api, run.Stack)
	if err != nil {
		return first, err
	}
	read := time.Now()
	itself := slices.IndexFunc(lines, func(l spacelift.RunLine) bool { return l.Ref == run })
	if itself < 0 {
		return first, nil
	}
	for _, l := range lines[itself+1:] {
		if l.Ref.Run == known {
			break
		}
		if !l.State.Terminal() && l.CommitHash == lines[itself].CommitHash {
			mark := spacelift.Mark{Verb: spacelift.VerbCancel}
			_, err := api.CancelRun(fresh(ctx, read), run, mark.Sign(policy.NoteGivesWay+string(l.Ref.Run)+"."))
			return l.Ref, err
		}
	}
	return first, nil
}

// trackedRuns lists the newest tracked runs of a stack, without repairs of drift,
// newest first, and the stack's labels.
func trackedRuns(ctx context.Context, api Spacelift, stack spacelift.StackID) (labels []string, lines []spacelift.RunLine, err error) {
	labels, lines, err = runsOf(ctx, api, stack, newerRuns)
	lines = slices.DeleteFunc(lines, func(l spacelift.RunLine) bool { return l.DriftDetection })
	slices.SortStableFunc(lines, func(a, b spacelift.RunLine) int { return cmp.Compare(b.CreatedAt.UnixNano(), a.CreatedAt.UnixNano()) })
	return labels, lines, err
}

// without returns runs without those of some ids.
func without(lines []spacelift.RunLine, void []spacelift.RunID) []spacelift.RunLine {
	return slices.DeleteFunc(slices.Clone(lines), func(l spacelift.RunLine) bool { return slices.Contains(void, l.Ref.Run) })
}

// runsOf lists the newest tracked runs of a stack, newest first, and the stack's
// labels, which even a stack without runs has.
func runsOf(ctx context.Context, api Spacelift, stack spacelift.StackID, limit int) (labels []string, lines []spacelift.RunLine, err error) {
	listed, err := api.RunsOfStack(ctx, stack, spacelift.RunTypeTracked, limit)
	if err == nil && len(listed.Items) == 0 {
		var s spacelift.Stack
		s, err = api.Stack(ctx, stack)
		labels = s.Labels
	}
	if err != nil {
		return nil, nil, classify(ctx, err)
	}
	if len(listed.Items) > 0 {
		labels = listed.Items[0].StackLabels
	}
	return labels, listed.Items, nil
}

// waitsOutside returns what outside the chain keeps a stack from being triggered: a
// stack that it follows too and that works on the same commit or did not finish, or
// another chain of the commit that has not reached it.
func (a *Activities) waitsOutside(ctx context.Context, api Spacelift, in TriggerFollowerInput, parents []spacelift.StackID) (TriggerFollowerResult, error) {
	var run spacelift.Run
	run.Ref, run.Commit.Hash = spacelift.RunRef{Account: in.Account, Stack: in.Stack}, in.Commit
	up := upstream{a: a, api: api, run: run, in: in.OpenWork}
	outside := slices.DeleteFunc(slices.Clone(parents), func(p spacelift.StackID) bool { return slices.Contains(in.After, p) })
	var p Parents
	progress, err := up.read(ctx, outside)
	if err == nil {
		p, err = up.chains(ctx, progress)
	}
	switch {
	case err != nil:
		return TriggerFollowerResult{}, err
	case p.State == managed.ParentsBusy:
		return TriggerFollowerResult{Outcome: FollowWaits, Reason: fmt.Sprintf("%s waits for another chain too: %s", in.Stack, p.Reason), Of: p.Of}, nil
	case p.State == managed.ParentsFailed:
		held := heldBack("%s follows another stack too: %s", in.Stack, p.Reason)
		held.Of = p.Of
		return held, nil
	}
	return TriggerFollowerResult{}, nil
}

func heldBack(format string, args ...any) TriggerFollowerResult {
	return TriggerFollowerResult{Outcome: FollowHeld, Reason: fmt.Sprintf(format, args...)}
}

func adopted(run spacelift.RunRef, format string, args ...any) TriggerFollowerResult {
	return TriggerFollowerResult{Outcome: FollowAdopted, Run: run, Reason: fmt.Sprintf(format, args...)}
}

// maxAdoptable bounds the newest runs of a stack among which adopt searches. A stack
// has one run that has not ended, and the others are older.
const maxAdoptable = 5

// adopt finds the run of a follower that counts for a chain, newest first; an
// empty outcome if a new one must be triggered.
//
//   - A run that has not ended counts, unless it applies a plan from before its
//     turn.
//   - A run that has ended since the chain's own first run was created counts as it
//     ended, unless it planned before its turn. A run that people stopped counts for
//     the commit that they stopped it on.
//   - A run that Spacelift skipped in its turn counts: nothing that it refers to has
//     changed.
//
// A run of the chain's commit that has not ended or finished comes before newer
// ones.
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

// rank returns 0 for runs of the chain's commit that have not ended or finished, and
// 1 for all others.
func (in TriggerFollowerInput) rank(l spacelift.RunLine) int {
	if l.CommitHash == in.Commit && (!l.State.Terminal() || l.State == spacelift.RunStateFinished) {
		return 0
	}
	return 1
}

// before reports whether a run ended before the chain began. The API's times are
// whole seconds: within the same second the commit decides.
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

// counts reports whether a run that has ended is the one that the chain waits for.
// us is true if Gantry triggered it in its turn.
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
// parent there too, and which. It names the parent's stack as the triggerer
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
	plans := "plans after all that it follows"
	if planned := run.PlannedAt(); !planned.IsZero() && planned.Before(cmp.Or(in.Applied, in.kept).Truncate(time.Second)) {
		plans = "planned before all that it follows had applied"
		if in.Applied.IsZero() {
			plans += "; the stack's policy keeps old plans"
		}
	}
	switch {
	case run.Commit.Hash == in.Commit && in.Commit != "":
		return fmt.Sprintf("run %s of the same commit was there already", run.Ref.Run)
	case run.TriggeredBy != "":
		return fmt.Sprintf("run %s, which %s triggered, %s", run.Ref.Run, run.TriggeredBy, plans)
	}
	return fmt.Sprintf("run %s of a newer push %s", run.Ref.Run, plans)
}
