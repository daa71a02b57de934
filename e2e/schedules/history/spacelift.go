package history

import (
	"strconv"
	"strings"
	"time"
)

// Call is a GraphQL request to Spacelift, from its arrival to its answer.
type Call struct {
	Kind      string         `json:"kind"`      // query or mutation; "" for what isn't GraphQL
	Operation string         `json:"operation"` // such as "RunConfirm"
	Fields    []string       `json:"fields"`    // root fields, such as "runConfirm"
	Arguments map[string]any `json:"arguments,omitempty"`
	Actor     string         `json:"actor,omitempty"`
	Agent     string         `json:"agent,omitempty"`    // User-Agent
	Metadata  string         `json:"metadata,omitempty"` // of Spacelift-User-Provided-Run-Metadata
	Executed  bool           `json:"executed"`           // it was carried out, whatever the answer was
	Status    int            `json:"status"`             // 0 when there was no answer
	Errors    []string       `json:"errors,omitempty"`   // of the GraphQL answer
	Fault     string         `json:"fault,omitempty"`    // the mishap that struck it
	Stale     bool           `json:"stale,omitempty"`    // the answer shows the account as it was earlier
	Runs      []RunSeen      `json:"runs,omitempty"`     // in the answer
	Stacks    []StackSeen    `json:"stacks,omitempty"`   // in the answer
	Size      int            `json:"size"`               // of the answer, in bytes
}

// RunSeen is a run as an answer shows it. Version is that of the newest entry of
// its history, -1 if the answer has no history.
type RunSeen struct {
	Stack   string `json:"stack,omitempty"`
	Run     string `json:"run"`
	State   string `json:"state"`
	Version int    `json:"version"`
}

// StackSeen is a stack as an answer shows it. A nil Labels says that the answer
// doesn't show them.
type StackSeen struct {
	Stack    string   `json:"stack"`
	Labels   []string `json:"labels,omitempty"`
	LockedBy string   `json:"lockedBy,omitempty"`
	Disabled bool     `json:"disabled,omitempty"`
	Deleting bool     `json:"deleting,omitempty"`
}

// RunState is a state that a run entered.
type RunState struct {
	Stack    string    `json:"stack"`
	Run      string    `json:"run"`
	Type     string    `json:"type"` // PROPOSED, TRACKED, TASK, TESTING, DESTROY
	State    string    `json:"state"`
	Version  int       `json:"version"`
	By       string    `json:"by,omitempty"` // who moved it; empty for Spacelift itself
	Note     string    `json:"note,omitempty"`
	At       time.Time `json:"at"` // as Spacelift's history shows it
	Commit   string    `json:"commit,omitempty"`
	Branch   string    `json:"branch,omitempty"`
	Author   string    `json:"author,omitempty"`      // login of the commit's author
	Trigger  string    `json:"triggeredBy,omitempty"` // empty for a push
	Drift    bool      `json:"drift,omitempty"`
	Metadata []string  `json:"metadata,omitempty"`
	Delta    *Delta    `json:"delta,omitempty"`    // nil before the plan ended
	Destroys []string  `json:"destroys,omitempty"` // types of the resources that the plan deletes
	Retried  bool      `json:"retried,omitempty"`  // the run was made by a retry
}

// Delta counts the resources that a plan changes.
type Delta struct {
	Added   int `json:"added"`
	Changed int `json:"changed"`
	Deleted int `json:"deleted"`
}

// Total returns how many resources the plan changes.
func (d Delta) Total() int { return d.Added + d.Changed + d.Deleted }

// Stack is a stack after something about it changed.
type Stack struct {
	Stack      string   `json:"stack"`
	Space      string   `json:"space,omitempty"`
	Labels     []string `json:"labels"`
	Autodeploy bool     `json:"autodeploy,omitempty"`
	Approvals  int      `json:"approvals,omitempty"`
	LockedBy   string   `json:"lockedBy,omitempty"`
	LockNote   string   `json:"lockNote,omitempty"`
	Disabled   bool     `json:"disabled,omitempty"`
	Deleting   bool     `json:"deleting,omitempty"`
	Deleted    bool     `json:"deleted,omitempty"`
}

// Review is a review of a run in Spacelift.
type Review struct {
	Stack    string `json:"stack"`
	Run      string `json:"run"`
	Author   string `json:"author"`
	Decision string `json:"decision"` // APPROVE or REJECT
	State    string `json:"state"`    // of the run when it was reviewed
	Note     string `json:"note,omitempty"`
}

// Glass says whether the managed stacks of a space carry Gantry's approval policy from now
// on. The spaces of Batch.Enforced always do.
type Glass struct {
	Space string `json:"space"`
	Whole bool   `json:"whole"`
	By    string `json:"by,omitempty"` // who took the policy away or put it back
}

// Delivery is one attempt to deliver a notification to one replica, or a
// notification that never reached one.
type Delivery struct {
	ID      string `json:"id"` // of the notification; several attempts share it
	Stack   string `json:"stack,omitempty"`
	Run     string `json:"run,omitempty"`
	State   string `json:"state,omitempty"`
	Version int    `json:"version"`
	// Mishap is its fate: drop, double, delay, reorder, cut (Gantry has it, and
	// its answer was lost), or a forgery: forged-end, forged-ahead, forged-link,
	// forged-labels, forged-account, forged-state, forged-secret. Empty for none.
	Mishap  string `json:"mishap,omitempty"`
	Replica string `json:"replica,omitempty"` // that it was sent to
	Status  int    `json:"status"`            // of the replica's answer; 0 when there was none
	Answer  Raw    `json:"answer,omitempty"`
	Body    Raw    `json:"body,omitempty"` // of forgeries alone
}

// Forged reports whether Spacelift never sent this notification.
func (d Delivery) Forged() bool { return len(d.Mishap) > 7 && d.Mishap[:7] == "forged-" }

// Schedule returns the schedule of the one stack that the call is about; 0 if it
// is about several or none.
func (c *Call) Schedule() int {
	stack, _ := c.Arguments["stack"].(string)
	if id, isStack := c.Arguments["id"].(string); stack == "" && isStack {
		stack = id
	}
	if stack == "" && len(c.Stacks) == 1 {
		stack = c.Stacks[0].Stack
	}
	return ScheduleOf(stack)
}

// ScheduleOf returns the schedule that a stack belongs to: 12 for s12-a, and 0
// for a stack of none.
func ScheduleOf(stack string) int {
	number, _, found := strings.Cut(strings.TrimPrefix(stack, "s"), "-")
	if n, err := strconv.Atoi(number); err == nil && found {
		return n
	}
	return 0
}
