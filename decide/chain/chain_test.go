package chain

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

func TestALineOfThree(t *testing.T) {
	s := newChainStory(t.Fatalf, "app<net", "web<app")
	s.goes()
	s.shows(t, nodes{"net": NodeFinished, "app": NodeRunning, "web": NodeWaiting})
	s.decided(t, "app", "web", EdgeWaits, "is in progress")
	s.ends("app", runFinished)
	s.shows(t, nodes{"net": NodeFinished, "app": NodeFinished, "web": NodeRunning})
	s.decided(t, "app", "web", EdgeReleases, "finished")
	if n := s.ends("web", runFinished); !n.Finish || n.Reason != "the chain is complete: 3 runs finished" {
		t.Errorf("%+v, want the chain to be through", n)
	}
}

func TestAFanInWaitsForAll(t *testing.T) {
	s := newChainStory(t.Fatalf, "app<net", "dns<net", "web<app,dns")
	s.goes()
	s.ends("app", runFinished)
	s.shows(t, nodes{"net": NodeFinished, "app": NodeFinished, "dns": NodeRunning, "web": NodeWaiting})
	s.ends("dns", runFinished)
	if diff := cmp.Diff([]spacelift.StackID{"app", "dns", "web"}, s.began); diff != "" {
		t.Errorf("triggered (-want +got):\n%s", diff)
	}
}

// Whatever ends a run without finishing it stops the line, and only the line.
func TestWhatStopsTheLine(t *testing.T) {
	for _, state := range spacelift.RunStates {
		if !state.Terminal() || state == runFinished || state == spacelift.RunStateSkipped {
			continue
		}
		s := newChainStory(t.Fatalf, "app<net", "dns<net", "web<app", "mail<dns")
		s.goes()
		s.ends("app", state)
		s.decided(t, "app", "web", EdgeStops, string(state))
		s.ends("dns", runFinished)
		n := s.ends("mail", runFinished)
		if n.Phase != PhaseHeld || !strings.Contains(n.Reason, string(state)) {
			t.Errorf("%s: %+v, want the chain held", state, n)
		}
		s.shows(t, nodes{"net": NodeFinished, "app": NodeFailed, "dns": NodeFinished, "web": NodeWaiting, "mail": NodeFinished})
	}
}

// Lists show why a chain is held, and anew when another stack is in the way; the same
// stacks in other words are worth no event.
func TestWhatListsShowOfAHeldChain(t *testing.T) {
	s := newChainStory(t.Fatalf, "app<net", "dns<net", "web<app")
	s.goes()
	s.ends("dns", runFinished)
	n := s.ends("app", runFailed)
	h := s.c.WhyHeld(n)
	if h.Since.IsZero() || !slices.Equal(h.InTheWay, []spacelift.StackID{"app"}) || !strings.Contains(h.Reason, "of app ended in FAILED") || strings.Contains(h.Reason, "the chain continues") {
		t.Errorf("a list shows %+v", h)
	}
	if !h.Differs(Held{}) {
		t.Error("the first memo is not written")
	}
	other := h
	if other.Reason = "in other words"; other.Differs(h) {
		t.Error("a sentence alone is worth an event")
	}
	if other.InTheWay = append(slices.Clone(h.InTheWay), "dns"); !other.Differs(h) {
		t.Error("another stack in the way is not shown")
	}
	wide := newChainStory(t.Fatalf, "a<net", "b<net", "c<net", "d<net", "e<net", "f<net", "g<net", "h<net", "i<net", "j<net", "k<net")
	wide.goes()
	for c := 'a'; c <= 'k'; c++ {
		n = wide.ends(spacelift.StackID(string(c)), runFailed)
	}
	if h := wide.c.WhyHeld(n); len(h.InTheWay) != maxHeldStacks || !strings.HasSuffix(h.Reason, "6 more") {
		t.Errorf("a list shows %+v", h)
	}
}

