package managed

import (
	"github.com/gantryhq/gantry/spacelift"
)

// ActOutcome says what came of an activity that acts on a run.
type ActOutcome string

// The outcomes.
const (
	ActDone    ActOutcome = "done"    // by this attempt or an earlier one
	ActMoot    ActOutcome = "moot"    // nothing was done: the run is not where it was judged to be
	ActRefused ActOutcome = "refused" // nothing was done: Spacelift would not
	ActBlocked ActOutcome = "blocked" // nothing was done: a brake in Spacelift, such as a lock, forbids it now; of RetryRun alone
)

// ActResult says what came of it, and what the API showed before.
type ActResult struct {
	Outcome ActOutcome    `json:"outcome"`
	Verb    string        `json:"verb,omitempty"`   // Spacelift's word for what was done, such as "discard"
	ByUs    bool          `json:"byUs,omitempty"`   // Gantry did it: by this attempt, or by an earlier one as Gantry's mark in the history proves
	Actor   string        `json:"actor,omitempty"`  // who did it before this attempt, where known
	Reason  string        `json:"reason,omitempty"` // a sentence, unless done
	Run     spacelift.Run `json:"run"`
}

// Who names who did it before this attempt.
func (r ActResult) Who() string {
	switch {
	case r.ByUs:
		return "Gantry"
	case r.Actor == "":
		return "somebody"
	}
	return r.Actor
}
