package activities

import (
	"context"
	"fmt"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/spacelift/spaceliftapi"
)

// patience bounds the attempts that wait for a refusal without a known cause to
// pass. With the retry policy of the workflows they take some minutes.
//
// behindPatience bounds those that wait for an API that is behind its own
// notifications: 15 seconds. Then the workflow compares the two, since the
// notification may be a forgery that hides the plan that waits.
const (
	patience       = 10
	behindPatience = 5
)

// ConfirmRunInput asks to confirm a run's plan.
type ConfirmRunInput struct {
	managed.ConfirmRunInput

	// Behind names the open work to look through for the stacks that go first, if there
	// are any.
	Behind *OpenWork `json:"behind,omitempty"`
}

// ConfirmRun reads the run and confirms its plan, if state, version, commit, delta
// and policy are those that were judged, the stacks that go first are through, and no
// lock or other brake of the stack, no window and no freeze forbids it now. It does
// both, because nothing may come between them: its reading is at most freshFor old when
// it sends the confirmation.
//
// It is safe to repeat: each attempt checks first, so it finds an answer that was
// lost and sends nothing blindly. While the API shows an older state than
// notifications did, it fails a few times in order to be tried again.
func (a *Activities) ConfirmRun(ctx context.Context, in ConfirmRunInput) (managed.ConfirmResult, error) {
	result, err := checkedAnew(func() (managed.ConfirmResult, error) { return a.confirmRun(ctx, in) })
	if err == nil && result.Outcome == managed.ConfirmedUnseen && a.OnConfirmedUnseen != nil {
		a.OnConfirmedUnseen()
	}
	if err == nil && (result.Outcome == managed.Confirmed || result.Outcome == managed.AlreadyConfirmed || result.Outcome == managed.ConfirmedUnseen) {
		result.Followers = a.followersOf(ctx, in.Run.Account, in.Run.Stack)
	}
	return result, err
}

func (a *Activities) confirmRun(ctx context.Context, in ConfirmRunInput) (managed.ConfirmResult, error) {
	api, err := a.account(in.Run.Account)
	if err != nil {
		return managed.ConfirmResult{}, err
	}
	found, read, err := a.check(ctx, api, in)
	if err != nil || found.Outcome != "" {
		return found, err
	}

	if found, read, err = a.review(ctx, api, in, found, read); err != nil || found.Outcome != "" {
		return found, err
	}

	// The run names the execution that confirmed it, for policies and people.
	marked := spaceliftapi.WithRunMetadata(ctx, activity.GetInfo(ctx).WorkflowExecution.ID)
	mark := spacelift.Mark{Verb: spacelift.VerbConfirm, StateVersion: in.Expect.StateVersion}
	answer, err := api.ConfirmRun(fresh(marked, read), in.Run, mark.Sign(in.Note))
	if err == nil {
		if u := unseen(answer.History); u != nil && u.Confirmed >= in.Expect.StateVersion {
			result := confirmedUnseen(*u, nil)
			result.Run = found.Run
			return result, nil
		}
		found.Outcome, found.ByUs = managed.Confirmed, true
		return found, nil
	}
	if !refusal(err) {
		return managed.ConfirmResult{}, classify(ctx, err)
	}
	// Most likely a person was faster: then the run shows it.
	found, _, checkErr := a.check(ctx, api, in)
	if checkErr != nil || found.Outcome != "" {
		return found, checkErr
	}
	if activity.GetInfo(ctx).Attempt < patience && !is[*spacelift.IllegalStateError](err) {
		return managed.ConfirmResult{}, err
	}
	found.Outcome, found.Reason = managed.ConfirmRefused, err.Error()
	return found, nil
}

// review gives Gantry's review where Gantry's own approval policy waits for it, and
// checks the run again. An empty outcome means: go ahead.
//
// Repeating it changes nothing, since the latest review of each reviewer counts. If
// an attempt ends between review and confirmation, the next one finds that Spacelift
// asks for no review any more, and confirms.
func (a *Activities) review(ctx context.Context, api Spacelift, in ConfirmRunInput, found managed.ConfirmResult, read time.Time) (managed.ConfirmResult, time.Time, error) {
	if !asksUs(found.Run) {
		return found, read, nil
	}
	if found.Run.NeedsApproval {
		mark := spacelift.Mark{Verb: spacelift.VerbApprove, StateVersion: in.Expect.StateVersion}
		sent := api.ReviewRun(fresh(ctx, read), in.Run, spacelift.ReviewApprove, mark.Sign(in.Note))
		if sent != nil && !refusal(sent) {
			return managed.ConfirmResult{}, read, classify(ctx, sent)
		}
		var err error
		if found, read, err = a.check(ctx, api, in); err != nil || found.Outcome != "" {
			return found, read, err
		}
		if found.Run.NeedsApproval && sent == nil {
			sent = fmt.Errorf("spacelift has Gantry's review of run %s, and still asks for one", in.Run)
		}
		if found.Run.NeedsApproval && activity.GetInfo(ctx).Attempt < patience {
			return managed.ConfirmResult{}, read, sent
		}
		if found.Run.NeedsApproval {
			found.Outcome, found.Reason = managed.ConfirmRefused, sent.Error()
			return found, read, nil
		}
	}
	found.Reviewed = true // if by an earlier attempt, then it was Gantry's too: nobody else has its key
	return found, read, nil
}

