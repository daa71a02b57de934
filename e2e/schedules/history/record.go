package history

import (
	"encoding/json"
	"fmt"
	"time"
)

// Record is one line of a history. Exactly one of its pointers is set.
type Record struct {
	N     int           `json:"n"`     // position in the history, from 1
	Began time.Duration `json:"began"` // monotonic, since the batch began
	Ended time.Duration `json:"ended"` // equals Began for what takes no time
	At    time.Time     `json:"at"`    // wall time of the driver at the end

	// Schedule is the schedule that the record belongs to, from 1; 0 for what concerns
	// all of them.
	Schedule int `json:"schedule,omitempty"`

	Batch     *Batch     `json:"batch,omitempty"`
	Script    *Script    `json:"script,omitempty"`
	Phase     *Phase     `json:"phase,omitempty"`
	Step      *Step      `json:"step,omitempty"`
	Setup     *Setup     `json:"setup,omitempty"`
	Call      *Call      `json:"call,omitempty"`
	RunState  *RunState  `json:"runState,omitempty"`
	Stack     *Stack     `json:"stack,omitempty"`
	Review    *Review    `json:"review,omitempty"`
	Glass     *Glass     `json:"glass,omitempty"`
	Delivery  *Delivery  `json:"delivery,omitempty"`
	Request   *Request   `json:"request,omitempty"`
	Event     *Event     `json:"event,omitempty"`
	Message   *Message   `json:"message,omitempty"`
	Process   *Process   `json:"process,omitempty"`
	Mishap    *Mishap    `json:"mishap,omitempty"`
	Execution *Execution `json:"execution,omitempty"`
	Usage     *Usage     `json:"usage,omitempty"`
	Machine   *Machine   `json:"machine,omitempty"`
	Audit     *Audit     `json:"audit,omitempty"`
	AuditLog  *AuditLog  `json:"auditLog,omitempty"`
}

// Batch opens a history.
type Batch struct {
	Seed      uint64        `json:"seed"`
	Number    int           `json:"number,omitempty"` // in an endless series
	Schedules int           `json:"schedules"`
	Storm     time.Duration `json:"storm"` // its intended length
	Account   string        `json:"account"`
	Actor     string        `json:"actor"`     // Gantry's API key, as Spacelift names it in histories and locks
	Reconcile time.Duration `json:"reconcile"` // Gantry's interval: the "tick" of all bounds
	Poll      time.Duration `json:"poll"`      // the driver's own interval
	Replicas  []string      `json:"replicas"`  // names of the processes that receive webhooks
	Enforced  []string      `json:"enforced"`  // spaces whose managed stacks carry Gantry's two policies
}

// Setup is Gantry's configuration, as far as policy depends on it. A later one
// replaces the earlier one when the record ends; between its beginning and its
// end, each process uses one or the other.
type Setup struct {
	DependsOn bool      `json:"dependsOn,omitempty"` // depends-on labels count as gantry:after
	ReadLogs  bool      `json:"readLogs,omitempty"`
	Profiles  []Profile `json:"profiles"`
	Floors    []Floor   `json:"floors,omitempty"`
	Windows   []Window  `json:"windows"`
	Channels  []string  `json:"channels"`
	People    []Person  `json:"people"`
}