func TestARetryResumes(t *testing.T) {
	s := newChainStory(t.Fatalf, "app<net", "web<app")
	s.goes()
	s.ends("app", runFailed)
	s.retries("app")
	s.shows(t, nodes{"net": NodeFinished, "app": NodeRunning, "web": NodeWaiting})
	s.ends("app", runFailed)
	s.retries("app")
	s.ends("app", runFinished)
	if n := s.ends("web", runFinished); !n.Finish || len(s.began) != 2 {
		t.Errorf("%+v after %v", n, s.began)
	}
}

// Spacelift may take a failed run up again under its old id.
func TestARetryUnderTheSameIDResumes(t *testing.T) {
	s := newChainStory(t.Fatalf, "app<net", "web<app")
	s.goes()
	n := s.ends("app", runFailed)
	if n.Phase != PhaseHeld || n.Until.IsZero() {
		t.Fatalf("%+v, want it held and looked at again", n)
	}
	ref := s.current("app")
	s.now = s.now.Add(readFirst)
	if n = s.goes(); !slices.Contains(n.Newer, ref) || n.Phase != PhaseHeld {
		t.Fatalf("%+v, want a read of %s", n, ref)
	}
	s.enters(ref, spacelift.RunStateQueued)
	s.c.Observe(s.now, s.runs[ref])
	s.shows(t, nodes{"net": NodeFinished, "app": NodeRunning, "web": NodeWaiting})
	s.ends("app", runFinished)
	s.shows(t, nodes{"net": NodeFinished, "app": NodeFinished, "web": NodeRunning})
}

func TestASkipResumes(t *testing.T) {
	s := newChainStory(t.Fatalf, "app<net", "web<app")
	s.goes()
	s.ends("app", runFailed)
	s.skips("app")
	s.decided(t, "app", "web", EdgeReleases, "jane skipped app: not needed")
	if n := s.ends("web", runFinished); !n.Finish || !strings.Contains(n.Reason, "app was skipped") {
		t.Errorf("%+v", n)
	}
}

// To skip a stack is not to overtake those it follows.
func TestASkippedStackPassesOnWhatItWaitsFor(t *testing.T) {
	s := newChainStory(t.Fatalf, "app<net", "web<app", "cdn<web")
	s.goes()
	s.skips("web")
	s.shows(t, nodes{"net": NodeFinished, "app": NodeRunning, "web": NodeSkipped, "cdn": NodeWaiting})
	s.ends("app", runFinished)
	s.shows(t, nodes{"net": NodeFinished, "app": NodeFinished, "web": NodeSkipped, "cdn": NodeRunning})
}

// What can't be triggered is held and tried again, less and less often, for as
// long as the chain is kept.
func TestAFollowerThatCannotBeTriggered(t *testing.T) {
	s := newChainStory(t.Fatalf, "app<net", "web<app")
	tries, reads := 0, 0
	for n := Decide(&s.c, s.now); !n.Finish; n = Decide(&s.c, s.now) {
		s.c.Apply(s.now, n)
		switch {
		case n.Graph:
			s.c.TakeGraph(s.now, graphOf(s.edges...))
			reads++
		case len(n.Trigger) == 1:
			tries++
			s.c.Node("app").Releasing = true
			s.c.RecordFailure(s.now, "app", "it is locked")
			s.shows(t, nodes{"net": NodeFinished, "app": NodeHeld, "web": NodeWaiting})
		case n.Until.After(s.now):
			s.now = n.Until
		default:
			t.Fatalf("%+v neither tries nor waits at %s", n, s.now)
		}
	}
	s.decided(t, "app", "web", EdgeStops, "it is locked")
	if held := s.now.Sub(chainBegan); held != patience || tries < 700 || tries > 740 || reads > 150 {
		t.Errorf("given up after %s and %d tries, having read the labels %d times", held, tries, reads)
	}
	if n := Decide(&s.c, s.now); !strings.Contains(n.Reason, "30 days") {
		t.Errorf("%+v", n)
	}
}

