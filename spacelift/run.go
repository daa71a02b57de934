package spacelift

import (
	"strings"
	"time"
)

// Commit is the version-control commit a run works on.
type Commit struct {
	Hash        string `json:"hash,omitempty"`
	Message     string `json:"message,omitempty"`
	AuthorLogin string `json:"authorLogin,omitempty"` // VCS login; empty when Spacelift doesn't know it
	AuthorName  string `json:"authorName,omitempty"`
	URL         string `json:"url,omitempty"`
}

// Delta counts the resources a plan would touch. Webhooks and GraphQL name
// these fields differently (added / addCount); this is the one spelling inside
// Gantry.
type Delta struct {
	Added     int `json:"added"`
	Changed   int `json:"changed"`
	Deleted   int `json:"deleted"`
	Resources int `json:"resources"`
}

// Run is a run as the API shows it now.
type Run struct {
	Ref            RunRef       `json:"ref"`
	Type           RunType      `json:"type"`
	State          RunState     `json:"state"`
	StateVersion   int          `json:"stateVersion"`    // ordinal of the state within the run, from 0; the newest history entry's
	Title          string       `json:"title,omitempty"` // what Spacelift's own pages call the run: a commit's first line, a command
	Branch         string       `json:"branch,omitempty"`
	Command        string       `json:"command,omitempty"` // of a task
	Commit         Commit       `json:"commit"`
	Delta          *Delta       `json:"delta,omitempty"` // nil before planning ended
	DriftDetection bool         `json:"driftDetection,omitempty"`
	TriggeredBy    string       `json:"triggeredBy,omitempty"` // empty for a push; else a login, "api::<key>", or an upstream stack id
	NeedsApproval  bool         `json:"needsApproval,omitempty"`
	CanConfirm     bool         `json:"canConfirm,omitempty"` // by our key
	CanRetry       bool         `json:"canRetry,omitempty"`   // by our key
	CreatedAt      time.Time    `json:"createdAt"`
	StackName      string       `json:"stackName,omitempty"`
	StackLabels    []string     `json:"stackLabels,omitempty"` // labels of the stack at the time of reading
	Brakes         Brakes       `json:"brakes,omitzero"`       // of the stack, at the same time
	History        []Transition `json:"history,omitempty"`     // oldest first
}

// Transition is one entry of a run's history: the run entered State.
type Transition struct {
	State        RunState  `json:"state"`
	StateVersion int       `json:"stateVersion"`
	At           time.Time `json:"at"`
	Username     string    `json:"username,omitempty"` // who did it; empty for a machine
	Note         string    `json:"note,omitempty"`
}

// IsAPIKey reports whether a name in a run or a stack is an API key's rather than
// a person's or a stack's.
func IsAPIKey(name string) bool { return strings.HasPrefix(name, "api::") }

// RunLine is a run as lists show it. It lacks the history, and with it the
// version of the state: read the Run before acting on one.
type RunLine struct {
	Ref            RunRef    `json:"ref"`
	Type           RunType   `json:"type"`
	State          RunState  `json:"state"`
	Title          string    `json:"title,omitempty"`
	Branch         string    `json:"branch,omitempty"`
	CommitHash     string    `json:"commitHash,omitempty"`
	DriftDetection bool      `json:"driftDetection,omitempty"`
	TriggeredBy    string    `json:"triggeredBy,omitempty"`
	NeedsApproval  bool      `json:"needsApproval,omitempty"`
	CreatedAt      time.Time `json:"createdAt"`
	StackName      string    `json:"stackName,omitempty"`
	StackLabels    []string  `json:"stackLabels,omitempty"`
	Brakes         Brakes    `json:"brakes,omitzero"` // of the stack; RunsInProgress alone lists them
}
