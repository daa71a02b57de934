package managed

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// asking is one state of the run that asks for a decision, and how far Gantry
// is with it: a plan, or a review for Spacelift's own approval policies. A replan
// asks anew.
type asking struct {
	Key   StateKey  `json:"key"`
	Since time.Time `json:"since"` // when Gantry took it up, or had to ask anew: clocks count from here

	Stage    askingStage `json:"stage,omitempty"`
	Why      string      `json:"why,omitempty"`       // why the time is over, with stageExpired
	DuesDone time.Time   `json:"duesDone,omitzero"`   // reminders and escalations until then are done
	Notified bool        `json:"announced,omitempty"` // people were asked
	Asked    int         `json:"asked,omitempty"`     // how often: again when other people are asked, or an approval stopped counting

	// Review is the review that Gantry passes on to Spacelift's approval policies,
	// and Act what it asks Spacelift to do about the plan itself.
	Review request `json:"review,omitzero"`
	Act    request `json:"act,omitzero"`

	TooFew   bool   `json:"tooFew,omitempty"`   // fewer people may approve than must, as far as is known
	Resolved string `json:"resolved,omitempty"` // how it ended, once the run has gone on
}

// askingStage is how far people are with a state that asks for a decision.
type askingStage string

// The stages.
const (
	stageNew     askingStage = ""        // nothing but notifications told of it
	stageSeen    askingStage = "seen"    // the run was read
	stageAsked   askingStage = "asked"   // people are to decide
	stageKept    askingStage = "kept"    // the same, and the time is over
	stageEnough  askingStage = "enough"  // as many as must have approved: no clock runs
	stageExpired askingStage = "expired" // the time is over: the plan is to be discarded, or the run rejected
)

var askingStages = []askingStage{stageNew, stageSeen, stageAsked, stageKept, stageEnough, stageExpired}

// see takes that the run was read.
func (a *asking) see() bool {
	if a.Stage != stageNew {
		return false
	}
	a.Stage = stageSeen
	return true
}

