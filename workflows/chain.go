package workflows

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/spacelift"
)

// chain is what an execution of Rollout knows. Everything else, ChainStatus
// above all, is computed from it. Its JSON form travels in RolloutInput.
type chain struct {
	Root      spacelift.RunRef `json:"root"`
	StartedAt time.Time        `json:"startedAt"`

	// Nodes are the root and, once they are Known, all that follows it, parents
	// before their followers.
	Nodes   []chainNode `json:"nodes"`
	Known   bool        `json:"known,omitempty"`
	Trouble *later      `json:"trouble,omitempty"` // why nobody knows yet who follows
	Refused string      `json:"refused,omitempty"` // why nothing is released, ever

	Edges     []ChainEdge  `json:"edges,omitempty"`
	Stopped   *StopChain   `json:"stopped,omitempty"`
	HeldSince time.Time    `json:"heldSince,omitzero"`
	EndedAt   time.Time    `json:"endedAt,omitzero"`
	Outcome   string       `json:"outcome,omitempty"` // how it ended
	Keys      usedKeys     `json:"keys,omitempty"`
	Journal   []ChainEntry `json:"journal,omitempty"`
}

// chainNode is a stack of a chain.
type chainNode struct {
	Stack spacelift.StackID   `json:"stack"`
	After []spacelift.StackID `json:"after,omitempty"`
	Runs  []chainRun          `json:"runs,omitempty"` // by creation

	Releasing bool       `json:"releasing,omitempty"` // a run is being triggered right now
	Unsure    bool       `json:"unsure,omitempty"`    // one may have been triggered, nobody knows
	Trouble   *later     `json:"trouble,omitempty"`   // why none was, the last time
	Skipped   *SkipStack `json:"skipped,omitempty"`
}

// chainRun is a run of a stack, as the API showed it. Nothing here rests on a
// notification.
type chainRun struct {
	Run          spacelift.RunRef   `json:"run"`
	State        spacelift.RunState `json:"state,omitempty"` // empty: not read yet
	StateVersion int                `json:"stateVersion"`
	CreatedAt    time.Time          `json:"createdAt,omitzero"`
	EndedAt      time.Time          `json:"endedAt,omitzero"` // by Spacelift's clock
	Actor        string             `json:"actor,omitempty"`  // who ended it, if somebody did
	Note         string             `json:"note,omitempty"`
	How          string             `json:"how,omitempty"` // it came about, as a sentence

	StoppedBy string `json:"stoppedBy,omitempty"` // who wanted it stopped

	Look    time.Time `json:"look,omitzero"`     // when to read it next
	Looks   int       `json:"looks,omitempty"`   // how often in a row that told nothing new
	Rung    bool      `json:"rung,omitempty"`    // somebody said that it ended, and the API did not show it yet
	Unknown int       `json:"unknown,omitempty"` // how often in a row Spacelift did not know it
}

// later is something that could not be done, and when it is tried again.
type later struct {
	Reason string    `json:"reason"`
	Until  time.Time `json:"until"`
	Tries  int       `json:"tries"`
}

