package managed

import (
	"strconv"
	"time"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
) // DecideUpdate takes a Decision and answers with the RunStatus once Gantry has
// done what follows from it, as far as that is possible at once.
const DecideUpdate = "decide"

// Decision is what a person decides about a run that asks for it.
type Decision struct {
	Verdict Verdict       `json:"verdict"`
	By      decide.Person `json:"by"`
	Note    string        `json:"note,omitempty"`

	// StateVersion is that of the plan the person saw; nil: the one there is now.
	StateVersion *int `json:"stateVersion,omitempty"`

	// Key is the caller's idempotency key, if any: another decision under the
	// same key is refused.
	Key string `json:"key,omitempty"`
}

// Verdict is what a person says.
type Verdict string

// The verdicts.
const (
	Approve Verdict = "approve"
	Reject  Verdict = "reject"
	Revoke  Verdict = "revoke" // of one's own approval, until the confirmation is sent
)

// Decided is a decision that was taken and counted.
type Decided struct {
	Verdict      Verdict            `json:"verdict"`
	By           string             `json:"by"`
	Note         string             `json:"note,omitempty"`
	At           time.Time          `json:"at"`
	State        spacelift.RunState `json:"state"`        // what it was about
	StateVersion int                `json:"stateVersion"` // of that state, so of the plan
	Revoked      bool               `json:"revoked,omitempty"`

	// Discounted is why it does not count though it was not revoked, as a
	// sentence; empty while it counts.
	Discounted string `json:"discounted,omitempty"`
}

// StopUpdate takes a StopRequest and answers with the RunStatus.
const StopUpdate = "stop"

// StopRequest is a person's wish to end a run.
type StopRequest struct {
	By   decide.Person `json:"by"`
	Note string        `json:"note,omitempty"`
	Key  string        `json:"key,omitempty"` // see Decision.Key
}

// The types of the errors that refuse an update. Each message is a sentence for
// the person who asked.
const (
	ErrTypeNotAsked        = "NotAsked"        // the run does not ask for a decision now, or not for one of Gantry's
	ErrTypeNotEntitled     = "NotEntitled"     // the person is not in the group that approves
	ErrTypeSelfApproval    = "SelfApproval"    // the person triggered the run or wrote its commit, or nobody can tell
	ErrTypeAlreadyDecided  = "AlreadyDecided"  // the person has said so already
	ErrTypeStalePlan       = "StalePlan"       // the person saw another plan
	ErrTypeNothingToRevoke = "NothingToRevoke" // the person has not approved this plan
	ErrTypeTooLate         = "TooLate"         // the plan is being confirmed or discarded, or was
	ErrTypeNotStoppable    = "NotStoppable"    // a run in this state can't be stopped
	ErrTypeUnknownVerdict  = "UnknownVerdict"  // no such verdict
)

// ExplainQuery answers with an Explanation.
const ExplainQuery = "explain"

// Explanation says why a run is where it is: computed by the same pure
// functions that decide.
type Explanation struct {
	Run     spacelift.RunRef   `json:"run"`
	State   spacelift.RunState `json:"state,omitempty"`
	Phase   Phase              `json:"phase"`
	Summary string             `json:"summary"` // one sentence: what it waits for, or how it ended

	WaitingFor *WaitingFor         `json:"waitingFor,omitempty"` // nil once the run has ended
	Unblock    []Unblock           `json:"unblock,omitempty"`    // who can do what to move it on
	Next       []NextStep          `json:"next,omitempty"`       // what happens if nobody does anything, soonest first
	Approvals  *Approvals          `json:"approvals,omitempty"`  // where people are asked
	Chains     []ChainRef          `json:"chains,omitempty"`     // see RunStatus
	Followers  []spacelift.StackID `json:"followers,omitempty"`  // see RunStatus
	Rules      []Rule              `json:"rules,omitempty"`      // every rule that matched, in the order it was looked at
}

// Unblock is somebody who can move a run on.
type Unblock struct {
	Who string `json:"who"`
	How string `json:"how"`
}

// NextStep is what will happen by itself.
type NextStep struct {
	At   time.Time `json:"at,omitzero"` // zero: not at a known time
	What string    `json:"what"`
}

// Approvals is how far people have decided about the plan there is now.
type Approvals struct {
	Needed   int       `json:"needed"`
	Given    int       `json:"given"`
	Group    string    `json:"group,omitempty"`    // empty: anyone whose token may approve
	Excluded []string  `json:"excluded,omitempty"` // who may not, being the author or having triggered it
	Decided  []Decided `json:"decided,omitempty"`
}

// Rule is one rule that was looked at and what it says of this run, and Effect
// is what it says.
type (
	Rule   = policy.Rule
	Effect = policy.Effect
)

// The effects.
const (
	EffectAllows  = policy.EffectAllows
	EffectAsks    = policy.EffectAsks
	EffectForbids = policy.EffectForbids
	EffectApplies = policy.EffectApplies
)

// Content identifies what an idempotency key was used for. The caller counts by
// name alone: groups and aliases belong to the configuration.
func (d Decision) Content() string {
	seen := "the current plan"
	if d.StateVersion != nil {
		seen = strconv.Itoa(*d.StateVersion)
	}
	return decide.Digest("decide", string(d.Verdict), d.By.Name, d.Note, seen)
}

func (r StopRequest) Content() string { return decide.Digest("stop run", r.By.Name, r.Note) }

// ErrTypeImpossibleRun is the type of the error for a run that cannot exist.
const ErrTypeImpossibleRun = "ImpossibleRun"
