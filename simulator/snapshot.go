package simulator

import (
	"time"

	"github.com/gantryhq/gantry/spacelift"
)

// A snapshot is one JSON object. Its format is our own and not for editing; the
// version goes up with every change, so that neither an older nor a newer
// simulator reads half of it.
const (
	snapshotFormat  = "gantry simulated account"
	snapshotVersion = 2
)

// snapshotLog is how many entries of each log a snapshot holds: the newest ones,
// and every delivery still to be sent.
const snapshotLog = 1000

type snapshot struct {
	Format  string            `json:"format"`
	Version int               `json:"version"`
	Account spacelift.Account `json:"account"`
	Random  []byte            `json:"random"` // state of the generator
	Tokens  []byte            `json:"tokens"` // what tokens are signed with
	Spaces  []Space           `json:"spaces"`
	Pools   []WorkerPool      `json:"workerPools,omitempty"`
	Keys    []savedKey        `json:"apiKeys,omitempty"`
	Stacks  []savedStack      `json:"stacks,omitempty"` // in their order, then the deleted ones
	Edges   []savedEdge       `json:"dependencies,omitempty"`
	Outside map[string]string `json:"externalDependencies,omitempty"`
	Hooks   []savedNamedHook  `json:"webhooks,omitempty"`
	Rules   []savedPolicy     `json:"policies,omitempty"`
	Bonds   []savedAttachment `json:"attachments,omitempty"`
	Bundles []savedContext    `json:"contexts,omitempty"`
	Shares  []savedShare      `json:"contextAttachments,omitempty"`
	Timers  []savedTimer      `json:"timers,omitempty"`
	Log     []savedDelivery   `json:"deliveries,omitempty"`
	Lanes   []savedLane       `json:"lanes,omitempty"`
	Faults  savedFaults       `json:"faults,omitzero"`
	Inbox   []Notice          `json:"inbox,omitempty"`
	Seen    []Request         `json:"requests,omitempty"`
}

type savedKey struct {
	APIKey
	Secret string `json:"secret"`
}

type savedStack struct {
	Stack        Stack              `json:"stack"`
	Settings     *stackSettings     `json:"settings,omitempty"` // the default ones when nil
	ManagesState bool               `json:"managesState,omitempty"`
	Config       []savedConfig      `json:"config,omitempty"`
	Webhooks     []savedHook        `json:"webhooks,omitempty"`
	CreatedAt    time.Time          `json:"createdAt"`
	State        spacelift.RunState `json:"state"`
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
	Blocker      spacelift.RunID    `json:"blocker,omitempty"`
	Waiting      []spacelift.RunID  `json:"waiting,omitempty"`
	Runs         []savedRun         `json:"runs,omitempty"`
}

type savedConfig struct {
	ID          string    `json:"id"`
	Type        string    `json:"type"`
	Value       string    `json:"value"`
	Description string    `json:"description,omitempty"`
	WriteOnly   bool      `json:"writeOnly,omitempty"`
	CreatedAt   time.Time `json:"createdAt"`
}

type savedHook struct {
	StackWebhook
	Secret   string `json:"secret,omitempty"`
	Failures int    `json:"failures,omitempty"`
}

type savedNamedHook struct {
	NamedWebhook
	Secret    string            `json:"secret,omitempty"`
	Headers   map[string]string `json:"headers,omitempty"`
	Failures  int               `json:"failures,omitempty"`
	CreatedAt time.Time         `json:"createdAt"`
}

