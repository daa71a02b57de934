package workflows_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/notify"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/workflows"
)

// pushedTogether is an account whose stacks were pushed with one commit, of which
// net's run has applied its changes. The others wait at their plans.
func pushedTogether(t *testing.T, followers ...string) *chainRig {
	t.Helper()
	r := newChainRig(t, followers...)
	stacks := []spacelift.StackID{"net"}
	for _, f := range followers {
		stack, _, _ := strings.Cut(f, "<")
		stacks = append(stacks, spacelift.StackID(stack))
	}
	_, err := r.sim.PushAll(simulator.Commit{Hash: "c1"}, simulator.Plan{Delta: spacelift.Delta{Added: 1}}, stacks...)
	r.must(err)
	r.clock.Advance(time.Minute)
	r.root = r.newest("net")
	r.must(r.confirms(r.root))
	r.clock.Advance(time.Minute)
	r.environment()
	return r
}

// replaces does what the execution of a run does whose plan is old.
func (r *chainRig) replaces(stack spacelift.StackID) {
	r.Helper()
	old := r.newest(stack)
	r.changes(stack)
	again, err := r.client.TriggerRun(r.Context(), stack, spacelift.Trigger{CommitSHA: "c1"})
	r.must(err)
	r.env.SignalWorkflow(chain.NewsSignal, chain.News{Run: again.Ref})
	r.must(r.sim.Discard("jane", stack, old.Run, "Discarded by Gantry: the plan is old: it is."))
	r.clock.Advance(time.Minute)
	r.env.SignalWorkflow(chain.NewsSignal, chain.News{Run: old, State: discarded})
}

// A push to stacks in line runs each of them for the chain once: the runs of the
// push are the chain's, and those whose plans are old are replaced.
func TestChainTakesUpThePush(t *testing.T) {
	r := pushedTogether(t, "app<net", "web<app")
	before := len(r.sim.Mutations("runTrigger"))
	r.at(time.Minute, func() {
		r.wants(r.status(), chain.PhaseMoving, "now: app", "app running, net finished, web waiting")
		r.replaces("app")
	})
	r.at(2*time.Minute, func() { r.ends("app", r.confirms) })
	r.at(3*time.Minute, func() {
		r.wants(r.status(), chain.PhaseMoving, "now: web", "app finished, net finished, web running")
		r.replaces("web")
	})
	r.at(4*time.Minute, func() { r.ends("web", r.confirms) })
	s := r.play()
	r.wants(s, chain.PhaseDone, "3 runs finished", "app finished, net finished, web finished")
	if n := len(r.sim.Mutations("runTrigger")) - before; n != 2 { // by replaces
		t.Errorf("%d runs were triggered", n)
	}
	for _, stack := range []spacelift.StackID{"app", "web"} {
		if n := r.applied(stack, "c1"); n != 1 {
			t.Errorf("%s applied %d times", stack, n)
		}
	}
}

// applied counts the runs by which a stack applied a commit.
func (r *chainRig) applied(stack spacelift.StackID, commit string) (n int) {
	r.Helper()
	all, err := r.sim.Runs(stack)
	r.must(err)
	for _, run := range all {
		if run.Commit.Hash == commit && run.BeganToApply() {
			n++
		}
	}
	return n
}

// The tail of a diamond runs once, after both arms.
func TestChainOfADiamond(t *testing.T) {
	r := pushedTogether(t, "app<net", "dns<net", "web<app,dns")
	for i, arm := range []spacelift.StackID{"app", "dns"} {
		r.at(time.Duration(2*i+1)*time.Minute, func() { r.replaces(arm) })
		r.at(time.Duration(2*i+2)*time.Minute, func() { r.ends(arm, r.confirms) })
	}
	r.at(3*time.Minute+time.Second, func() {
		if s := r.status(); !strings.Contains(nodes(s), "web waiting") {
			t.Errorf("after one arm: %s", nodes(s))
		}
	})
	r.at(5*time.Minute, func() { r.replaces("web") })
	r.at(6*time.Minute, func() { r.ends("web", r.confirms) })
	r.wants(r.play(), chain.PhaseDone, "4 runs finished", "app finished, dns finished, net finished, web finished")
	if n := r.applied("web", "c1"); n != 1 {
		t.Errorf("web applied %d times", n)
	}
}

