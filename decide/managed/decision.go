package managed

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/spacelift"
)

// DecideUpdate takes a Decision and answers with the RunStatus once Gantry has
// done what follows from it, as far as that is possible immediately.
const DecideUpdate = "decide"

// Decision is a person's decision about a run that needs one.
type Decision struct {
	Verdict Verdict       `json:"verdict"`
	By      decide.Person `json:"by"`
	Note    string        `json:"note,omitempty"`

	// StateVersion is that of the plan the person saw; nil: the one there is now.
	StateVersion *int `json:"stateVersion,omitempty"`

	// Known is the state that Gantry knew when the request arrived, of a person who
	// named no StateVersion; zero if it didn't know the run.
	Known *StateKey `json:"known,omitempty"`

	// Key is the caller's idempotency key, if any: another decision under the
	// same key is refused.
	Key string `json:"key,omitempty"`
}

// Verdict is a person's answer.
type Verdict string

// The verdicts.
const (
	Approve Verdict = "approve"
	Reject  Verdict = "reject"
	Revoke  Verdict = "revoke" // of one's own approval, until the confirmation is sent
)

// Decided is a decision that was taken and counted.
type Decided struct {
	Verdict      Verdict            `json:"verdict"`
	By           string             `json:"by"`
	Note         string             `json:"note,omitempty"`
	At           time.Time          `json:"at"`
	State        spacelift.RunState `json:"state"`        // what it was about
	StateVersion int                `json:"stateVersion"` // of that state, so of the plan
	Revoked      bool               `json:"revoked,omitempty"`

	// Discounted is the reason that it does not count though it was not revoked,
	// as a sentence; empty while it counts.
	Discounted string `json:"discounted,omitempty"`
}

// StopUpdate takes a StopRequest and answers with the RunStatus.
const StopUpdate = "stop"

// StopRequest is a person's wish to end a run.
type StopRequest struct {
	By   decide.Person `json:"by"`
	Note string        `json:"note,omitempty"`
	Key  string        `json:"key,omitempty"` // see Decision.Key
}

// Content identifies what an idempotency key was used for. The caller counts by
// name alone: groups and aliases belong to the configuration.
func (d Decision) content() string {
	seen := "the current plan"
	if d.StateVersion != nil {
		seen = strconv.Itoa(*d.StateVersion)
	}
	return decide.Digest("decide", string(d.Verdict), d.By.Name, d.Note, seen)
}

func (r StopRequest) content() string { return decide.Digest("stop run", r.By.Name, r.Note) }

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

// TakeDecision counts a decision that was not refused. It changes nothing for a
// request that is repeated.
func (r *Record) TakeDecision(at time.Time, d Decision) {
	if !r.Keys.Remember(d.Key, d.content()) {
		return
	}
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

// count finds the decisions that count about the present state, by the rules in effect:
// a rule that changed after somebody decided, or an author who became known
// then, changes what the decision is worth. Those about another delta or commit
// were about something else.
//
// A rejection or a revocation binds until the run has ended: Gantry confirms no
// later plan of the run that people do not approve.
func (s *Situation) count(all []decision) {
	s.taken = all
	for i, d := range all {
		if d.Verdict == Reject || d.Verdict == Revoke {
			s.objection = &all[i]
		}
		s.Decisions[i].Discounted = ""
		if (StateKey{d.StateVersion, d.State}) != s.Key() || d.Revoked || d.Verdict == Revoke {
			continue
		}
		if why := s.discounts(d); why != "" {
			s.Decisions[i].Discounted = why
			s.discounted = append(s.discounted, fmt.Sprintf("%s's %s does not count: %s", d.By, noun(d.Verdict), why))
			continue
		}
		switch {
		case d.Verdict == Reject:
			s.rejected = &all[i]
		case !s.approvedBy(d.person()):
			s.approved = append(s.approved, d)
		}
	}
}

// discounts returns the reason that a decision about the present state does not
// count; empty if it counts.
func (s *Situation) discounts(d decision) string {
	if d.Verdict == Reject {
		if no := s.electorate().refuseGroup(d.person()); no != nil {
			return no.Reason
		}
		return ""
	}
	switch {
	case d.Commit != s.Commit.Hash:
		return fmt.Sprintf("it was given for commit %s, and the run works on %s", ShortHash(d.Commit), ShortHash(s.Commit.Hash))
	case bySize(d.Delta, s.Delta) != 0:
		return fmt.Sprintf("it was given for another plan (%s)", describeDelta(d.Delta))
	}
	if no := s.electorate().refuseApprover(d.person()); no != nil {
		return no.Reason
	}
	return ""
}

func noun(v Verdict) string {
	if v == Reject {
		return "rejection"
	}
	return "approval"
}

// approvedBy reports whether an approval of somebody's counts.
func (s *Situation) approvedBy(who decide.Person) bool {
	return slices.ContainsFunc(s.approved, func(d decision) bool { return d.person().Is(who) })
}

// approves reports whether it is somebody's approval of a state, and was not
// taken back.
func (d decision) approves(key StateKey, who decide.Person) bool {
	return d.Verdict == Approve && !d.Revoked && StateKey{d.StateVersion, d.State} == key && d.person().Is(who)
}

func (d decision) person() decide.Person {
	return decide.Person{Name: d.By, Aliases: d.Aliases, Groups: d.Groups}
}
