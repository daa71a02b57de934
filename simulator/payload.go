package simulator

import (
	"bytes"
	"encoding/json"

	"github.com/gantryhq/gantry/spacelift"
)

// runBody is the default body of a run notification, its fields in the order
// real ones have them (https://docs.spacelift.io/integrations/webhooks).
//
// Assumption: optional fields are left out when empty. The fault NullOptional
// sends them as null instead.
type runBody struct {
	Account         spacelift.Account  `json:"account"`
	State           spacelift.RunState `json:"state"`
	StateVersion    int                `json:"stateVersion"`
	Timestamp       int64              `json:"timestamp"`
	TimestampMillis int64              `json:"timestamp_millis,omitempty"`
	Note            optional[string]   `json:"note,omitzero"`
	Run             bodyRun            `json:"run"`
	Stack           bodyStack          `json:"stack"`
	WorkerPool      *bodyPool          `json:"workerPool,omitempty"`
	EventSource     string             `json:"event_source,omitempty"`
	EventType       string             `json:"event_type,omitempty"`
}

type bodyRun struct {
	ID             spacelift.RunID           `json:"id"`
	Branch         string                    `json:"branch"`
	Command        optional[string]          `json:"command,omitzero"`
	Commit         bodyCommit                `json:"commit"`
	CreatedAt      int64                     `json:"createdAt"`
	Delta          optional[spacelift.Delta] `json:"delta,omitzero"`
	DriftDetection *bool                     `json:"driftDetection,omitempty"`
	TriggeredBy    optional[string]          `json:"triggeredBy,omitzero"`
	Type           spacelift.RunType         `json:"type"`
	URL            string                    `json:"url,omitempty"`
}

type bodyCommit struct {
	AuthorLogin optional[string] `json:"authorLogin,omitzero"`
	AuthorName  string           `json:"authorName"`
	Hash        string           `json:"hash"`
	Message     string           `json:"message"`
	Timestamp   int64            `json:"timestamp"`
	URL         string           `json:"url"`
}

type bodyStack struct {
	ID          spacelift.StackID `json:"id"`
	Name        string            `json:"name"`
	Description string            `json:"description"`
	Labels      []string          `json:"labels"`
	Repository  string            `json:"repository,omitempty"`
	URL         string            `json:"url,omitempty"`
	VCS         string            `json:"vcs,omitempty"`
}

type bodyPool struct {
	Public bool     `json:"public"`
	Labels []string `json:"labels"`
	ID     string   `json:"id"`
	Name   string   `json:"name"`
}

// optional is a field that is left out (the zero value), null, or there.
type optional[T any] struct {
	value T
	state byte // absent, null, present
}

const (
	absent = iota
	null
	present
)

func some[T comparable](v T) optional[T] {
	var zero T
	if v == zero {
		return optional[T]{}
	}
	return optional[T]{value: v, state: present}
}

// MarshalJSON implements json.Marshaler; an absent value is left out by omitzero.
func (o optional[T]) MarshalJSON() ([]byte, error) {
	if o.state != present {
		return []byte("null"), nil
	}
	return json.Marshal(o.value)
}

func (o *optional[T]) orNull() {
	if o.state == absent {
		o.state = null
	}
}

// body returns the default body for the run's present state.
func (s *Simulator) body(r *run) runBody {
	now := r.History[len(r.History)-1]
	st := r.stack
	pool, public := s.pool(st)
	b := runBody{
		Account: s.opts.Account, State: now.State, StateVersion: now.StateVersion,
		Timestamp: now.At.Unix(), TimestampMillis: now.At.UnixMilli(), Note: some(now.Note),
		Run: bodyRun{
			ID: r.ID, Branch: r.Commit.Branch, Command: some(r.Command),
			Commit: bodyCommit{
				AuthorLogin: some(r.Commit.AuthorLogin), AuthorName: r.Commit.AuthorName, Hash: r.Commit.Hash,
				Message: r.Commit.Message, Timestamp: r.Commit.At.Unix(), URL: r.Commit.URL,
			},
			CreatedAt: r.CreatedAt.Unix(), DriftDetection: &r.Drift, TriggeredBy: some(r.TriggeredBy),
			Type: r.Type, URL: s.runURL(r),
		},
		Stack: bodyStack{
			ID: st.ID, Name: st.Name, Description: st.Description, Labels: append([]string{}, st.Labels...),
			Repository: st.Namespace + "/" + st.Repository, URL: s.stackURL(st.ID), VCS: st.Provider,
		},
		WorkerPool:  &bodyPool{Public: public, Labels: pool.Labels, ID: pool.ID, Name: pool.Name},
		EventSource: "spacelift",
		EventType:   "run_state_changed_event",
	}
	if r.Delta != nil {
		b.Run.Delta = optional[spacelift.Delta]{state: present, value: *r.Delta}
	}
	return b
}

// encode writes JSON as Spacelift's Go sender does: compact, with &, < and >
// escaped.
func encode(v any) []byte {
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(v); err != nil {
		panic(err) // only our own structs and decoded JSON are encoded
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// InternalError is a failure of Spacelift's own that policies are evaluated for.
type InternalError struct {
	Title    string `json:"title"`
	Body     string `json:"body"`
	Error    string `json:"error"`
	Severity string `json:"severity"` // INFO, WARNING or ERROR; ERROR when empty
	// Space is the space whose policies are evaluated; "root" when empty.
	Space string `json:"space,omitempty"`
}

// internalErrorBody is the default body of an internal error. It has neither
// run nor stack.
type internalErrorBody struct {
	Title    string            `json:"title"`
	Body     string            `json:"body"`
	Error    string            `json:"error"`
	Severity string            `json:"severity"`
	Account  spacelift.Account `json:"account"`
}
