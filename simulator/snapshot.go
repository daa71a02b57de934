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

// snapshotLog is the number of entries of each log in a snapshot: the newest ones.
// Every pending delivery is in it as well.
const snapshotLog = 1000

type snapshot struct {
	Format  string            `json:"format"`
	Version int               `json:"version"`
	Account spacelift.Account `json:"account"`
	Random  []byte            `json:"random"` // state of the generator
	Tokens  []byte            `json:"tokens"` // the key that signs tokens
	Spaces  []Space           `json:"spaces"`
	Pools   []WorkerPool      `json:"workerPools,omitempty"`
	Keys    []keyInput        `json:"apiKeys,omitempty"`
	Stacks  []savedStack      `json:"stacks,omitempty"` // in their order, then the deleted ones
	Edges   []dependency      `json:"dependencies,omitempty"`
	Outside map[string]string `json:"externalDependencies,omitempty"`
	Hooks   []savedNamedHook  `json:"webhooks,omitempty"`
	Rules   []policy          `json:"policies,omitempty"`
	Bonds   []attachment      `json:"attachments,omitempty"`
	Bundles []bundle          `json:"contexts,omitempty"`
	Shares  []savedShare      `json:"contextAttachments,omitempty"`
	Timers  []savedTimer      `json:"timers,omitempty"`
	Log     []savedDelivery   `json:"deliveries,omitempty"`
	Lanes   []savedLane       `json:"lanes,omitempty"`
	Faults  savedFaults       `json:"faults,omitzero"`
	Inbox   []Notice          `json:"inbox,omitempty"`
	Seen    []Request         `json:"requests,omitempty"`
}

type savedStack struct {
	stackRecord

	Settings *stackSettings    `json:"settings,omitempty"` // the default ones when nil
	Webhooks []savedHook       `json:"webhooks,omitempty"`
	Blocker  spacelift.RunID   `json:"blocker,omitempty"`
	Waiting  []spacelift.RunID `json:"waiting,omitempty"`
	Runs     []savedRun        `json:"runs,omitempty"`
}

type savedHook struct {
	stackHookInput

	Failures int `json:"failures,omitempty"`
}

type savedNamedHook struct {
	namedHookInput

	Failures  int       `json:"failures,omitempty"`
	CreatedAt time.Time `json:"createdAt"`
}

type savedRun struct {
	runRecord

	Upstream   []spacelift.RunID `json:"upstream,omitempty"`
	Downstream []spacelift.RunID `json:"downstream,omitempty"`
}

type savedShare struct {
	shareInput

	ID string `json:"id"`
}

type savedTimer struct {
	timer

	Run spacelift.RunID `json:"run,omitempty"`
}

type savedDelivery struct {
	Delivery

	Key string `json:"key"` // its id without the last status
	// To is the place of a pending delivery's webhook in the snapshot, as a JSON
	// pointer; empty when the webhook is gone.
	To        string    `json:"to,omitempty"`
	Retry     bool      `json:"retry,omitempty"`
	NotBefore time.Time `json:"notBefore,omitzero"`
	Query     string    `json:"query,omitempty"` // added to the webhook's endpoint
}

type savedLane struct {
	laneKey

	Queue []string `json:"queue,omitempty"` // keys of deliveries
	Held  []string `json:"held,omitempty"`
}

type savedFaults struct {
	Count      int                    `json:"count,omitempty"` // armed so far
	Deliveries []armed[DeliveryFault] `json:"deliveries,omitempty"`
	API        []armed[APIFault]      `json:"api,omitempty"`
}
