package managed

import (
	"fmt"
	"slices"
	"time"

	"github.com/gantryhq/gantry/spacelift"
)

// request is a request of Gantry's to Spacelift about one state of a run. An
// answer is no proof: Spacelift has accepted confirmations, reviews and stops
// that changed nothing. So a request ends when the run leaves the state, and
// one without an effect is repeated once and then given to people.
type request struct {
	State  requestState             `json:"state,omitempty"`
	Do     Action                   `json:"do,omitempty"`     // what is asked; see didWhat for the words
	Review spacelift.ReviewDecision `json:"review,omitempty"` // with doReview
	At     time.Time                `json:"at,omitzero"`      // when Spacelift accepted it last
	Tries  int                      `json:"tries,omitempty"`  // how often Spacelift accepted it

	// Note goes with a confirmation. It stays the same for as long as an earlier
	// attempt may have worked: by it that attempt is recognized.
	Note string `json:"note,omitempty"`
}

// requestState is the progress of a request.
type requestState string

// The states of a request.
const (
	requestIdle        requestState = ""            // Spacelift is not being asked
	requestSending     requestState = "sending"     // the answer is not there yet
	requestAccepted    requestState = "accepted"    // Spacelift said yes; the effect should show
	requestIneffective requestState = "ineffective" // Spacelift said yes twice and the run stays where it is
)

var requestStates = []requestState{requestIdle, requestSending, requestAccepted, requestIneffective}

// How long the effect of an accepted request may take. A review shows when the
// run is read; everything else moves the run.
const (
	effectWithin = 10 * time.Minute
	reviewWithin = time.Minute
)

// mostRequests bounds how often Spacelift is asked for what has no effect.
const mostRequests = 2

// send begins a request. One that Spacelift accepted is replaced by another, a
// rejection after an approval for instance, and never by the same. It reports
// whether the request may be sent.
func (q *request) send(do Action, review spacelift.ReviewDecision, note string) bool {
	same := q.Do == do && q.Review == review
	if q.State == requestSending || q.State != requestIdle && same {
		return false
	}
	if !same {
		q.Tries = 0
	}
	q.State, q.Do, q.Review, q.Note = requestSending, do, review, note
	return true
}

// accept records that Spacelift said yes.
func (q *request) accept(at time.Time) bool {
	if q.State != requestSending {
		return false
	}
	q.State, q.At = requestAccepted, at
	q.Tries++
	return true
}

// drop records that a request ended without effect: Spacelift refused, gave no answer,
// or Gantry no longer asks.
func (q *request) drop() bool {
	if q.State != requestSending {
		return false
	}
	q.State = requestIdle
	return true
}

// expire takes that the run shows no effect though the time for it is over. The
// first time, Gantry asks again.
func (q *request) expire() bool {
	switch {
	case q.State != requestAccepted:
		return false
	case q.Tries < mostRequests:
		q.State = requestIdle
	default:
		q.State = requestIneffective
	}
	return true
}

// is reports whether a request is one of these kinds and in this state.
func (q request) is(state requestState, kinds ...Action) bool {
	return q.State == state && (len(kinds) == 0 || slices.Contains(kinds, q.Do))
}

// due returns the time by which the effect of an accepted request must show; zero if none is
// accepted.
func (q request) due() time.Time {
	switch {
	case q.State != requestAccepted:
		return time.Time{}
	case q.Do == DoReview:
		return q.At.Add(reviewWithin)
	}
	return q.At.Add(effectWithin)
}

// overdue reports whether an accepted request should have shown an effect by now.
func (q request) overdue(now time.Time) bool {
	return q.State == requestAccepted && !now.Before(q.due())
}

// Send begins to ask Spacelift for something about a state, and reports whether
// that may be.
func (r *Record) Send(key StateKey, n Next) bool {
	if n.Do == DoStop {
		return r.Stopping != nil && r.Stopping.ask(key)
	}
	ask := r.pending(key)
	switch {
	case ask == nil:
		return false
	case n.Do == DoReview:
		return ask.Review.send(n.Do, n.Review, "")
	case n.Do == DoConfirm:
		return ask.Act.send(n.Do, "", n.Note)
	}
	return ask.Act.send(n.Do, "", "")
}

// request returns Gantry's request about a state with this action. It is a blank one
// if nothing is kept of the state any more.
func (r *Record) request(key StateKey, do Action) *request {
	ask := r.pending(key)
	switch {
	case do == DoStop && r.Stopping != nil:
		return &r.Stopping.Request
	case ask == nil:
		return new(request)
	case do == DoReview:
		return &ask.Review
	}
	return &ask.Act
}

// Verify takes a reading of the run, and judges by it what Spacelift accepted. If
// the run stays where it was for too long, that had no effect.
func (r *Record) Verify(at time.Time, run spacelift.Run) {
	key := r.Situation(at).Key()
	r.clearBackoff(DoVerify)
	r.Compare(at, run)
	r.unmet(at, key)
}