const (
	// maxNodeRuns bounds the runs of one stack in a chain; each retry is one.
	maxNodeRuns = 20

	// maxChainJournal bounds the journal of a chain.
	maxChainJournal = 1000

	// heldAtMost is how long a chain in which nothing moves is kept.
	heldAtMost = 30 * 24 * time.Hour
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

func newChain(root spacelift.RunRef, at time.Time) chain {
	return chain{Root: root, StartedAt: at, Nodes: []chainNode{{Stack: root.Stack, Runs: []chainRun{{Run: root, Look: at, Rung: true}}}}}
}

// takeNodes takes what follows the root, parents before their followers; partial
// says that there may be more.
func (c *chain) takeNodes(at time.Time, nodes []chainNode, partial bool) {
	c.Known, c.Trouble = true, nil
	c.Nodes = append(c.Nodes, nodes...)
	if partial {
		c.note(at, KindNote, "", "", "more stacks may follow than Gantry could read; those it does not know are not released")
	}
}

// takeCycle takes that nothing can say which stack goes first.
func (c *chain) takeCycle(at time.Time, cycle []spacelift.StackID) {
	c.Known, c.Trouble = true, nil
	c.Refused = "nothing is released, because the labels lead in a circle: " + around(cycle)
	c.note(at, KindDecision, "", "", "%s", c.Refused)
}

// around writes a way through stacks.
func around(stacks []spacelift.StackID) string {
	words := make([]string, len(stacks))
	for i, s := range stacks {
		words[i] = string(s)
	}
	return strings.Join(words, " → ")
}

func (c *chain) node(stack spacelift.StackID) *chainNode {
	i := slices.IndexFunc(c.Nodes, func(n chainNode) bool { return n.Stack == stack })
	if i < 0 {
		return nil
	}
	return &c.Nodes[i]
}

func (n *chainNode) run(ref spacelift.RunRef) *chainRun {
	i := slices.IndexFunc(n.Runs, func(r chainRun) bool { return r.Run == ref })
	if i < 0 {
		return nil
	}
	return &n.Runs[i]
}

// heard takes that there is something new about a run, and makes the chain look
// at it. A run that it has not heard of is one that tries another again.
func (c *chain) heard(at time.Time, news ChainNews) {
	n := c.node(news.Run.Stack)
	if n == nil || news.Run.Account != c.Root.Account || len(n.Runs) == 0 {
		c.note(at, KindNote, "", "", "news of run %s were dropped: it is none of this chain", fit(news.Run.String(), maxName))
		return
	}
	r := n.run(news.Run)
	if r == nil {
		if n.Stack == c.Root.Stack {
			return // what tries the root again begins a chain of its own
		}
		c.note(at, KindEvent, n.Stack, news.Run.Run, "run %s tries again", news.Run.Run)
		r = n.add(chainRun{Run: news.Run, How: "it tries an earlier run again"})
	}
	if r == nil {
		return
	}
	if by := fit(news.StoppedBy, maxName); by != "" && r.StoppedBy == "" {
		r.StoppedBy = by
		c.person(at, n.Stack, by, "%s wants run %s of %s stopped: what follows it is not released without asking", by, r.Run.Run, n.Stack)
	}
	if r.State == spacelift.RunStateFinished {
		return
	}
	r.Look, r.Looks, r.Rung = at, 0, r.Rung || news.State.Terminal()
}

// add adds a run to a node; nil if there is no room for it.
func (n *chainNode) add(r chainRun) *chainRun {
	if len(n.Runs) >= maxNodeRuns {
		return nil
	}
	n.Runs = append(n.Runs, r)
	return n.run(r.Run)
}

// triggered takes a run that was triggered for a stack, or adopted, and how.
func (c *chain) triggered(at time.Time, run spacelift.RunRef, how string) {
	n := c.node(run.Stack)
	n.Releasing, n.Unsure, n.Trouble = false, false, nil
	c.note(at, KindAction, run.Stack, run.Run, "%s", how)
	if n.run(run) == nil {
		n.add(chainRun{Run: run, How: how, Look: at})
	}
}

// untriggered takes why no run of a stack was triggered. unsure says that one
// may have been all the same.
func (c *chain) untriggered(at time.Time, stack spacelift.StackID, reason string, unsure bool) {
	n := c.node(stack)
	n.Releasing, n.Unsure = false, unsure
	if n.Trouble == nil || n.Trouble.Reason != reason {
		c.note(at, KindDecision, stack, "", "not triggered: %s", reason)
	}
	n.Trouble = n.Trouble.again(at, reason)
}

// again is the next try of something that failed once more.
func (l *later) again(at time.Time, reason string) *later {
	tries := 0
	if l != nil {
		tries = l.Tries
	}
	return &later{Reason: fit(reason, maxText), Until: at.Add(doubled(tryFirst, tries, tryMost)), Tries: tries + 1}
}

func doubled(first time.Duration, times int, most time.Duration) time.Duration {
	return min(first<<min(times, 20), most)
}

// saw takes a run as the API shows it. It does not matter how often that
// happens, or in which order the readings come.
func (c *chain) saw(at time.Time, run spacelift.Run) {
	n := c.node(run.Ref.Stack)
	if n == nil {
		return
	}
	r := n.run(run.Ref)
	if r == nil {
		return
	}
	r.Unknown = 0
	older := r.State != "" && (run.StateVersion < r.StateVersion || run.StateVersion == r.StateVersion && r.State.Terminal())
	if !older && (run.State != r.State || run.StateVersion != r.StateVersion) {
		r.take(run)
		if n.Stack == c.Root.Stack && (run.Type != spacelift.RunTypeTracked || run.DriftDetection) {
			c.Refused = "nothing is released: only tracked runs that no drift detection made begin a chain"
		}
		if r.State.Terminal() {
			c.note(at, KindEvent, n.Stack, run.Ref.Run, "%s", r.end())
		}
	}
	r.lookLater(at)
}

func (r *chainRun) take(run spacelift.Run) {
	r.State, r.StateVersion, r.CreatedAt = run.State, run.StateVersion, run.CreatedAt
	r.EndedAt, r.Actor, r.Note, r.Looks = time.Time{}, "", "", 0
	if !run.State.Terminal() {
		return
	}
	r.Rung = false
	for _, t := range run.History {
		if t.State == run.State {
			r.EndedAt, r.Actor, r.Note = t.At, fit(t.Username, maxName), fit(t.Note, maxText)
		}
	}
}

// unseen takes that a run could not be read.
func (c *chain) unseen(at time.Time, ref spacelift.RunRef, unknown bool) {
	n := c.node(ref.Stack)
	if n == nil {
		return
	}
	r := n.run(ref)
	if r == nil {
		return
	}
	if unknown {
		if r.Unknown++; r.Unknown == unknownTwice {
			c.note(at, KindEvent, n.Stack, ref.Run, "Spacelift does not know run %s any more", ref.Run)
		}
	}
	r.lookLater(at)
}

// lookLater says when a run is to be read again, if nobody tells of it before.
func (r *chainRun) lookLater(at time.Time) {
	first := lookFirst
	if r.Rung || r.State == "" {
		first = lookRung
	}
	r.Look = at.Add(doubled(first, r.Looks, lookMost))
	r.Looks++
}

// end says how the run ended.
func (r *chainRun) end() string {
	text := fmt.Sprintf("run %s of %s ended in %s", r.Run.Run, r.Run.Stack, r.State)
	if r.Actor != "" {
		text += " by " + r.Actor
	}
	text += afterColon(r.Note)
	if r.StoppedBy != "" && r.State == spacelift.RunStateFinished {
		text += fmt.Sprintf(", though %s wanted it stopped", r.StoppedBy)
	}
	return text
}

// through reports whether the run finished and nobody wanted it stopped.
func (r *chainRun) through() bool {
	return r != nil && r.State == spacelift.RunStateFinished && r.StoppedBy == ""
}

// lost reports whether Spacelift does not know the run any more.
func (r *chainRun) lost() bool { return r.Unknown >= unknownTwice }

// current is the run of a stack that counts: one that finished, or else the
// newest; nil if there is none.
func (n *chainNode) current() *chainRun {
	var newest *chainRun
	for i := range n.Runs {
		r := &n.Runs[i]
		if r.through() {
			return r
		}
		if newest == nil || byCreation(*r, *newest) > 0 {
			newest = r
		}
	}
	return newest
}

// byCreation orders runs; one that was not read yet is the newest.
func byCreation(a, b chainRun) int {
	return cmp.Or(cmp.Compare(rank(a.State == ""), rank(b.State == "")), a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.Run.Run, b.Run.Run))
}

