package history

import "time"

// Request is a request to Gantry's API, from before it was sent to its answer.
type Request struct {
	ID        string `json:"id,omitempty"`      // X-Request-Id of the answer
	Replica   string `json:"replica"`           // that it was sent to
	Who       string `json:"who"`               // name of the token
	Session   string `json:"session,omitempty"` // of a browser, in place of the token
	Operation string `json:"operation"`         // operationId of openapi/gantry.yaml, SignIn or SignOut
	Method    string `json:"method"`
	Path      string `json:"path"`          // with its query
	Key       string `json:"key,omitempty"` // Idempotency-Key
	Body      Raw    `json:"body,omitempty"`
	Stack     string `json:"stack,omitempty"`   // that the path names
	Run       string `json:"run,omitempty"`     // that the path names
	Status    int    `json:"status"`            // 0 when there was no answer: it may have counted
	Problem   string `json:"problem,omitempty"` // the last part of the problem's type
	Answer    Raw    `json:"answer,omitempty"`
	Error     string `json:"error,omitempty"` // of the connection
	Janitor   bool   `json:"janitor,omitempty"`

	// Unchanged says that Gantry answered 304: Answer is the one that it says is still
	// right, and Status is that one's.
	Unchanged bool `json:"unchanged,omitempty"`

	Contract string `json:"contract,omitempty"` // what of the answer doesn't fit openapi/gantry.yaml
}

// The operations of browsers, as the audit log names them. They are answered with 303.
const (
	SignIn  = "authenticate"
	SignOut = "signOut"
)

// Event is something that a reader of the event stream received, or the beginning or the
// end of a connection. A connection lasts from its Opened to its Closed.
type Event struct {
	Reader     string `json:"reader"`            // name of the token
	Session    string `json:"session,omitempty"` // in place of the token
	Connection int    `json:"connection"`        // of the reader, from 1
	Replica    string `json:"replica"`
	Name       string `json:"name"`            // Opened, Closed, or the name of an event such as run
	ID         string `json:"id,omitempty"`    // of the event; of Opened the Last-Event-ID that was sent
	Status     int    `json:"status"`          // of the answer
	Left       bool   `json:"left,omitempty"`  // of Closed: the reader hung up
	Stack      string `json:"stack,omitempty"` //
	Run        string `json:"run,omitempty"`   //
	State      string `json:"state,omitempty"` // of the run
	Phase      string `json:"phase,omitempty"` // of the run or the chain
}

// The names of what isn't an event of Gantry's.
const (
	Opened = "opened"
	Closed = "closed"
)

// Message is a notification that Gantry sent to a channel.
type Message struct {
	Channel string `json:"channel"`
	Format  string `json:"format"`         // webhook or slack
	ID      string `json:"id,omitempty"`   // webhook-id
	Type    string `json:"type,omitempty"` // such as run.decision_needed; webhooks alone have one
	Stack   string `json:"stack,omitempty"`
	Run     string `json:"run,omitempty"`
	State   string `json:"state,omitempty"`
	Signed  bool   `json:"signed,omitempty"` // the signature fits
	Status  int    `json:"status"`           // that the receiver answered; 0 when it hung up
	Body    Raw    `json:"body"`
}

// Process is an event of a process.
type Process struct {
	Name  string `json:"name"` // a replica, "worker" or "temporal"
	Event string `json:"event"`
	PID   int    `json:"pid,omitempty"`
	Error string `json:"error,omitempty"`
}

// The events of processes.
const (
	Started   = "started"
	Ready     = "ready"
	Killed    = "killed"    // by kill -9
	Asked     = "asked"     // to stop, by SIGTERM
	Ended     = "ended"     // after it was asked, or with an Error
	Paused    = "paused"    // by SIGSTOP
	Continued = "continued" // by SIGCONT
)

// Mishap is something that begins or ends to go wrong.
type Mishap struct {
	Kind   string `json:"kind"` // such as "api-429"
	On     bool   `json:"on"`
	Target string `json:"target,omitempty"`
	Detail string `json:"detail,omitempty"`

	Ahead time.Duration `json:"ahead,omitempty"` // of the clock of the target; negative: behind
}

// Execution is an execution in Temporal at the end of a batch.
type Execution struct {
	ID     string    `json:"id"`     // such as run/acme/network/01J…
	Type   string    `json:"type"`   // of the workflow
	Status string    `json:"status"` // as Temporal spells it: Running, Completed, …
	Stack  string    `json:"stack,omitempty"`
	Run    string    `json:"run,omitempty"`
	Start  time.Time `json:"start"`
	Events int       `json:"events"`
	Bytes  int       `json:"bytes"`
}

// Machine is a measurement of how busy the machine is, made every second.
type Machine struct {
	// Slowdown is the time that a piece of work took by the time that it would have taken
	// with a processor to itself.
	Slowdown float64 `json:"slowdown"`
}

// Usage is the memory and processor time of a process at a moment.
type Usage struct {
	Name  string        `json:"name"`
	RSS   int           `json:"rss"`             // bytes
	Spent time.Duration `json:"spent,omitempty"` // processor time so far, with that of killed predecessors
}

// Audit is an entry of a process's audit log, as it is at the end of a batch.
type Audit struct {
	Process   string `json:"process"`
	Sequence  int64  `json:"sequence"`
	By        string `json:"by"`
	Action    string `json:"action"` // operationId, or one of the words of docs/how-to/audit.md
	Stack     string `json:"stack,omitempty"`
	Run       string `json:"run,omitempty"`
	Result    string `json:"result"`
	RequestID string `json:"requestId,omitempty"`
	Detail    string `json:"detail,omitempty"`
}

// AuditLog is the result of gantry audit verify on the audit log of a process.
type AuditLog struct {
	Process string `json:"process"`
	Problem string `json:"problem,omitempty"` // empty if the log is whole
}
