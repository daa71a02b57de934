package managed

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/spacelift"
)

// trust is an execution's trust in notifications, with the times at which it reads
// the run to compare them with the API. A signature is a doorbell: it makes Gantry read
// the run, and what the API shows decides.
type trust struct {
	// Disputed says that something contradicts the newest state that a
	// notification named: an earlier state arrived after it, or Reconcile read an
	// earlier one.
	Disputed bool `json:"disputed,omitempty"`

	// Repeated is a state that the API denied and a notification has named since.
	Repeated *StateKey `json:"repeated,omitempty"`

	// Next is the time from which notifications may cause another reading, and
	// Reason why not before; zero while nothing speaks against it.
	Next   time.Time `json:"next,omitzero"`
	Reason string    `json:"reason,omitempty"`

	// Failed counts readings in a row that Spacelift did not answer, the first of
	// them at FailedSince and the last at TriedAt. Repeats counts those in a row that showed nothing new
	// within a second.
	Failed      int       `json:"failed,omitempty"`
	FailedSince time.Time `json:"failedSince,omitzero"`
	TriedAt     time.Time `json:"triedAt,omitzero"`
	Repeats     int       `json:"repeats,omitempty"`

	// Denied counts how often the API denied what notifications claimed, and
	// DeniedAt the last time. Until waryFor has passed since then, a state
	// beyond the API's newest counts only after the API has shown it.
	Denied   int       `json:"denied,omitempty"`
	DeniedAt time.Time `json:"deniedAt,omitzero"`

	// Again is the time of the next reading after a denial, in case the API was
	// behind its own notifications; Checks counts those left since CheckedSince.
	Again        time.Time `json:"again,omitzero"`
	Checks       int       `json:"checks,omitempty"`
	CheckedSince time.Time `json:"checkedSince,omitzero"`

	// MissingSince is since when Spacelift says that it does not know the run; zero
	// while it knows it.
	MissingSince time.Time `json:"missingSince,omitzero"`
}

const (
	// maxLead bounds the lead of a notification over all else that is known of the
	// run; a longer one is a reason to read it: a run passes some ten states, and a
	// replan adds four.
	maxLead = 8

	// waryFor is the time that an execution stays wary after the API denied a claim.
	waryFor = 10 * time.Minute

	// deniedFirst and deniedLongest bound how often claims make an execution read
	// the run while they turn out to be false.
	deniedFirst, deniedLongest = 2 * time.Second, time.Minute

	// maxChecks bounds the readings of the run after a denial, after checkAfter
	// at first and twice as long each time. Within waryFor there are no more.
	maxChecks  = 4
	checkAfter = 5 * time.Second

	// unreadFirst and unreadLongest bound the pause after a reading that Spacelift
	// did not answer. It is half of the time that Spacelift has not answered for, so
	// what waited for an answer is late by half of the outage at most.
	unreadFirst, unreadLongest = 5 * time.Second, 15 * time.Minute

	// unreadEnd is the time that an execution tries to read a run whose end only a
	// notification named, before it stops following the run because Spacelift
	// refuses Gantry.
	unreadEnd = 24 * time.Hour

	// missingFor is the time that Spacelift must deny a run before an execution stops
	// following it, so that the access of an API key can be repaired meanwhile.
	// Where nothing but notifications ever named the run, strangerFor will do.
	missingFor, strangerFor = 24 * time.Hour, 10 * time.Minute

	// missingFirst and missingLongest bound the pause between readings of a run
	// that Spacelift does not know.
	missingFirst, missingLongest = time.Minute, 30 * time.Minute

	// freshFor bounds the age of a reading by which Gantry notifies people.
	freshFor = time.Minute

	// maxRepeats bounds readings in a row that show nothing new.
	maxRepeats = 3
)

