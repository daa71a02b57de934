package workflows

import (
	"strconv"
	"time"
)

// trouble is why something that Gantry wants is not done, and when it tries
// again. It is about one state of the run, and over in the next.
type trouble struct {
	Do     action    `json:"do"`
	Key    stateKey  `json:"key"`
	Reason string    `json:"reason"`
	Until  time.Time `json:"until"`
	Tries  int       `json:"tries"` // so far

	// Around is what stood around the state when Spacelift refused: see around.
	// Once that is another, the reason is over and Gantry tries again. Empty:
	// nothing ends the trouble before its time.
	Around string `json:"around,omitempty"`
}

// How long to leave alone what did not work: a refusal may pass when a lock, a
// policy or a key's rights change, an API that is behind catches up soon.
const (
	refusedFirst, refusedLongest = 5 * time.Minute, time.Hour
	failedFirst, failedLongest   = 30 * time.Second, 15 * time.Minute
	behindFirst, behindLongest   = 5 * time.Second, time.Minute
)

// fails notes that something Gantry wants was not done, and when to try again:
// after a time that doubles with every try. It reports whether the reason is
// another than that of the try before.
func (r *record) fails(at time.Time, do action, first, longest time.Duration, reason string) (news bool) {
	now, ok := r.current()
	if !ok {
		return true
	}
	t := trouble{Do: do, Key: keyOfState(now), Reason: fit(reason, maxText), Tries: r.tries(do)}
	t.Until = at.Add(min(first<<min(t.Tries, 16), longest))
	news = t.Tries == 0 || r.Trouble.Reason != t.Reason
	t.Tries++
	r.Trouble = &t
	return news
}

// refuses is fails for a refusal, whose cause may show in what stands around the
// state.
func (r *record) refuses(at time.Time, do action, first time.Duration, reason string) (news bool) {
	news = r.fails(at, do, first, refusedLongest, reason)
	if r.Trouble != nil {
		s := r.situation(at)
		r.Trouble.Around = s.around()
	}
	return news
}

// around digests what the API shows of a run that may be why Spacelift refuses
// something: a review that is missing, a stack that is blocked, labels.
func (s situation) around() string {
	return digest(append([]string{strconv.FormatBool(s.needsApproval), blockReason(s.Block)}, s.Labels...)...)
}

// holds reports whether a trouble keeps Gantry from doing something now.
func (t *trouble) holds(s situation, do action) bool {
	return t != nil && t.Do == do && t.Key == s.key() && s.now.Before(t.Until) && (t.Around == "" || t.Around == s.around())
}

// tries is how often in a row something failed in the present state.
func (r *record) tries(do action) int {
	now, ok := r.current()
	if t := r.Trouble; ok && t != nil && t.Do == do && t.Key == keyOfState(now) {
		return t.Tries
	}
	return 0
}

// works notes that something was done at last.
func (r *record) works(do action) {
	if r.Trouble != nil && r.Trouble.Do == do {
		r.Trouble = nil
	}
}
