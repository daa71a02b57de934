package chain

import (
	"fmt"
	"slices"
	"time"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// Chain is the state of an execution of the workflow. Everything else, Status above
// all, is computed from it. Its JSON form travels in Input and is bounded: see
// MaxStacks and the bounds below.
type Chain struct {
	Root        spacelift.RunRef `json:"root"`
	StartedAt   time.Time        `json:"startedAt"`
	TriggeredBy []string         `json:"triggeredBy,omitempty"` // the people behind the root
	Notify      []string         `json:"notify,omitempty"`      // the channels of the root's stack
	Commit      string           `json:"commit,omitempty"`      // of the root

	// Nodes are the root and, once they are Known, all that follows it, parents
	// before their followers.
	Nodes  []member   `json:"nodes"`
	People []string   `json:"people,omitempty"` // the people behind runs of the nodes
	Known  bool       `json:"known,omitempty"`
	Graph  graphClock `json:"graph,omitzero"`
	Listed time.Time  `json:"listed,omitzero"` // see Input: the next list is as new

	Followers []spacelift.StackID `json:"followers,omitempty"` // see Input; none once all that follows is Known

	Refusals []Exclusion `json:"refusals,omitempty"` // stacks that follow and are not released
	Refused  string      `json:"refused,omitempty"`  // why nothing is released, ever

	Stopped   *Stop           `json:"stopped,omitempty"`
	MovedAt   time.Time       `json:"movedAt"` // when something last changed
	HeldSince time.Time       `json:"heldSince,omitzero"`
	EndedAt   time.Time       `json:"endedAt,omitzero"`
	Outcome   string          `json:"outcome,omitempty"` // how it ended
	Keys      decide.UsedKeys `json:"keys,omitempty"`
	Journal   []Entry         `json:"journal,omitempty"`
	Written   int             `json:"written,omitempty"` // about the bytes of the journal

	Outbox       []managed.Notice `json:"outbox,omitempty"`   // messages that have not arrived yet
	NotifiedHeld []string         `json:"toldHeld,omitempty"` // the channels that know that it is, or was, held
}

// backoff stores why something failed, and when it is tried again.
type backoff struct {
	Reason string    `json:"reason"`
	Until  time.Time `json:"until"`
	Tries  int       `json:"tries"`

	// Waits says that a run outside this chain is in the way, which needs no
	// operator.
	Waits bool `json:"waits,omitempty"`

	// For is the stack of the run or the chain outside this chain that is in the way;
	// empty for none.
	For spacelift.StackID `json:"for,omitempty"`
}

const (
	// maxNodeRuns bounds the runs of one stack in a chain; each retry is one. All
	// stacks together have at most maxSpareRuns beyond their first.
	maxNodeRuns  = 20
	maxSpareRuns = 1000

	// maxJournal and maxJournalSize bound the journal of a chain, in
	// entries and in bytes.
	maxJournal     = 1000
	maxJournalSize = 100_000

	// patience is the time after which a chain in which nothing moves is given up.
	patience = 30 * 24 * time.Hour
)

// The pauses between reads of a run that sends no news, and between tries of
// something that failed. Both double.
const (
	readFirst      = 10 * time.Minute
	readAnnounced  = 15 * time.Second // the API may be behind its own notifications
	readLongest    = 6 * time.Hour
	triggerFirst   = time.Minute
	triggerLongest = time.Hour
)

// New returns a chain that begins with a run.
func New(root spacelift.RunRef, at time.Time) Chain {
	return Chain{
		Root: root, StartedAt: at, MovedAt: at,
		Nodes: []member{{Follower: Follower{Stack: root.Stack}, Runs: []memberRun{{Run: root.Run, NextRead: at, Announced: true}}}},
	}
}

// Ref returns the full name of a run of the chain.
func (c *Chain) Ref(stack spacelift.StackID, run spacelift.RunID) spacelift.RunRef {
	return spacelift.RunRef{Account: c.Root.Account, Stack: stack, Run: run}
}

// index returns the index of a stack among the nodes; -1 if the chain lacks it.
func (c *Chain) index(stack spacelift.StackID) int {
	return slices.IndexFunc(c.Nodes, func(n member) bool { return n.Stack == stack })
}

// Node returns the node of a stack; nil if the chain lacks it.
func (c *Chain) Node(stack spacelift.StackID) *member {
	if i := c.index(stack); i >= 0 {
		return &c.Nodes[i]
	}
	return nil
}

// Parents returns the ids of the stacks that a node follows.
func (c *Chain) Parents(n *member) []spacelift.StackID {
	ids := make([]spacelift.StackID, len(n.After))
	for i, p := range n.After {
		ids[i] = c.Nodes[p].Stack
	}
	return ids
}

// Take takes news of a run, and makes the chain read the run. An unknown run
// retries another one, or replaces it. For a stack without a run it may be the one
// that counts: that is decided when the stack's turn comes, or again if it has.
func (c *Chain) Take(at time.Time, news News) {
	if news.Outside {
		c.takeEnd(at, news.Run.Stack)
		return
	}
	n := c.Node(news.Run.Stack)
	if n == nil || news.Run.Account != c.Root.Account {
		c.note(at, managed.KindNote, "", "", "dropped news of run %s: it is not part of this chain", decide.Fit(news.Run.String(), decide.MaxName))
		return
	}
	c.addPeople(n, managed.Bounded(news.TriggeredBy)...)
	r := n.run(news.Run.Run)
	switch {
	case r != nil:
	case n.Stack == c.Root.Stack: // a retry of the root begins a chain of its own
		return
	case len(n.Runs) == 0:
		if n.Backoff != nil {
			n.Backoff.Until = at
		}
		return
	default:
		c.note(at, managed.KindEvent, n.Stack, news.Run.Run, "run %s replaces an earlier one", news.Run.Run)
		c.MovedAt = at
		r = c.add(n, memberRun{Run: news.Run.Run, How: "it replaces an earlier run"})
	}
	if by := decide.Fit(news.StoppedBy, managed.MaxPerson); by != "" && r.StoppedBy == "" {
		r.StoppedBy, c.MovedAt = by, at
		c.person(at, n.Stack, by, "%s wants run %s of %s stopped: Gantry asks before it releases the stacks that follow", by, r.Run, n.Stack)
	}
	if r.State == spacelift.RunStateFinished || r.passes() {
		return
	}
	r.NextRead, r.Reads, r.Announced = at, 0, r.Announced || news.State.Terminal()
}

// takeEnd makes the stacks that wait for something outside this chain be tried again,
// since it has ended.
func (c *Chain) takeEnd(at time.Time, stack spacelift.StackID) {
	for i := range c.Nodes {
		if b := c.Nodes[i].Backoff; b != nil && b.For == stack {
			b.Until = at
		}
	}
}

// waitsOutside reports whether a stack of the chain waits for a run of another stack
// outside of it, or for the chain that one began.
func (c *Chain) waitsOutside(stack spacelift.StackID) bool {
	return slices.ContainsFunc(c.Nodes, func(n member) bool { return n.Backoff != nil && n.Backoff.For == stack })
}

// Unreached returns the stacks of the chain that it has triggered no run of.
func (c *Chain) Unreached() (stacks []spacelift.StackID) {
	for _, n := range c.Nodes[1:] {
		if len(n.Runs) == 0 {
			stacks = append(stacks, n.Stack)
		}
	}
	return stacks
}

// maxPeople bounds the people that a chain keeps.
const maxPeople = 2000

// add adds a run to a node. If there is no room, it drops the node's oldest run.
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

// RecordTriggered records the run that was triggered for a stack, or adopted. how is
// a sentence about it; keeps says that the stack's policy keeps old plans.
func (c *Chain) RecordTriggered(at time.Time, run spacelift.RunRef, how string, keeps bool) {
	n := c.Node(run.Stack)
	n.Releasing, n.Backoff, n.Keeps = false, nil, keeps
	c.MovedAt = at
	c.note(at, managed.KindAction, run.Stack, run.Run, "%s", how)
	if n.run(run.Run) == nil {
		c.add(n, memberRun{Run: run.Run, How: decide.Fit(how, maxHow), NextRead: at})
	}
}

// RecordFailure records why no run of a stack was triggered, and schedules the next
// try.
func (c *Chain) RecordFailure(at time.Time, stack spacelift.StackID, reason string) {
	n := c.Node(stack)
	n.Releasing = false
	if n.Backoff == nil || n.Backoff.Reason != decide.Fit(reason, maxText) {
		c.note(at, managed.KindDecision, stack, "", "not triggered: %s", reason)
	}
	n.Backoff = n.Backoff.again(at, reason)
}

// RecordWait records that a stack waits for a run outside this chain.
func (c *Chain) RecordWait(at time.Time, stack spacelift.StackID, reason string) {
	c.RecordFailure(at, stack, reason)
	c.Node(stack).Backoff.Waits = true
}

// TryAfter makes a stack that was not triggered be tried again when a run of another
// stack ends, or the chain that one began.
func (c *Chain) TryAfter(stack, other spacelift.StackID) { c.Node(stack).Backoff.For = other }

// RecordRelabeled records that a stack's labels have changed. The chain reads them
// before it triggers a run of the stack.
func (c *Chain) RecordRelabeled(at time.Time, stack spacelift.StackID, reason string) {
	c.RecordWait(at, stack, reason)
	c.Graph.Stale = true
}

// Bounds of the reasons and notes that a chain carries, in bytes.
const (
	maxText    = 300
	maxRunNote = 150
	maxHow     = 100
)

// again returns the back-off after one more failure.
func (l *backoff) again(at time.Time, reason string) *backoff {
	tries := 0
	if l != nil {
		tries = l.Tries
	}
	return &backoff{Reason: decide.Fit(reason, maxText), Until: at.Add(decide.Backoff(triggerFirst, tries, triggerLongest)), Tries: tries + 1}
}

// Observe takes a run as the API shows it. Readings may be repeated, and arrive in
// any order.
func (c *Chain) Observe(at time.Time, run spacelift.Run) {
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
		c.addPeople(n, run.TriggeredBy)
		c.MovedAt = at
		if i == 0 {
			c.observeRoot(run)
		}
		if r.State.Terminal() {
			c.note(at, managed.KindEvent, n.Stack, run.Ref.Run, "%s", r.end(n.Stack))
			if why := r.void(c.turn(n), n.Keeps); i > 0 && why != "" {
				r.Void = true
				c.note(at, managed.KindDecision, n.Stack, run.Ref.Run, "run %s does not count: %s", r.Run, why)
			}
		}
	}
	r.scheduleRead(at)
}

