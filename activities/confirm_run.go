package activities

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// ConfirmRunInput asks to confirm a run's plan, if it still is what was judged.
type ConfirmRunInput struct {
	Run    spacelift.RunRef `json:"run"`
	Expect Expect           `json:"expect"`

	// Policy is what the plan was judged by. It is resolved anew from the labels
	// that the API shows, and windows and freezes are checked, right before
	// confirming.
	Policy policy.Policy `json:"policy"`

	// Approved says that enough people approved this plan. Otherwise Gantry
	// confirms it without people, and the policy must allow that for the run as it
	// was just read: what notifications said of it may be wrong.
	Approved bool `json:"approved,omitempty"`

	// PlanSince is when the plan began to ask for a decision, for Rules.
	PlanSince time.Time `json:"planSince,omitzero"`

	// Note is shown with the confirmation in Spacelift. Gantry's mark follows it:
	// by that an attempt recognizes what an earlier one did.
	Note string `json:"note"`
}

// Expect is what a plan must be to be confirmed.
type Expect struct {
	Type         spacelift.RunType  `json:"type"`
	State        spacelift.RunState `json:"state"`
	StateVersion int                `json:"stateVersion"`
	CommitHash   string             `json:"commitHash,omitempty"` // empty: was not known and is not compared
	Delta        *spacelift.Delta   `json:"delta,omitempty"`      // nil: was not known and is not compared
}

// ConfirmOutcome says what came of ConfirmRun.
type ConfirmOutcome string

// The outcomes.
const (
	Confirmed        ConfirmOutcome = "confirmed" // by this attempt
	AlreadyConfirmed ConfirmOutcome = "already"   // by somebody else, or an earlier attempt
	ConfirmedUnseen  ConfirmOutcome = "unseen"    // by us, and on another plan than the one that was judged: see Unseen
	PlanChanged      ConfirmOutcome = "changed"   // nothing was done: it is not what was judged
	ConfirmRefused   ConfirmOutcome = "refused"   // nothing was done: Spacelift would not
	StackBlocked     ConfirmOutcome = "blocked"   // nothing was done: a brake in Spacelift, such as a lock, forbids it now, see Block
	RulesChanged     ConfirmOutcome = "rules"     // nothing was done: the policy is another now, see Rules
	GateClosed       ConfirmOutcome = "gate"      // nothing was done: a window or freeze forbids it now, see Rules.Gate
)

// ConfirmResult says what came of it, and what the API showed.
type ConfirmResult struct {
	Outcome ConfirmOutcome `json:"outcome"`
	Reason  string         `json:"reason,omitempty"` // a sentence; empty when confirmed
	Actor   string         `json:"actor,omitempty"`  // who confirmed it already, where known
	ByUs    bool           `json:"byUs,omitempty"`   // Gantry confirmed it: by this attempt, or by an earlier one as Gantry's mark in the history proves
	Unseen  *UnseenPlan    `json:"unseen,omitempty"` // with ConfirmedUnseen
	Rules   *Rules         `json:"rules,omitempty"`  // as they are now, with RulesChanged and GateClosed
	Block   *Block         `json:"block,omitempty"`  // with StackBlocked
	Run     spacelift.Run  `json:"run"`              // as last read, so before a confirmation of this attempt

	// Followers are the stacks that follow the run's, once it is confirmed; nil
	// when that is not known.
	Followers *Followers `json:"followers,omitempty"`
}

// patience is how many attempts wait for something that is likely to pass: an
// API that is behind its own notifications, or a refusal without a known cause.
// With the retry policy of the workflows that is some minutes.
const patience = 10

// ConfirmRun looks at the run, and confirms its plan if it is what was judged:
// state, version, commit, delta, and the policy that says who confirms, if no
// lock or other brake of the stack, no window and no freeze forbids it now. It
// does both, because nothing may come between them: what it read is at most
// freshFor old when the confirmation is sent.
//
// It is safe to repeat: each attempt looks first, so that an answer that was
// lost is found and nothing is sent blindly. While the API shows an older state
// than notifications told, it fails in order to be tried again.
func (a *Activities) ConfirmRun(ctx context.Context, in ConfirmRunInput) (ConfirmResult, error) {
	result, err := checkedAnew(func() (ConfirmResult, error) { return a.confirmRun(ctx, in) })
	if err == nil && result.Outcome == ConfirmedUnseen && a.OnConfirmedUnseen != nil {
		a.OnConfirmedUnseen()
	}
	if err == nil && (result.Outcome == Confirmed || result.Outcome == AlreadyConfirmed || result.Outcome == ConfirmedUnseen) {
		result.Followers = a.followersOf(ctx, in.Run.Account, in.Run.Stack)
	}
	return result, err
}