// A run of the push that found no changes before net applied its own does not
// count, and does where net had none.
func TestChainJudgesRunsWithoutChanges(t *testing.T) {
	for _, applies := range []bool{true, false} {
		r := newChainRig(t, "app<net")
		var delta spacelift.Delta
		if applies {
			delta.Added = 1
		}
		_, err := r.sim.Push("net", simulator.Commit{Hash: "c1"}, simulator.Plan{Delta: delta})
		r.must(err)
		_, err = r.sim.Push("app", simulator.Commit{Hash: "c1"}, simulator.Plan{})
		r.must(err)
		r.clock.Advance(time.Minute)
		if r.root = r.newest("net"); applies {
			r.must(r.confirms(r.root))
			r.clock.Advance(time.Minute)
		}
		r.environment()
		r.at(time.Hour, func() { r.clock.Advance(time.Minute) })
		r.wants(r.play(), chain.PhaseDone, "2 runs finished", "app finished, net finished")
		if n, want := r.runs("app"), map[bool]int{true: 2, false: 1}[applies]; n != want {
			t.Errorf("net applied: %t; app ran %d times, want %d", applies, n, want)
		}
	}
}

// What Spacelift skipped because nothing that it refers to has changed passes.
func TestChainPassesASkippedRun(t *testing.T) {
	r := &chainRig{accountRig: newAccountRig(t,
		simulator.Stack{ID: "net", Labels: []string{"gantry:managed"}},
		simulator.Stack{ID: "app", Labels: []string{"gantry:managed", "gantry:after=net"}},
		simulator.Stack{ID: "web", Labels: []string{"gantry:managed", "gantry:after=app"}})}
	r.must(r.sim.AddDependency("app", "net", simulator.Reference{Output: "vpc", Input: "VPC"}))
	r.root = r.push("net")
	r.must(r.sim.Confirm("jane", "net", r.root.Run, ""))
	r.clock.Advance(time.Minute)
	r.environment()
	r.at(time.Hour, func() { r.clock.Advance(time.Minute) })
	s := r.play()
	r.wants(s, chain.PhaseDone, "3 runs finished", "app finished, net finished, web finished")
	if r.runs("app") != 1 || s.Nodes[1].RunState != spacelift.RunStateSkipped || !strings.Contains(s.Nodes[1].Reason, "Spacelift skipped run") {
		t.Errorf("app: %+v", s.Nodes[1])
	}
}

// One wrong label stops only what it concerns.
func TestChainRefusesOnlyTheCircle(t *testing.T) {
	for _, tc := range []struct {
		name      string
		followers []string
		phase     chain.Phase
		says      string
		nodes     string
	}{
		{"a circle", []string{"app<net", "web<app,cdn", "cdn<web"}, chain.PhaseDone, "cdn and web are not released: the labels lead in a circle: cdn → web → cdn", "app finished, net finished"},
		{"a stack that names itself", []string{"app<net", "web<web,app"}, chain.PhaseHeld, "web follows itself; remove the label that names the stack itself", "app finished, net finished, web held"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newChainRig(t, tc.followers...)
			var last chain.Status
			r.at(time.Minute, func() { r.ends("app", nil) })
			r.at(time.Hour, func() {
				if last = r.status(); last.Phase == chain.PhaseHeld {
					r.update(chain.StopUpdate, chain.Stop{By: "joe"}, "")
				}
			})
			if s := r.play(); last.Root.Run == "" {
				last = s
			}
			r.wants(last, tc.phase, tc.says, tc.nodes)
		})
	}
}

// A chain that can't read its followers is held, notifies people, and has an end.
func TestChainWithoutAGraph(t *testing.T) {
	r := newChainRig(t, "app<net")
	people := &world{}
	broken := &brokenSearch{Spacelift: r.client}
	r.registers(broken, people)
	r.at(24*time.Hour, func() {
		s := r.status()
		r.wants(s, chain.PhaseHeld, "can't read which stacks follow", "net finished")
		if s.HeldSince.IsZero() || s.GivesUpAt.Before(r.begun.Add(29*24*time.Hour)) {
			t.Errorf("held since %s, gives up at %s", s.HeldSince, s.GivesUpAt)
		}
	})
	s := r.playFrom(chain.Input{Root: r.root, Notify: []string{"deploys"}})
	r.wants(s, chain.PhaseDone, "nothing moved for 30 days", "net finished")
	if got := people.messages(); len(got) != 1 || got[0] != "deploys chain.held: net: the chain is held" {
		t.Errorf("signaled %q", got)
	}
	if broken.asked > 800 {
		t.Errorf("asked %d times", broken.asked)
	}
}