// believed returns the events that count, in the order of [Record.Events]: what the
// API showed, and what notifications claim as far as the API need not have shown it
// first. They are not copied: each is large, and every decision reads all of them
// several times.
func (r *Record) believed() []*RunEvent {
	events := make([]*RunEvent, 0, len(r.Events))
	for i := range r.Events {
		if e := &r.Events[i]; r.believes(e) {
			events = append(events, e)
		}
	}
	return events
}

// believes reports whether an event counts. An end counts once the API showed it.
func (r *Record) believes(e *RunEvent) bool {
	switch {
	case e.Source == SourceReconcile:
		return true
	case r.doubts(*e):
		return false
	case e.State.Terminal():
		_, shown := r.apiShowed(keyOfState(*e))
		return shown
	}
	return !r.beyond(e)
}

func (r *Record) doubts(e RunEvent) bool {
	return e.Source != SourceReconcile && slices.Contains(r.Doubted, keyOfState(e))
}

// beyond reports whether a wary execution waits for the API to show a state.
func (r *Record) beyond(e *RunEvent) bool {
	if r.Trust.Denied == 0 || r.Shown == nil {
		return false
	}
	return e.StateVersion > r.Shown.StateVersion
}

// unread returns the newest claim that does not count before the API has shown
// it; ok is false if there is none.
func (r *Record) unread() (claim RunEvent, ok bool) {
	if now, known := r.current(); known && now.State.Terminal() {
		return claim, false
	}
	for i := range r.Events {
		e := &r.Events[i]
		if r.doubts(*e) || r.believes(e) {
			continue
		}
		if !ok || byAuthority(e, &claim) > 0 {
			claim, ok = *e, true
		}
	}
	return claim, ok
}

// ClaimsEnd reports whether only a notification says that the run has ended.
func (r *Record) ClaimsEnd() bool {
	claim, ok := r.unread()
	return ok && claim.State.Terminal()
}

// whyRead says why notifications make it necessary to read the run, as a part of
// a sentence; empty if they don't.
func (r *Record) whyRead() string {
	if claim, ok := r.unread(); ok {
		return fmt.Sprintf("a notification says that the run is %s", claim.State)
	}
	now, ok := r.current()
	switch _, shown := r.apiShowed(keyOfState(now)); {
	case !ok:
		return "nothing is known of the run's state yet"
	case now.State.Terminal():
		return ""
	case r.Trust.Repeated != nil:
		return fmt.Sprintf("a notification says again that the run is %s", r.Trust.Repeated.State)
	case r.relabelled():
		return "a notification names other labels than Spacelift's API did"
	case shown:
		return ""
	}
	return r.whyDoubted(now)
}

// whyDoubted says why the newest state, which only notifications named, may be
// none that the run has entered; empty if nothing speaks against it.
func (r *Record) whyDoubted(now RunEvent) string {
	switch {
	case r.Trust.Disputed:
		return fmt.Sprintf("only a notification says that the run is %s, and what followed contradicts it", now.State)
	case !now.State.Known(), !r.runType().Known():
		return fmt.Sprintf("a notification says that a run of type %q is %s", now.Type, now.State)
	case now.StateVersion-r.reached(now) > maxLead:
		return fmt.Sprintf("a notification says that the run is %s (%d), far ahead of what is known", now.State, now.StateVersion)
	}
	return ""
}

// reached is the highest version of a state that is known besides the newest; -1
// for none.
func (r *Record) reached(newest RunEvent) int {
	highest := -1
	for _, e := range r.believed() {
		if e.StateVersion < newest.StateVersion {
			highest = max(highest, e.StateVersion)
		}
	}
	return highest
}

// lastRead returns the event of the last reading of the run in its state then; ok
// is false before there was one.
func (r *Record) lastRead() (last RunEvent, ok bool) {
	for _, e := range r.Events {
		if e.Whole && (!ok || e.ReceivedAt.After(last.ReceivedAt)) {
			last, ok = e, true
		}
	}
	return last, ok
}