func TestWhatReleasesNothing(t *testing.T) {
	root := spacelift.RunRef{Account: "acme", Stack: "net", Run: "net-1"}
	read := func(change func(*spacelift.Run)) Chain {
		c := New(root, chainBegan)
		run := spacelift.Run{Ref: root, Type: spacelift.RunTypeTracked, State: runFinished, StateVersion: 9, CreatedAt: chainBegan}
		change(&run)
		c.Observe(chainBegan, run)
		c.TakeGraph(chainBegan, graphOf("app<net"))
		return c
	}
	circle := read(func(*spacelift.Run) {})
	circle.TakeGraph(chainBegan, Graph{Refused: []Exclusion{{Stacks: []spacelift.StackID{"app", "net"}, Reason: "the labels lead in a circle: net → app → net"}}})
	unread := New(root, chainBegan)
	stopped := read(func(*spacelift.Run) {})
	stopped.Stop(chainBegan, Stop{By: "jane", Note: "wrong day"})
	for _, tc := range []struct {
		name   string
		c      Chain
		reason string
		finish bool
	}{
		{"the run was not read", unread, "reads the run", false},
		{"Spacelift does not show that it finished", read(func(r *spacelift.Run) { r.State = spacelift.RunStatePlanning }), "PLANNING", false},
		{"it failed", read(func(r *spacelift.Run) { r.State = runFailed }), "FAILED", true},
		{"it is a preview", read(func(r *spacelift.Run) { r.Type = spacelift.RunTypeProposed }), "only tracked runs", true},
		{"it repairs drift", read(func(r *spacelift.Run) { r.DriftDetection = true }), "only tracked runs", true},
		{"the labels lead in a circle", circle, "net → app → net", true},
		{"somebody stopped it", stopped, "jane stopped the chain: wrong day", true},
	} {
		n := Decide(&tc.c, chainBegan.Add(time.Second))
		if len(n.Trigger) > 0 || n.Finish != tc.finish || !strings.Contains(n.Reason, tc.reason) {
			t.Errorf("%s: %+v", tc.name, n)
		}
	}
}

func TestRefuseSkip(t *testing.T) {
	s := newChainStory(t.Fatalf, "app<net", "web<app")
	s.goes()
	s.ends("app", runFailed)
	s.c.Skip(s.now, Skip{Stack: "app", By: "jane"})
	s.c.Keys.Remember("k1", Skip{Stack: "app", By: "jane"}.Content())
	s.goes()
	for _, tc := range []struct {
		wish Skip
		kind string
	}{
		{Skip{Stack: "net", By: "joe"}, ErrTypeNotSkippable},
		{Skip{Stack: "nowhere", By: "joe"}, ErrTypeNotInChain},
		{Skip{Stack: "app", By: "joe"}, managed.ErrTypeAlreadyDecided},
		{Skip{Stack: "web", By: "joe"}, ErrTypeNotSkippable},
		{Skip{Stack: "web", By: "jane", Key: "k1"}, decide.ErrTypeKeyReused},
		{Skip{Stack: "app", By: "jane", Key: "k1"}, ""},
	} {
		kind := ""
		if refusal := s.c.RefuseSkip(tc.wish); refusal != nil {
			kind = refusal.Type
		}
		if kind != tc.kind {
			t.Errorf("%+v is refused with %q, want %q", tc.wish, kind, tc.kind)
		}
	}
	s.ends("web", runFinished)
	if refusal := s.c.RefuseSkip(Skip{Stack: "web", By: "joe"}); refusal == nil || refusal.Type != managed.ErrTypeTooLate {
		t.Errorf("a chain that has ended: %+v", refusal)
	}
}

