package managed

import (
	"fmt"
	"slices"
	"time"

	"github.com/gantryhq/gantry/spacelift"
)

// request is what Gantry asks Spacelift to do about one state of a run. An
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

// requestState is how far a request is.
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
// rejection after an approval for instance, and never by itself. It reports
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

// Accept takes that Spacelift said yes.
func (q *request) Accept(at time.Time) bool {
	if q.State != requestSending {
		return false
	}
	q.State, q.At = requestAccepted, at
	q.Tries++
	return true
}

// drop takes that nothing came of a request: Spacelift refused, gave no answer,
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

// due is when the effect of an accepted request must show; zero if none is
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
	ask := r.asking(key)
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

// Request is what Gantry asks Spacelift about a state with this action. It is
// one of its own where nothing is kept of the state any more.
func (r *Record) Request(key StateKey, do Action) *request {
	ask := r.asking(key)
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

// Unmet takes that the run was read and is still where it was: what Spacelift
// accepted there had no effect if the time for that is over.
func (r *Record) Unmet(at time.Time, key StateKey) {
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
		r.Settle(at, key.StateVersion, PlanIneffective, fmt.Sprintf("Spacelift accepted the confirmation, and the run is still %s", key))
	}
}

// requests are those about a state.
func (r *Record) requests(key StateKey) (all []*request) {
	if ask := r.asking(key); ask != nil {
		all = append(all, &ask.Review, &ask.Act)
	}
	if r.Stopping != nil && r.Stopping.Key == key {
		all = append(all, &r.Stopping.Request)
	}
	return all
}

func (s Situation) stopVerb() string {
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