// relabelled reports whether a notification that arrived after the last reading
// names other labels.
func (r *Record) relabelled() bool {
	read, ok := r.lastRead()
	if !ok {
		return false
	}
	return slices.ContainsFunc(r.believed(), func(e *RunEvent) bool {
		return e.Source != SourceReconcile && e.ReceivedAt.After(r.ReadAt) && !slices.Equal(e.Labels, read.Labels)
	})
}

// overtaken notes that events contradict the newest state that is known: news of
// an earlier one arrive after it.
func (r *Record) overtaken(late []RunEvent) {
	now, ok := r.current()
	if !ok || now.Source == SourceReconcile {
		return
	}
	for _, e := range late {
		earlier := e.Source != SourceReconcile && e.StateVersion <= now.StateVersion && !e.State.Terminal()
		if earlier && !slices.ContainsFunc(r.Events, func(k RunEvent) bool { return keyOfState(k) == keyOfState(e) }) {
			r.Trust.Disputed = true
		}
	}
}

// repeats takes notifications of states that the API denied: the run may have come
// to one of them by now, or a forgery may have been faster than the genuine one.
func (r *Record) repeats(batch []RunEvent) {
	for _, e := range batch {
		if _, shown := r.apiShowed(keyOfState(e)); e.Run != r.Run || shown || !r.doubts(e) {
			continue
		}
		if r.Shown == nil || e.State.Terminal() || e.StateVersion > r.Shown.StateVersion {
			r.Trust.Repeated = new(keyOfState(e))
		}
	}
}

// Deny takes states that only notifications had named when Reconcile asked, and
// that the API, read after that, does not show.
func (r *Record) Deny(at time.Time, states []StateKey) {
	var wrong []StateKey
	var names []string
	for _, key := range states {
		claimed := slices.ContainsFunc(r.Events, func(e RunEvent) bool { return e.Source != SourceReconcile && keyOfState(e) == key })
		if _, shown := r.apiShowed(key); claimed && !shown {
			wrong, names = append(wrong, key), append(names, key.String())
		}
	}
	if len(wrong) == 0 {
		return
	}
	r.disbelieve(wrong)
	r.Trust.deny(at)
	r.Note(at, KindRepair, "the API does not show what notifications said beyond it, so that is not believed: %s", strings.Join(names, ", "))
}

// contradict takes the newest state of a run that somebody else read. It may have
// been overtaken on the way here, so it is a reason to read the run, no more.
func (r *Record) contradict(newest StateKey) {
	now, ok := r.current()
	_, claimed := r.unread()
	switch _, known := r.apiShowed(newest); {
	case claimed:
	case !ok, !now.State.Terminal() && now.StateVersion > newest.StateVersion, !known && keyOfState(now) != newest:
		r.Trust.Disputed = true
	default:
		return
	}
	if r.Trust.Failed > 0 {
		r.Trust.Next = time.Time{} // Spacelift answers again
	}
}

// Compare takes the run as the API shows it now, and stops believing what
// contradicts that. It reports whether anything did.
//
// Only a run that was read after every event that is known was taken may be
// compared: for one that was read before, what is newer is no contradiction.
func (r *Record) Compare(at time.Time, run spacelift.Run) (denied bool) {
	before, last := r.Shown, r.ReadAt
	r.Learn(at, run)
	if run.Ref != r.Run || run.State == "" {
		return false
	}
	r.found(at)
	t := &r.Trust
	t.Failed, t.FailedSince, t.Next, t.Reason, t.Disputed = 0, time.Time{}, time.Time{}, "", false
	if before != nil && *before == *r.Shown && at.Sub(last) < time.Second {
		t.Repeats++
	} else {
		t.Repeats = 0
	}
	if ask := r.pending(*r.Shown); ask != nil {
		ask.markRead()
	}
	wrong, over := r.contradictions(run)
	r.disbelieve(append(slices.Clone(wrong), over...))
	again := r.repeatedFalsely()
	t.Repeated = nil
	switch {
	case len(wrong) > 0:
		r.denied(at, run, wrong)
	case again:
		t.deny(at)
	case t.Checks > 0 && !t.Again.IsZero():
		t.checkAgain(at)
	}
	if t.Repeats >= maxRepeats {
		t.Next, t.Reason = at.Add(deniedLongest), "the API shows nothing new"
	}
	return len(wrong) > 0
}

