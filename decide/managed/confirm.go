package managed

import (
	"time"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// Block is a brake of Spacelift's that keeps Gantry from confirming, triggering
// or retrying. Discarding, rejecting and stopping are brakes themselves, and no
// block keeps Gantry from them.
type Block = spacelift.Block

// UnseenPlan is a plan that Gantry confirmed without having judged it: somebody
// asked for another plan in the moment between the check and the confirmation,
// and Spacelift takes a confirmation for the plan that is there.
type UnseenPlan struct {
	Judged    int              `json:"judged"`    // state version of the plan that the confirmation was decided for
	Confirmed int              `json:"confirmed"` // state version of the plan that it took effect on
	At        time.Time        `json:"at,omitzero"`
	Delta     *spacelift.Delta `json:"delta,omitempty"` // of the plan that it took effect on, where known
}

// Judged has what a decision for a plan or a run rests on.
type Judged struct {
	// Policy is the policy that it was judged by. It is resolved anew from the labels
	// that the API shows, and windows and freezes are checked, right before the act.
	Policy policy.Policy `json:"policy"`

	// Approved says that enough people approved. Otherwise Gantry confirms without
	// people, and the policy must allow that for the run as it was just read: what
	// notifications said of it may be wrong.
	Approved bool `json:"approved,omitempty"`

	// Verdicts are the results of the policy's expressions, which are evaluated anew;
	// nil without a plan or an expression.
	Verdicts *policy.Verdicts `json:"verdicts,omitempty"`
}

// Judged returns what a decision in this situation rests on.
func (s *Situation) Judged() (j Judged) {
	if s.rules != nil {
		j.Policy = s.rules.Policy
	}
	j.Verdicts, j.Approved = s.verdicts(), !s.autoConfirms()
	return j
}

// ConfirmRunInput asks to confirm a run's plan, if nothing has changed since it was judged.
type ConfirmRunInput struct {
	Run    spacelift.RunRef `json:"run"`
	Expect Expect           `json:"expect"`
	Judged

	// PlanSince is the time from which the plan waited for a decision, for Rules.
	PlanSince time.Time `json:"planSince,omitzero"`

	// Note is shown with the confirmation in Spacelift. Gantry's mark follows it:
	// by that an attempt recognizes what an earlier one did.
	Note string `json:"note"`
}

// Expect describes the plan that may be confirmed.
type Expect struct {
	Type         spacelift.RunType  `json:"type"`
	State        spacelift.RunState `json:"state"`
	StateVersion int                `json:"stateVersion"`
	CommitHash   string             `json:"commitHash,omitempty"` // empty: was not known and is not compared
	Delta        *spacelift.Delta   `json:"delta,omitempty"`      // nil: was not known and is not compared
}

// ConfirmOutcome is the outcome of ConfirmRun.
type ConfirmOutcome string

// The outcomes.
const (
	Confirmed        ConfirmOutcome = "confirmed" // by this attempt
	AlreadyConfirmed ConfirmOutcome = "already"   // by somebody else, or an earlier attempt
	ConfirmedUnseen  ConfirmOutcome = "unseen"    // by us, and on another plan than the one that was judged: see Unseen
	AnotherPlan      ConfirmOutcome = "changed"   // nothing was done: it is not what was judged
	ConfirmRefused   ConfirmOutcome = "refused"   // nothing was done: Spacelift would not
	StackBlocked     ConfirmOutcome = "blocked"   // nothing was done: a brake in Spacelift, such as a lock, forbids it now, see Block
	RulesChanged     ConfirmOutcome = "rules"     // nothing was done: the policy is another now, see Rules
	GateClosed       ConfirmOutcome = "gate"      // nothing was done: a window or freeze forbids it now, see Rules.Gate
	ParentsMoved     ConfirmOutcome = "parents"   // nothing was done: a stack that goes first isn't through any more, see Parents
)

// ConfirmResult is the result of ConfirmRun, with what the API showed.
type ConfirmResult struct {
	Outcome ConfirmOutcome `json:"outcome"`
	Reason  string         `json:"reason,omitempty"` // a sentence; empty when confirmed
	Actor   string         `json:"actor,omitempty"`  // who confirmed it already, where known
	ByUs    bool           `json:"byUs,omitempty"`   // Gantry confirmed it: by this attempt, or by an earlier one as Gantry's mark in the history proves
	Unseen  *UnseenPlan    `json:"unseen,omitempty"` // with ConfirmedUnseen
	// Reviewed says that Spacelift waited for Gantry's review, and has it.
	Reviewed bool `json:"reviewed,omitempty"`

	Rules *Rules `json:"rules,omitempty"` // as they are now, with RulesChanged and GateClosed
	Block *Block `json:"block,omitempty"` // with StackBlocked
	// Parents is the progress of the stacks that go first, with ParentsMoved.
	Parents *ParentsProgress `json:"parents,omitempty"`
	Run     spacelift.Run    `json:"run"` // as last read, so before a confirmation of this attempt

	// Followers are the stacks that follow the run's, once it is confirmed; nil
	// when that is not known.
	Followers *Followers `json:"followers,omitempty"`
}

// Confirmation returns the request to confirm the plan.
func Confirmation(s *Situation, n Next) ConfirmRunInput {
	return ConfirmRunInput{
		Run: s.Run,
		Expect: Expect{
			Type: s.Type, State: s.State, StateVersion: s.StateVersion, CommitHash: s.Commit.Hash, Delta: s.Delta,
		},
		Judged: s.Judged(), PlanSince: s.Ask.Since, Note: n.Note,
	}
}

// Confirmed records the result of ConfirmRun.
func (r *Record) Confirmed(now time.Time, in ConfirmRunInput, result ConfirmResult) {
	plan := in.Expect.StateVersion
	request := r.request(StateKey{plan, in.Expect.State}, DoConfirm)
	r.Learn(now, result.Run)
	r.takeFollowers(now, result.Followers)
	switch result.Outcome {
	case Confirmed:
		request.accept(now)
		r.settle(now, plan, PlanConfirmed, "")
		if result.Reviewed {
			r.Note(now, KindAction, "Gantry approved the plan in Spacelift, whose policy %s waited for that", spacelift.EnforcingApproval)
		}
		r.Note(now, KindAction, "Gantry confirmed the plan (%s)", describePlan(r.Facts()))
		return
	case AlreadyConfirmed:
		r.settle(now, plan, confirmedBy(result), result.Reason)
		r.Note(now, KindAction, "Gantry did not confirm the plan again: %s", result.Reason)
		if result.ByUs {
			request.accept(now)
		} else {
			request.drop()
		}
		return
	case ConfirmedUnseen:
		request.accept(now) // nothing is left to confirm
		r.confirmedUnseen(now, result.Unseen.Judged, result.Unseen.Confirmed)
		return
	case AnotherPlan:
		r.settle(now, plan, PlanChanged, result.Reason)
		r.Note(now, KindAction, "Gantry did not confirm: %s", result.Reason)
		if behind := result.Run.StateVersion < plan && !result.Run.State.Terminal(); behind {
			r.Trust.Disputed = true // read the run before the plan is judged anew
		}
	case RulesChanged, GateClosed:
		r.settle(now, plan, PlanPostponed, result.Reason)
		r.Note(now, KindAction, "Gantry did not confirm: %s", result.Reason)
		r.reconsider(now, plan, in, result)
	case ParentsMoved:
		r.settle(now, plan, PlanPostponed, result.Reason)
		r.Note(now, KindAction, "Gantry did not confirm: %s", result.Reason)
		r.TakeParents(now, *result.Parents)
	case StackBlocked:
		r.settle(now, plan, PlanPostponed, result.Reason)
		r.clearBackoff(DoConfirm)
		if r.Facts().Block == nil { // the run continued meanwhile
			r.confirmRefused(now, result.Reason)
		}
	default:
		r.settle(now, plan, PlanRefused, result.Reason)
		r.confirmRefused(now, "Spacelift refused to confirm: "+result.Reason)
	}
	request.drop()
	request.Note = "" // Spacelift answered that no attempt worked
}

// confirmRefused lets Gantry ask again later: what keeps Spacelift from confirming, a
// policy, the rights of a key, may pass. What shows in the run, such as a review
// that is missing, is waited for as that and not for a time.
func (r *Record) confirmRefused(at time.Time, reason string) {
	if now, ok := r.current(); ok && r.needsApproval(keyOfState(now)) {
		r.Note(at, KindAction, "%s", reason)
		r.clearBackoff(DoConfirm)
		return
	}
	if r.recordRefusal(at, DoConfirm, refusedFirst, reason) {
		r.Note(at, KindAction, "%s", reason)
	}
}

// reconsider takes the rules that the activity found, so that the plan is judged
// anew by them. Rules that change with every reading cause a back-off.
func (r *Record) reconsider(at time.Time, plan int, in ConfirmRunInput, result ConfirmResult) {
	now, _ := r.current()
	here := now.StateVersion == plan && now.State == in.Expect.State
	if result.Rules == nil || !here {
		r.RulesStale = true
		return
	}
	rules := *result.Rules
	rules.Labels = policy.TrimLabels(result.Run.StackLabels)
	r.TakeRules(at, rules, true)
	if result.Outcome == RulesChanged {
		first := time.Duration(0)
		if r.tries(DoConfirm) > 0 {
			first = behindFirst
		}
		r.recordFailure(at, DoConfirm, first, behindLongest, "the rules for this plan keep changing: "+result.Reason)
	}
}

func confirmedBy(result ConfirmResult) PlanResult {
	if result.ByUs {
		return PlanConfirmed
	}
	return PlanAlready
}

// How often a run that a lock or another brake of its stack holds is read, if
// no notification says that it is free. The wait grows with the time that the run has
// been in its state.
const (
	BlockFirst = time.Minute
	BlockMost  = 15 * time.Minute
)

// block returns the brake that keeps Gantry from confirming, as far as the API
// showed for the state; nil if none is known.
func (r *Record) block(key StateKey) *spacelift.Block {
	e, _ := r.apiShowed(key)
	return e.Block
}

// blocked reports whether a brake of the stack keeps Gantry from confirming, and
// what to do then. People may decide meanwhile.
func blocked(s *Situation) (n Next, holds bool) {
	if s.Block == nil {
		return Next{}, false
	}
	n = hold(WaitStack, whoUnblocks(s.Block), "Gantry confirms the plan", "%s", s.Block.Reason)
	n.Until = s.blockRead.Add(decide.Clamp(s.blockRead.Sub(s.Entered.At), BlockFirst, BlockMost))
	if s.afterAnEnd(s.blockRead) {
		n.Until = s.blockRead.Add(soon)
	}
	if s.Now.Before(n.Until) && !s.otherEnded.After(s.blockRead) {
		return n, true
	}
	return s.readFirst(n), true
}

// whoUnblocks names the people who can take a block away.
func whoUnblocks(b *spacelift.Block) string {
	switch b.What {
	case spacelift.BlockLock:
		return b.By + ", or an administrator of the stack in Spacelift"
	case spacelift.BlockDisabled:
		return "anyone who may enable the stack in Spacelift"
	case spacelift.BlockRun:
		return "anyone who may confirm or discard run " + b.By + " in Spacelift"
	}
	return "an administrator of the stack in Spacelift"
}

// howToUnblock says how to take a block away.
func howToUnblock(b *spacelift.Block) string {
	switch b.What {
	case spacelift.BlockLock:
		return "unlock the stack in Spacelift"
	case spacelift.BlockDisabled:
		return "enable the stack in Spacelift"
	case spacelift.BlockRun:
		return "wait until run " + b.By + " has ended, or end it"
	}
	return "see why the stack is being deleted"
}

func blockReason(b *spacelift.Block) string {
	if b == nil {
		return ""
	}
	return b.Reason
}
