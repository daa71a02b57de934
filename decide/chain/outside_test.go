package chain

import (
	"testing"

	"github.com/gantryhq/gantry/spacelift"
)

// A stack that waits for something outside its chain is tried again when that ends, and
// not when something else does.
func TestAnEndOutsideTheChain(t *testing.T) {
	s := newChainStory(t.Fatalf, "app<net", "web<app")
	for n := Decide(&s.c, s.now); len(n.Trigger) == 0; n = Decide(&s.c, s.now) {
		s.c.Apply(s.now, n)
		s.c.TakeGraph(s.now, graphOf(s.edges...))
	}
	s.c.RecordWait(s.now, "app", "dns works on the same commit")
	s.c.TryAfter("app", "dns")
	ref := func(stack spacelift.StackID) spacelift.RunRef {
		return spacelift.RunRef{Account: "acme", Stack: stack, Run: "other-1"}
	}
	for stack, wants := range map[spacelift.StackID]bool{"dns": true, "net": false, "": false} {
		if got := s.c.Place(ref(stack), "another commit").Listens; got != wants {
			t.Errorf("listens for %q: %v", stack, got)
		}
	}
	for _, tc := range []struct {
		of    spacelift.StackID
		tries int
	}{{"net", 0}, {"app", 0}, {"dns", 1}} {
		s.c.Take(s.now, News{Run: ref(tc.of), Outside: true})
		if n := Decide(&s.c, s.now); len(n.Trigger) != tc.tries {
			t.Errorf("after an end of %s: %+v", tc.of, n)
		}
	}
	if len(s.c.Node("net").Runs) != 1 || len(s.c.Node("app").Runs) != 0 {
		t.Errorf("the chain took runs that are not its own: %+v", s.c.Nodes)
	}
}