// contradictions returns the states that notifications alone named and that the
// API would show if they were so, and those that are over: an end that the run
// continued from, or that the API shows in another version, since Spacelift has
// sent ends with stale ones.
func (r *Record) contradictions(run spacelift.Run) (wrong, over []StateKey) {
	shown := map[int]spacelift.RunState{}
	for _, t := range run.History {
		shown[t.StateVersion] = t.State
	}
	for _, e := range r.Events {
		key := keyOfState(e)
		if _, shown := r.apiShowed(key); shown || e.Source == SourceReconcile {
			continue
		}
		state, known := shown[e.StateVersion]
		switch {
		case e.State.Terminal() && (e.State == run.State || state == e.State):
			over = append(over, key)
		case e.State.Terminal(),
			e.StateVersion > run.StateVersion && !run.State.Terminal(),
			known && state != e.State:
			wrong = append(wrong, key)
		}
	}
	return wrong, over
}

// repeatedFalsely reports whether a notification named a state again that the API
// still denies.
func (r *Record) repeatedFalsely() bool {
	if r.Trust.Repeated == nil {
		return false
	}
	_, shown := r.apiShowed(*r.Trust.Repeated)
	return !shown
}

// denied notes what the API denied.
func (r *Record) denied(at time.Time, run spacelift.Run, states []StateKey) {
	r.Trust.deny(at)
	names := make([]string, len(states))
	for i, key := range states {
		names[i] = key.String()
	}
	r.Note(at, KindRepair, "the API shows %s (%d) as the newest state, so what notifications said beyond it is not believed: %s",
		run.State, run.StateVersion, strings.Join(names, ", "))
}

// deny makes the execution wary, and the next reading wait the longer the more
// claims were false.
func (t *trust) deny(at time.Time) {
	if at.Sub(t.DeniedAt) > waryFor {
		t.Denied = 0
	}
	t.Denied, t.DeniedAt = t.Denied+1, at
	t.Next = at.Add(decide.Backoff(deniedFirst, t.Denied-1, deniedLongest))
	t.Reason = "the API denied what notifications said of it before"
	if at.Sub(t.CheckedSince) > waryFor {
		t.Checks, t.CheckedSince = maxChecks, at
	}
	if t.Checks > 0 && t.Again.IsZero() {
		t.checkAgain(at)
	}
}

// checkAgain plans the next reading after a denial, if one is left.
func (t *trust) checkAgain(at time.Time) {
	t.Again = time.Time{}
	if t.Checks > 0 {
		t.Again = at.Add(checkAfter << (maxChecks - t.Checks))
		t.Checks--
	}
}

// disbelieve forgets what notifications claimed of states that the API denied,
// so that it takes no room from what is so, and what they claim of them again.
func (r *Record) disbelieve(states []StateKey) {
	if len(states) == 0 {
		return
	}
	r.Doubted = append(slices.Clone(r.Doubted), states...)
	if n := len(r.Doubted); n > MaxEvents {
		r.Doubted = r.Doubted[n-MaxEvents:]
	}
	r.Events = slices.DeleteFunc(slices.Clone(r.Events), func(e RunEvent) bool {
		return e.Source != SourceReconcile && slices.Contains(states, keyOfState(e))
	})
}

// Calm ends the wariness after a denial once its time is over.
func (r *Record) Calm(at time.Time) {
	if r.Trust.Denied > 0 && at.Sub(r.Trust.DeniedAt) > waryFor {
		r.Trust.Denied = 0
	}
}

