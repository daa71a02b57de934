package spacelift

import "slices"

// Stack is the present state of a stack in the API.
type Stack struct {
	Account        Account  `json:"account"`
	ID             StackID  `json:"id"`
	Name           string   `json:"name"`
	State          string   `json:"state"` // of its latest tracked run, mostly; NONE before any
	Labels         []string `json:"labels,omitempty"`
	Space          string   `json:"space"` // id
	Branch         string   `json:"branch,omitempty"`
	Repository     string   `json:"repository,omitempty"`
	Administrative bool     `json:"administrative,omitempty"`
	TrackedCommit  string   `json:"trackedCommit,omitempty"`

	Brakes
	Hold
}

// Hold is the part of a stack's settings that decides whether Spacelift holds a plan
// back until Gantry has reviewed it.
type Hold struct {
	Autodeploy bool             `json:"autodeploy,omitempty"`
	CanWrite   bool             `json:"canWrite,omitempty"` // Gantry's key may confirm and review
	Policies   []AttachedPolicy `json:"policies,omitempty"` // approval and plan policies
}

// Named returns the attached policies of a type, apart from the one of that name,
// and whether that one is attached.
func (h Hold) Named(ofType, name string) (others []AttachedPolicy, attached bool) {
	for _, p := range h.Policies {
		switch {
		case p.Type != ofType:
		case p.Name == name:
			attached = true
		default:
			others = append(others, p)
		}
	}
	return others, attached
}

// StackTraits are the properties of a stack, beside its labels, that sort it among
// others.
type StackTraits struct {
	Space          string // id
	Branch         string
	Administrative bool
}

// Traits returns the traits of the stack.
func (s Stack) Traits() StackTraits { return StackTraits{s.Space, s.Branch, s.Administrative} }

// LabelledStack is a stack with its labels and traits.
type LabelledStack struct {
	ID     StackID
	Labels []string
	StackTraits
}

// HeldStack is a stack, its labels and the settings that hold its plans back.
type HeldStack struct {
	LabelledStack
	Hold
}

// Viewer is the user or API key that Spacelift sees us as.
type Viewer struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Admin bool   `json:"admin"`
}

// Space is a node in the account's tree of permissions.
type Space struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Parent   string `json:"parent,omitempty"` // id; empty for root
	Inherits bool   `json:"inherits"`         // policies and webhooks of the parent reach it
}

// SpacesAbove returns a space and those above it, the nearest first, as far as the
// list of spaces goes.
func SpacesAbove(id string, spaces []Space) (path []string) {
	for id != "" && !slices.Contains(path, id) {
		path = append(path, id)
		i := slices.IndexFunc(spaces, func(s Space) bool { return s.ID == id })
		if i < 0 {
			break
		}
		id = spaces[i].Parent
	}
	return path
}