type brokenSearch struct {
	activities.Spacelift

	asked int
}

func (b *brokenSearch) LabelsOfStacks(context.Context) ([]spacelift.LabelledStack, error) {
	b.asked++
	return nil, fmt.Errorf("list stacks: %w", spacelift.ErrUnauthorized)
}

// registers makes the story's activities call another API and notify people.
func (r *chainRig) registers(api activities.Spacelift, people activities.Notifier) {
	r.env.RegisterActivity(&activities.Activities{
		Accounts: map[spacelift.Account]activities.Spacelift{"acme": api}, Definitions: theConfiguration, Temporal: r, Now: r.clock.Now, Notifier: people,
	})
}

// A retry that somebody makes in Spacelift's own pages resumes the chain.
func TestChainFindsARetryMadeInSpacelift(t *testing.T) {
	r := newChainRig(t, "app<net", "web<app")
	r.must(r.sim.SetNextPlan("app", simulator.Plan{FailIn: planning}))
	r.at(time.Minute, func() { r.ends("app", nil) })
	r.at(2*time.Minute, func() {
		failed := r.newest("app")
		r.changes("app")
		_, err := r.sim.Retry("jane", "app", failed.Run)
		r.must(err)
		r.clock.Advance(time.Minute)
	})
	r.at(2*time.Hour, func() {
		r.wants(r.status(), chain.PhaseMoving, "now: app", "app running, net finished, web waiting")
		r.ends("app", r.confirms)
	})
	r.at(3*time.Hour, func() { r.ends("web", nil) })
	r.wants(r.play(), chain.PhaseDone, "3 runs finished", "app finished, net finished, web finished")
}

// Labels that change while a chain waits are taken in.
func TestChainTakesInLabels(t *testing.T) {
	r := newChainRig(t, "app<net", "web<app", "cdn<app")
	r.changes("app")
	r.at(time.Minute, func() {
		r.must(r.sim.SetLabels("cdn", "gantry:managed")) // it follows nobody any more
		r.must(r.sim.AddStack(simulator.Stack{ID: "mail", Labels: []string{"gantry:managed", "gantry:after=web"}}))
	})
	r.at(20*time.Minute, func() { r.ends("app", r.confirms) })
	r.at(30*time.Minute, func() { r.ends("web", nil) })
	r.at(40*time.Minute, func() { r.ends("mail", nil) })
	s := r.play()
	r.wants(s, chain.PhaseDone, "4 runs finished", "app finished, mail finished, net finished, web finished")
	if r.runs("cdn") > 0 {
		t.Error("cdn was triggered")
	}
	entries := fmt.Sprint(s.Timeline)
	for _, want := range []string{"cdn leaves the chain", "mail joins the chain"} {
		if !strings.Contains(entries, want) {
			t.Errorf("the timeline does not say %q", want)
		}
	}
}

// People are notified when a chain is held, continues and has ended,
// once each time, through the channels of the root and of the stack in the way.
func TestChainNotifiesPeople(t *testing.T) {
	r := newChainRig(t, "app<net", "web<app")
	people := &world{}
	r.registers(r.client, people)
	r.must(r.sim.SetLabels("net", "gantry:managed", "gantry:notify=deploys"))
	r.must(r.sim.SetLabels("app", "gantry:managed", "gantry:after=net", "gantry:notify=oncall"))
	r.changes("app")
	r.at(time.Minute, func() { r.ends("app", r.discards) })
	r.at(5*time.Hour, func() {
		r.update(chain.SkipUpdate, chain.Skip{Stack: "app", By: "joe"}, "")
	})
	r.at(6*time.Hour, func() { r.ends("web", nil) })
	r.playFrom(chain.Input{Root: r.root, Notify: []string{"deploys"}})
	got := people.messages()
	slices.Sort(got)
	want := []string{
		"deploys chain.ended: net: the chain has ended", "deploys chain.held: net: the chain is held", "deploys chain.resumed: net: the chain continues",
		"oncall chain.ended: net: the chain has ended", "oncall chain.held: net: the chain is held", "oncall chain.resumed: net: the chain continues",
	}
	if !slices.Equal(got, want) {
		t.Errorf("signaled %q, want %q", got, want)
	}
	for _, m := range people.arrived {
		if m.ID == "" || m.Text == "" || m.Run != string(r.root.Run) || m.Type == notify.ChainHeld && (m.Urgency != notify.Alarm || !strings.Contains(m.Text, "not today")) {
			t.Errorf("%+v", m)
		}
	}
}

