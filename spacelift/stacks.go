package spacelift

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
	Autodeploy     bool     `json:"autodeploy,omitempty"`
	TrackedCommit  string   `json:"trackedCommit,omitempty"`

	Brakes
}

// LabelledStack is a stack and its labels.
type LabelledStack struct {
	ID     StackID  `json:"id"`
	Labels []string `json:"labels,omitempty"`
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
