package managed

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// pendingDecision is one state of the run that needs a decision, and the progress
// with it: a plan, or a review for Spacelift's own approval policies. A replan
// asks anew.
type pendingDecision struct {
	Key   StateKey  `json:"key"`
	Since time.Time `json:"since"` // when Gantry took it up, or had to ask anew: clocks count from here

	Stage    decisionStage `json:"stage,omitempty"`
	Why      string        `json:"why,omitempty"`       // why the time is over, with stageExpired
	DuesDone time.Time     `json:"duesDone,omitzero"`   // reminders and escalations until then are done
	Notified bool          `json:"announced,omitempty"` // people were asked
	Asked    int           `json:"asked,omitempty"`     // how often: again when other people are asked, or an approval stopped counting

	// Review is the review that Gantry passes on to Spacelift's approval policies,
	// and Act what it asks Spacelift to do about the plan itself.
	Review request `json:"review,omitzero"`
	Act    request `json:"act,omitzero"`

	TooFew   bool   `json:"tooFew,omitempty"`   // fewer people may approve than must, as far as is known
	Resolved string `json:"resolved,omitempty"` // how it ended, once the run has left the state
}

// decisionStage is people's progress with a state that needs a decision.
type decisionStage string

// The stages.
const (
	stageNew     decisionStage = ""        // only notifications named it
	stageSeen    decisionStage = "seen"    // the run was read
	stageAsked   decisionStage = "asked"   // people are to decide
	stageKept    decisionStage = "kept"    // the same, and the time is over
	stageEnough  decisionStage = "enough"  // as many as must have approved: no clock runs
	stageExpired decisionStage = "expired" // the time is over: the plan is to be discarded, or the run rejected
)

var decisionStages = []decisionStage{stageNew, stageSeen, stageAsked, stageKept, stageEnough, stageExpired}

// markRead records that the run was read.
func (a *pendingDecision) markRead() bool {
	if a.Stage != stageNew {
		return false
	}
	a.Stage = stageSeen
	return true
}

// markAsked records that people are asked.
func (a *pendingDecision) markAsked() bool {
	if a.Notified || a.Stage == stageEnough || a.Stage == stageExpired {
		return false
	}
	if a.Stage != stageKept {
		a.Stage = stageAsked
	}
	a.Notified = true
	a.Asked++
	return true
}

// reask records that other people are to be asked, or the same about something
// else: an approval no longer counts, or the group is another.
func (a *pendingDecision) reask() bool {
	if a.Stage == stageNew || a.Stage == stageSeen || a.Stage == stageExpired {
		return false
	}
	if a.Stage == stageAsked {
		a.Stage = stageSeen
	}
	a.Notified = false
	return true
}

// markEnough records that enough people have approved.
func (a *pendingDecision) markEnough() bool {
	if a.Stage == stageEnough || a.Stage == stageExpired {
		return false
	}
	a.Stage = stageEnough
	return true
}

// reopen records that fewer people approve than must, though enough had: people are
// asked anew and have the whole time, since no clock ran for them.
func (a *pendingDecision) reopen(at time.Time) bool {
	if a.Stage != stageEnough {
		return false
	}
	a.Stage, a.Since, a.Notified = stageSeen, at, false
	return true
}

// markKept records that the time is over and that people may still decide.
func (a *pendingDecision) markKept() bool {
	if a.Stage == stageKept || a.Stage == stageEnough || a.Stage == stageExpired {
		return false
	}
	a.Stage = stageKept
	return true
}

// expire records that the time is over, and why Gantry waits no longer.
func (a *pendingDecision) expire(why string) bool {
	if a.Stage == stageEnough || a.Stage == stageExpired {
		return false
	}
	a.Stage, a.Why = stageExpired, why
	return true
}

// sending returns the request that is on its way to Spacelift; nil if none is.
func (a *pendingDecision) sending() *request {
	for _, q := range []*request{&a.Review, &a.Act} {
		if q.State == requestSending {
			return q
		}
	}
	return nil
}

// did returns the request about the state as a whole that Spacelift accepted; empty
// for none. An approval of a plan is not: the plan is still to be confirmed.
func (a *pendingDecision) did() Action {
	switch {
	case a.Act.is(requestAccepted):
		return a.Act.Do
	case a.Key.State == spacelift.RunStateUnconfirmed && a.Review.Review != spacelift.ReviewReject:
		return ""
	case a.Review.is(requestAccepted), a.Review.is(requestIneffective):
		return DoReview
	}
	return ""
}

// maxPending bounds how many are kept. Only the newest matters for decisions.
const maxPending = 20