// Arrived records that notifications arrived while Spacelift did not answer, or did
// not know the run: that may be over, so the next reading need not wait.
func (t *trust) Arrived(at time.Time) {
	if soon := t.TriedAt.Add(unreadFirst); t.Failed > 0 && soon.Before(t.Next) {
		t.Next = soon
		if soon.Before(at) {
			t.Next = at
		}
	}
}

// Unanswered records that Spacelift did not answer when the run was to be read. An
// outage passes; where trying again can't help, as with a key that was removed, an
// execution that a notification named an end to stops after unreadEnd.
func (r *Record) Unanswered(at time.Time, why string, final bool) {
	t := &r.Trust
	if t.Failed == 0 {
		t.FailedSince = at
		r.Note(at, KindNote, "Spacelift did not answer when asked about the run: %s", why)
	}
	t.Failed++
	t.TriedAt = at
	t.Next, t.Reason = at.Add(decide.Clamp(at.Sub(t.FailedSince)/2, unreadFirst, unreadLongest)), decide.Fit(why, decide.MaxText)
	if claim, ok := r.unread(); final && ok && claim.State.Terminal() && at.Sub(t.FailedSince) >= unreadEnd {
		r.giveUp(at, fmt.Sprintf("a notification says that it is %s, and Gantry could not read it for %s to confirm that: %s", claim.State, span(t.FailedSince, at), why))
	}
}

// Missing records that Spacelift does not know the run. It is followed for some
// time all the same: keys lose their access and get it back.
func (r *Record) Missing(at time.Time) {
	t := &r.Trust
	if t.MissingSince.IsZero() {
		t.MissingSince = at
		r.Note(at, KindNote, "%s; Gantry reads the run again until %s, and then stops following it", ReasonUnknown, r.missingUntil().Format(time.RFC3339))
	}
	t.Failed++
	t.TriedAt = at
	t.Next, t.Reason = at.Add(decide.Clamp(at.Sub(t.MissingSince)/2, missingFirst, missingLongest)), ReasonUnknown
	if until := r.missingUntil(); !at.Before(until) {
		r.giveUp(at, ReasonUnknown)
	} else if t.Next.After(until) {
		t.Next = until
	}
}

// missingUntil returns the time at which an execution stops following a run that
// Spacelift does not know.
func (r *Record) missingUntil() time.Time {
	if _, read := r.lastRead(); read || r.vouched() {
		return r.Trust.MissingSince.Add(missingFor)
	}
	return r.Trust.MissingSince.Add(strangerFor)
}

// vouched reports whether somebody other than a notification named the run: Gantry
// itself made it, or people decided about it.
func (r *Record) vouched() bool {
	return r.RetryOf != nil || len(r.Chains)+len(r.Behind)+len(r.Decisions) > 0
}

// Lost records that Reconcile gives the run up. It has waited for hours where the API
// had shown the run; where it had not and the run is vouched for, the execution
// waits for hours itself.
func (r *Record) Lost(at time.Time, why string) {
	if claim, ok := r.unread(); ok && claim.State.Terminal() {
		return // the run is read for its end first
	}
	if _, read := r.lastRead(); !read && r.vouched() {
		r.Missing(at)
		return
	}
	r.giveUp(at, why)
}

// found notes that Spacelift knows the run.
func (r *Record) found(at time.Time) {
	if !r.Trust.MissingSince.IsZero() {
		r.Trust.MissingSince = time.Time{}
		r.Note(at, KindNote, "Spacelift knows the run again")
	}
}

// ReasonUnknown is the reason that Gantry gives up a run that the API does not show.
const ReasonUnknown = "Spacelift does not know it: it was deleted, its stack was, or Gantry's API key may not see it"

// fresh reports whether the API showed the present state just now, so that
// Gantry may speak of it.
func (s *Situation) fresh() bool {
	return s.read && s.shown == s.Key() && s.Now.Sub(s.readAt) < freshFor
}