// However runs end, are tried again or skipped, and in whatever order, how often
// and how late that is read: each stack is triggered at most once, never before
// all that it follows is done, and always when it is.
func TestAnyOrderReleasesTheSame(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var edges []string
		stacks := []spacelift.StackID{"net"}
		after := map[spacelift.StackID][]string{}
		for i := range rapid.IntRange(1, 6).Draw(rt, "stacks") {
			id := spacelift.StackID(fmt.Sprintf("s%d", i))
			parents := rapid.SliceOfNDistinct(rapid.SampledFrom(stacks), 1, min(3, len(stacks)), rapid.ID).Draw(rt, "parents")
			for _, p := range parents {
				after[id] = append(after[id], string(p))
			}
			edges = append(edges, string(id)+"<"+strings.Join(after[id], ","))
			stacks = append(stacks, id)
		}
		s := newChainStory(rt.Fatalf, edges...)
		var old []spacelift.Run // what was read before, and may be read late
		done := map[spacelift.StackID]bool{"net": true}
		step := func() {
			before := len(s.began)
			s.goes()
			for _, stack := range s.began[before:] {
				for _, p := range after[stack] {
					if !done[spacelift.StackID(p)] {
						rt.Fatalf("%s was triggered before %s was done", stack, p)
					}
				}
			}
		}
		step()
		var passes func(spacelift.StackID) bool
		passes = func(id spacelift.StackID) bool {
			for _, p := range after[id] {
				if !done[spacelift.StackID(p)] || !passes(spacelift.StackID(p)) {
					return false
				}
			}
			return true
		}
		for range rapid.IntRange(0, 40).Draw(rt, "steps") {
			stack := rapid.SampledFrom(stacks[1:]).Draw(rt, "stack")
			n := s.c.Node(stack)
			s.now = s.now.Add(time.Minute)
			switch state := n.state(); rapid.IntRange(0, 3).Draw(rt, "what") {
			case 0: // its run ends
				if state == NodeRunning {
					end := rapid.SampledFrom([]spacelift.RunState{runFinished, runFailed, spacelift.RunStateDiscarded}).Draw(rt, "end")
					s.enters(s.current(stack), end)
					s.c.Observe(s.now, s.runs[s.current(stack)])
					done[stack] = done[stack] || end == runFinished
				}
			case 1: // it is tried again
				if state == NodeFailed {
					s.retries(stack)
				}
			case 2: // somebody skips it
				if wish := (Skip{Stack: stack, By: "jane"}); s.c.RefuseSkip(wish) == nil && passes(stack) {
					s.c.Skip(s.now, wish)
					done[stack] = true
				}
			case 3: // something is read late, or twice
				if len(old) > 0 {
					s.c.Observe(s.now, rapid.SampledFrom(old).Draw(rt, "late"))
				}
			}
			for _, run := range s.runs {
				old = append(old, run)
			}
			slices.SortFunc(old, func(a, b spacelift.Run) int {
				return strings.Compare(string(a.Ref.Run)+string(a.State), string(b.Ref.Run)+string(b.State))
			})
			old = slices.CompactFunc(old, func(a, b spacelift.Run) bool { return a.Ref == b.Ref && a.StateVersion == b.StateVersion })
			step()
		}
		slices.Sort(s.began)
		if len(slices.Compact(slices.Clone(s.began))) != len(s.began) {
			rt.Fatalf("triggered twice: %v", s.began)
		}
		for _, stack := range stacks[1:] {
			n := s.c.Node(stack)
			if passes(stack) != (len(n.Runs) > 0 || n.Skipped != nil) {
				rt.Fatalf("%s: what it follows is done: %t, and it has %d runs", stack, passes(stack), len(n.Runs))
			}
		}
	})
}

// A run that somebody wanted stopped and that finished all the same stops the
// line, until somebody skips it.
func TestAStoppedRunThatFinishesStopsTheLine(t *testing.T) {
	s := newChainStory(t.Fatalf, "app<net", "web<app")
	s.goes()
	s.c.Take(s.now, News{Run: s.current("app"), State: spacelift.RunStatePlanning, StoppedBy: "ann"})
	n := s.ends("app", runFinished)
	if n.Phase != PhaseHeld || !strings.Contains(n.Reason, "ended in FINISHED, though ann wanted it stopped") {
		t.Errorf("%s: %s", n.Phase, n.Reason)
	}
	s.shows(t, nodes{"net": NodeFinished, "app": NodeFailed, "web": NodeWaiting})
	s.decided(t, "app", "web", EdgeStops, "though ann wanted it stopped")
	s.skips("app")
	s.shows(t, nodes{"net": NodeFinished, "app": NodeSkipped, "web": NodeRunning})
}
