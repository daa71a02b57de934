package simulator

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/gantryhq/gantry/spacelift"
)

const rootSpace = "root"

// Space is a space; stacks, policies and named webhooks live in one.
type Space struct {
	ID              string   `json:"id"`     // a slug of Name and a random suffix when empty
	Name            string   `json:"name"`   //
	Parent          string   `json:"parent"` // "root" when empty
	InheritEntities bool     `json:"inheritEntities"`
	Labels          []string `json:"labels"`
	Description     string   `json:"description"`
}

// WorkerPool is a private worker pool. Its size is not simulated.
type WorkerPool struct {
	ID     string   `json:"id"`
	Name   string   `json:"name"`
	Labels []string `json:"labels"`
}

// Stack is a stack, or a module when Module is set, as its owner configures it.
type Stack struct {
	ID          spacelift.StackID `json:"id"` // a slug of Name when empty
	Name        string            `json:"name"`
	Description string            `json:"description,omitempty"`
	Space       string            `json:"space,omitempty"` // id; "root" when empty
	Labels      []string          `json:"labels"`
	Repository  string            `json:"repository,omitempty"` // without the owner; "infra" when empty
	Namespace   string            `json:"namespace,omitempty"`  // the repository's owner; the account's name when empty
	Branch      string            `json:"branch,omitempty"`     // "main" when empty
	Provider    string            `json:"provider,omitempty"`   // "GITHUB" when empty
	ProjectRoot string            `json:"projectRoot,omitempty"`
	WorkerPool  string            `json:"workerPool,omitempty"` // id; the public pool when empty
	Module      bool              `json:"module,omitempty"`

	Autodeploy bool `json:"autodeploy"`
	// NoPromotion switches "allow run promotion" off.
	NoPromotion bool `json:"noPromotion,omitempty"`
	// Approvals is the number of different people that an attached approval policy asks
	// for; 0 means that none is attached. Each rejection fails the run.
	Approvals int `json:"approvals,omitempty"`
	// ApproveQueued makes the approval policy ask in QUEUED as well. With
	// Autodeploy it asks only there
	// (https://docs.spacelift.io/concepts/policy/approval-policy).
	ApproveQueued bool `json:"approveQueued,omitempty"`
	// Drift schedules drift checks; none when it is empty.
	Drift DriftDetection `json:"drift,omitzero"`
	// BlockerLag is the time that the stack's slot stays taken after a run has ended;
	// Options.BlockerLag when 0.
	BlockerLag Duration `json:"blockerLag,omitempty"`
	// Resources is the number of resources that the stack manages now.
	Resources int `json:"resources,omitempty"`
	// Plan is the plan of runs that have no script of their own.
	Plan Plan `json:"plan,omitzero"`
}

// Verdict is the decision of plan policies about a plan.
type Verdict string

// The verdicts. A warning stops an autodeploying run for confirmation, and
// sends a proposed one to review if an approval policy is attached; a denial
// fails the run (https://docs.spacelift.io/concepts/policy/terraform-plan-policy).
const (
	Allow Verdict = "allow" // an empty verdict too
	Warn  Verdict = "warn"
	Deny  Verdict = "deny"
)

// Plan scripts a run: its changes and its failures.
type Plan struct {
	// Delta counts the changes; those of Changes when all are zero, and a run
	// without changes when there are none of these either. Resources is the
	// stack's own count when zero.
	Delta spacelift.Delta `json:"delta"`
	// Changes lists the resources; made up from Delta when nil.
	Changes []Change `json:"changes,omitzero"`
	// Verdict and Messages are the decision of the plan policies.
	Verdict  Verdict  `json:"verdict,omitempty"`
	Messages []string `json:"messages,omitempty"`
	// FailIn is a state at whose end the run fails, with FailNote as its note.
	FailIn   spacelift.RunState `json:"failIn,omitempty"`
	FailNote string             `json:"failNote,omitempty"`
	// Outputs are the stack's outputs once this run has applied.
	Outputs map[string]string `json:"outputs,omitempty"`
	// Phases overrides Options.Phases for this run, state by state.
	Phases Phases `json:"phases,omitempty"`
	// Logs are the lines a state writes; made up when a state has none.
	Logs map[spacelift.RunState][]string `json:"logs,omitempty"`
	// IgnoreStop makes the worker ignore runStop.
	IgnoreStop bool `json:"ignoreStop,omitempty"`
	// StopLag is the time that the worker takes to obey runStop; Options.StopLag when 0.
	StopLag Duration `json:"stopLag,omitempty"`
}