// readIfDoubted makes Gantry read the run where notifications give a reason to, before it
// waits or speaks. Acts read the run themselves, right before they change
// anything; but one for a state that may never have been would delay what the true
// state needs.
func (s *Situation) readIfDoubted(n Next) Next {
	if n.Do != DoFinish && n.What == "" { // the run has ended, and something follows from that
		n.What, n.Who, n.Then = WaitAnswer, "the operator of Gantry, if it takes long", "Gantry records how it ended"
	}
	switch {
	case n.Do == DoFinish || n.Do == DoRules:
		return n
	case !s.Trust.MissingSince.IsZero() && !s.State.Terminal():
		return s.awaitKnown()
	case s.fresh():
	case n.Do == DoAsk || n.Do == DoClock, n.Do == DoHold && s.Ask != nil && n.What != WaitGate && !s.Entered.Held && s.Trust.Failed == 0:
		return s.readFirst(n)
	}
	acts := n.Do != doWait && n.Do != DoHold && n.Do != DoAsk && n.Do != DoClock
	switch {
	case s.whyRead == "", acts && !s.doubted:
		return n
	case !s.Now.Before(s.Trust.Next):
		return s.readFirst(n)
	case acts:
		return n
	}
	n.Until = decide.Earlier(n.Until, s.Trust.Next)
	if n.What == WaitSpacelift {
		n.What, n.Who, n.Then = WaitAnswer, whoOperator, "Gantry reads the run again"
		n.Reason = fmt.Sprintf("%s; %s, and Gantry has not been able to read the run to confirm that: %s", n.Reason, s.whyRead, s.Trust.Reason)
	}
	return n
}

// readFirst reads the run first, or waits until it may be read.
func (s *Situation) readFirst(n Next) Next {
	if !s.Now.Before(s.Trust.Next) {
		n.Journal = false
		return n.to(DoRead)
	}
	if !n.Until.After(s.Now) {
		n.Until = time.Time{}
	}
	if n.Do == DoHold {
		n.Until = decide.Earlier(n.Until, s.Trust.Next)
		return n
	}
	held := hold(WaitAnswer, whoOperator, thenRetries, "Gantry could not read the run, and acts on no notification alone: %s", s.Trust.Reason)
	held.Until = decide.Earlier(n.Until, s.Trust.Next)
	if n.What == WaitSpacelift { // nothing of Gantry's own is in the way
		held.Do, held.Phase, held.What, held.Who, held.Journal = doWait, n.Phase, n.What, n.Who, false
		held.Reason, held.Then = n.Reason, n.Then
	}
	return held
}

// readBeforeShowing makes what people see of a state that asks for a decision wait until the
// API has shown that state.
func (s *Situation) readBeforeShowing(n Next) Next {
	switch n.Do {
	case DoHold:
		if s.Trust.Failed > 0 && !n.Until.IsZero() {
			return n // what is held for reads the run as well
		}
	case doWait, DoAsk, DoClock:
	default:
		return n
	}
	if s.read {
		return n
	}
	return s.readFirst(n)
}

// awaitKnown waits for Spacelift to know the run.
func (s *Situation) awaitKnown() Next {
	held := hold(WaitAnswer, whoOperator, "Gantry stops following the run, unless Spacelift knows it again before "+s.missingUntil.Format("2006-01-02 15:04 MST"),
		"%s (since %s)", ReasonUnknown, s.Trust.MissingSince.Format("2006-01-02 15:04 MST"))
	if !s.Now.Before(s.Trust.Next) {
		held.Do, held.Journal = DoRead, false
		return held
	}
	held.Until = s.Trust.Next
	return held
}

func (r *Record) NoteSilence(at time.Time, silence time.Duration, why string) {
	r.Note(at, KindNote, "there was no news of the run for %s, and Spacelift did not answer when asked: %s", silence, why)
}