// asksUs reports whether a review that Spacelift asks for is Gantry's own.
func asksUs(run spacelift.Run) bool {
	enforcement := policy.EnforcementOf(run.Hold)
	return enforcement != nil && enforcement.Asks
}

// check reads the run, and checks it and the rules. An empty outcome means: go
// ahead. read is the time of the answer.
func (a *Activities) check(ctx context.Context, api Spacelift, in ConfirmRunInput) (result managed.ConfirmResult, read time.Time, err error) {
	var planned *reading // before the run, so that what the confirmation relies on stays fresh
	if in.Policy.Expressions.Any() {
		planned = a.plan(ctx, in.Run, in.Expect.StateVersion)
	}
	moved, unread := a.parentsMoved(ctx, in)
	run, err := api.Run(ctx, in.Run)
	if err != nil {
		return managed.ConfirmResult{}, read, classify(ctx, err)
	}
	read = time.Now()
	if behind(in.Expect, run) && activity.GetInfo(ctx).Attempt < behindPatience {
		return managed.ConfirmResult{}, read, fmt.Errorf("the API shows run %s in %s (%d), older than the %s (%d) we know of",
			in.Run, run.State, run.StateVersion, in.Expect.State, in.Expect.StateVersion)
	}
	a.remember(run)
	a.dropOwnLock(ctx, in.Run.Account, &run.Brakes)
	result = checkPlan(in.ConfirmRunInput, run)
	if result.Outcome == "" && planned.again() && activity.GetInfo(ctx).Attempt < patience {
		return managed.ConfirmResult{}, read, classify(ctx, planned.err)
	}
	if result.Outcome == "" || result.Outcome == managed.ConfirmRefused {
		judged, err := a.checkRules(ctx, in.ConfirmRunInput, run, planned)
		if err != nil {
			return managed.ConfirmResult{}, read, err
		}
		if judged.Outcome != "" {
			result = judged
		}
	}
	switch {
	case result.Outcome != "":
	case unread != nil:
		return managed.ConfirmResult{}, read, unread
	case moved != nil:
		result = managed.ConfirmResult{Outcome: managed.ParentsMoved, Reason: moved.Reason, Parents: moved}
	}
	result.Run = kept(run)
	return result, read, nil
}

// parentsMoved returns the progress of the stacks that go first if it speaks against the
// plan; nil if it doesn't. It is read before the run, so that what the confirmation
// relies on stays fresh.
func (a *Activities) parentsMoved(ctx context.Context, in ConfirmRunInput) (*managed.ParentsProgress, error) {
	if in.Behind == nil {
		return nil, nil
	}
	now, err := a.ReadParents(ctx, ReadParentsInput{Run: in.Run, OpenWork: *in.Behind})
	if err != nil || now.Through(in.Policy) {
		return nil, err
	}
	return &now.ParentsProgress, nil
}

// forbidden are the outcomes of a confirmation that a check forbids.
var forbidden = map[managed.Check]managed.ConfirmOutcome{
	managed.CheckManaged: managed.RulesChanged, managed.CheckPolicy: managed.RulesChanged, managed.CheckVerdicts: managed.RulesChanged,
	managed.CheckLabels: managed.ConfirmRefused, managed.CheckPeople: managed.AnotherPlan, managed.CheckBrakes: managed.StackBlocked, managed.CheckGate: managed.GateClosed,
}

// checkRules reads the rules in effect, and makes the checks of a confirmation. An empty
// outcome means that they allow it.
func (a *Activities) checkRules(ctx context.Context, in managed.ConfirmRunInput, run spacelift.Run, planned *reading) (managed.ConfirmResult, error) {
	s, err := a.standing(ctx, run, in.PlanSince, planned)
	if err != nil {
		return managed.ConfirmResult{}, err
	}
	s.Judged = &in.Judged
	s.Plan = policy.PlanFacts{Type: run.Type, Drift: run.DriftDetection, Delta: run.Delta, Verdicts: s.Rules.Verdicts}
	no := s.Forbids(managed.ToConfirm)
	if no == nil {
		return managed.ConfirmResult{}, nil
	}
	result := managed.ConfirmResult{Outcome: forbidden[no.Check], Reason: no.Reason, Block: no.Block}
	if result.Outcome != managed.AnotherPlan && result.Outcome != managed.StackBlocked {
		result.Rules = &s.Rules
	}
	return result, nil
}

