package managed

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/policy"
)

// demand is a number of approvals that the present state needs from one group. The
// stack's own is the first, and has no reason; those of the policy's expressions follow.
type demand struct {
	policy.Required

	given []decision // approvals that fill it; each person's fills one demand
}

func (d demand) missing() int { return d.Needed - len(d.given) }

func (d demand) takes(who decide.Person) bool {
	return d.Group == "" || who.In(d.Group)
}

// String names the group that must approve.
func (d demand) String() string {
	if d.Group == "" {
		return "anyone whose token may approve"
	}
	return "anyone in the group " + d.Group
}

// demands returns the approvals that the present state needs, with those that people
// gave: as many as one approval of each person can fill. A run that somebody objected to
// is for people, whatever the policy says by now.
func (s *Situation) demands() []demand { return s.demandsOf(s.verdicts(), s.approved) }

// demandsOf returns the approvals that a plan with these verdicts needs, with those that
// were given.
func (s *Situation) demandsOf(v *policy.Verdicts, approved []decision) []demand {
	own := policy.Required{Needed: s.Policy.Approvals.Value, Group: s.Policy.Approvers.Value}
	if s.objection != nil {
		own.Needed = max(own.Needed, 1)
	}
	if s.rules != nil {
		own.Approvers = s.rules.Approvers
	}
	all := []demand{{Required: own}}
	if v != nil {
		for _, r := range v.Required {
			all = append(all, demand{Required: r})
		}
	}
	for _, approval := range approved {
		assign(all, approval, make([]bool, len(all)))
	}
	return all
}

// assign lets an approval fill a demand, and moves others to other demands where that
// makes room. (It looks for an augmenting path, as matchings in bipartite graphs do.)
func assign(all []demand, approval decision, tried []bool) bool {
	for i := range all {
		d := &all[i]
		if tried[i] || !d.takes(approval.person()) {
			continue
		}
		tried[i] = true
		if d.missing() > 0 {
			d.given = append(d.given, approval)
			return true
		}
		for j, other := range d.given {
			if assign(all, other, tried) {
				d.given[j] = approval
				return true
			}
		}
	}
	return false
}

// needed returns the number of approvals needed; 0 if Gantry counts none.
func (s *Situation) needed() int {
	_, needed := sums(s.demands())
	return needed
}

// given returns the number of approvals that count towards those needed.
func (s *Situation) given() int {
	given, _ := sums(s.demands())
	return given
}

// sums counts the approvals that fill demands, and those that they need.
func sums(demands []demand) (given, needed int) {
	for _, d := range demands {
		given, needed = given+len(d.given), needed+d.Needed
	}
	return given, needed
}

// enough reports whether as many people approved as must, of each group.
func (s *Situation) enough() bool {
	return !slices.ContainsFunc(s.demands(), func(d demand) bool { return d.missing() > 0 })
}

// missing says which approvals beside the stack's own are missing, each as "2 of dba:
// deletes aws_db_instance.main".
func (s *Situation) missing() (all []string) {
	for _, d := range s.demands()[1:] {
		if n := d.missing(); n > 0 {
			left := d.Required
			left.Needed = n
			all = append(all, left.String())
		}
	}
	return all
}

// takers names the groups whose approvals are still missing, each once.
func (s *Situation) takers() string {
	var groups []string
	for _, d := range s.demands() {
		switch {
		case d.missing() <= 0 || slices.Contains(groups, d.Group):
		case d.Group == "":
			return d.String()
		default:
			groups = append(groups, d.Group)
		}
	}
	switch len(groups) {
	case 0:
		return demand{Required: policy.Required{Group: s.Policy.Approvers.Value}}.String()
	case 1:
		return "anyone in the group " + groups[0]
	}
	return "anyone in the groups " + strings.Join(groups[:len(groups)-1], ", ") + " or " + groups[len(groups)-1]
}

// tooFewApprovers says why people can't give the approvals needed, as far as the
// approvers are known; empty if they can.
func (s *Situation) tooFewApprovers() string {
	if !s.peopleDecide() || !s.read || !s.rulesHere() {
		return ""
	}
	if !s.Policy.SelfApproval.Value && len(s.excluded) == 0 {
		return "nobody can approve it: Spacelift shows neither who triggered the run nor who wrote its commit, and nobody approves their own"
	}
	for _, d := range s.demands() {
		if why := s.tooFew(d); why != "" {
			return why
		}
	}
	return ""
}

// tooFew says why a group can't give the approvals that are needed of it.
func (s *Situation) tooFew(d demand) string {
	self, group := s.Policy.SelfApproval.Value, "with a token that may approve"
	if d.Group != "" {
		group = "in the group " + d.Group
	}
	if d.Approvers == nil || d.Needed == 0 {
		return ""
	}
	var may []string
	for _, p := range d.Approvers.People {
		if _, behind := behindAs(p, s.excluded); self || !behind {
			may = append(may, p.Name)
		}
	}
	const own = "triggered the run or wrote its commit"
	switch {
	case len(may) >= d.Needed:
		return ""
	case len(d.Approvers.People) == 0:
		return "nobody can approve it: there is nobody " + group
	case len(may) == 0:
		return fmt.Sprintf("nobody can approve it: everyone %s %s", group, own)
	case len(may) == len(d.Approvers.People):
		return fmt.Sprintf("only %s can approve it, and %s are needed", decide.Enumerate(may), approvalsOf(d.Needed))
	}
	return fmt.Sprintf("only %s can approve it, and %s are needed: everyone else %s %s", decide.Enumerate(may), approvalsOf(d.Needed), group, own)
}
