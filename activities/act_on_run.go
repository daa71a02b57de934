package activities

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// DiscardRunInput is a request to discard a plan, if it still is the one judged.
type DiscardRunInput struct {
	Run          spacelift.RunRef `json:"run"`
	StateVersion int              `json:"stateVersion"` // of UNCONFIRMED

	// Judged has what the discard of an old plan rests on; nil for one that people or a
	// time limit want, which nothing forbids.
	Judged *managed.Judged `json:"judged,omitempty"`

	Note string `json:"note"`
}

// ReviewRunInput is a request to pass people's decision on to Spacelift's own
// approval policies, if the run still waits for it in that state.
type ReviewRunInput struct {
	Run          spacelift.RunRef         `json:"run"`
	StateVersion int                      `json:"stateVersion"`
	Decision     spacelift.ReviewDecision `json:"decision"`

	// Judged has what an approval rests on; nil for a rejection, which nothing forbids. The
	// checks of managed.ToReview are made right before, and those of managed.ToRelease
	// if people may confirm the plan in Spacelift once it is reviewed.
	Judged   *managed.Judged `json:"judged,omitempty"`
	Releases bool            `json:"releases,omitempty"`

	Note string `json:"note"`
}

// StopRunInput is a request to stop a run in the way its state allows: cancel, stop
// or discard.
type StopRunInput struct {
	Run  spacelift.RunRef `json:"run"`
	Note string           `json:"note"`
}

// act reads a run and does what judge wants, if anything. judge leaves the outcome
// empty and names the verb to go ahead. stateVersion is the oldest state that the
// API must show; for a while, an older one is an error.
//
// Like ConfirmRun it is safe to repeat, because each attempt checks first.
func (a *Activities) act(ctx context.Context, ref spacelift.RunRef, stateVersion int,
	judge func(context.Context, spacelift.Run) (managed.ActResult, error), do func(ctx context.Context, api Spacelift, mark spacelift.Mark) error,
) (managed.ActResult, error) {
	api, err := a.account(ref.Account)
	if err != nil {
		return managed.ActResult{}, err
	}
	patient := activity.GetInfo(ctx).Attempt < patience
	check := func() (managed.ActResult, time.Time, error) {
		run, err := a.upToDate(ctx, api, ref, stateVersion)
		if err != nil {
			return managed.ActResult{}, time.Time{}, err
		}
		read := time.Now()
		result, err := judge(ctx, run)
		result.Run = kept(run)
		return result, read, err
	}
	return checkedAnew(func() (managed.ActResult, error) { return actOnce(ctx, api, patient, check, do) })
}

// plainly is a judgement that rests on the run alone.
func plainly(judge func(spacelift.Run) managed.ActResult) func(context.Context, spacelift.Run) (managed.ActResult, error) {
	return func(_ context.Context, run spacelift.Run) (managed.ActResult, error) { return judge(run), nil }
}

// checked is a judgement that rests on the checks of an act too, by the rules in effect now.
func (a *Activities) checked(ctx context.Context, ref spacelift.RunRef, stateVersion int, act managed.Act, judged *managed.Judged,
	judge func(spacelift.Run) managed.ActResult,
) func(context.Context, spacelift.Run) (managed.ActResult, error) {
	var planned *reading // before the run, so that what the act relies on stays fresh
	if judged.Verdicts != nil {
		planned = a.plan(ctx, ref, stateVersion)
	}
	return func(ctx context.Context, run spacelift.Run) (managed.ActResult, error) {
		result := judge(run)
		if result.Outcome != "" {
			return result, nil
		}
		no, err := a.forbids(ctx, run, act, judged, planned)
		if no != nil {
			result = managed.ActResult{Outcome: managed.ActForbidden, Reason: no.Reason}
		}
		return result, err
	}
}

// forbids returns what forbids an act that rests on what was judged, by the rules in effect
// now; nil if nothing does.
func (a *Activities) forbids(ctx context.Context, run spacelift.Run, act managed.Act, judged *managed.Judged, planned *reading) (*managed.Obstacle, error) {
	s, err := a.standing(ctx, run, time.Time{}, planned)
	if err == nil && s.Rules.Policy.Expressions.Any() && planned.again() {
		err = classify(ctx, planned.err)
	}
	if err != nil {
		return nil, err
	}
	s.Judged = judged
	return s.Forbids(act), nil
}

