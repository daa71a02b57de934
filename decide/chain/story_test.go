package chain

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/spacelift"
)

var chainBegan = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// chainStory moves a chain on: its runs in Spacelift, what is read of them, and
// what is decided then.
type chainStory struct {
	fatal func(format string, args ...any)
	c     Chain
	now   time.Time
	edges []string // as the labels are now
	away  bool     // nobody can read them
	runs  map[spacelift.RunRef]spacelift.Run
	began []spacelift.StackID // stacks that were triggered, in order
}

// newChainStory begins a chain with a run of net that applied changes. Edges read
// "app<net,dns": app follows net and dns.
func newChainStory(fatal func(string, ...any), edges ...string) *chainStory {
	root := spacelift.RunRef{Account: "acme", Stack: "net", Run: "net-1"}
	s := &chainStory{fatal: fatal, now: chainBegan, c: New(root, chainBegan), edges: edges, runs: map[spacelift.RunRef]spacelift.Run{}}
	s.enters(root, spacelift.RunStatePlanning)
	s.enters(root, spacelift.RunStateApplying)
	s.enters(root, spacelift.RunStateFinished)
	s.c.Observe(s.now, s.runs[root])
	s.c.TakeGraph(s.now, graphOf(edges...))
	return s
}

// graphOf returns the graph of edges. Each stack's channel is called like the stack.
func graphOf(edges ...string) Graph {
	g := Graph{Notify: []string{"#net"}}
	place := map[string]int{"net": 0}
	for _, e := range edges {
		stack, parents, _ := strings.Cut(e, "<")
		node := Follower{Stack: spacelift.StackID(stack), Labels: parents, Notify: []string{"#" + stack}}
		for p := range strings.SplitSeq(parents, ",") {
			node.After = append(node.After, place[p])
		}
		slices.Sort(node.After)
		g.Stacks = append(g.Stacks, node)
		place[stack] = len(g.Stacks)
	}
	return g
}

// enters moves a run on in Spacelift.
func (s *chainStory) enters(ref spacelift.RunRef, state spacelift.RunState) {
	run := s.runs[ref]
	if run.History == nil {
		run = spacelift.Run{Ref: ref, Type: spacelift.RunTypeTracked, CreatedAt: s.now}
	}
	run.State, run.StateVersion = state, len(run.History)
	run.History = append(slices.Clone(run.History), spacelift.Transition{State: state, StateVersion: run.StateVersion, At: s.now})
	s.runs[ref] = run
}

// goes decides, reads labels and triggers until there is nothing left to do now.
func (s *chainStory) goes() Next {
	for {
		n := Decide(&s.c, s.now)
		s.c.Apply(s.now, n)
		switch {
		case n.Graph && s.away:
			s.c.RecordNoGraph(s.now, "nobody answers")
		case n.Graph:
			s.c.TakeGraph(s.now, graphOf(s.edges...))
		case len(n.Trigger) > 0:
			for _, i := range n.Trigger {
				s.began = append(s.began, s.c.Nodes[i].Stack)
				s.attempt(s.c.Nodes[i].Stack)
			}
		default:
			return n
		}
	}
}

func (s *chainStory) attempt(stack spacelift.StackID) {
	ref := spacelift.RunRef{Account: "acme", Stack: stack, Run: spacelift.RunID(fmt.Sprintf("%s-%d", stack, len(s.runs)))}
	s.enters(ref, spacelift.RunStateQueued)
	s.c.Node(stack).Releasing = true
	s.c.RecordTriggered(s.now, ref, "Gantry triggered it", false)
	s.c.Observe(s.now, s.runs[ref])
}

// current is the run of a stack that counts.
func (s *chainStory) current(stack spacelift.StackID) spacelift.RunRef {
	n := s.c.Node(stack)
	if n == nil || n.current() == nil {
		s.fatal("%s has no run", stack)
		return spacelift.RunRef{}
	}
	return s.c.Ref(stack, n.current().Run)
}

// ends ends the run of a stack that counts, and decides.
func (s *chainStory) ends(stack spacelift.StackID, state spacelift.RunState) Next {
	ref := s.current(stack)
	s.now = s.now.Add(time.Minute)
	s.enters(ref, state)
	s.c.Observe(s.now, s.runs[ref])
	return s.goes()
}

// retries makes a new run for a stack, as RetryRun does.
func (s *chainStory) retries(stack spacelift.StackID) {
	s.now = s.now.Add(time.Minute)
	ref := spacelift.RunRef{Account: "acme", Stack: stack, Run: spacelift.RunID(fmt.Sprintf("%s-%d", stack, len(s.runs)))}
	s.enters(ref, spacelift.RunStateQueued)
	s.c.Take(s.now, News{Run: ref})
	s.c.Observe(s.now, s.runs[ref])
}

func (s *chainStory) skips(stack spacelift.StackID) Next {
	wish := Skip{Stack: stack, By: "jane", Note: "not needed"}
	if refusal := s.c.RefuseSkip(wish); refusal != nil {
		s.fatal("skip %s: %s", stack, refusal.Reason)
		return Next{}
	}
	s.c.Skip(s.now, wish)
	return s.goes()
}

func (s *chainStory) shows(t *testing.T, want map[spacelift.StackID]NodeState) {
	t.Helper()
	got := map[spacelift.StackID]NodeState{}
	for _, n := range s.c.Status(s.now).Nodes {
		got[n.Stack] = n.State
		if n.Reason == "" {
			t.Errorf("%s is %s for no reason", n.Stack, n.State)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("stacks (-want +got):\n%s", diff)
	}
}

func (s *chainStory) decided(t *testing.T, from, to spacelift.StackID, want EdgeDecision, reason string) {
	t.Helper()
	for _, e := range s.c.Status(s.now).Edges() {
		if e.From == from && e.To == to {
			if e.Decision != want || !strings.Contains(e.Reason, reason) || e.At.IsZero() {
				t.Errorf("%s→%s: %+v, want %s with %q", from, to, e, want, reason)
			}
			return
		}
	}
	t.Errorf("nothing was decided about %s→%s", from, to)
}

const (
	runFinished = spacelift.RunStateFinished
	runFailed   = spacelift.RunStateFailed
)

type nodes = map[spacelift.StackID]NodeState
