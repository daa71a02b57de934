package workflows

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// asking is one state of the run that asks for a decision, and how far Gantry
// is with it: a plan, or a review for Spacelift's own approval policies. A replan
// asks anew.
type asking struct {
	Key   stateKey  `json:"key"`
	Since time.Time `json:"since"` // when Gantry took it up, or had to ask anew: clocks count from here

	Looked    bool      `json:"looked,omitempty"`    // the run was read before people were asked, or that was tried
	Announced bool      `json:"announced,omitempty"` // people were asked
	Asked     int       `json:"asked,omitempty"`     // how often: again when other people are asked, or an approval stopped counting
	Held      bool      `json:"held,omitempty"`      // people were told that something holds it
	DuesDone  time.Time `json:"duesDone,omitzero"`   // reminders and escalations until then are done
	Kept      bool      `json:"kept,omitempty"`      // the time is over, and people were told that it is kept
	Enough    bool      `json:"enough,omitempty"`    // people have approved, as many as must: no clock runs
	Expired   string    `json:"expired,omitempty"`   // the time is over, and why it is to be discarded

	// Claimed is what is being sent to Spacelift: until its answer is there
	// nobody can take anything back.
	Claimed action `json:"claimed,omitempty"`

	// Note goes with the confirmation. It stays the same for as long as an
	// earlier attempt may have worked: by it that is recognized.
	Note string `json:"note,omitempty"`

	Reviewed spacelift.ReviewDecision `json:"reviewed,omitempty"` // what was passed on to Spacelift
	Done     action                   `json:"done,omitempty"`     // what Gantry did about it, with success

	Sought   bool   `json:"sought,omitempty"`   // the run was read for who decided elsewhere, or that was tried
	Resolved string `json:"resolved,omitempty"` // how it ended, once the run has gone on
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
func asks(state spacelift.RunState, needsApproval bool) bool {
	switch state {
	case spacelift.RunStateUnconfirmed, spacelift.RunStatePendingReview:
		return true
	case spacelift.RunStateQueued:
		return needsApproval
	}
	return false
}

// asking returns what is kept of a state, nil if it never asked.
func (r *record) asking(key stateKey) *asking {
	for i := range r.Askings {
		if r.Askings[i].Key == key {
			return &r.Askings[i]
		}
	}
	return nil
}

// present is what is kept of the state that the run is in, nil if it never asked.
func (r *record) present() *asking {
	now, ok := r.current()
	if !ok {
		return nil
	}
	return r.asking(keyOfState(now))
}

// arrive notes when the run came into the state it is in, as far as Gantry
// knows, and that the state asks for a decision.
func (r *record) arrive(at time.Time) {
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
	r.withdraw(at)
	r.resolve(at)
}

func keyOfState(e RunEvent) stateKey { return stateKey{e.StateVersion, e.State} }

// apiTold returns what the API told of a state, if it did.
func (r *record) apiTold(key stateKey) (RunEvent, bool) {
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
func (r *record) needsApproval(key stateKey) bool {
	e, ok := r.apiTold(key)
	return ok && e.NeedsApproval
}

// excluded are the names under which the run, or what it tries again, was
// triggered and its commit written, whoever told of them: a forged notification
// can add a name here but take none away.
func (r *record) excluded(commit string) []string {
	var said []string
	for _, e := range r.believed() {
		said = append(said, e.TriggeredBy)
		if e.Commit.Hash == commit {
			said = append(said, e.Commit.AuthorLogin, e.Commit.AuthorName)
		}
	}
	names := distinct(append(said, r.RetryOf.names()...))
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(strings.Compare(strings.ToLower(a), strings.ToLower(b)), strings.Compare(a, b))
	})
	return names
}

// take counts a decision that was not refused.
func (r *record) decided(at time.Time, d Decision) {
	s := r.facts()
	if d.Verdict == Revoke {
		for i := range r.Decisions {
			if was := &r.Decisions[i]; was.approves(stateKey{s.StateVersion, s.State}, d.By) {
				was.Revoked = true
			}
		}
	}
	taken := decision{
		Decided: Decided{
			Verdict: d.Verdict, By: fit(d.By.Name, maxName), Note: fit(d.Note, maxText), At: at, State: s.State, StateVersion: s.StateVersion,
		},
		Aliases: d.By.Aliases, Groups: d.By.Groups, Delta: s.Delta, Commit: s.Commit.Hash,
	}
	r.Decisions = append(r.Decisions, taken)
	if len(r.Decisions) > maxDecisions {
		r.Decisions = slices.Delete(r.Decisions, 0, 1)
	}
	r.journal(at, KindPerson, taken.By, "%s %s%s", taken.By, pastTense(d.Verdict, s.State), afterColon(taken.Note))
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

func afterColon(note string) string {
	if note == "" {
		return ""
	}
	return ": " + note
}

// recount notes whether enough people have approved. If they had and no longer
// do, people are asked anew and have the whole time: no clock ran for them while
// something else was waited for.
func (r *record) recount(at time.Time) {
	ask := r.present()
	if ask == nil {
		return
	}
	s := r.situation(at)
	if !s.peopleDecide() {
		return
	}
	for i, d := range s.Decisions {
		was := &r.Decisions[i].Discounted
		if d.Discounted != "" && *was == "" {
			r.note(at, KindRules, "%s's %s no longer counts: %s", d.By, noun(d.Verdict), d.Discounted)
			ask.Announced = ask.Announced && d.Verdict == Reject // an approval is asked for anew
		}
		*was = d.Discounted
	}
	if ask.Enough && !s.enough() {
		ask.Since, ask.Announced, r.RulesStale = at, false, true
		r.note(at, KindClock, "fewer have approved than must: people are asked anew, and the clocks begin anew")
	}
	ask.Enough = s.enough()
}

// strike does what the clocks say about the state that asks now: reminders and
// escalations once, the latest reminder for all that were missed, and the end
// of the time.
func (r *record) strike(at time.Time) {
	s := r.situation(at)
	ask := r.asking(s.key())
	if ask == nil {
		return
	}
	var remind *policy.Due
	for _, due := range s.dues() {
		if due.At.After(at) {
			break
		}
		switch due.Kind {
		case policy.DueRemind:
			remind = &due
		case policy.DueEscalate:
			r.journal(at, KindClock, "", "nobody has decided for %s: %s is told", span(ask.Since, due.At), strings.Join(due.Notify, ", "))
			r.tellEscalated(s, at, due)
		case policy.DueTimeout:
			ask.Kept = true
			r.journal(at, KindClock, "", "%s; the plan is kept", s.tooFew(due.Kind))
			r.tellKept(s, at, due)
		case policy.DueDiscard:
			ask.Expired = s.tooFew(due.Kind)
			r.journal(at, KindClock, "", "%s", ask.Expired)
		}
	}
	if remind != nil && ask.Expired == "" {
		r.journal(at, KindClock, "", "people are reminded: nobody has decided for %s", span(ask.Since, remind.At))
		r.tellReminder(s, at, *remind)
	}
	ask.DuesDone = at
}

func span(from, to time.Time) string {
	return policy.Duration(to.Sub(from).Round(time.Minute)).String()
}