// UnmarshalJSON reads durations as Go writes them: {"PLANNING": "1.5s"}.
func (p *Phases) UnmarshalJSON(data []byte) error {
	var text map[spacelift.RunState]string
	if err := json.Unmarshal(data, &text); err != nil {
		return err
	}
	*p = make(Phases, len(text))
	for state, s := range text {
		d, err := time.ParseDuration(s)
		if err != nil {
			return fmt.Errorf("duration of %s: %w", state, err)
		}
		(*p)[state] = d
	}
	return nil
}

// MarshalJSON is the inverse of UnmarshalJSON.
func (p Phases) MarshalJSON() ([]byte, error) {
	text := make(map[spacelift.RunState]string, len(p))
	for state, d := range p {
		text[state] = d.String()
	}
	return json.Marshal(text)
}

// clone returns a plan that can be changed without p: plans are shared by
// stacks, runs and retries.
func (p Plan) clone() Plan {
	p.Changes = slices.Clone(p.Changes)
	for i := range p.Changes {
		p.Changes[i].Values = maps.Clone(p.Changes[i].Values)
	}
	p.Messages = slices.Clone(p.Messages)
	p.Outputs, p.Phases, p.Logs = maps.Clone(p.Outputs), maps.Clone(p.Phases), maps.Clone(p.Logs)
	return p
}

// Commit is a pushed commit. Empty fields are made up.
type Commit struct {
	Hash        string    `json:"hash,omitempty"`
	Message     string    `json:"message,omitempty"`
	AuthorLogin string    `json:"authorLogin,omitempty"`
	AuthorName  string    `json:"authorName,omitempty"`
	Branch      string    `json:"branch,omitempty"` // the stack's when empty; any other makes a proposed run
	URL         string    `json:"url,omitempty"`
	At          time.Time `json:"at,omitzero"`
}

// stack is a stack and everything that happened to it.
type stack struct {
	stackRecord

	settings stackSettings
	blocker  *run
	runs     []*run // oldest first
	waiting  []*run // those in QUEUED, oldest first
	webhooks []*stackWebhook
}

// stackRecord is the part of a stack that a snapshot holds as it is.
type stackRecord struct {
	Stack `json:"stack"`

	ManagesState bool               `json:"managesState,omitempty"`
	Config       []configElement    `json:"config,omitempty"`
	CreatedAt    time.Time          `json:"createdAt"`
	State        spacelift.RunState `json:"state"` // "NONE" before the first tracked run
	StateAt      time.Time          `json:"stateAt,omitzero"`
	Outputs      map[string]string  `json:"outputs,omitempty"`
	NextPlans    []Plan             `json:"nextPlans,omitempty"`
	Tracked      *Commit            `json:"tracked,omitempty"`
	TrackedSetBy string             `json:"trackedSetBy,omitempty"`
	LockedBy     string             `json:"lockedBy,omitempty"`
	LockedAt     time.Time          `json:"lockedAt,omitzero"`
	LockNote     string             `json:"lockNote,omitempty"`
	Disabled     bool               `json:"disabled,omitempty"`
	Deleting     bool               `json:"deleting,omitempty"`
	Deleted      bool               `json:"deleted,omitempty"`
}

// run is a run and everything that happened to it.
type run struct {
	runRecord

	sim        *Simulator
	stack      *stack
	upstream   []*run // runs it waits for
	downstream []*run // runs that wait for it
	timer      *timer // until its phase ends
}