// skip takes a person's wish that was not refused.
func (c *chain) skip(at time.Time, wish SkipStack) {
	wish.By, wish.Note = fit(wish.By, maxName), fit(wish.Note, maxText)
	c.node(wish.Stack).Skipped = &wish
	c.person(at, wish.Stack, wish.By, "%s skipped %s%s", wish.By, wish.Stack, afterColon(wish.Note))
}

// stop takes a person's wish that was not refused.
func (c *chain) stop(at time.Time, wish StopChain) {
	wish.By, wish.Note = fit(wish.By, maxName), fit(wish.Note, maxText)
	c.Stopped = &wish
	c.person(at, "", wish.By, "%s stopped the chain%s", wish.By, afterColon(wish.Note))
}

// note writes an entry to the journal. When that is full the oldest goes.
func (c *chain) note(at time.Time, kind TimelineKind, stack spacelift.StackID, run spacelift.RunID, format string, args ...any) {
	c.write(ChainEntry{At: at, Kind: kind, Stack: stack, Run: run, Summary: fmt.Sprintf(format, args...)})
}

func (c *chain) person(at time.Time, stack spacelift.StackID, who, format string, args ...any) {
	c.write(ChainEntry{At: at, Kind: KindPerson, Stack: stack, Actor: who, Summary: fmt.Sprintf(format, args...)})
}

func (c *chain) write(e ChainEntry) {
	e.Summary = fit(e.Summary, maxText)
	c.Journal = append(c.Journal, e)
	if len(c.Journal) > maxChainJournal {
		c.Journal = slices.Delete(c.Journal, 0, 1)
	}
}
