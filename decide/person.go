package decide

import "slices"

// Person is a person, or a machine, that acts through Gantry: always the bearer of
// a token, never a name from a request's body.
type Person struct {
	Name    string   `json:"name"`
	Aliases []string `json:"aliases,omitempty"` // other names and logins of the same person, at Spacelift and in version control
	Groups  []string `json:"groups,omitempty"`
}

// Is reports whether two are one person, as far as their names show.
func (p Person) Is(other Person) bool { return slices.ContainsFunc(p.Names(), other.IsCalled) }

// IsCalled reports whether a name is one of the person's.
func (p Person) IsCalled(name string) bool {
	return slices.ContainsFunc(p.Names(), func(n string) bool { return SameName(n, name) })
}

// Names returns all names of the person, the first one first.
func (p Person) Names() []string { return append([]string{p.Name}, p.Aliases...) }

// In reports whether the person belongs to a group.
func (p Person) In(group string) bool {
	return slices.ContainsFunc(p.Groups, func(g string) bool { return SameText(g, group) })
}
