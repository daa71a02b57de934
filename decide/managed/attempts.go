package managed

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/spacelift"
)

// resolve notes how states that asked for a decision came to their end, once
// that is known: through Gantry, or elsewhere. Then Gantry wants nothing more.
func (r *Record) resolve(at time.Time) {
	s := r.Situation(at)
	for i := range r.Askings {
		a := &r.Askings[i]
		if a.Key == s.Key() || a.Resolved != "" || s.didAbout(*a) == "" && !s.read {
			continue // nobody knows yet who decided
		}
		how, actor := s.ending(*a)
		a.Resolved = how
		r.recognize(at, s, *a)
		if s.didAbout(*a) == "" && s.Managed {
			r.journal(at, KindNote, actor, "%s; Gantry wants nothing more of it", how)
		}
		r.tellResolved(s, at, *a)
	}
}

// recognize takes what the mark of the state after one that asked proves: a
// confirmation whose answer got lost is Gantry's, and one that was decided for
// another plan is an alarm.
func (r *Record) recognize(at time.Time, s Situation, a asking) {
	mark, ok := s.markAfter(a.Key)
	switch {
	case !ok || mark.Verb != spacelift.VerbConfirm || a.Key.State != spacelift.RunStateUnconfirmed:
	case mark.StateVersion != a.Key.StateVersion:
		r.confirmedUnseen(at, mark.StateVersion, a.Key.StateVersion)
	case r.plan(a.Key.StateVersion) == nil || r.plan(a.Key.StateVersion).Result != PlanConfirmed:
		r.Settle(at, a.Key.StateVersion, PlanConfirmed, "")
		r.Note(at, KindAction, "Gantry confirmed the plan (%s); the answer got lost", describePlan(s.RunStatus))
	}
}

// confirmedUnseen raises an alarm, once for each plan: a replan came between the
// check of a plan and its confirmation, which took effect on the new one.
func (r *Record) confirmedUnseen(at time.Time, judged, struck int) {
	if p := r.plan(struck); p != nil && p.Result == PlanUnseen {
		return
	}
	why := fmt.Sprintf("Gantry's confirmation of the plan of state version %d took effect on the plan of state version %d, which nobody had judged", judged, struck)
	r.Settle(at, struck, PlanUnseen, why)
	r.Note(at, KindAlarm, "%s", why)
	r.tellUnseen(at, struck, why)
}

// withdraw stops asking about the state the run is in, once it asks nothing any
// more: somebody approved in Spacelift, and the run stays in the queue behind
// another. Should it ask again, then anew, with time of its own.
func (r *Record) withdraw(at time.Time) {
	a := r.present()
	if a == nil || asks(a.Key.State, r.needsApproval(a.Key)) {
		return
	}
	s := r.Situation(at)
	a.Resolved = "no approval policy in Spacelift asks for a review of the run any more"
	if a.did() != "" {
		a.Resolved, _ = s.ending(*a)
	} else if s.Managed {
		r.journal(at, KindNote, "", "%s; Gantry wants nothing more of it", a.Resolved)
	}
	r.tellResolved(s, at, *a)
	r.Askings = slices.DeleteFunc(r.Askings, func(a asking) bool { return a.Key == s.Key() })
	r.RulesFor = nil                           // their clocks count from when it asked
	r.Entered = entrance{Key: s.Key(), At: at} // the deadline is Spacelift's, and people had the time before
}

// didAbout is what Gantry did about a state that asked; empty if that was
// somebody else. What Spacelift accepted counts only if the run went that way.
func (s Situation) didAbout(a asking) Action {
	if s.stopping.did(a.Key) {
		return DoStop
	}
	if mark, ok := s.markAfter(a.Key); ok {
		return s.didByMark(mark)
	}
	switch did := a.did(); {
	case did == DoConfirm && s.endedByPeople(), did == DoDiscard && applies(s.State):
		return ""
	default:
		return did
	}
}