// actOnce checks and acts once.
func actOnce(ctx context.Context, api Spacelift, patient bool, check func() (managed.ActResult, time.Time, error),
	do func(ctx context.Context, api Spacelift, mark spacelift.Mark) error,
) (managed.ActResult, error) {
	found, read, err := check()
	if err != nil || found.Outcome != "" {
		return found, err
	}
	tried := found.Verb
	if err = do(fresh(ctx, read), api, spacelift.Mark{Verb: tried, StateVersion: found.Run.StateVersion}); err == nil {
		found.Outcome, found.ByUs = managed.ActDone, true
		return found, nil
	}
	if !refusal(err) {
		return managed.ActResult{}, classify(ctx, err)
	}
	// Most likely the run has changed in the meantime: then it shows.
	found, _, checkErr := check()
	if checkErr != nil || found.Outcome != "" {
		return found, checkErr
	}
	if patient && (found.Verb != tried || !is[*spacelift.IllegalStateError](err)) {
		return managed.ActResult{}, err
	}
	found.Outcome, found.Reason = managed.ActRefused, err.Error()
	return found, nil
}

// DiscardRun discards a plan.
func (a *Activities) DiscardRun(ctx context.Context, in DiscardRunInput) (managed.ActResult, error) {
	judge := plainly(in.judge)
	if in.Judged != nil {
		judge = a.checked(ctx, in.Run, in.StateVersion, managed.ToDiscard, in.Judged, in.judge)
	}
	return a.act(ctx, in.Run, in.StateVersion, judge, func(ctx context.Context, api Spacelift, mark spacelift.Mark) error {
		_, err := api.DiscardRun(ctx, in.Run, mark.Sign(in.Note))
		return err
	})
}

func (in DiscardRunInput) judge(run spacelift.Run) managed.ActResult {
	after, moved := next(in.StateVersion, run)
	switch {
	case moved && after.State == spacelift.RunStateDiscarded:
		return before(after, spacelift.VerbDiscard, "discarded the plan")
	case moved && confirms(after.State):
		found := before(after, spacelift.VerbConfirm, "confirmed the plan")
		found.Outcome, found.Reason = managed.ActMoot, found.Who()+" confirmed the plan in Spacelift"
		return found
	case run.State != spacelift.RunStateUnconfirmed || run.StateVersion != in.StateVersion:
		return moot("the run is in %s (%d), not in %s (%d)", run.State, run.StateVersion, spacelift.RunStateUnconfirmed, in.StateVersion)
	}
	return managed.ActResult{Verb: spacelift.VerbDiscard}
}

// ReviewRun passes a decision on to Spacelift's approval policies. They may need
// more reviews: the run shows whether they still ask.
//
// Repeating it changes nothing, since the latest review of each reviewer counts
// (https://docs.spacelift.io/concepts/policy/approval-policy).
func (a *Activities) ReviewRun(ctx context.Context, in ReviewRunInput) (managed.ActResult, error) {
	judge := plainly(in.judge)
	if in.Decision == spacelift.ReviewApprove {
		act := managed.ToReview
		if in.Releases {
			act = managed.ToRelease
		}
		judge = a.checked(ctx, in.Run, in.StateVersion, act, cmp.Or(in.Judged, new(managed.Judged)), in.judge)
	}
	return a.act(ctx, in.Run, in.StateVersion, judge, func(ctx context.Context, api Spacelift, mark spacelift.Mark) error {
		return api.ReviewRun(ctx, in.Run, in.Decision, mark.Sign(in.Note))
	})
}