// pending returns the decision about a state, nil if none was needed.
func (r *Record) pending(key StateKey) *pendingDecision {
	for i := range r.Askings {
		if r.Askings[i].Key == key {
			return &r.Askings[i]
		}
	}
	return nil
}

// currentPending returns the decision about the state that the run is in, nil if
// none is needed.
func (r *Record) currentPending() *pendingDecision {
	now, ok := r.current()
	if !ok {
		return nil
	}
	return r.pending(keyOfState(now))
}

// Arrive notes when the run came into the state it is in, as far as Gantry
// knows, and that the state asks for a decision.
func (r *Record) Arrive(at time.Time) {
	now, ok := r.current()
	if !ok {
		return
	}
	key := keyOfState(now)
	if r.Entered.Key != key || r.Entered.At.IsZero() {
		r.Entered = entrance{Key: key, At: at}
	}
	if now.State.NeedsDecision(r.needsApproval(key)) && r.pending(key) == nil {
		r.Askings = append(r.Askings, pendingDecision{Key: key, Since: at})
		if len(r.Askings) > maxPending {
			r.Askings = slices.Delete(r.Askings, 0, 1)
		}
	}
	if r.Stopping != nil {
		r.Stopping.enter(key)
	}
	r.withdraw(at)
	r.resolve(at)
}

func keyOfState(e RunEvent) StateKey { return StateKey{e.StateVersion, e.State} }

// apiShowed returns the event of a state that the API showed, if it did.
func (r *Record) apiShowed(key StateKey) (RunEvent, bool) {
	i := slices.IndexFunc(r.Events, func(e RunEvent) bool {
		return e.Source == SourceReconcile && keyOfState(e) == key
	})
	if i < 0 {
		return RunEvent{}, false
	}
	return r.Events[i], true
}

// needsApproval reports whether Spacelift's own approval policies keep the run
// in this state, as far as the API showed.
func (r *Record) needsApproval(key StateKey) bool {
	e, ok := r.apiShowed(key)
	return ok && e.NeedsApproval
}

// excluded returns the names under which the run, or what it tries again, was
// triggered and its commit written, by any source: a forged notification
// can add a name here but take none away.
func (r *Record) excluded(commit string) []string { return r.behind(commit, r.Events) }

// behind returns the names of those behind the run, by these events of it.
func (r *Record) behind(commit string, events []RunEvent) []string {
	var said []string
	say := func(name string) { // most events say the same
		if !slices.Contains(said, name) {
			said = append(said, name)
		}
	}
	for i := range events {
		e := &events[i]
		if say(e.TriggeredBy); e.Commit.Hash == commit {
			say(e.Commit.AuthorLogin)
			say(e.Commit.AuthorName)
		}
	}
	for _, c := range r.Chains {
		said = append(said, c.TriggeredBy...)
	}
	said = append(said, r.Behind...)
	names := Distinct(append(said, r.RetryOf.names()...))
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(strings.Compare(decide.NameKey(a), decide.NameKey(b)), strings.Compare(a, b))
	})
	return names
}

// recount notes whether enough people have approved.
func (r *Record) recount(at time.Time) {
	ask := r.currentPending()
	if ask == nil {
		return
	}
	s := r.Situation(at)
	if !s.peopleDecide() {
		return
	}
	for i, d := range s.Decisions {
		was := &r.Decisions[i].Discounted
		if d.Discounted != "" && *was == "" {
			r.Note(at, KindRules, "%s's %s no longer counts: %s", d.By, noun(d.Verdict), d.Discounted)
			if d.Verdict != Reject {
				ask.reask()
			}
		}
		*was = d.Discounted
	}
	if tooFew := s.tooFewApprovers() != ""; tooFew != ask.TooFew {
		ask.TooFew = tooFew
		ask.reask()
	}
	switch {
	case s.enough():
		ask.markEnough()
	case ask.reopen(at):
		r.RulesStale = true
		r.Note(at, KindClock, "fewer have approved than must: people are asked anew, and the clocks begin anew")
	}
}

// FireDeadlines does what the clocks say about the state that asks now: reminders and
// escalations once, the latest reminder for all that were missed, and the end
// of the time.
func (r *Record) FireDeadlines(at time.Time) {
	s := r.Situation(at)
	ask := r.pending(s.Key())
	if ask == nil {
		return
	}
	var remind *policy.Deadline
	for _, due := range s.schedule() {
		if due.At.After(at) {
			break
		}
		switch due.Kind {
		case policy.DeadlineRemind:
			remind = &due
		case policy.DeadlineEscalate:
			r.journal(at, KindClock, "", "nobody has decided for %s: %s is notified", span(ask.Since, due.At), strings.Join(due.Notify, ", "))
			r.notifyUndecided(s, at, due)
		case policy.DeadlineTimeout:
			ask.markKept()
			r.journal(at, KindClock, "", "%s; the plan is kept", s.timeOver(due.Kind))
			r.notifyKept(s, at, due)
		case policy.DeadlineDiscard:
			ask.expire(s.timeOver(due.Kind))
			r.journal(at, KindClock, "", "%s", ask.Why)
		}
	}
	if remind != nil && ask.Stage != stageExpired {
		r.journal(at, KindClock, "", "people are reminded: nobody has decided for %s", span(ask.Since, remind.At))
		r.notifyUndecided(s, at, *remind)
	}
	ask.DuesDone = at
}

