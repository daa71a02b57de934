package spacelift

import (
	"strings"
	"time"
)

// Commit is the version-control commit of a run.
type Commit struct {
	Hash        string `json:"hash,omitempty"`
	Message     string `json:"message,omitempty"`
	AuthorLogin string `json:"authorLogin,omitempty"` // VCS login; empty when Spacelift doesn't know it
	AuthorName  string `json:"authorName,omitempty"`
	URL         string `json:"url,omitempty"`
}

// Delta counts the resources that a plan would change. Webhooks and GraphQL name
// these fields differently (added, addCount); Gantry uses this one spelling.
type Delta struct {
	Added     int `json:"added"`
	Changed   int `json:"changed"`
	Deleted   int `json:"deleted"`
	Resources int `json:"resources"`
}

// Run is the present state of a run in the API.
type Run struct {
	Ref            RunRef       `json:"ref"`
	Type           RunType      `json:"type"`
	State          RunState     `json:"state"`
	StateVersion   int          `json:"stateVersion"`    // ordinal of the state within the run, from 0; the newest history entry's
	Title          string       `json:"title,omitempty"` // as in Spacelift's own pages: a commit's first line, a command
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
	Stack          StackTraits  `json:"-"`                     // at the same time; no part of what workflows keep
	Brakes         Brakes       `json:"brakes,omitzero"`       // of the stack, at the same time
	Hold           *Hold        `json:"hold,omitempty"`        // of the stack, at the same time; nil if not known
	History        []Transition `json:"history,omitempty"`     // oldest first
}

// Transition is one entry of a run's history: the run entered State.
type Transition struct {
	State        RunState  `json:"state"`
	StateVersion int       `json:"stateVersion"`
	At           time.Time `json:"at"`
	Username     string    `json:"username,omitempty"` // of the actor; empty for a machine
	Note         string    `json:"note,omitempty"`
}

// IsAPIKey reports whether a name in a run or a stack belongs to an API key, not
// to a person or a stack.
func IsAPIKey(name string) bool { return strings.HasPrefix(name, "api::") }

// RunLine is a run in a list. It lacks the history, and therefore the version of
// the state: read the Run before you act on it.
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