// runRecord is the part of a run that a snapshot holds as it is.
type runRecord struct {
	ID          spacelift.RunID        `json:"id"`
	Type        spacelift.RunType      `json:"type"`
	Plan        Plan                   `json:"plan"`
	Commit      Commit                 `json:"commit"`
	Command     string                 `json:"command,omitempty"`
	CreatedAt   time.Time              `json:"createdAt"`
	UpdatedAt   time.Time              `json:"updatedAt"`
	History     []spacelift.Transition `json:"history"`           // oldest first; StateVersion is the index
	Delta       *spacelift.Delta       `json:"delta,omitempty"`   // nil before planning ended
	Planned     bool                   `json:"planned,omitempty"` // plan policies have decided
	Verdict     Verdict                `json:"verdict,omitempty"` // of plan policies; see judgePlan
	Messages    []string               `json:"messages,omitempty"`
	TriggeredBy string                 `json:"triggeredBy,omitempty"`
	By          string                 `json:"by,omitempty"`      // its creator, for locks; empty for a push
	Session     *session               `json:"session,omitempty"` // its creator's; nil for a push and for Spacelift's own machines
	Drift       bool                   `json:"drift,omitempty"`
	Metadata    []string               `json:"metadata,omitempty"`
	Reviews     []Review               `json:"reviews,omitempty"`
	Comments    []Comment              `json:"comments,omitempty"`
	SkipInit    bool                   `json:"skipInit,omitempty"`
	Retried     bool                   `json:"retried,omitempty"` // made by runRetry: dependents don't follow
	Prioritized bool                   `json:"prioritized,omitempty"`
	ForceApply  string                 `json:"forceApply,omitempty"`
	Settled     bool                   `json:"settled,omitempty"`  // has been QUEUED for its time
	Chain       string                 `json:"chain"`              // shared by the runs that one push or trigger has queued on dependents
	Pushed      bool                   `json:"pushed,omitempty"`   // has a reason to run of its own
	Released    bool                   `json:"released,omitempty"` // dependencies no longer hold it
	External    []string               `json:"external,omitempty"`
	Applied     bool                   `json:"applied,omitempty"`
	ChangedBy   map[string]bool        `json:"changedBy,omitempty"` // outputs this run has changed
}

// newRun returns a run of the stack that begin can queue.
func (st *stack) newRun(kind spacelift.RunType, plan Plan, commit Commit) *run {
	return &run{stack: st, runRecord: runRecord{Type: kind, Plan: plan, Commit: commit}}
}

// Review is one person's review of a run.
type Review struct {
	ID       string             `json:"id"`
	Author   string             `json:"author"`
	Decision string             `json:"decision"` // APPROVE or REJECT
	Note     string             `json:"note,omitempty"`
	State    spacelift.RunState `json:"state"` // the run's when it was reviewed
	At       time.Time          `json:"at"`
}

// Comment is a comment on a run.
type Comment struct {
	Author string    `json:"author"`
	Body   string    `json:"body"`
	At     time.Time `json:"at"`
}

// Run is a run at one moment, for tests and the lab.
type Run struct {
	spacelift.Run
	Command  string             `json:"command,omitempty"`
	Metadata []string           `json:"metadata,omitempty"` // from Spacelift-User-Provided-Run-Metadata
	Reviews  []Review           `json:"reviews,omitempty"`
	Comments []Comment          `json:"comments,omitempty"`
	WaitsFor []spacelift.RunRef `json:"waitsFor,omitempty"` // upstream runs
	Unmet    []string           `json:"externalDependencies,omitempty"`
	Retried  bool               `json:"retried,omitempty"` // made by a retry of another run
	Plan     Plan               `json:"plan"`
}

// StackStatus is a stack at one moment.
type StackStatus struct {
	Stack
	State         spacelift.RunState `json:"state"`
	Blocker       spacelift.RunID    `json:"blocker,omitempty"`
	LockedBy      string             `json:"lockedBy,omitempty"`
	LockedAt      time.Time          `json:"lockedAt,omitzero"`
	LockNote      string             `json:"lockNote,omitempty"`
	Disabled      bool               `json:"disabled,omitempty"`
	Deleting      bool               `json:"deleting,omitempty"`
	Deleted       bool               `json:"deleted,omitempty"` // observers alone see deleted stacks
	TrackedCommit *Commit            `json:"trackedCommit,omitempty"`
	Outputs       map[string]string  `json:"outputs,omitempty"`
	Runs          []spacelift.RunID  `json:"runs"` // oldest first, of every type
}

func (st *stack) status() StackStatus {
	status := StackStatus{
		Stack: st.Stack, State: st.State, LockedBy: st.LockedBy, LockedAt: st.LockedAt, LockNote: st.LockNote,
		Disabled: st.Disabled, Deleting: st.Deleting, Deleted: st.Deleted, Outputs: maps.Clone(st.Outputs), Runs: []spacelift.RunID{},
	}
	status.Labels = slices.Clone(st.Labels)
	if st.blocker != nil {
		status.Blocker = st.blocker.ID
	}
	if st.Tracked != nil {
		status.TrackedCommit = new(*st.Tracked)
	}
	for _, r := range st.runs {
		status.Runs = append(status.Runs, r.ID)
	}
	return status
}
