package chain

import (
	"fmt"
	"testing"
	"time"

	"github.com/gantryhq/gantry/spacelift"
)

func TestPackedStacks(t *testing.T) {
	c := New(spacelift.RunRef{Account: "acme", Stack: "net", Run: "net-1"}, time.Time{})
	if p := c.PackedStacks(); p != nil || !MayFollow(p, "app-0") {
		t.Errorf("before the stacks are known: %v", p)
	}
	var g Graph
	for n := range 1000 {
		g.Stacks = append(g.Stacks, Follower{Stack: spacelift.StackID(fmt.Sprintf("app-%d", n))})
	}
	c.TakeGraph(time.Time{}, g)
	p := c.PackedStacks()
	if len(p) > 2<<10 {
		t.Errorf("%d bytes", len(p))
	}
	for _, s := range g.Stacks {
		if !MayFollow(p, s.Stack) {
			t.Errorf("%s may not follow", s.Stack)
		}
	}
	others := 0
	for n := range 10_000 {
		if MayFollow(p, spacelift.StackID(fmt.Sprintf("net-%d", n))) {
			others++
		}
	}
	if others > 250 { // 150 are expected
		t.Errorf("of 10,000 other stacks %d may follow", others)
	}
	c.TakeGraph(time.Time{}, Graph{})
	if MayFollow(c.PackedStacks(), "app-0") {
		t.Error("a stack that left the chain may follow")
	}
}