// A channel that does not answer holds no chain up.
func TestChainWithADeafChannel(t *testing.T) {
	r := newChainRig(t, "app<net")
	r.registers(r.client, &world{deaf: map[string]error{"deploys": errors.New("connection refused")}})
	r.at(time.Minute, func() { r.ends("app", nil) })
	s := r.playFrom(chain.Input{Root: r.root, Notify: []string{"deploys"}})
	r.wants(s, chain.PhaseDone, "2 runs finished", "app finished, net finished")
	if took := s.EndedAt.Sub(r.begun); took > time.Hour {
		t.Errorf("it took %s", took)
	}
}

// The people behind the root, and behind what was triggered by hand on the way,
// are named to the runs that follow.
func TestChainCarriesNames(t *testing.T) {
	r := newChainRig(t, "app<net", "web<app")
	r.changes("app")
	_, err := r.sim.Trigger("bob", simulator.Trigger{Stack: "app"})
	r.must(err)
	r.clock.Advance(time.Minute)
	r.at(time.Minute, func() { r.ends("app", r.confirms) })
	r.at(2*time.Minute, func() { r.ends("web", nil) })
	r.playFrom(chain.Input{Root: r.root, TriggeredBy: []string{"ann"}})
	if len(r.managed) != 2 || !slices.Equal(r.managed[0].Chains[0].TriggeredBy, []string{"ann"}) || !slices.Equal(r.managed[1].Chains[0].TriggeredBy, []string{"ann", "bob"}) {
		t.Errorf("managed %+v", r.managed)
	}
}

// A chain answers with the place of a run in it.
func TestChainAnswersWithTheRunsPlace(t *testing.T) {
	r := pushedTogether(t, "app<net", "web<app")
	ask := func(stack spacelift.StackID, commit string) (p chain.Place) {
		answer, err := r.env.QueryWorkflow(chain.PlaceQuery, chain.PlaceQuestion{Run: r.newest(stack), Commit: commit})
		r.must(err)
		r.must(answer.Get(&p))
		return p
	}
	r.at(time.Minute, func() {
		if p := ask("app", "c1"); !p.In || !p.Ours || !p.Open || p.Waits || p.Root != r.root {
			t.Errorf("app: %+v", p)
		}
		if p := ask("web", "c1"); !p.In || p.Ours || !p.Waits || !strings.Contains(p.Reason, "of app is in progress") {
			t.Errorf("web: %+v", p)
		}
		if p := ask("web", "c2"); p.In {
			t.Errorf("web at another commit: %+v", p)
		}
		if p := ask("net", "c1"); p.In {
			t.Errorf("net: %+v", p)
		}
		r.update(chain.StopUpdate, chain.Stop{By: "joe"}, "")
	})
	r.play()
}

// A long history ends before more stacks are triggered: a wide chain continues in
// another execution, and triggers each once.
func TestAWideChainContinuesAsNew(t *testing.T) {
	var followers []string
	for i := range 30 {
		followers = append(followers, fmt.Sprintf("s%02d<net", i))
	}
	r := newChainRig(t, followers...)
	r.env.RegisterDelayedCallback(func() { r.env.SetContinueAsNewSuggested(true) }, 0)
	r.env.ExecuteWorkflow(workflows.Chain, chain.Input{Root: r.root})
	again, ok := errors.AsType[*workflow.ContinueAsNewError](r.env.GetWorkflowError())
	if !ok {
		t.Fatalf("the execution ended with %v, want it to continue as new", r.env.GetWorkflowError())
	}
	triggered := len(r.sim.Mutations("runTrigger"))
	if triggered > 20 {
		t.Errorf("%d stacks were triggered before", triggered)
	}
	var in chain.Input
	r.must(converter.GetDefaultDataConverter().FromPayloads(again.Input, &in))
	r.environment()
	r.at(time.Hour, func() { r.clock.Advance(time.Minute) })
	s := r.playFrom(in)
	if s.Phase != chain.PhaseDone || !strings.Contains(s.Summary, "31 runs finished") || len(r.sim.Mutations("runTrigger")) != 30 {
		t.Errorf("%s after %d triggers", s.Summary, len(r.sim.Mutations("runTrigger")))
	}
}
