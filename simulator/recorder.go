package simulator

import (
	"slices"
	"time"
)

// Request is a GraphQL request as it was received and answered.
type Request struct {
	At        time.Time `json:"at"`
	Kind      string    `json:"kind"`      // query or mutation
	Operation string    `json:"operation"` // the operation's name, if it has one
	Fields    []string  `json:"fields"`    // the root fields, such as "runConfirm"
	// Arguments are the arguments of the first root field, with its variables
	// filled in and its secrets taken out.
	Arguments map[string]any `json:"arguments,omitempty"`
	Actor     string         `json:"actor,omitempty"`    // "api::<key id>"
	Metadata  string         `json:"metadata,omitempty"` // Spacelift-User-Provided-Run-Metadata
	UserAgent string         `json:"userAgent,omitempty"`
	Status    int            `json:"status"`           // 0 when the answer was lost
	Errors    []string       `json:"errors,omitempty"` // of the GraphQL answer
	Fault     APIFaultKind   `json:"fault,omitempty"`
	// Executed reports that it was carried out, whatever the answer was.
	Executed bool `json:"executed"`
}

// Requests returns every GraphQL request received so far, oldest first.
func (s *Simulator) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Request, 0, len(s.requests))
	for _, r := range s.requests {
		all = append(all, *r)
	}
	return all
}

// Mutations returns the requests that sent a mutation and carried it out
// without an error: "confirmed exactly once" is len(sim.Mutations("runConfirm")) == 1.
func (s *Simulator) Mutations(field string) []Request {
	return slices.DeleteFunc(s.Requests(), func(r Request) bool {
		return r.Kind != "mutation" || !r.Executed || len(r.Errors) > 0 || !slices.Contains(r.Fields, field)
	})
}

func (s *Simulator) record(r *Request) {
	s.mu.Lock()
	s.requests = appendBounded(s.requests, r)
	s.mu.Unlock()
}

// outcome is the result of carrying out a request.
type outcome struct {
	errors   []string
	executed bool
	data     []byte // of the answer; nil if the request was not carried out
}

// or returns the outcome with this error, unless the request was carried out: then
// the error is only the answer of a fault.
func (o outcome) or(message string) outcome {
	if !o.executed {
		o.errors = []string{message}
	}
	return o
}

// answered completes a record.
func (s *Simulator) answered(r *Request, status int, done outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.Status, r.Errors, r.Executed = status, done.errors, done.executed
	if s.opts.Observer != nil {
		s.opts.Observer.RequestAnswered(*r, done.data)
	}
	s.touch()
}