type savedRun struct {
	ID          spacelift.RunID        `json:"id"`
	Type        spacelift.RunType      `json:"type"`
	Plan        Plan                   `json:"plan"`
	Commit      Commit                 `json:"commit"`
	Command     string                 `json:"command,omitempty"`
	CreatedAt   time.Time              `json:"createdAt"`
	UpdatedAt   time.Time              `json:"updatedAt"`
	History     []spacelift.Transition `json:"history"`
	Delta       *spacelift.Delta       `json:"delta,omitempty"`
	Planned     bool                   `json:"planned,omitempty"`
	TriggeredBy string                 `json:"triggeredBy,omitempty"`
	By          string                 `json:"by,omitempty"`
	Session     *session               `json:"session,omitempty"`
	Drift       bool                   `json:"drift,omitempty"`
	Metadata    []string               `json:"metadata,omitempty"`
	Reviews     []Review               `json:"reviews,omitempty"`
	Comments    []Comment              `json:"comments,omitempty"`
	SkipInit    bool                   `json:"skipInit,omitempty"`
	Retried     bool                   `json:"retried,omitempty"`
	Prioritized bool                   `json:"prioritized,omitempty"`
	ForceApply  string                 `json:"forceApply,omitempty"`
	Settled     bool                   `json:"settled,omitempty"`
	Chain       string                 `json:"chain"`
	Upstream    []spacelift.RunID      `json:"upstream,omitempty"`
	Downstream  []spacelift.RunID      `json:"downstream,omitempty"`
	Pushed      bool                   `json:"pushed,omitempty"`
	Released    bool                   `json:"released,omitempty"`
	External    []string               `json:"external,omitempty"`
	Applied     bool                   `json:"applied,omitempty"`
	ChangedBy   map[string]bool        `json:"changedBy,omitempty"`
}

type savedEdge struct {
	ID            string            `json:"id"`
	Stack         spacelift.StackID `json:"stack"`
	On            spacelift.StackID `json:"on"`
	TriggerAlways bool              `json:"triggerAlways,omitempty"`
	References    []Reference       `json:"references,omitempty"`
}

type savedPolicy struct {
	Policy
	CreatedAt time.Time     `json:"createdAt"`
	UpdatedAt time.Time     `json:"updatedAt"`
	Samples   []savedSample `json:"samples,omitempty"`
}

type savedSample struct {
	Key     string    `json:"key"`
	Outcome string    `json:"outcome"`
	Input   string    `json:"input"`
	Body    string    `json:"body"`
	At      time.Time `json:"at"`
}

type savedAttachment struct {
	ID     string            `json:"id"`
	Policy string            `json:"policy"`
	Stack  spacelift.StackID `json:"stack"`
}

type savedContext struct {
	Context   Context       `json:"context"`
	Elements  []savedConfig `json:"elements,omitempty"`
	CreatedAt time.Time     `json:"createdAt"`
	UpdatedAt time.Time     `json:"updatedAt"`
}

type savedShare struct {
	ID       string            `json:"id"`
	Context  string            `json:"context"`
	Stack    spacelift.StackID `json:"stack"`
	Priority int               `json:"priority,omitempty"`
}

type savedTimer struct {
	What    happening       `json:"what"`
	At      time.Time       `json:"at"`
	Run     spacelift.RunID `json:"run,omitempty"`
	Version int             `json:"version,omitempty"`
	By      string          `json:"by,omitempty"`
	Note    string          `json:"note,omitempty"`
	Lane    savedLaneKey    `json:"lane,omitzero"`
}

type savedDelivery struct {
	Delivery
	Key string `json:"key"` // its id without the last status
	// To is the place of the webhook in the snapshot, as a JSON pointer, for what
	// is still to be sent; empty when the webhook is gone.
	To        string    `json:"to,omitempty"`
	Retry     bool      `json:"retry,omitempty"`
	NotBefore time.Time `json:"notBefore,omitzero"`
	Query     string    `json:"query,omitempty"` // what is added to the webhook's endpoint
}

type savedLaneKey struct {
	Webhook string          `json:"webhook"`
	Run     spacelift.RunID `json:"run,omitempty"`
	Own     string          `json:"own,omitempty"`
}

type savedLane struct {
	savedLaneKey
	Queue []string `json:"queue,omitempty"` // keys of deliveries
	Held  []string `json:"held,omitempty"`
}

type savedFaults struct {
	Count      int                         `json:"count,omitempty"` // armed so far
	Deliveries []savedFault[DeliveryFault] `json:"deliveries,omitempty"`
	API        []savedFault[APIFault]      `json:"api,omitempty"`
}

type savedFault[F any] struct {
	ID          string  `json:"id"`
	Fault       F       `json:"fault"`
	Probability float64 `json:"probability,omitempty"`
	Left        int     `json:"left"`
}
