package workflows

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
	c     chain
	now   time.Time
	runs  map[spacelift.RunRef]spacelift.Run
	began []spacelift.StackID // stacks that were triggered, in order
}

// newChainStory begins a chain with a run of net. Edges read "app<net,dns":
// app follows net and dns.
func newChainStory(fatal func(string, ...any), edges ...string) *chainStory {
	root := spacelift.RunRef{Account: "acme", Stack: "net", Run: "net-1"}
	s := &chainStory{fatal: fatal, now: chainBegan, c: newChain(root, chainBegan), runs: map[spacelift.RunRef]spacelift.Run{}}
	s.enters(root, spacelift.RunStateApplying)
	s.enters(root, spacelift.RunStateFinished)
	s.c.saw(s.now, s.runs[root])
	var nodes []chainNode
	for _, e := range edges {
		stack, parents, _ := strings.Cut(e, "<")
		node := chainNode{Stack: spacelift.StackID(stack)}
		for p := range strings.SplitSeq(parents, ",") {
			node.After = append(node.After, spacelift.StackID(p))
		}
		nodes = append(nodes, node)
	}
	s.c.takeNodes(s.now, nodes, false)
	return s
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

// goes decides and triggers until there is nothing more to do at once.
func (s *chainStory) goes() chainNext {
	for {
		n := decideChain(s.c, s.now)
		s.c.record(s.now, n)
		if len(n.Trigger) == 0 {
			return n
		}
		for _, stack := range n.Trigger {
			s.began = append(s.began, stack)
			s.attempt(stack)
		}
	}
}

func (s *chainStory) attempt(stack spacelift.StackID) {
	ref := spacelift.RunRef{Account: "acme", Stack: stack, Run: spacelift.RunID(fmt.Sprintf("%s-%d", stack, len(s.runs)))}
	s.enters(ref, spacelift.RunStateQueued)
	s.c.node(stack).Releasing = true
	s.c.triggered(s.now, ref, "Gantry triggered it")
	s.c.saw(s.now, s.runs[ref])
}

// ends ends the run of a stack that counts, and decides.
func (s *chainStory) ends(stack spacelift.StackID, state spacelift.RunState) chainNext {
	n := s.c.node(stack)
	if n == nil || len(n.Runs) == 0 {
		s.fatal("%s has no run", stack)
		return chainNext{}
	}
	s.now = s.now.Add(time.Minute)
	s.enters(n.current().Run, state)
	s.c.saw(s.now, s.runs[n.current().Run])
	return s.goes()
}

// retries makes a new run for a stack, as RetryRun does.
func (s *chainStory) retries(stack spacelift.StackID) {
	s.now = s.now.Add(time.Minute)
	ref := spacelift.RunRef{Account: "acme", Stack: stack, Run: spacelift.RunID(fmt.Sprintf("%s-%d", stack, len(s.runs)))}
	s.enters(ref, spacelift.RunStateQueued)
	s.c.heard(s.now, ChainNews{Run: ref})
	s.c.saw(s.now, s.runs[ref])
}

func (s *chainStory) skips(stack spacelift.StackID) chainNext {
	wish := SkipStack{Stack: stack, By: "jane", Note: "not needed"}
	if no := s.c.refuseSkip(wish); no != nil {
		s.fatal("skip %s: %s", stack, no.Reason)
		return chainNext{}
	}
	s.c.skip(s.now, wish)
	return s.goes()
}

func (s *chainStory) shows(t *testing.T, want map[spacelift.StackID]NodeState) {
	t.Helper()
	got := map[spacelift.StackID]NodeState{}
	for _, n := range s.c.status(s.now).Nodes {
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
	for _, e := range s.c.status(s.now).Edges {
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
