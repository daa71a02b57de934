package managed

import (
	"strconv"
	"time"

	"github.com/gantryhq/gantry/decide"
)

// backoff is the reason that something Gantry wants is not done, and the time of
// the next try. It is about one state of the run, and over in the next.
type backoff struct {
	Do     Action    `json:"do"`
	Key    StateKey  `json:"key"`
	Reason string    `json:"reason"`
	Until  time.Time `json:"until"`
	Tries  int       `json:"tries"` // so far

	// Around is a digest of what may be why Spacelift refused: see surroundings.
	// Once that changes, the reason is over and Gantry tries again. Empty:
	// nothing ends the back-off early.
	Around string `json:"around,omitempty"`
}

// The pauses after what did not work: a refusal may pass when a lock, a policy or
// a key's rights change, and an API that is behind catches up soon.
const (
	refusedFirst, refusedLongest = 5 * time.Minute, time.Hour
	failedFirst, failedLongest   = 30 * time.Second, 15 * time.Minute
	behindFirst, behindLongest   = 5 * time.Second, time.Minute
)

// Failed records that something Gantry wants was not done, and when to try again.
// A reason that is new goes into the timeline.
func (r *Record) Failed(at time.Time, do Action, reason string) {
	first, longest, kind := failedFirst, failedLongest, KindNote
	switch do {
	case DoReplace:
		first, longest, kind = refusedFirst, refusedLongest, KindAction
	case DoDiagnose:
		first, longest = behindFirst, behindLongest
	}
	if r.recordFailure(at, do, first, longest, reason) && do != DoVerify && do != DoDiagnose {
		r.Note(at, kind, "%s", reason)
	}
}

// recordFailure schedules the next try with exponential back-off. It reports whether
// the reason changed.
func (r *Record) recordFailure(at time.Time, do Action, first, longest time.Duration, reason string) (news bool) {
	now, ok := r.current()
	if !ok {
		return true
	}
	t := backoff{Do: do, Key: keyOfState(now), Reason: decide.Fit(reason, decide.MaxText), Tries: r.tries(do)}
	t.Until = at.Add(decide.Backoff(first, t.Tries, longest))
	news = t.Tries == 0 || r.Backoff.Reason != t.Reason
	t.Tries++
	r.Backoff = &t
	return news
}

// recordRefusal is recordFailure for a refusal, whose cause may show in the run or
// its stack.
func (r *Record) recordRefusal(at time.Time, do Action, first time.Duration, reason string) (news bool) {
	news = r.recordFailure(at, do, first, refusedLongest, reason)
	if r.Backoff != nil {
		s := r.Situation(at)
		r.Backoff.Around = s.surroundings()
	}
	return news
}

// surroundings digests what the API shows of a run that may be why Spacelift refuses
// something: a review that is missing, a stack that is blocked, labels.
func (s *Situation) surroundings() string {
	return decide.Digest(append([]string{strconv.FormatBool(s.needsApproval), blockReason(s.Block)}, s.Labels...)...)
}

// holds reports whether a back-off keeps Gantry from doing something now.
func (t *backoff) holds(s *Situation, do Action) bool {
	return t != nil && t.Do == do && t.Key == s.Key() && s.Now.Before(t.Until) && (t.Around == "" || t.Around == s.surroundings())
}

// tries returns the number of failures in a row in the present state.
func (r *Record) tries(do Action) int {
	now, ok := r.current()
	if t := r.Backoff; ok && t != nil && t.Do == do && t.Key == keyOfState(now) {
		return t.Tries
	}
	return 0
}

// clearBackoff records that something was done.
func (r *Record) clearBackoff(do Action) {
	if r.Backoff != nil && r.Backoff.Do == do {
		r.Backoff = nil
	}
}

// Bounded is as many names as a chain carries.
func Bounded(names []string) []string {
	names = names[:min(len(names), maxTriggerers)]
	for i, name := range names {
		names[i] = decide.Fit(name, MaxPerson)
	}
	return names
}