func (in ReviewRunInput) judge(run spacelift.Run) managed.ActResult {
	verb := spacelift.VerbApprove
	if in.Decision == spacelift.ReviewReject {
		verb = spacelift.VerbReject
	}
	// A rejection fails the run immediately. Mostly the run does not show whose it was.
	if after, moved := next(in.StateVersion, run); moved && after.State == spacelift.RunStateFailed && in.Decision == spacelift.ReviewReject {
		found := before(after, verb, "rejected the run")
		return managed.ActResult{Outcome: managed.ActDone, Verb: verb, ByUs: found.ByUs, Actor: found.Actor}
	}
	if run.StateVersion != in.StateVersion {
		return moot("the run is in %s (%d) and waits for no review as of state version %d", run.State, run.StateVersion, in.StateVersion)
	}
	if !run.State.Reviewable() {
		return moot("a run in %s can't be reviewed", run.State)
	}
	// The approval in Spacelift may be old: a run can stay QUEUED behind another,
	// and a rejection would still fail it. PENDING_REVIEW means waiting for a review
	// and nothing else: a run that got its review has left it.
	if !run.NeedsApproval && run.State != spacelift.RunStatePendingReview {
		return moot("no approval policy in Spacelift asks for a review of it any more")
	}
	return managed.ActResult{Verb: verb}
}

// StopRun stops a run in the way its state allows. While a worker is at work it
// only asks: see spaceliftapi.Client.StopRun.
func (a *Activities) StopRun(ctx context.Context, in StopRunInput) (managed.ActResult, error) {
	return a.act(ctx, in.Run, 0, plainly(in.judge), func(ctx context.Context, api Spacelift, mark spacelift.Mark) error {
		end := map[string]func(context.Context, spacelift.RunRef, string) (spacelift.RunOutcome, error){
			spacelift.VerbCancel: api.CancelRun, spacelift.VerbStop: api.StopRun, spacelift.VerbDiscard: api.DiscardRun,
		}[mark.Verb]
		_, err := end(ctx, in.Run, mark.Sign(in.Note))
		return err
	})
}

func (in StopRunInput) judge(run spacelift.Run) managed.ActResult {
	switch {
	case run.State.Stoppable():
		return managed.ActResult{Verb: run.State.EndVerb()}
	case run.State.HandedOver():
		return managed.ActResult{Outcome: managed.ActRefused, Reason: fmt.Sprintf("a run in %s can't be stopped; it will be out of it in a moment, so try again then", run.State)}
	case run.State.Reviewable():
		return managed.ActResult{Outcome: managed.ActRefused, Reason: fmt.Sprintf("a run in %s can't be stopped; reject it", run.State)}
	case !run.State.Terminal():
		return managed.ActResult{Outcome: managed.ActRefused, Reason: fmt.Sprintf("a run in %s can't be stopped", run.State)}
	}
	if verb := verbOf[run.State]; verb != "" {
		if found := before(newest(run), verb, "ended the run"); found.ByUs {
			return found
		}
	}
	ended := moot("the run has ended: it is in %s", run.State)
	ended.Actor = newest(run).Username
	return ended
}

var verbOf = map[spacelift.RunState]string{
	spacelift.RunStateCanceled: spacelift.VerbCancel, spacelift.RunStateStopped: spacelift.VerbStop, spacelift.RunStateDiscarded: spacelift.VerbDiscard,
}

// before returns the result of an act that happened before this attempt: done if it
// was Gantry's, moot if it was another person's.
func before(t spacelift.Transition, verb, did string) managed.ActResult {
	found := managed.ActResult{Outcome: managed.ActDone, Verb: verb, Actor: t.Username}
	if mark, ours := spacelift.MarkOf(t); ours && mark.Verb == verb {
		found.ByUs = true
		return found
	}
	found.Outcome, found.Reason = managed.ActMoot, fmt.Sprintf("%s %s in Spacelift", found.Who(), did)
	return found
}

// newest returns the last entry of a run's history.
func newest(run spacelift.Run) spacelift.Transition {
	if len(run.History) == 0 {
		return spacelift.Transition{}
	}
	return run.History[len(run.History)-1]
}

func moot(format string, args ...any) managed.ActResult {
	return managed.ActResult{Outcome: managed.ActMoot, Reason: fmt.Sprintf(format, args...)}
}