func (c *Chain) observeRoot(run spacelift.Run) {
	c.Commit = decide.Fit(run.Commit.Hash, decide.MaxName)
	if run.Type != spacelift.RunTypeTracked || run.DriftDetection {
		c.Refused = "nothing is released: only tracked runs begin a chain, and no runs of drift detection"
	}
}

// RecordUnread records that a run could not be read. If unknown, Spacelift says that
// there is no such run.
func (c *Chain) RecordUnread(at time.Time, ref spacelift.RunRef, unknown bool) {
	n := c.Node(ref.Stack)
	if n == nil {
		return
	}
	r := n.run(ref.Run)
	if r == nil {
		return
	}
	if unknown {
		if r.Unknown++; r.Unknown == lostAfter {
			c.MovedAt = at
			c.note(at, managed.KindEvent, n.Stack, ref.Run, "Spacelift does not know run %s any more", ref.Run)
		}
	}
	r.scheduleRead(at)
}

// RecordNewer records that a stack has a newer run than the failed one. It came
// without news, so it was made in Spacelift's own pages.
func (c *Chain) RecordNewer(at time.Time, run spacelift.RunRef) {
	n := c.Node(run.Stack)
	if n == nil || n.run(run.Run) != nil || len(n.Runs) == 0 {
		return
	}
	c.MovedAt = at
	c.note(at, managed.KindEvent, n.Stack, run.Run, "run %s is newer than the failed one", run.Run)
	c.add(n, memberRun{Run: run.Run, How: "it is newer than the failed run", NextRead: at})
}