// standing returns what checks need of a run and its stack, by the rules in effect now. The
// run has all of the stack's labels, since rules select by them.
func (a *Activities) standing(ctx context.Context, run spacelift.Run, planSince time.Time, planned *reading) (managed.Standing, error) {
	by := a.definitions()
	p, err := a.resolveWith(ctx, by, run.Ref.Account, run.Ref.Stack, run.StackLabels, run.Stack)
	if err != nil {
		return managed.Standing{}, err
	}
	ours := spacelift.OurLabels(run.StackLabels)
	rules, err := a.timed(ctx, by, ReadRulesInput{Run: run.Ref, PlanSince: planSince}, managed.Rules{Labels: ours, Policy: p}, planned)
	return managed.Standing{Run: run.Ref, Labels: ours, Brakes: run.Brakes, Rules: rules}, err
}

// checkPlan compares a run with the plan that was judged, all but the policy. An
// empty outcome means that the plan is the same and no one has decided about it.
//
// A confirmed plan counts as confirmed, however far the run is by now.
func checkPlan(in managed.ConfirmRunInput, run spacelift.Run) managed.ConfirmResult {
	want := in.Expect
	if u := unseen(run.History); u != nil && u.Confirmed >= want.StateVersion {
		return confirmedUnseen(*u, run.Delta)
	}
	if t, ok := confirmation(want.StateVersion, run); ok {
		found := before(t, spacelift.VerbConfirm, "confirmed the plan")
		if found.ByUs {
			found.Reason = "an earlier attempt confirmed the plan"
		}
		return managed.ConfirmResult{Outcome: managed.AlreadyConfirmed, ByUs: found.ByUs, Actor: found.Actor, Reason: found.Reason}
	}
	switch {
	case run.StateVersion != want.StateVersion || run.State != want.State:
		return changed("the run is in %s (%d), not in %s (%d)", run.State, run.StateVersion, want.State, want.StateVersion)
	case run.Type != want.Type:
		return changed("it is a %s run, not a %s one", run.Type, want.Type)
	case want.CommitHash != "" && run.Commit.Hash != want.CommitHash:
		return changed("it works on commit %s, not on %s", run.Commit.Hash, want.CommitHash)
	case want.Delta != nil && (run.Delta == nil || *run.Delta != *want.Delta):
		return changed("the plan is %s, not %s", plan(run.Delta), plan(want.Delta))
	case run.NeedsApproval && !asksUs(run):
		return managed.ConfirmResult{Outcome: managed.ConfirmRefused, Reason: "an approval policy in Spacelift asks for a review of this plan first"}
	}
	return managed.ConfirmResult{}
}

// behind reports whether the API shows a state from before the one we judged.
func behind(want managed.Expect, run spacelift.Run) bool {
	return run.StateVersion < want.StateVersion && !run.State.Terminal()
}

// confirmation returns the state by which a plan was confirmed, which is its next.
// Without a history, the run's own state has to do.
func confirmation(planVersion int, run spacelift.Run) (spacelift.Transition, bool) {
	t, ok := next(planVersion, run)
	if !ok || !confirms(t.State) {
		return spacelift.Transition{}, false
	}
	return t, true
}

// unseen returns a confirmation of Gantry's that took effect on another plan than
// the one it was decided for, the last if there are several.
func unseen(history []spacelift.Transition) (found *managed.UnseenPlan) {
	plan, waiting := 0, false
	for _, t := range history {
		if waiting && confirms(t.State) {
			if mark, ours := spacelift.MarkOf(t); ours && mark.Verb == spacelift.VerbConfirm && mark.StateVersion != plan {
				found = &managed.UnseenPlan{Judged: mark.StateVersion, Confirmed: plan, At: t.At}
			}
		}
		plan, waiting = t.StateVersion, t.State == spacelift.RunStateUnconfirmed
	}
	return found
}

func confirmedUnseen(u managed.UnseenPlan, delta *spacelift.Delta) managed.ConfirmResult {
	u.Delta = delta
	return managed.ConfirmResult{Outcome: managed.ConfirmedUnseen, ByUs: true, Unseen: &u, Reason: fmt.Sprintf(
		"Gantry's confirmation of the plan of state version %d took effect on the plan of state version %d, which nobody had judged", u.Judged, u.Confirmed)}
}

// next returns the state that a run entered after another, as far as its history
// shows.
func next(stateVersion int, run spacelift.Run) (spacelift.Transition, bool) {
	after := spacelift.Transition{State: run.State, StateVersion: run.StateVersion}
	for _, t := range run.History {
		if t.StateVersion > stateVersion && t.StateVersion <= after.StateVersion {
			after = t
		}
	}
	return after, after.StateVersion > stateVersion
}

// confirms reports whether a plan that is followed by this state was confirmed.
func confirms(s spacelift.RunState) bool {
	return s == spacelift.RunStateConfirmed || s == spacelift.RunStatePreparingApply || s == spacelift.RunStateApplying
}

func changed(format string, args ...any) managed.ConfirmResult {
	return managed.ConfirmResult{Outcome: managed.AnotherPlan, Reason: fmt.Sprintf(format, args...)}
}

func plan(d *spacelift.Delta) string {
	if d == nil {
		return "of unknown size"
	}
	return fmt.Sprintf("+%d ~%d -%d of %d", d.Added, d.Changed, d.Deleted, d.Resources)
}
