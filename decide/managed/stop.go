package managed

import (
	"fmt"
	"time"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/spacelift"
)

// Stopping is a person's wish to end the run. It binds until the run has ended,
// whatever states the run still passes: a worker may ignore a stop, and
// notifications may be late. In each state that Spacelift can end, Gantry asks
// for it anew.
type Stopping struct {
	Stop

	Request request  `json:"request,omitzero"` // about the state Key
	Key     StateKey `json:"key,omitzero"`
	Verb    string   `json:"verb,omitempty"` // Spacelift's word for what it accepted last

	// Promised says that the person was answered that Gantry stops the run. A
	// wish that Spacelift refuses before is withdrawn, and its author learns why.
	Promised bool `json:"promised,omitempty"`

	Not string `json:"-"` // why it is withdrawn

	// ChainsTold says that the chains that released the run know of the wish.
	ChainsTold bool `json:"chainsTold,omitempty"`
}

// Stop is a person's wish to end a run, as long as it binds.
type Stop struct {
	By   string    `json:"by"`
	Note string    `json:"note,omitempty"`
	At   time.Time `json:"at"`
}

func (s Stop) String() string { return s.By + " wants the run stopped" + decide.AfterColon(s.Note) }

// ask begins to ask Spacelift in a state of the run. It reports whether Gantry
// may ask.
func (s *Stopping) ask(key StateKey) bool {
	s.enter(key)
	return s.Request.send(DoStop, "", "")
}

// accept records that Spacelift accepted the stop. The key is the state that
// Spacelift showed then: notifications may have been behind.
func (s *Stopping) accept(at time.Time, key StateKey, verb string) bool {
	if !s.Request.accept(at) {
		return false
	}
	s.Key, s.Verb = key, verb
	return true
}

// enter takes the state that the run is in. The wish outlives the state in which
// it was voiced, and its request does not. The end of a run leaves both, since
// they say whose it was.
func (s *Stopping) enter(key StateKey) bool {
	if s.Key == key || key.State.Terminal() {
		return false
	}
	s.Key, s.Verb, s.Request = key, "", request{}
	return true
}

// did reports whether Spacelift accepted the stop in a state.
func (s *Stopping) did(key StateKey) bool {
	return s != nil && s.Verb != "" && s.Key == key
}

// decideStop decides about a run that a person wants to stop and that has not ended.
func decideStop(s *Situation) Next {
	st := s.stopping
	why, note := st.String(), noteOf("Stopped through Gantry by "+st.By, st.Note)
	ending := Next{
		Do: DoStop, Phase: PhaseHolding, Journal: true, ForPeople: true, Note: note, Reason: why,
		What: WaitAnswer, Who: whoAnswer, Then: "Gantry records how it ends",
	}
	switch {
	case s.State == spacelift.RunStatePendingReview && s.Ask != nil:
		n := reviewed(s, reviewing(s, spacelift.ReviewReject, why, note))
		return s.notifyChainsOfStop(n)
	case st.Request.overdue(s.Now):
		return s.attempt(verifying(ending))
	case st.Request.is(requestAccepted):
		n := passing(s, PhaseFollowing, fmt.Sprintf("Spacelift was asked to %s the run and has not reported yet that it did", st.Verb))
		n.Until = st.Request.due()
		return s.notifyChainsOfStop(n)
	case st.Request.is(requestIneffective) && s.State.Stoppable():
		return s.notifyChainsOfStop(hold(WaitPerson, whoEnds, "Gantry confirms nothing, and asks again in the next state of the run",
			"%s; Spacelift accepted that %d times, and the run stays in %s", why, mostRequests, s.State))
	case s.State.Stoppable():
		n := s.attempt(ending)
		if n.Do == DoStop {
			return n
		}
		return s.notifyChainsOfStop(n)
	}
	n := passing(s, PhaseFollowing, fmt.Sprintf("%s; Spacelift does not stop a run in %s, so Gantry asks again in the next state", why, s.State))
	if s.State.Applies() {
		n = passing(s, PhaseApplying, fmt.Sprintf("%s; Spacelift does not stop a run in %s", why, s.State))
	}
	return s.notifyChainsOfStop(n)
}

// whoEnds can end a run that Gantry could not.
const whoEnds = "anyone who may stop, confirm or discard runs of this stack in Spacelift"

// notifyChainsOfStop lets the chains that released the run know of the wish first:
// they read the run's end themselves, and must not release anything below it.
func (s *Situation) notifyChainsOfStop(n Next) Next {
	if s.stopping.ChainsTold || !s.follows() {
		return n
	}
	n.Until = time.Time{}
	return n.to(DoNotifyChains)
}

// Stop takes a person's wish to end the run. A run that waits to be tried again
// has ended: then the retry is what is stopped, and the answer is nil.
func (r *Record) Stop(at time.Time, wish StopRequest) *Stopping {
	if !r.Keys.Remember(wish.Key, wish.content()) {
		return nil
	}
	by, note := decide.Fit(wish.By.Name, decide.MaxName), decide.Fit(wish.Note, decide.MaxText)
	r.journal(at, KindPerson, by, "%s wants the run stopped%s", by, decide.AfterColon(note))
	if s := r.Facts(); s.State == spacelift.RunStateFailed && s.Retry != nil {
		r.Retry.callOff(by + " stopped it" + decide.AfterColon(note))
		return nil
	}
	r.Stopping = &Stopping{Stop: Stop{By: by, Note: note, At: at}}
	return r.Stopping
}

// stopFailed records that Spacelift did not stop the run. Nobody is promised
// anything yet: the wish is over, and its author learns why. Otherwise it binds.
func (r *Record) stopFailed(why string) {
	if r.Stopping == nil {
		return
	}
	r.Stopping.Request.drop()
	if r.Stopping.Promised {
		return
	}
	r.Stopping.Not = decide.Fit(why, decide.MaxText)
	r.Stopping = nil
	r.clearBackoff(DoStop)
}