// Skip skips a stack, as a person wishes. RefuseSkip must have accepted it.
func (c *Chain) Skip(at time.Time, wish Skip) {
	wish.By, wish.Note, wish.Key = decide.Fit(wish.By, decide.MaxName), decide.Fit(wish.Note, maxText), ""
	c.Node(wish.Stack).Skipped = &wish
	c.MovedAt = at
	c.person(at, wish.Stack, wish.By, "%s skipped %s%s", wish.By, wish.Stack, decide.AfterColon(wish.Note))
}

// Stop ends the chain, as a person wishes. RefuseStop must have accepted it.
func (c *Chain) Stop(at time.Time, wish Stop) {
	wish.By, wish.Note = decide.Fit(wish.By, decide.MaxName), decide.Fit(wish.Note, decide.MaxText)
	c.Stopped = &wish
	c.MovedAt = at
	c.person(at, "", wish.By, "%s stopped the chain%s", wish.By, decide.AfterColon(wish.Note))
}

// note writes an entry to the journal. A full journal loses its oldest entry.
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

// size returns about the bytes that an entry takes as JSON.
func (e Entry) size() int {
	const beside = 100
	return beside + decide.TextSize(e.Summary) + decide.TextSize(e.Actor) + len(e.Stack) + len(e.Run)
}
