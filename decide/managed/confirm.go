package managed

import (
	"time"

	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// Block is a brake of Spacelift's that keeps Gantry from confirming, triggering
// or retrying by itself. Discarding, rejecting and stopping are brakes
// themselves, and no block keeps Gantry from them.
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