// Profile mirrors the profile of Gantry's configuration; docs/reference/configuration.md
// says what each member means and its default. Durations are Gantry's text, such as 1m.
type Profile struct {
	Name            string            `json:"name" yaml:"name"`
	Confirm         string            `json:"confirm,omitempty" yaml:"confirm,omitempty"`
	Limits          *Limits           `json:"limits,omitempty" yaml:"limits,omitempty"`
	Types           []string          `json:"types,omitempty" yaml:"types,omitempty,flow"`
	Drift           *bool             `json:"drift,omitempty" yaml:"drift,omitempty"`
	Approvals       int               `json:"approvals,omitempty" yaml:"approvals,omitempty"`
	Approvers       string            `json:"approvers,omitempty" yaml:"approvers,omitempty"`
	ApprovalsWhen   []ApprovalWhen    `json:"approvalsWhen,omitempty" yaml:"approvalsWhen,omitempty"`
	ConfirmBelow    Below             `json:"confirmBelow,omitempty" yaml:"confirmWhen,omitempty"`
	HoldsDestroying Destroying        `json:"holdsDestroying,omitempty" yaml:"holdWhen,omitempty"`
	SelfApproval    *bool             `json:"selfApproval,omitempty" yaml:"selfApproval,omitempty"`
	ApprovalTimeout string            `json:"approvalTimeout,omitempty" yaml:"approvalTimeout,omitempty"`
	OnTimeout       string            `json:"onTimeout,omitempty" yaml:"onTimeout,omitempty"`
	Reminders       string            `json:"reminders,omitempty" yaml:"reminders,omitempty"`
	Windows         []string          `json:"windows,omitempty" yaml:"windows,omitempty,flow"`
	Notify          []string          `json:"notify,omitempty" yaml:"notify,omitempty,flow"`
	Retries         *int              `json:"retries,omitempty" yaml:"retries,omitempty"`
	RetryCauses     []string          `json:"retryCauses,omitempty" yaml:"retryCauses,omitempty,flow"`
	RetryBackoff    string            `json:"retryBackoff,omitempty" yaml:"retryBackoff,omitempty"`
	RetryAfterApply *bool             `json:"retryAfterApply,omitempty" yaml:"retryAfterApply,omitempty"`
	OldPlans        string            `json:"oldPlans,omitempty" yaml:"oldPlans,omitempty"`
	Deadlines       map[string]string `json:"deadlines,omitempty" yaml:"deadlines,omitempty"`
}

// ApprovalWhen are approvals that a plan needs besides the stack's own. The expression is
// true of plans that destroy a resource of the type; it is derived from the type, so that
// the model needs no interpreter.
type ApprovalWhen struct {
	Destroys string `json:"destroys" yaml:"-"`
	When     string `json:"when" yaml:"when"`
	Needed   int    `json:"needed" yaml:"needed"`
	Group    string `json:"group,omitempty" yaml:"group,omitempty"`
}

// Below is an expression that is true of plans with fewer changes; 0 is none. Like
// Destroying, it is a value and not a text, so that the model needs no interpreter.
type Below int

// MarshalYAML returns the expression.
func (b Below) MarshalYAML() (any, error) { return fmt.Sprintf("plan.total < %d", b), nil }

// Destroying is an expression that is true of plans that destroy a resource of the type;
// empty for none.
type Destroying string

// MarshalYAML returns the expression.
func (d Destroying) MarshalYAML() (any, error) {
	return fmt.Sprintf("resources.exists(r, r.destroys && r.type == %q)", string(d)), nil
}

// WhenDestroyed returns approvals of plans that destroy a resource of a type.
func WhenDestroyed(resource string, needed int, group string) ApprovalWhen {
	return ApprovalWhen{Destroys: resource, When: fmt.Sprintf("resources.exists(r, r.destroys && r.type == %q)", resource), Needed: needed, Group: group}
}

// Floor is a locked rule of Gantry's configuration: labels can only tighten the values
// of its profile, on all stacks or on those of some spaces.
type Floor struct {
	Name    string   `json:"name"`
	Spaces  []string `json:"spaces,omitempty"` // with those below them
	Profile string   `json:"profile"`
}

// Limits are the most resources of a plan that Gantry confirms alone; nil is no limit.
type Limits struct {
	MaxAdded   *int `json:"maxAdded,omitempty" yaml:"maxAdded,omitempty"`
	MaxChanged *int `json:"maxChanged,omitempty" yaml:"maxChanged,omitempty"`
	MaxDeleted *int `json:"maxDeleted,omitempty" yaml:"maxDeleted,omitempty"`
}

// Window is a window without recurrence rules: open during each of Allow, or
// always if there is none, and closed during each of Deny.
type Window struct {
	Name  string   `json:"name"`
	Allow []Period `json:"allow,omitempty"`
	Deny  []Period `json:"deny,omitempty"`
}