// ask takes that people are asked.
func (a *asking) ask() bool {
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

// askAgain takes that other people are to be asked, or the same about something
// else: an approval no longer counts, or the group is another.
func (a *asking) askAgain() bool {
	if a.Stage == stageNew || a.Stage == stageSeen || a.Stage == stageExpired {
		return false
	}
	if a.Stage == stageAsked {
		a.Stage = stageSeen
	}
	a.Notified = false
	return true
}

// approve takes that enough people have approved.
func (a *asking) approve() bool {
	if a.Stage == stageEnough || a.Stage == stageExpired {
		return false
	}
	a.Stage = stageEnough
	return true
}

// doubt takes that fewer people approve than must, though enough had: people are
// asked anew and have the whole time, since no clock ran for them.
func (a *asking) doubt(at time.Time) bool {
	if a.Stage != stageEnough {
		return false
	}
	a.Stage, a.Since, a.Notified = stageSeen, at, false
	return true
}

// keep takes that the time is over and that the state goes on asking.
func (a *asking) keep() bool {
	if a.Stage == stageKept || a.Stage == stageEnough || a.Stage == stageExpired {
		return false
	}
	a.Stage = stageKept
	return true
}

// expire takes that the time is over, and why nothing more is waited for.
func (a *asking) expire(why string) bool {
	if a.Stage == stageEnough || a.Stage == stageExpired {
		return false
	}
	a.Stage, a.Why = stageExpired, why
	return true
}

// sending is the request that is on its way to Spacelift; nil if none is.
func (a *asking) sending() *request {
	for _, q := range []*request{&a.Review, &a.Act} {
		if q.State == requestSending {
			return q
		}
	}
	return nil
}

// did is what Spacelift was asked about the state as a whole, and accepted; empty
// for nothing. An approval of a plan is not: the plan is still to be confirmed.
func (a *asking) did() Action {
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

// maxAskings bounds how many are kept. Only the newest matters for decisions.
const maxAskings = 20

// decision is one that a person took, bound to what the person could see, and
// with what the person was then.
type decision struct {
	Decided

	Aliases []string         `json:"aliases,omitempty"`
	Groups  []string         `json:"groups,omitempty"`
	Delta   *spacelift.Delta `json:"delta,omitempty"`
	Commit  string           `json:"commit,omitempty"`
}

// maxDecisions bounds how many decisions are kept.
const maxDecisions = 100

// asks reports whether a state asks for a decision.
func asks(state spacelift.RunState, needsApproval bool) bool { return state.Asks(needsApproval) }

// asking returns what is kept of a state, nil if it never asked.
func (r *Record) asking(key StateKey) *asking {
	for i := range r.Askings {
		if r.Askings[i].Key == key {
			return &r.Askings[i]
		}
	}
	return nil
}

// present is what is kept of the state that the run is in, nil if it never asked.
func (r *Record) present() *asking {
	now, ok := r.current()
	if !ok {
		return nil
	}
	return r.asking(keyOfState(now))
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
	if asks(now.State, r.needsApproval(key)) && r.asking(key) == nil {
		r.Askings = append(r.Askings, asking{Key: key, Since: at})
		if len(r.Askings) > maxAskings {
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

// apiTold returns what the API told of a state, if it did.
func (r *Record) apiTold(key StateKey) (RunEvent, bool) {
	i := slices.IndexFunc(r.Events, func(e RunEvent) bool {
		return e.Source == SourceReconcile && keyOfState(e) == key
	})
	if i < 0 {
		return RunEvent{}, false
	}
	return r.Events[i], true
}

// needsApproval reports whether Spacelift's own approval policies keep the run
// in this state, as far as the API told.
func (r *Record) needsApproval(key StateKey) bool {
	e, ok := r.apiTold(key)
	return ok && e.NeedsApproval
}

// excluded are the names under which the run, or what it tries again, was
// triggered and its commit written, whoever told of them: a forged notification
// can add a name here but take none away.
func (r *Record) excluded(commit string) []string { return r.behind(commit, r.Events) }

// behind are the names of those behind the run, by these events of it.
func (r *Record) behind(commit string, events []RunEvent) []string {
	var said []string
	for _, e := range events {
		said = append(said, e.TriggeredBy)
		if e.Commit.Hash == commit {
			said = append(said, e.Commit.AuthorLogin, e.Commit.AuthorName)
		}
	}
	for _, c := range r.Chains {
		said = append(said, c.TriggeredBy...)
	}
	said = append(said, r.Behind...)
	names := Distinct(append(said, r.RetryOf.names()...))
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(strings.Compare(strings.ToLower(a), strings.ToLower(b)), strings.Compare(a, b))
	})
	return names
}

// take counts a decision that was not refused.
func (r *Record) TakeDecision(at time.Time, d Decision) {
	s := r.Facts()
	if d.Verdict == Revoke {
		for i := range r.Decisions {
			if was := &r.Decisions[i]; was.approves(StateKey{s.StateVersion, s.State}, d.By) {
				was.Revoked = true
			}
		}
	}
	taken := decision{
		Decided: Decided{
			Verdict: d.Verdict, By: decide.Fit(d.By.Name, decide.MaxName), Note: decide.Fit(d.Note, decide.MaxText), At: at, State: s.State, StateVersion: s.StateVersion,
		},
		Aliases: d.By.Aliases, Groups: d.By.Groups, Delta: s.Delta, Commit: s.Commit.Hash,
	}
	r.Decisions = append(r.Decisions, taken)
	if len(r.Decisions) > maxDecisions {
		// Rejections and revocations bind until the run has ended.
		oldest := max(0, slices.IndexFunc(r.Decisions, func(d decision) bool { return d.Verdict == Approve }))
		r.Decisions = slices.Delete(r.Decisions, oldest, oldest+1)
	}
	r.journal(at, KindPerson, taken.By, "%s %s%s", taken.By, pastTense(d.Verdict, s.State), decide.AfterColon(taken.Note))
}

func pastTense(v Verdict, state spacelift.RunState) string {
	what := "the plan"
	if state != spacelift.RunStateUnconfirmed {
		what = "the run"
	}
	switch v {
	case Approve:
		return "approved " + what
	case Reject:
		return "rejected " + what
	case Revoke:
		return "took back the approval"
	}
	return string(v)
}

// Recount notes whether enough people have approved.
func (r *Record) Recount(at time.Time) {
	ask := r.present()
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
				ask.askAgain()
			}
		}
		*was = d.Discounted
	}
	if tooFew := s.tooFewMay() != ""; tooFew != ask.TooFew {
		ask.TooFew = tooFew
		ask.askAgain()
	}
	switch {
	case s.enough():
		ask.approve()
	case ask.doubt(at):
		r.RulesStale = true
		r.Note(at, KindClock, "fewer have approved than must: people are asked anew, and the clocks begin anew")
	}
}

// FireDeadlines does what the clocks say about the state that asks now: reminders and
// escalations once, the latest reminder for all that were missed, and the end
// of the time.
func (r *Record) FireDeadlines(at time.Time) {
	s := r.Situation(at)
	ask := r.asking(s.Key())
	if ask == nil {
		return
	}
	var remind *policy.Deadline
	for _, due := range s.dues() {
		if due.At.After(at) {
			break
		}
		switch due.Kind {
		case policy.DeadlineRemind:
			remind = &due
		case policy.DeadlineEscalate:
			r.journal(at, KindClock, "", "nobody has decided for %s: %s is told", span(ask.Since, due.At), strings.Join(due.Notify, ", "))
			r.tellEscalated(s, at, due)
		case policy.DeadlineTimeout:
			ask.keep()
			r.journal(at, KindClock, "", "%s; the plan is kept", s.tooFew(due.Kind))
			r.tellKept(s, at, due)
		case policy.DeadlineDiscard:
			ask.expire(s.tooFew(due.Kind))
			r.journal(at, KindClock, "", "%s", ask.Why)
		}
	}
	if remind != nil && ask.Stage != stageExpired {
		r.journal(at, KindClock, "", "people are reminded: nobody has decided for %s", span(ask.Since, remind.At))
		r.tellReminder(s, at, *remind)
	}
	ask.DuesDone = at
}

func span(from, to time.Time) string {
	return policy.Duration(to.Sub(from).Round(time.Minute)).String()
}