func (r *Record) unmet(at time.Time, key StateKey) {
	s := r.Situation(at)
	if s.Key() != key {
		return
	}
	var expired *request
	for _, q := range r.requests(key) {
		reviewed := q.Do == DoReview && !s.needsApproval && key.State != spacelift.RunStatePendingReview
		if q.overdue(at) && !reviewed && q.expire() {
			expired = q
		}
	}
	if expired == nil {
		return
	}
	what := didWhat(Next{Do: expired.Do, Review: expired.Review}, s.stopVerb())
	if expired.State == requestIneffective {
		r.Note(at, KindNote, "%s again, and the run is still %s", what, key)
	} else {
		r.Note(at, KindNote, "%s, and the run is still %s after %s: Gantry asks again", what, key, span(expired.At, at))
	}
	if expired.Do == DoConfirm {
		r.settle(at, key.StateVersion, PlanIneffective, fmt.Sprintf("Spacelift accepted the confirmation, and the run is still %s", key))
	}
}

// requests are those about a state.
func (r *Record) requests(key StateKey) (all []*request) {
	if ask := r.pending(key); ask != nil {
		all = append(all, &ask.Review, &ask.Act)
	}
	if r.Stopping != nil && r.Stopping.Key == key {
		all = append(all, &r.Stopping.Request)
	}
	return all
}

func (s *Situation) stopVerb() string {
	if s.stopping == nil {
		return ""
	}
	return s.stopping.Verb
}

func didWhat(n Next, verb string) string {
	switch {
	case n.Do == DoConfirm:
		return "Gantry confirmed the plan"
	case n.Do == DoDiscard:
		return "Gantry discarded the plan"
	case n.Do == DoReview && n.Review == spacelift.ReviewApprove:
		return "Gantry passed the approval on to Spacelift"
	case n.Do == DoReview:
		return "Gantry passed the rejection on to Spacelift"
	}
	return "Gantry asked Spacelift to " + verb + " the run"
}

// ActOutcome says what came of an activity that acts on a run.
type ActOutcome string

// The outcomes.
const (
	ActDone      ActOutcome = "done"      // by this attempt or an earlier one
	ActMoot      ActOutcome = "moot"      // nothing was done: the run is not where it was judged to be
	ActRefused   ActOutcome = "refused"   // nothing was done: Spacelift would not
	ActBlocked   ActOutcome = "blocked"   // nothing was done: a brake in Spacelift, such as a lock, forbids it now; of RetryRun alone
	ActForbidden ActOutcome = "forbidden" // nothing was done: a check forbids it now; of DiscardRun, ReviewRun and RetryRun alone
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
		r.clearBackoff(n.Do)
		r.Note(at, KindAction, "%s: %s", didWhat(n, result.Verb), n.Reason)
		if n.Do == DoStop {
			r.Stopping.accept(at, shownKey(result.Run, key), result.Verb)
		} else {
			r.request(key, n.Do).accept(at)
		}
		if n.Do == DoDiscard {
			r.settle(at, key.StateVersion, PlanDiscarded, n.Reason)
		}
	case ActMoot:
		r.notDone(at, key, n, "Gantry wants to "+string(n.Do)+" the run, and it is not where it was", result.Reason)
	case ActForbidden:
		r.RulesStale = true
		r.notDone(at, key, n, "Gantry may not "+string(n.Do)+" the run as it was judged", result.Reason)
	default:
		if r.recordRefusal(at, n.Do, refusedFirst, "Spacelift refuses to "+string(n.Do)+" the run: "+result.Reason) {
			r.Note(at, KindAction, "Spacelift refused to %s the run: %s", n.Do, result.Reason)
		}
		r.actFailed(key, n, result.Reason)
	}
}

// notDone records that Gantry found a reason against what it wanted, right before it.
func (r *Record) notDone(at time.Time, key StateKey, n Next, what, reason string) {
	if r.recordRefusal(at, n.Do, behindFirst, what+": "+reason) {
		r.Note(at, KindNote, "Gantry did not %s the run: %s", n.Do, reason)
	}
	r.actFailed(key, n, reason)
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
	r.request(key, n.Do).drop()
	what := "the run"
	if n.Do == DoConfirm {
		what = fmt.Sprintf("the plan of state version %d", key.StateVersion)
	}
	r.Note(at, KindNote, "Gantry no longer asks Spacelift to %s %s", n.Do, what)
}

// CouldNot records that Spacelift gave no answer to what Gantry wanted.
func (r *Record) CouldNot(at time.Time, key StateKey, n Next, why string) {
	if n.Do == DoConfirm {
		r.request(key, DoConfirm).drop()
		r.settle(at, key.StateVersion, PlanRefused, why)
		r.confirmRefused(at, "Gantry could not confirm the plan: "+why)
		return
	}
	if r.recordRefusal(at, n.Do, refusedFirst, "Gantry could not "+string(n.Do)+" the run: "+why) {
		r.Note(at, KindAction, "Gantry could not %s the run: %s", n.Do, why)
	}
	r.actFailed(key, n, why)
}

// actFailed records that a request failed.
func (r *Record) actFailed(key StateKey, n Next, why string) {
	if n.Do == DoStop {
		r.stopFailed(why)
		return
	}
	r.request(key, n.Do).drop()
}
