package managed

import (
	"fmt"
	"time"

	"github.com/gantryhq/gantry/spacelift"
) // ActOutcome says what came of an activity that acts on a run.
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

// Acted records what came of discarding, reviewing or stopping.
func (r *Record) Acted(at time.Time, key StateKey, n Next, result ActResult) {
	r.Learn(at, result.Run)
	switch result.Outcome {
	case ActDone:
		r.ClearBackoff(n.Do)
		r.Note(at, KindAction, "%s: %s", didWhat(n, result.Verb), n.Reason)
		if n.Do == DoStop {
			r.Stopping.accept(at, shownKey(result.Run, key), result.Verb)
		} else {
			r.Request(key, n.Do).Accept(at)
		}
		if n.Do == DoDiscard {
			r.Settle(at, key.StateVersion, PlanDiscarded, n.Reason)
		}
	case ActMoot:
		if r.refuses(at, n.Do, BehindFirst, "Gantry wants to "+string(n.Do)+" the run, and it is not where it was: "+result.Reason) {
			r.Note(at, KindNote, "Gantry did not %s the run: %s", n.Do, result.Reason)
		}
		r.undone(key, n, result.Reason)
	default:
		if r.refuses(at, n.Do, RefusedFirst, "Spacelift refuses to "+string(n.Do)+" the run: "+result.Reason) {
			r.Note(at, KindAction, "Spacelift refused to %s the run: %s", n.Do, result.Reason)
		}
		r.undone(key, n, result.Reason)
	}
}

// shownKey is the state that the API showed, or the one there is instead.
func shownKey(run spacelift.Run, otherwise StateKey) StateKey {
	if run.State == "" {
		return otherwise
	}
	return StateKey{run.StateVersion, run.State}
}

// CalledOff records that Gantry no longer asks for something.
func (r *Record) CalledOff(at time.Time, key StateKey, n Next) {
	r.Request(key, n.Do).drop()
	what := "the run"
	if n.Do == DoConfirm {
		what = fmt.Sprintf("the plan of state version %d", key.StateVersion)
	}
	r.Note(at, KindNote, "Gantry no longer asks Spacelift to %s %s", n.Do, what)
}

// CouldNot records that Spacelift gave no answer to what Gantry wanted.
func (r *Record) CouldNot(at time.Time, key StateKey, n Next, why string) {
	if r.refuses(at, n.Do, RefusedFirst, "Gantry could not "+string(n.Do)+" the run: "+why) {
		r.Note(at, KindAction, "Gantry could not %s the run: %s", n.Do, why)
	}
	r.undone(key, n, why)
}

// undone takes that nothing came of a request.
func (r *Record) undone(key StateKey, n Next, why string) {
	if n.Do == DoStop {
		r.unstopped(why)
		return
	}
	r.Request(key, n.Do).drop()
}
