package workflows

import (
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/spacelift"
)

// How long to leave alone what did not work: a refusal may pass when a lock, a
// policy or a key's rights change, an API that is behind catches up soon.
const (
	refusedFirst, refusedLongest = 5 * time.Minute, time.Hour
	failedFirst, failedLongest   = 30 * time.Second, 15 * time.Minute
	behindFirst, behindLongest   = 5 * time.Second, time.Minute
)

// maxBehind is how often the API may show less than notifications told before
// those are doubted.
const maxBehind = 5

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

// claim notes what is about to be sent to Spacelift, and release that its answer
// is there.
func (r *record) claim(key stateKey, n next) {
	if ask := r.asking(key); ask != nil {
		ask.Claimed = n.Do
		if n.Do == doConfirm {
			ask.Note = n.Note
		}
	}
}

func (r *record) release(key stateKey) {
	if ask := r.asking(key); ask != nil {
		ask.Claimed = ""
	}
}

// shown takes what the API shows of the run after it was asked, and reports
// whether that was as new as what notifications told.
func (r *record) shown(at time.Time, do action, run spacelift.Run) bool {
	before, _ := r.current()
	if !run.State.Terminal() && (before.State.Terminal() || run.StateVersion < before.StateVersion) {
		if r.tries(do) < maxBehind {
			r.fails(at, do, behindFirst, behindLongest, "the API shows the run in "+string(run.State)+", older than what notifications told")
			return false
		}
		r.learn(at, run)
		r.doubtEnds()
		r.doubtAfter(at, run)
		r.EndSought = false
		r.works(do)
		return false
	}
	r.learn(at, run)
	if run.State.Terminal() {
		r.doubtEnds(stateKey{run.StateVersion, run.State})
	}
	r.works(do)
	return true
}

// doubtEnds stops believing what only notifications tell of the run's end, but
// for what the API told as well.
func (r *record) doubtEnds(true ...stateKey) {
	var ends []stateKey
	for _, e := range r.believed() {
		key := keyOfState(e)
		if e.State.Terminal() && e.Source != SourceReconcile && !slices.Contains(true, key) {
			ends = append(ends, key)
		}
	}
	r.disbelieve(ends)
}

// sought notes that it was looked, or tried, who decided.
func (r *record) sought(s situation) {
	for i := range r.Askings {
		switch a := &r.Askings[i]; {
		case a.Key == s.key():
			a.Looked = true
		case a.Resolved == "":
			a.Sought = true
		}
	}
	if s.State.Terminal() {
		r.EndSought = true
	}
}

// resolve notes how states that asked for a decision came to their end, once
// that is known: through Gantry, or elsewhere. Then Gantry wants nothing more.
func (r *record) resolve(at time.Time) {
	s := r.situation(at)
	if s.outsider() {
		return // it is not known yet who decided
	}
	for i := range r.Askings {
		a := &r.Askings[i]
		if a.Key == s.key() || a.Resolved != "" {
			continue
		}
		how, actor := s.ending(*a)
		a.Resolved, a.Claimed = how, ""
		if a.Done == "" && s.Managed {
			r.journal(at, KindNote, actor, "%s; Gantry wants nothing more of it", how)
		}
		r.tellResolved(s, at, *a)
	}
}

// withdraw stops asking about the state the run is in, once it asks nothing any
// more: somebody approved in Spacelift, and the run stays in the queue behind
// another. Should it ask again, then anew, with time of its own.
func (r *record) withdraw(at time.Time) {
	a := r.present()
	if a == nil || asks(a.Key.State, r.needsApproval(a.Key)) {
		return
	}
	s := r.situation(at)
	a.Resolved = "no approval policy in Spacelift asks for a review of the run any more"
	if a.Done != "" {
		a.Resolved, _ = s.ending(*a)
	} else if s.Managed {
		r.journal(at, KindNote, "", "%s; Gantry wants nothing more of it", a.Resolved)
	}
	r.tellResolved(s, at, *a)
	r.Askings = slices.DeleteFunc(r.Askings, func(a asking) bool { return a.Key == s.key() })
	r.RulesFor = nil                           // their clocks count from when it asked
	r.Entered = entrance{Key: s.key(), At: at} // the deadline is Spacelift's, and people had the time before
}

// ending says how a state that asked came to its end, and who did it.
func (s situation) ending(a asking) (how, actor string) {
	switch a.Done {
	case doConfirm:
		return "Gantry confirmed the plan" + s.decidedBy(a.Key), ""
	case doDiscard:
		return "Gantry discarded the plan" + s.decidedBy(a.Key), ""
	case doReview:
		return "Gantry passed the review on to Spacelift" + s.decidedBy(a.Key), ""
	case doStop:
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
func (s situation) decidedBy(key stateKey) string {
	var approved []string
	for _, d := range s.Decisions {
		switch {
		case (stateKey{d.StateVersion, d.State}) != key || d.Revoked || d.Discounted != "":
		case d.Verdict == Reject:
			return ", which " + d.By + " rejected" + afterColon(d.Note)
		case d.Verdict == Approve:
			approved = append(approved, d.By)
		}
	}
	if len(approved) == 0 {
		return ""
	}
	return ", which " + enumerate(distinct(approved)) + " approved"
}

// failed records why the run failed.
func (r *record) failed(at time.Time, why Failure) {
	why.Evidence = fit(why.Evidence, maxText)
	r.Diagnosed, r.Failure = true, &why
	r.note(at, KindNote, "the run failed, and the cause is %s%s", why.Cause, afterColon(why.Evidence))
	r.considerRetry(at)
}
