package managed

import (
	"fmt"
	"slices"

	"github.com/gantryhq/gantry/decide"
)

// count says which decisions count about the present state, by what holds now:
// a rule that changed after somebody decided, or an author who became known
// then, changes what the decision is worth. Those about another delta or commit
// were about something else.
//
// A rejection or a revocation binds until the run has ended: Gantry confirms no
// later plan of the run by itself, and none that people do not approve.
func (s *Situation) count(all []decision) {
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

// discounts is why a decision about the present state does not count; empty if
// it does.
func (s Situation) discounts(d decision) string {
	if d.Verdict == Reject {
		if no := s.refuseGroup(d.person()); no != nil {
			return no.Reason
		}
		return ""
	}
	switch {
	case d.Commit != s.Commit.Hash:
		return fmt.Sprintf("it was given for commit %s, and the run works on %s", shortHash(d.Commit), shortHash(s.Commit.Hash))
	case bySize(d.Delta, s.Delta) != 0:
		return fmt.Sprintf("it was given for another plan (%s)", describeDelta(d.Delta))
	}
	if no := s.refusePerson(d.person()); no != nil {
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
func (s Situation) approvedBy(who decide.Person) bool {
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
