package chain

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/spacelift"
)

// longest is the longest id that a stack or run may have, made from a number.
func longest(prefix string, n int) string {
	id := fmt.Sprintf("%s%06d", prefix, n)
	return id + strings.Repeat("x", 200-len(id))
}

// greatest is a chain at all its bounds: as many stacks and labels as it may hold,
// all with the longest ids, runs, notes and names, a full journal, as many retries
// as are kept, and all keys used.
func greatest() Chain {
	root := spacelift.RunRef{Account: spacelift.Account(longest("account", 0)), Stack: spacelift.StackID(longest("stack", 0)), Run: spacelift.RunID(longest("run", 0))}
	c := New(root, chainBegan)
	at := chainBegan
	text := strings.Repeat("because ", 1000)
	reads := func(ref spacelift.RunRef, state spacelift.RunState) {
		run := spacelift.Run{Ref: ref, Type: spacelift.RunTypeTracked, State: state, StateVersion: 3, CreatedAt: at, TriggeredBy: text}
		run.Commit.Hash = text
		for i, s := range []spacelift.RunState{spacelift.RunStateQueued, spacelift.RunStatePlanning, spacelift.RunStateApplying, state} {
			run.History = append(run.History, spacelift.Transition{State: s, StateVersion: i, At: at, Username: text, Note: text})
		}
		c.Observe(at, run)
	}
	reads(root, runFinished)
	var g Graph
	edges := 0
	for i := range MaxStacks {
		s := Follower{Stack: spacelift.StackID(longest("stack", i+1)), Labels: strings.Repeat("f", 16), Notify: []string{strings.Repeat("c", 63)}}
		most := (MaxEdges - edges) / (MaxStacks - i)
		for p := max(0, i+1-most); p <= i; p++ {
			s.After = append(s.After, p)
			edges++
		}
		g.Stacks = append(g.Stacks, s)
	}
	for i := range 10 {
		r := Exclusion{Reason: strings.Repeat(longest("stack", i)+" → ", 20), More: 1000}
		for j := range 20 {
			r.Stacks = append(r.Stacks, spacelift.StackID(longest("stack", j)))
		}
		g.Refused = append(g.Refused, r)
	}
	c.TakeGraph(at, g)
	for i := range c.Nodes[1:] {
		stack := c.Nodes[i+1].Stack
		for attempt := range 2 {
			ref := c.Ref(stack, spacelift.RunID(longest("run", 2*i+attempt+1)))
			if attempt == 0 {
				c.Node(stack).Releasing = true
				c.RecordTriggered(at, ref, text, false)
			} else {
				c.Take(at, News{Run: ref})
			}
			reads(ref, runFailed)
		}
	}
	for i := range decide.MaxKeys {
		wish := Skip{Stack: c.Nodes[1].Stack, By: text, Note: text}
		c.Keys.Remember(longest("key", i), wish.Content())
	}
	n := Decide(&c, at.Add(time.Minute))
	c.Apply(at, n)
	return c
}

// A chain at its bounds fits into what Temporal takes, with room to spare: what it
// carries into its next execution, what it answers, and the graph that an activity
// reads.
func TestAChainAtItsBoundsFits(t *testing.T) {
	c := greatest()
	edges := 0
	for _, n := range c.Nodes {
		edges += len(n.After)
	}
	if len(c.Nodes) != MaxStacks+1 || edges != MaxEdges {
		t.Fatalf("%d stacks, %d labels", len(c.Nodes), edges)
	}
	var graph Graph
	for _, n := range c.Nodes[1:] {
		graph.Stacks = append(graph.Stacks, Follower{Stack: n.Stack, After: n.After, Labels: n.Labels, Notify: n.Notify})
	}
	const most = 1_900_000 // bytes; Temporal refuses 2 MiB
	for what, value := range map[string]any{
		"what it carries": Input{Root: c.Root, Known: &c}, "what it answers": c.Status(chainBegan), "the graph": graph,
	} {
		encoded, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d KB", what, len(encoded)>>10)
		if len(encoded) > most {
			t.Errorf("%s takes %d bytes, more than %d", what, len(encoded), most)
		}
	}
	if status := c.Status(chainBegan); len(status.Edges()) != MaxEdges {
		t.Errorf("%d edges are shown", len(status.Edges()))
	}
}

// However many stacks fan out into however many: a decision takes a fraction of
// the time that a workflow task has.
func TestDecisionsOfWideChainsAreQuick(t *testing.T) {
	c := greatest()
	quickest := time.Hour // of many: other processes slow some of them down
	for range 20 {
		begun := time.Now()
		n := Decide(&c, chainBegan.Add(time.Minute))
		c.Apply(chainBegan.Add(time.Minute), n)
		quickest = min(quickest, time.Since(begun))
	}
	if quickest > 20*time.Millisecond {
		t.Errorf("a decision takes %s", quickest)
	}
}

func BenchmarkDecideChain(b *testing.B) {
	c := greatest()
	for b.Loop() {
		n := Decide(&c, chainBegan.Add(time.Minute))
		c.Apply(chainBegan.Add(time.Minute), n)
	}
}

func BenchmarkChainStatus(b *testing.B) {
	c := greatest()
	for b.Loop() {
		c.Status(chainBegan.Add(time.Minute))
	}
}
