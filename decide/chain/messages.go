package chain

import (
	"time"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// The names below are a contract with open executions and with every replica
// of another version: add, never rename.
const (
	// Type is the workflow type of Chain.
	Type = "Chain"

	// NewsSignal carries a News to Chain.
	NewsSignal = "chain-news"

	// Query answers with the Status of a chain, and PlaceQuery, which
	// takes a PlaceQuestion, with the Place of a run.
	Query      = "chain"
	PlaceQuery = "place"

	// SkipUpdate takes a Skip and StopUpdate a Stop; both answer
	// with the Status.
	SkipUpdate = "skip"
	StopUpdate = "stop"
)

// Input starts Chain, and carries what it knows when it continues as
// new: Known.
type Input struct {
	Root        spacelift.RunRef `json:"root"`
	Commit      string           `json:"commit,omitempty"`      // what the root works on
	TriggeredBy []string         `json:"triggeredBy,omitempty"` // the people behind the root: RunStatus.Triggerers
	Notify      []string         `json:"notify,omitempty"`      // the channels of the root's stack
	Listed      time.Time        `json:"listed,omitzero"`       // when Spacelift was asked for the list that shows who follows, as far as the root knows
	Known       *Chain           `json:"known,omitempty"`

	Followers []spacelift.StackID `json:"followers,omitempty"` // that the root knows of: the list has them, or is read anew
}

// News is a hint that a run of a chain has changed: it ended, or it retries another
// one. The chain doesn't rely on it and reads the run.
type News struct {
	Run     spacelift.RunRef   `json:"run"`
	State   spacelift.RunState `json:"state,omitempty"`
	Outcome string             `json:"outcome,omitempty"` // how it ended, as a sentence

	TriggeredBy []string `json:"triggeredBy,omitempty"` // the people behind the run

	// Outside says that the run is part of no news of this chain: it ended, or the chain
	// that it began did, and stacks of this chain may wait for that.
	Outside bool `json:"outside,omitempty"`

	// StoppedBy is the person who wants the run stopped, a wish that binds until it
	// has ended: if it finishes all the same, Gantry asks before it releases followers.
	StoppedBy string `json:"stoppedBy,omitempty"`
}

// Skip is a person's wish that a chain continue as if a stack's run had finished.
type Skip struct {
	Stack spacelift.StackID `json:"stack"`
	By    string            `json:"by"`
	Note  string            `json:"note,omitempty"`
	Key   string            `json:"key,omitempty"` // see Decision.Key
}

// Stop is a person's wish that a chain trigger nothing more. Runs in progress
// continue.
type Stop struct {
	By   string `json:"by"`
	Note string `json:"note,omitempty"`
	Key  string `json:"key,omitempty"` // see Decision.Key
}

// The types of the errors that refuse these updates, beside ErrTypeKeyReused,
// ErrTypeTooLate and ErrTypeAlreadyDecided. Each message is a sentence for the
// person who asked.
const (
	ErrTypeNotInChain   = "NotInChain"   // the stack is not one of the chain's
	ErrTypeNotSkippable = "NotSkippable" // the stack can't be skipped now
)

// Status is a report on a chain: the answer to Query and the result of Chain.
type Status struct {
	Root      spacelift.RunRef `json:"root"`
	Phase     Phase            `json:"phase"`
	Summary   string           `json:"summary"` // a sentence about its present step or its end
	StartedAt time.Time        `json:"startedAt"`
	HeldSince time.Time        `json:"heldSince,omitzero"` // since when nothing moves; zero while something does
	GivesUpAt time.Time        `json:"givesUpAt,omitzero"` // when it ends if nothing moves until then
	EndedAt   time.Time        `json:"endedAt,omitzero"`

	Nodes    []Node  `json:"nodes,omitempty"`    // the root first, parents before their followers
	Timeline []Entry `json:"timeline,omitempty"` // oldest first
}

// Edges returns the decision about each stack that follows another. Edges are
// computed from the nodes: a query of Temporal's could not carry them all.
func (s Status) Edges() []Edge {
	var edges []Edge
	for _, to := range s.Nodes {
		for _, p := range to.After {
			from := s.Nodes[p]
			edges = append(edges, Edge{From: from.Stack, To: to.Stack, Decision: from.Lets, Reason: from.whyLets(), At: from.Since})
		}
	}
	return edges
}

// Parents returns the stacks that a node follows.
func (s Status) Parents(n Node) []spacelift.StackID {
	ids := make([]spacelift.StackID, len(n.After))
	for i, p := range n.After {
		ids[i] = s.Nodes[p].Stack
	}
	return ids
}

// Phase is the state of a chain in one word. Lists are filtered by it.
type Phase string

// The phases of a chain.
const (
	PhaseMoving Phase = "moving" // runs are on their way
	PhaseHeld   Phase = "held"   // nothing moves until somebody fixes, retries or skips something
	PhaseDone   Phase = "done"   // ended, however
)

// Phases lists all phases.
var Phases = []Phase{PhaseMoving, PhaseHeld, PhaseDone}

// Node is a stack of a chain.
type Node struct {
	Stack spacelift.StackID `json:"stack"`
	After []int             `json:"after,omitempty"` // the nodes that it follows: see Status.Parents
	State NodeState         `json:"state"`
	Since time.Time         `json:"since"` // since when it is in that state

	Reason string `json:"reason"` // for the state, as a sentence

	Lets EdgeDecision `json:"lets"` // whether it releases the stacks that follow it

	Run      spacelift.RunID    `json:"run,omitempty"`      // the one that counts; empty before there is one
	RunState spacelift.RunState `json:"runState,omitempty"` // as Spacelift showed it last
	Runs     []spacelift.RunID  `json:"runs,omitempty"`     // all, oldest first: retries are runs of their own
	Until    time.Time          `json:"until,omitzero"`     // when Gantry tries to trigger it again
}

// NodeState is the state of a stack of a chain.
type NodeState string

// The states of a stack of a chain.
const (
	NodeWaiting   NodeState = "waiting"   // for the stacks it follows
	NodeReleasing NodeState = "releasing" // Gantry triggers a run
	NodeHeld      NodeState = "held"      // Gantry can't trigger one
	NodeRunning   NodeState = "running"
	NodeFinished  NodeState = "finished"
	NodeFailed    NodeState = "failed"  // its run ended without finishing, so nothing behind it is released
	NodeSkipped   NodeState = "skipped" // by a person
)

// Edge is the last decision about one stack that follows another.
type Edge struct {
	From     spacelift.StackID `json:"from"`
	To       spacelift.StackID `json:"to"`
	Decision EdgeDecision      `json:"decision"`
	Reason   string            `json:"reason"` // a sentence
	At       time.Time         `json:"at"`     // since when that is so
}

// EdgeDecision says whether a stack releases another one that follows it.
type EdgeDecision string

// The decisions about an edge.
const (
	EdgeWaits    EdgeDecision = "waits"    // for the run of the stack that goes first
	EdgeReleases EdgeDecision = "releases" //
	EdgeStops    EdgeDecision = "stops"    // that run did not finish, or could not be triggered
)

// Entry is something that happened in a chain.
type Entry struct {
	At      time.Time            `json:"at"`
	Kind    managed.TimelineKind `json:"kind"`
	Stack   spacelift.StackID    `json:"stack,omitempty"` // empty: the chain as a whole
	Run     spacelift.RunID      `json:"run,omitempty"`
	Actor   string               `json:"actor,omitempty"` // a person
	Summary string               `json:"summary"`
}

// Attributes returns the search attributes by which lists find a chain.
func Attributes(root spacelift.RunRef, phase Phase) []managed.Attribute {
	return []managed.Attribute{
		{Name: managed.AttrAccount, Value: string(root.Account)},
		{Name: managed.AttrStack, Value: string(root.Stack)},
		{Name: managed.AttrPhase, Value: string(phase)},
	}
}

// Content returns the content that an idempotency key was used for.
func (w Skip) Content() string { return decide.Digest("skip", string(w.Stack), w.By, w.Note) }

// Content returns the content that an idempotency key was used for.
func (w Stop) Content() string { return decide.Digest("stop", w.By, w.Note) }