// Period includes its start and excludes its end.
type Period struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
}

// Person is somebody who uses Gantry's API.
type Person struct {
	Name    string   `json:"name"`              // of the token, or by the issuer
	Role    string   `json:"role,omitempty"`    // viewer, approver, operator or admin, everywhere; none if empty
	Scopes  []Scope  `json:"scopes,omitempty"`  // where the bearer has which roles besides
	Groups  []string `json:"groups,omitempty"`  //
	Aliases []string `json:"aliases,omitempty"` // logins of the same person in Spacelift and in version control
	Signs   string   `json:"signs,omitempty"`   // who vouches for the bearer: Issuer, Stranger, or a token of Gantry's own when empty
	Revoked bool     `json:"revoked,omitempty"` // the token no longer counts
	Person  string   `json:"person,omitempty"`  // shared by all tokens of one person; Name when empty
}

// Who vouches for people that have no token of Gantry's own.
const (
	Issuer   = "issuer"   // the issuer that Gantry trusts
	Stranger = "stranger" // another key than the issuer's
)

// Scope is a role that holds for some stacks: those that fit each member that is given.
type Scope struct {
	Role   string   `json:"role"`
	Spaces []string `json:"spaces,omitempty"` // with those below them
	Stacks []string `json:"stacks,omitempty"` // * stands for any text
	Labels []string `json:"labels,omitempty"` // that the stack has, as Spacelift shows it
}

// Script is a schedule as its seed made it.
type Script struct {
	Seed   uint64        `json:"seed"`
	Kind   string        `json:"kind"` // the story it varies, such as "chain"
	Stacks []ScriptStack `json:"stacks"`
	Steps  []ScriptStep  `json:"steps"`
}

// ScriptStack is a stack as it is at the start of a schedule.
type ScriptStack struct {
	ID         string   `json:"id"`
	Space      string   `json:"space,omitempty"` // root if empty
	Labels     []string `json:"labels"`
	Autodeploy bool     `json:"autodeploy,omitempty"`
	Approvals  int      `json:"approvals,omitempty"` // of a native approval policy
	WorkerPool bool     `json:"workerPool,omitempty"`
	Module     bool     `json:"module,omitempty"`
	DependsOn  []string `json:"dependsOn,omitempty"` // native dependencies
}

// ScriptStep is one thing that a schedule does. Arguments depend on Do.
type ScriptStep struct {
	After time.Duration     `json:"after,omitempty"` // after the step before, or the beginning
	Until string            `json:"until,omitempty"` // what it waits for then, within limits; empty for nothing
	With  bool              `json:"with,omitempty"`  // at the same instant as the step before; After and Until are empty
	Do    string            `json:"do"`
	Who   string            `json:"who,omitempty"` // a person; empty for the world
	Stack string            `json:"stack,omitempty"`
	Args  map[string]string `json:"args,omitempty"`
}

// Step says that a step of a script was taken. Its effects have records of their own.
type Step struct {
	Index int    `json:"index"` // in the script, from 0
	Do    string `json:"do"`
	Who   string `json:"who,omitempty"`
	Stack string `json:"stack,omitempty"`
	Run   string `json:"run,omitempty"`   // the run that it made or acted on
	Error string `json:"error,omitempty"` // of the simulator or of the way there; an answer of Gantry's is none
}

// Phase opens a phase of a batch.
type Phase struct {
	Name string `json:"name"`
	// Moving says that runs and executions still ended when the time of the batch was
	// over: the machine was too slow for it.
	Moving bool `json:"moving,omitempty"`
}

// The phases of a batch.
const (
	Storm   = "storm"   // schedules begin, and everything goes wrong
	Calm    = "calm"    // nothing goes wrong any more; the janitor works
	Settled = "settled" // everything has ended, or the bound has passed
)

// Raw is JSON as it was received, or a JSON string of it if it wasn't JSON: see RawOf.
type Raw = json.RawMessage