func (a *Activities) confirmRun(ctx context.Context, in ConfirmRunInput) (ConfirmResult, error) {
	api, err := a.account(in.Run.Account)
	if err != nil {
		return ConfirmResult{}, err
	}
	patient := activity.GetInfo(ctx).Attempt < patience
	found, read, err := a.look(ctx, api, in, patient)
	if err != nil || found.Outcome != "" {
		return found, err
	}

	// The run names the execution that confirmed it, for policies and people.
	marked := spacelift.WithRunMetadata(ctx, activity.GetInfo(ctx).WorkflowExecution.ID)
	mark := spacelift.Mark{Verb: spacelift.VerbConfirm, StateVersion: in.Expect.StateVersion}
	answer, err := api.ConfirmRun(fresh(marked, read), in.Run, mark.Sign(in.Note))
	if err == nil {
		if u := unseen(answer.History); u != nil && u.Confirmed >= in.Expect.StateVersion {
			struck := confirmedUnseen(*u, nil)
			struck.Run = found.Run
			return struck, nil
		}
		found.Outcome, found.ByUs = Confirmed, true
		return found, nil
	}
	if !refusal(err) {
		return ConfirmResult{}, classify(ctx, err)
	}
	// Most likely somebody was faster: then the run shows it.
	found, _, lookErr := a.look(ctx, api, in, patient)
	if lookErr != nil || found.Outcome != "" {
		return found, lookErr
	}
	if _, illegal := errors.AsType[*spacelift.IllegalStateError](err); !illegal && patient {
		return ConfirmResult{}, err
	}
	found.Outcome, found.Reason = ConfirmRefused, err.Error()
	return found, nil
}

// refusal reports whether Spacelift understood and said no.
func refusal(err error) bool {
	for _, other := range []error{
		spacelift.ErrAmbiguous, spacelift.ErrNotFound, spacelift.ErrUnauthorized, spacelift.ErrSchemaMismatch,
		spacelift.ErrTokenRefused, spacelift.ErrStale,
	} {
		if errors.Is(err, other) {
			return false
		}
	}
	if _, limited := errors.AsType[*spacelift.RateLimitedError](err); limited {
		return false
	}
	_, said := errors.AsType[*spacelift.GraphQLError](err)
	return said
}

// look reads the run, and checks it and the rules. An empty outcome means: go
// ahead. read is when the answer came.
func (a *Activities) look(ctx context.Context, api Spacelift, in ConfirmRunInput, patient bool) (result ConfirmResult, read time.Time, err error) {
	run, err := api.Run(ctx, in.Run)
	if err != nil {
		return ConfirmResult{}, read, classify(ctx, err)
	}
	read = time.Now()
	if behind(in.Expect, run) && patient {
		return ConfirmResult{}, read, fmt.Errorf("the API shows run %s in %s (%d), older than the %s (%d) we heard of",
			in.Run, run.State, run.StateVersion, in.Expect.State, in.Expect.StateVersion)
	}
	a.dropOwnLock(ctx, in.Run.Account, &run.Brakes)
	result = check(in, run)
	if result.Outcome == "" || result.Outcome == ConfirmRefused {
		judged, err := a.checkRules(ctx, in, run)
		if err != nil {
			return ConfirmResult{}, read, err
		}
		if judged.Outcome != "" {
			result = judged
		}
	}
	result.Run = run
	return result, read, nil
}

// checkRules compares the policy that holds now with the one that the plan was
// judged by, and checks the stack's brakes, windows and freezes. An empty outcome means that they
// allow it.
func (a *Activities) checkRules(ctx context.Context, in ConfirmRunInput, run spacelift.Run) (ConfirmResult, error) {
	rules, err := a.timed(ctx, in.Run, in.PlanSince, a.rules(in.Run.Stack, run.StackLabels))
	if err != nil {
		return ConfirmResult{}, err
	}
	result, block := ConfirmResult{Rules: &rules}, run.Brakes.ConfirmBlock(in.Run.Run)
	switch {
	case !spacelift.Managed(rules.Labels):
		result.Outcome = RulesChanged
		result.Reason = fmt.Sprintf("the stack's labels are %s: without %s Gantry only follows it", list(rules.Labels), spacelift.LabelManaged)
	case !in.Policy.Equal(rules.Policy):
		result.Outcome = RulesChanged
		result.Reason = "the policy is not the one that the plan was judged by; the stack's labels are " + list(rules.Labels)
	case len(rules.Policy.Problems) > 0:
		p := rules.Policy.Problems[0]
		result.Outcome = ConfirmRefused
		result.Reason = fmt.Sprintf("%s can't be followed: %s", p.Label, p.Problem)
	case !in.Approved && whyPeople(rules.Policy, run) != "":
		return changed("Gantry may not confirm this run without people: %s", whyPeople(rules.Policy, run)), nil
	case block != nil:
		return ConfirmResult{Outcome: StackBlocked, Reason: block.Reason, Block: block}, nil
	case !rules.Gate.Open:
		result.Outcome, result.Reason = GateClosed, rules.Gate.Reason
	default:
		return ConfirmResult{}, nil
	}
	return result, nil
}

// whyPeople says why the policy leaves a run to people, as the run was just
// read; empty if it does not.
func whyPeople(p policy.Policy, run spacelift.Run) string {
	alone, rules := p.Alone(policy.PlanFacts{Type: run.Type, Drift: run.DriftDetection, Delta: run.Delta})
	if alone {
		return ""
	}
	for _, r := range rules {
		if r.Effect != policy.EffectAllows {
			return fmt.Sprintf("%s (%s)", r.Detail, r.Origin)
		}
	}
	return "the policy leaves it to people"
}