// markAfter is the mark that Gantry left with what the run did after a state, as
// far as the API showed it. A notification proves nothing: whoever can sign one
// can copy a mark.
func (s Situation) markAfter(key StateKey) (spacelift.Mark, bool) {
	for _, e := range s.told { // an end is the last, whatever its version
		if e.StateVersion > key.StateVersion || e.State.Terminal() {
			return spacelift.MarkOf(spacelift.Transition{State: e.State, StateVersion: e.StateVersion, Note: e.Note, Username: e.Actor})
		}
	}
	return spacelift.Mark{}, false
}

func (s Situation) didByMark(mark spacelift.Mark) Action {
	switch mark.Verb {
	case spacelift.VerbConfirm:
		return DoConfirm
	case spacelift.VerbApprove, spacelift.VerbReject:
		return DoReview
	}
	if s.stopping != nil {
		return DoStop
	}
	return DoDiscard
}

// endedByPeople reports whether the run is in an end that only somebody's wish
// leads to.
func (s Situation) endedByPeople() bool {
	switch s.State {
	case spacelift.RunStateDiscarded, spacelift.RunStateStopped, spacelift.RunStateCanceled:
		return true
	}
	return false
}

// ending says how a state that asked came to its end, and who did it.
func (s Situation) ending(a asking) (how, actor string) {
	switch s.didAbout(a) {
	case DoConfirm:
		return "Gantry confirmed the plan" + s.decidedBy(a.Key), ""
	case DoDiscard:
		return "Gantry discarded the plan" + s.decidedBy(a.Key), ""
	case DoReview:
		return "Gantry passed the review on to Spacelift" + s.decidedBy(a.Key), ""
	case DoStop:
		return s.stopping.By + " stopped the run", s.stopping.By
	}
	i := slices.IndexFunc(s.States, func(e StateEntry) bool {
		return e.StateVersion > a.Key.StateVersion || e.State.Terminal()
	})
	if i < 0 {
		return "the plan is not believed any more", ""
	}
	after := s.States[i]
	who := after.Actor
	if who == "" {
		who = "somebody"
	}
	switch after.State {
	case spacelift.RunStateConfirmed, spacelift.RunStatePreparingApply, spacelift.RunStateApplying:
		return who + " confirmed the plan in Spacelift", after.Actor
	case spacelift.RunStateDiscarded:
		return who + " discarded the plan in Spacelift", after.Actor
	case spacelift.RunStateStopped, spacelift.RunStateCanceled:
		return who + " ended the run in Spacelift: it is " + strings.ToLower(string(after.State)), after.Actor
	case spacelift.RunStateReplanRequested, spacelift.RunStatePreparingReplan, spacelift.RunStatePlanning:
		return who + " asked for another plan in Spacelift", after.Actor
	}
	return "the run went on in Spacelift: it is " + string(after.State), after.Actor
}

// decidedBy names the people whose decisions about a state count, after a comma;
// empty for none.
func (s Situation) decidedBy(key StateKey) string {
	var approved []string
	for _, d := range s.Decisions {
		switch {
		case (StateKey{d.StateVersion, d.State}) != key || d.Revoked || d.Discounted != "":
		case d.Verdict == Reject:
			return ", which " + d.By + " rejected" + decide.AfterColon(d.Note)
		case d.Verdict == Approve:
			approved = append(approved, d.By)
		}
	}
	if len(approved) == 0 {
		return ""
	}
	return ", which " + decide.Enumerate(Distinct(approved)) + " approved"
}

// Failed records why the run failed. A run that has not failed, by what is known
// now, needs no reason.
func (r *Record) Failed(at time.Time, why Failure) {
	if now, _ := r.current(); now.State != spacelift.RunStateFailed {
		return
	}
	why.Evidence = decide.Fit(why.Evidence, decide.MaxText)
	r.Diagnosed, r.Failure = true, &why
	r.Note(at, KindNote, "the run failed, and the cause is %s%s", why.Cause, decide.AfterColon(why.Evidence))
	r.ConsiderRetry(at)
}
