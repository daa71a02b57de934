package policy

import "github.com/gantryhq/gantry/decide"

// Approvers are those who may approve for one policy, sorted by name.
type Approvers struct {
	People []decide.Person `json:"people,omitempty"` // without their groups
}

// maxApprovers bounds how many are listed: with more, nobody needs to know that
// all of them are excluded.
const maxApprovers = 30

// Approvers returns the people who may approve for a group, by the configuration; an
// empty group is anyone. It returns nil if they are unknown: the configuration names
// no tokens, which other processes may have, or too many.
func (r *Definitions) Approvers(group string) *Approvers {
	if r == nil || len(r.approvers) == 0 {
		return nil
	}
	found := &Approvers{}
	for _, a := range r.approvers {
		if group == "" || a.In(group) {
			found.People = append(found.People, decide.Person{Name: a.Name, Aliases: a.Aliases})
		}
	}
	if len(found.People) > maxApprovers {
		return nil
	}
	return found
}
