package managed

import (
	"slices"
	"strings"
	"unicode"

	"github.com/gantryhq/gantry/decide"
)

// Ballot is a decision that a run asks people for, as far as lists must know it: the
// verdicts that count now, and from whom. It is compact, because it is part of the memo
// that lists read.
type Ballot struct {
	Takes []Verdict `json:"takes"` // that count now, if the right person gives them
	Electorate

	Approved []BallotApproval `json:"approved,omitempty"` // of the present state, unless revoked
}

// Electorate is the people who decide about a run.
type Electorate struct {
	Group       string   `json:"group,omitempty"`       // that the stack's own approvers belong to; empty for anyone
	GroupOrigin string   `json:"groupOrigin,omitempty"` // what asks for the group
	Required    []string `json:"required,omitempty"`    // the groups that expressions of the policy ask for; "" for anyone

	// SelfApproval says that the people behind the run may approve it. Otherwise
	// Excluded has their names; with none, nobody may, because nobody knows who they are.
	SelfApproval bool     `json:"selfApproval,omitempty"`
	Excluded     []string `json:"excluded,omitempty"`
}

// BallotApproval is an approval of the present state.
type BallotApproval struct {
	Name    string   `json:"name"`
	Aliases []string `json:"aliases,omitempty"`
	Counts  bool     `json:"counts,omitempty"` // towards those needed
}

func (a BallotApproval) person() decide.Person {
	return decide.Person{Name: a.Name, Aliases: a.Aliases}
}

// Verdicts are all verdicts, in the order in which they are offered.
var Verdicts = []Verdict{Approve, Reject, Revoke}

// openBallot returns the decision that the run asks people for now; nil if it would take
// no verdict from anyone.
func (s *Situation) openBallot() *Ballot {
	b := s.ballot()
	for _, v := range Verdicts {
		if s.refuseNow(v) == nil && s.refuseAbout(v) == nil {
			b.Takes = append(b.Takes, v)
		}
	}
	if len(b.Approved) == 0 {
		b.Takes = slices.DeleteFunc(b.Takes, func(v Verdict) bool { return v == Revoke })
	}
	if len(b.Takes) == 0 {
		return nil
	}
	return &b
}

// ballot returns the people of the present state, without the verdicts that count.
func (s *Situation) ballot() Ballot {
	b := Ballot{Electorate: s.electorate()}
	for i, d := range s.taken {
		if d.Verdict == Approve && !d.Revoked && (StateKey{d.StateVersion, d.State}) == s.Key() {
			b.Approved = append(b.Approved, BallotApproval{Name: d.By, Aliases: d.Aliases, Counts: s.Decisions[i].Discounted == ""})
		}
	}
	return b
}

func (s *Situation) electorate() Electorate {
	e := Electorate{Group: s.Policy.Approvers.Value, GroupOrigin: s.Policy.Approvers.Origin, SelfApproval: s.Policy.SelfApproval.Value}
	if !e.SelfApproval {
		e.Excluded = s.excluded
	}
	if v := s.verdicts(); v != nil {
		for _, r := range v.Required {
			e.Required = append(e.Required, r.Group)
		}
	}
	return e
}

// Offers returns the verdicts that Gantry would take from somebody.
func (b *Ballot) Offers(by decide.Person) (all []Verdict) {
	if b == nil {
		return nil
	}
	for _, v := range b.Takes {
		if b.refuse(v, by) == nil {
			all = append(all, v)
		}
	}
	return all
}

// refuse says why a verdict of somebody's is not taken, as far as that depends on the
// person.
func (b *Ballot) refuse(v Verdict, by decide.Person) *decide.Refusal {
	switch v {
	case Approve:
		if slices.ContainsFunc(b.Approved, func(a BallotApproval) bool { return a.Counts && a.person().Is(by) }) {
			return decide.Refuse(ErrTypeAlreadyDecided, "%s has approved this plan already", by.Name)
		}
		return b.refuseApprover(by)
	case Revoke:
		if !slices.ContainsFunc(b.Approved, func(a BallotApproval) bool { return a.person().Is(by) }) {
			return decide.Refuse(ErrTypeNothingToRevoke, "there is no approval of yours to take back: %s has not approved this plan", by.Name)
		}
	case Reject:
		return b.refuseGroup(by)
	}
	return nil
}

// refuseApprover says why an approval of somebody's does not count.
func (e Electorate) refuseApprover(by decide.Person) *decide.Refusal {
	if no := e.refuseGroup(by); no != nil {
		return no
	}
	if e.SelfApproval {
		return nil
	}
	if len(e.Excluded) == 0 {
		return decide.Refuse(ErrTypeSelfApproval, "nobody knows who triggered this run or wrote its commit, so it cannot be ruled out that it was %s", by.Name)
	}
	if name, is := behindAs(by, e.Excluded); is {
		return decide.Refuse(ErrTypeSelfApproval, "%s triggered this run or wrote its commit (as %s), and somebody else has to approve it", by.Name, name)
	}
	return nil
}

// behindAs reports whether somebody is among the people behind a run, and by which of
// their names. A name that a chain has cut may be anyone's that begins so.
func behindAs(who decide.Person, behind []string) (as string, is bool) {
	for _, name := range who.Names() {
		if slices.ContainsFunc(behind, func(b string) bool { return decide.SameName(b, name) || mayBeCut(b, name) }) {
			return name, true
		}
	}
	return "", false
}

// mayBeCut reports whether a name that was cut to MaxPerson may have been another.
func mayBeCut(cut, name string) bool {
	begin, is := strings.CutSuffix(cut, "…")
	if !is || decide.TextSize(cut) < MaxPerson-len(`\u0000`) {
		return false
	}
	begin = strings.TrimRightFunc(begin, unicode.IsMark) // the cut may have left out others of the same letter
	return strings.HasPrefix(decide.NameKey(name), decide.NameKey(begin))
}

// refuseGroup says why somebody doesn't decide about the run at all.
func (e Electorate) refuseGroup(by decide.Person) *decide.Refusal {
	belongs := func(group string) bool { return group == "" || by.In(group) }
	if !belongs(e.Group) && !slices.ContainsFunc(e.Required, belongs) {
		return decide.Refuse(ErrTypeNotEntitled, "only the group %s decides about this stack's runs (%s), and %s is not in it", e.Group, e.GroupOrigin, by.Name)
	}
	return nil
}