func span(from, to time.Time) string {
	return policy.Duration(to.Sub(from).Round(time.Minute)).String()
}

// resolve records the end of states that needed a decision, once it is known: through Gantry, or elsewhere. Then Gantry wants nothing more.
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
		r.notifyResolved(s, at, *a)
	}
}

// recognize takes what Gantry's mark on the state after a decision proves: a
// confirmation whose answer got lost is Gantry's, and one that was decided for
// another plan is an alarm.
func (r *Record) recognize(at time.Time, s *Situation, a pendingDecision) {
	mark, ok := s.markAfter(a.Key)
	switch {
	case !ok || mark.Verb != spacelift.VerbConfirm || a.Key.State != spacelift.RunStateUnconfirmed:
	case mark.StateVersion != a.Key.StateVersion:
		r.confirmedUnseen(at, mark.StateVersion, a.Key.StateVersion)
	case r.plan(a.Key.StateVersion) == nil || r.plan(a.Key.StateVersion).Result != PlanConfirmed:
		r.settle(at, a.Key.StateVersion, PlanConfirmed, "")
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
	r.settle(at, struck, PlanUnseen, why)
	r.Note(at, KindAlarm, "%s", why)
	r.notifyUnseen(at, struck, why)
}

// withdraw stops asking about the state the run is in, once it asks nothing any
// more: somebody approved in Spacelift, and the run stays in the queue behind
// another. Should it ask again, then anew, with time of its own.
func (r *Record) withdraw(at time.Time) {
	a := r.currentPending()
	if a == nil || a.Key.State.NeedsDecision(r.needsApproval(a.Key)) {
		return
	}
	s := r.Situation(at)
	a.Resolved = "no approval policy in Spacelift asks for a review of the run any more"
	if a.did() != "" {
		a.Resolved, _ = s.ending(*a)
	} else if s.Managed {
		r.journal(at, KindNote, "", "%s; Gantry wants nothing more of it", a.Resolved)
	}
	r.notifyResolved(s, at, *a)
	r.Askings = slices.DeleteFunc(r.Askings, func(a pendingDecision) bool { return a.Key == s.Key() })
	r.RulesFor = nil                           // their clocks count from when it asked
	r.Entered = entrance{Key: s.Key(), At: at} // the deadline is Spacelift's, and people had the time before
}

// didAbout returns what Gantry did about a state that needed a decision; empty if
// somebody else did it. What Spacelift accepted counts only if the run went that way.
func (s *Situation) didAbout(a pendingDecision) Action {
	if s.stopping.did(a.Key) {
		return DoStop
	}
	if mark, ok := s.markAfter(a.Key); ok {
		return s.didByMark(mark)
	}
	switch did := a.did(); {
	case did == DoConfirm && s.endedByPeople(), did == DoDiscard && s.State.Applies():
		return ""
	default:
		return did
	}
}

// markAfter returns the mark that Gantry left with what the run did after a state, as
// far as the API showed it. A notification proves nothing: a
// forger who can sign one can copy a mark.
func (s *Situation) markAfter(key StateKey) (spacelift.Mark, bool) {
	for _, e := range s.readEvents { // an end is the last, whatever its version
		if e.StateVersion > key.StateVersion || e.State.Terminal() {
			return spacelift.MarkOf(spacelift.Transition{State: e.State, StateVersion: e.StateVersion, Note: e.Note, Username: e.Actor})
		}
	}
	return spacelift.Mark{}, false
}

func (s *Situation) didByMark(mark spacelift.Mark) Action {
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
func (s *Situation) endedByPeople() bool {
	switch s.State {
	case spacelift.RunStateDiscarded, spacelift.RunStateStopped, spacelift.RunStateCanceled:
		return true
	}
	return false
}

// ending says how the decision about a state ended, and who made it.
func (s *Situation) ending(a pendingDecision) (how, actor string) {
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
	return "the run continued in Spacelift: it is " + string(after.State), after.Actor
}

// decidedBy names the people whose decisions about a state count, after a comma;
// empty for none.
func (s *Situation) decidedBy(key StateKey) string {
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
