package chain

import (
	"fmt"
	"slices"
	"time"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// Chain is what an execution of the Chain workflow knows. Everything else, Status
// above all, is computed from it. Its JSON form travels in Input and is
// bounded: see MaxStacks and the bounds below.
type Chain struct {
	Root        spacelift.RunRef `json:"root"`
	StartedAt   time.Time        `json:"startedAt"`
	TriggeredBy []string         `json:"triggeredBy,omitempty"` // the people behind the root
	Notify      []string         `json:"notify,omitempty"`      // the channels of the root's stack
	Commit      string           `json:"commit,omitempty"`      // what the root works on

	// Nodes are the root and, once they are Known, all that follows it, parents
	// before their followers.
	Nodes  []member   `json:"nodes"`
	People []string   `json:"people,omitempty"` // who is behind runs of the nodes
	Known  bool       `json:"known,omitempty"`
	Graph  graphClock `json:"graph,omitzero"`

	Refusals []Exclusion `json:"refusals,omitempty"` // what follows and is not released
	Refused  string      `json:"refused,omitempty"`  // why nothing is released, ever

	Stopped   *Stop           `json:"stopped,omitempty"`
	MovedAt   time.Time       `json:"movedAt"` // when something last changed
	HeldSince time.Time       `json:"heldSince,omitzero"`
	EndedAt   time.Time       `json:"endedAt,omitzero"`
	Outcome   string          `json:"outcome,omitempty"` // how it ended
	Keys      decide.UsedKeys `json:"keys,omitempty"`
	Journal   []Entry         `json:"journal,omitempty"`
	Written   int             `json:"written,omitempty"` // about the bytes of the journal

	Outbox   []managed.Notice `json:"outbox,omitempty"`   // messages that have not arrived yet
	ToldHeld []string         `json:"toldHeld,omitempty"` // the channels that know that it is, or was, held
}

// later is something that could not be done, and when it is tried again.
type later struct {
	Reason string    `json:"reason"`
	Until  time.Time `json:"until"`
	Tries  int       `json:"tries"`

	// Waits says that a run of another chain is in the way, which nobody has to
	// do anything about.
	Waits bool `json:"waits,omitempty"`
}

const (
	// maxNodeRuns bounds the runs of one stack in a chain; each retry is one. All
	// stacks together have at most maxSpareRuns beyond their first.
	maxNodeRuns  = 20
	maxSpareRuns = 1000

	// maxChainJournal and maxChainJournalSize bound the journal of a chain, in
	// entries and in bytes.
	maxJournal     = 1000
	maxJournalSize = 100_000

	// quietAtMost is how long a chain in which nothing moves is kept.
	quietAtMost = 30 * 24 * time.Hour
)

// How often a chain reads the runs it waits for without being told of anything,
// and how soon it tries again what it could not do. Both waits double.
const (
	lookFirst = 10 * time.Minute
	lookRung  = 15 * time.Second // the API may be behind its own notifications
	lookMost  = 6 * time.Hour
	tryFirst  = time.Minute
	tryMost   = time.Hour
)

func New(root spacelift.RunRef, at time.Time) Chain {
	return Chain{
		Root: root, StartedAt: at, MovedAt: at,
		Nodes: []member{{Stack: root.Stack, Runs: []memberRun{{Run: root.Run, Look: at, Rung: true}}}},
	}
}

// Ref names a run of the chain.
func (c *Chain) Ref(stack spacelift.StackID, run spacelift.RunID) spacelift.RunRef {
	return spacelift.RunRef{Account: c.Root.Account, Stack: stack, Run: run}
}

// index is where a stack is among the nodes; -1 if it is not part of the chain.
func (c *Chain) index(stack spacelift.StackID) int {
	return slices.IndexFunc(c.Nodes, func(n member) bool { return n.Stack == stack })
}

func (c *Chain) Node(stack spacelift.StackID) *member {
	if i := c.index(stack); i >= 0 {
		return &c.Nodes[i]
	}
	return nil
}

// Parents are the ids of the stacks that a node follows.
func (c *Chain) Parents(n *member) []spacelift.StackID {
	ids := make([]spacelift.StackID, len(n.After))
	for i, p := range n.After {
		ids[i] = c.Nodes[p].Stack
	}
	return ids
}

// Take takes that there is something new about a run, and makes the chain look
// at it. A run that it has not heard of tries another one again, or takes its
// place. For a stack that has none yet it may be the one that counts: that is
// decided when the stack's turn comes, or anew if it has.
func (c *Chain) Take(at time.Time, news News) {
	n := c.Node(news.Run.Stack)
	if n == nil || news.Run.Account != c.Root.Account {
		c.note(at, managed.KindNote, "", "", "news of run %s were dropped: it is none of this chain", decide.Fit(news.Run.String(), decide.MaxName))
		return
	}
	c.names(n, managed.Bounded(news.TriggeredBy)...)
	r := n.run(news.Run.Run)
	switch {
	case r != nil:
	case n.Stack == c.Root.Stack: // what tries the root again begins a chain of its own
		return
	case len(n.Runs) == 0:
		if n.Trouble != nil {
			n.Trouble.Until = at
		}
		return
	default:
		c.note(at, managed.KindEvent, n.Stack, news.Run.Run, "run %s takes the place of an earlier one", news.Run.Run)
		c.MovedAt = at
		r = c.add(n, memberRun{Run: news.Run.Run, How: "it takes the place of an earlier run"})
	}
	if by := decide.Fit(news.StoppedBy, managed.MaxPerson); by != "" && r.StoppedBy == "" {
		r.StoppedBy, c.MovedAt = by, at
		c.person(at, n.Stack, by, "%s wants run %s of %s stopped: what follows it is not released without asking", by, r.Run, n.Stack)
	}
	if r.State == spacelift.RunStateFinished || r.passes() {
		return
	}
	r.Look, r.Looks, r.Rung = at, 0, r.Rung || news.State.Terminal()
}

// maxPeople bounds the people that a chain keeps.
const maxPeople = 2000

// add adds a run to a node. Where there is no room, the node's oldest one that has
// ended goes.
func (c *Chain) add(n *member, r memberRun) *memberRun {
	for i := range n.Runs {
		n.Runs[i].slim()
	}
	spare := 0
	for i := range c.Nodes {
		spare += max(len(c.Nodes[i].Runs)-1, 0)
	}
	if len(n.Runs) >= maxNodeRuns || len(n.Runs) > 0 && spare >= maxSpareRuns {
		oldest := 0
		for i := range n.Runs {
			if byCreation(n.Runs[i], n.Runs[oldest]) < 0 {
				oldest = i
			}
		}
		n.Runs = slices.Delete(n.Runs, oldest, oldest+1)
	}
	n.Runs = append(n.Runs, r)
	return &n.Runs[len(n.Runs)-1]
}

// Triggered takes a run that was triggered for a stack, or adopted, and how.
func (c *Chain) Triggered(at time.Time, run spacelift.RunRef, how string, keeps bool) {
	n := c.Node(run.Stack)
	n.Releasing, n.Trouble, n.Keeps = false, nil, keeps
	c.MovedAt = at
	c.note(at, managed.KindAction, run.Stack, run.Run, "%s", how)
	if n.run(run.Run) == nil {
		c.add(n, memberRun{Run: run.Run, How: decide.Fit(how, maxHow), Look: at})
	}
}

// Untriggered takes why no run of a stack was triggered.
func (c *Chain) Untriggered(at time.Time, stack spacelift.StackID, reason string) {
	n := c.Node(stack)
	n.Releasing = false
	if n.Trouble == nil || n.Trouble.Reason != decide.Fit(reason, maxText) {
		c.note(at, managed.KindDecision, stack, "", "not triggered: %s", reason)
	}
	n.Trouble = n.Trouble.again(at, reason)
}

// Yields takes that a stack waits for a run of another chain.
func (c *Chain) Yields(at time.Time, stack spacelift.StackID, reason string) {
	c.Untriggered(at, stack, reason)
	c.Node(stack).Trouble.Waits = true
}

// Relabelled takes that a stack's labels are others than the chain knows, so that
// those are read before anything is triggered for it.
func (c *Chain) Relabelled(at time.Time, stack spacelift.StackID, reason string) {
	c.Yields(at, stack, reason)
	c.Graph.Stale = true
}

// maxText bounds the reasons and notes that a chain carries, in bytes.
const (
	maxText    = 300
	maxRunNote = 150
	maxHow     = 100
)

// again is the next try of something that failed once more.
func (l *later) again(at time.Time, reason string) *later {
	tries := 0
	if l != nil {
		tries = l.Tries
	}
	return &later{Reason: decide.Fit(reason, maxText), Until: at.Add(decide.Backoff(tryFirst, tries, tryMost)), Tries: tries + 1}
}

// Saw takes a run as the API shows it. It does not matter how often that
// happens, or in which order the readings come.
func (c *Chain) Saw(at time.Time, run spacelift.Run) {
	i := c.index(run.Ref.Stack)
	if i < 0 {
		return
	}
	n := &c.Nodes[i]
	r := n.run(run.Ref.Run)
	if r == nil {
		return
	}
	r.Unknown = 0
	older := r.State != "" && (run.StateVersion < r.StateVersion || run.StateVersion == r.StateVersion && r.State.Terminal())
	if !older && (run.State != r.State || run.StateVersion != r.StateVersion) {
		r.take(run)
		c.names(n, run.TriggeredBy)
		c.MovedAt = at
		if i == 0 {
			c.sawRoot(run)
		}
		if r.State.Terminal() {
			c.note(at, managed.KindEvent, n.Stack, run.Ref.Run, "%s", r.end(n.Stack))
			if why := r.void(c.turn(n), n.Keeps); i > 0 && why != "" {
				r.Void = true
				c.note(at, managed.KindDecision, n.Stack, run.Ref.Run, "run %s does not count: %s", r.Run, why)
			}
		}
	}
	r.lookLater(at)
}

func (c *Chain) sawRoot(run spacelift.Run) {
	c.Commit = decide.Fit(run.Commit.Hash, decide.MaxName)
	if run.Type != spacelift.RunTypeTracked || run.DriftDetection {
		c.Refused = "nothing is released: only tracked runs that no drift detection made begin a chain"
	}
}

// Unseen takes that a run could not be read.
func (c *Chain) Unseen(at time.Time, ref spacelift.RunRef, unknown bool) {
	n := c.Node(ref.Stack)
	if n == nil {
		return
	}
	r := n.run(ref.Run)
	if r == nil {
		return
	}
	if unknown {
		if r.Unknown++; r.Unknown == unknownTwice {
			c.MovedAt = at
			c.note(at, managed.KindEvent, n.Stack, ref.Run, "Spacelift does not know run %s any more", ref.Run)
		}
	}
	r.lookLater(at)
}

// Succeeded takes that a stack has a newer run than the one that stopped the
// line, which nobody announced: it was made in Spacelift's own pages.
func (c *Chain) Succeeded(at time.Time, run spacelift.RunRef) {
	n := c.Node(run.Stack)
	if n == nil || n.run(run.Run) != nil || len(n.Runs) == 0 {
		return
	}
	c.MovedAt = at
	c.note(at, managed.KindEvent, n.Stack, run.Run, "run %s is newer than the one that stopped the line", run.Run)
	c.add(n, memberRun{Run: run.Run, How: "it is newer than the run that stopped the line", Look: at})
}

// Skip takes a person's wish that was not refused.
func (c *Chain) Skip(at time.Time, wish Skip) {
	wish.By, wish.Note, wish.Key = decide.Fit(wish.By, decide.MaxName), decide.Fit(wish.Note, maxText), ""
	c.Node(wish.Stack).Skipped = &wish
	c.MovedAt = at
	c.person(at, wish.Stack, wish.By, "%s skipped %s%s", wish.By, wish.Stack, decide.AfterColon(wish.Note))
}

// Stop takes a person's wish that was not refused.
func (c *Chain) Stop(at time.Time, wish Stop) {
	wish.By, wish.Note = decide.Fit(wish.By, decide.MaxName), decide.Fit(wish.Note, decide.MaxText)
	c.Stopped = &wish
	c.MovedAt = at
	c.person(at, "", wish.By, "%s stopped the chain%s", wish.By, decide.AfterColon(wish.Note))
}

// note writes an entry to the journal. When that is full the oldest goes.
func (c *Chain) note(at time.Time, kind managed.TimelineKind, stack spacelift.StackID, run spacelift.RunID, format string, args ...any) {
	c.write(Entry{At: at, Kind: kind, Stack: stack, Run: run, Summary: fmt.Sprintf(format, args...)})
}

func (c *Chain) person(at time.Time, stack spacelift.StackID, who, format string, args ...any) {
	c.write(Entry{At: at, Kind: managed.KindPerson, Stack: stack, Actor: who, Summary: fmt.Sprintf(format, args...)})
}

func (c *Chain) write(e Entry) {
	e.Summary = decide.Fit(e.Summary, decide.MaxText)
	c.Journal = append(c.Journal, e)
	for c.Written += e.size(); c.Written > maxJournalSize || len(c.Journal) > maxJournal; {
		c.Written -= c.Journal[0].size()
		c.Journal = slices.Delete(c.Journal, 0, 1)
	}
}

// size is about what an entry takes as JSON.
func (e Entry) size() int {
	const beside = 100
	return beside + decide.TextSize(e.Summary) + decide.TextSize(e.Actor) + len(e.Stack) + len(e.Run)
}
