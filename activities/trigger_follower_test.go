package activities_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

func TestTriggerFollower(t *testing.T) {
	c := newTown(t, "net", "app<net")
	c.push("c1", changes, "net")
	c.passes(time.Hour)
	c.applies("net")
	got := c.triggers(c.turn("app", "net"))
	if got.Outcome != activities.FollowTriggered || c.runs("app") != 1 || c.run("app", 0).Ref != got.Run {
		t.Fatalf("%+v, and app has %d runs", got, c.runs("app"))
	}
	if m := c.run("app", 0).Metadata; len(m) != 1 || !strings.HasSuffix(m[0], " app") {
		t.Errorf("the run's metadata is %q, want the chain and the stack", m)
	}
}

// Which of a stack's runs count when its turn comes: each story shows what
// happened before, and whether the stack's newest run is taken or a new one is
// triggered.
func TestWhichRunOfAFollowerCounts(t *testing.T) {
	const old, hour = 48 * time.Hour, time.Hour
	discards := func(c *town, stack spacelift.StackID, note string) {
		c.must(c.sim.Discard("jane", stack, c.run(stack, -1).Ref.Run, note))
	}
	for _, tc := range []struct {
		name  string
		story func(*town)
		takes string // what the reason for taking it says; empty: a new run is triggered
	}{
		{"a run of the same push that waits is taken, old as its plan may be: its execution replaces it", func(c *town) {
			c.push("c1", changes, "net", "app")
			c.passes(hour)
			c.applies("net")
		}, "of the same commit"},
		{"a run of the same push found no changes before net applied its own", func(c *town) {
			c.push("c1", changes, "net")
			c.push("c1", noChanges, "app")
			c.passes(hour)
			c.applies("net")
		}, ""},
		{"a run of the same push found no changes, and net had none", func(c *town) {
			c.push("c1", noChanges, "net", "app")
			c.passes(hour)
		}, "of the same commit"},
		{"a run of the same push failed before net applied its changes", func(c *town) {
			c.push("c1", changes, "net")
			c.push("c1", simulator.Plan{FailIn: spacelift.RunStatePlanning}, "app")
			c.passes(hour)
			c.applies("net")
		}, ""},
		{"a run of the same push failed, and net applied nothing", func(c *town) {
			c.push("c1", noChanges, "net")
			c.push("c1", simulator.Plan{FailIn: spacelift.RunStatePlanning}, "app")
			c.passes(hour)
		}, "of the same commit"},
		{"somebody discarded the run of the same push", func(c *town) {
			c.push("c1", changes, "net", "app")
			c.passes(hour)
			discards(c, "app", "not today")
			c.applies("net")
		}, "of the same commit"},
		{"Gantry discarded it, because its plan was old", func(c *town) {
			c.push("c1", changes, "net", "app")
			c.passes(hour)
			discards(c, "app", "Discarded by Gantry: the plan is old: run 1 of net.")
			c.applies("net")
		}, ""},
		{"somebody confirmed the run of the same push before net's, and it still applies", func(c *town) {
			c.push("c1", changes, "net")
			slow := changes
			slow.Phases = simulator.Phases{spacelift.RunStateApplying: 24 * hour}
			c.push("c1", slow, "app")
			c.passes(hour)
			c.must(c.sim.Confirm("jane", "app", c.run("app", -1).Ref.Run, ""))
			c.passes(time.Minute)
			c.applies("net")
		}, ""},
		{"a newer push waits in the queue", func(c *town) {
			c.push("c1", changes, "net")
			c.push("c1", noChanges, "app")
			c.passes(hour)
			slow := changes
			slow.Phases = simulator.Phases{spacelift.RunStateQueued: 24 * hour}
			c.push("c2", slow, "app")
			c.applies("net")
		}, "newer push"},
		{"somebody triggered a run that plans after net", func(c *town) {
			c.push("c1", changes, "net")
			c.passes(hour)
			c.applies("net")
			_, err := c.sim.Trigger("jane", simulator.Trigger{Stack: "app"})
			c.must(err)
		}, "which jane triggered"},
		{"an earlier run of another repository is done", func(c *town) {
			c.push("a1", noChanges, "app")
			c.passes(old)
			c.push("c1", noChanges, "net")
			c.passes(hour)
		}, ""},
		{"an earlier run of another repository still waits", func(c *town) {
			c.push("a1", changes, "app")
			c.passes(old)
			c.push("c1", changes, "net")
			c.passes(hour)
			c.applies("net")
		}, "newer push"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newTown(t, "net", "app<net")
			tc.story(c)
			before := c.runs("app")
			got := c.triggers(c.turn("app", "net"))
			if tc.takes == "" {
				if got.Outcome != activities.FollowTriggered || c.runs("app") != before+1 || c.run("app", -1).Ref != got.Run {
					t.Errorf("%+v, want a new run", got)
				}
				return
			}
			if got.Outcome != activities.FollowAdopted || !strings.Contains(got.Reason, tc.takes) || c.runs("app") != before || got.Run != c.run("app", -1).Ref {
				t.Errorf("%+v, want the newest run to be taken as %q", got, tc.takes)
			}
		})
	}
}

// A new run works on the commit of the chain where the stack does, and never goes
// back behind a newer one.
func TestTriggerFollowerChoosesTheCommit(t *testing.T) {
	c := newTown(t, "net", "app<net", "dns<net")
	c.push("a1", noChanges, "dns")
	c.passes(time.Hour)
	c.push("c1", changes, "net")
	c.push("c1", noChanges, "app")
	c.passes(time.Hour)
	c.applies("net")
	for stack, commit := range map[spacelift.StackID]string{"app": "c1", "dns": "a1"} {
		c.triggers(c.turn(stack, "net"))
		if got := c.run(stack, -1).Commit.Hash; got != commit {
			t.Errorf("%s was triggered on %s, want %s", stack, got, commit)
		}
	}
}

// Only once, however often it is attempted: what an earlier attempt did is found.
func TestTriggerFollowerAfterALostAnswer(t *testing.T) {
	c := newTown(t, "net", "app<net")
	c.push("c1", changes, "net")
	c.passes(time.Hour)
	c.applies("net")
	_, err := c.sim.InjectAPI(simulator.APIFault{Kind: simulator.LostResponse, Field: "runTrigger", Times: 1})
	c.must(err)
	in := c.turn("app", "net")
	_, err = do[activities.TriggerFollowerResult](c.env, c.acts.TriggerFollower, in)
	app, ok := errors.AsType[*temporal.ApplicationError](err)
	if !ok || app.Type() != activities.ErrTypeAmbiguous || app.NonRetryable() || app.NextRetryDelay() == 0 {
		t.Fatalf("the first attempt ended with %v, want an error worth another attempt later", err)
	}
	for _, later := range []time.Duration{0, time.Hour} { // while it runs, and when it has ended
		c.passes(later)
		if got := c.triggers(in); got.Outcome != activities.FollowAdopted || c.runs("app") != 1 || c.run("app", 0).Ref != got.Run {
			t.Errorf("%+v, and app has %d runs", got, c.runs("app"))
		}
	}
}

// overtakes has a chain trigger app's run, and something else make one after the chain's
// last look: the older of the two stays.
func overtakes(t *testing.T, first func(*town, activities.TriggerFollowerInput)) {
	t.Helper()
	c := newTown(t, "net", "app<net")
	c.push("c1", changes, "net")
	c.passes(time.Hour)
	c.applies("net")
	in := c.turn("app", "net")
	c.acts.Accounts["acme"] = &rival{Spacelift: c.acts.Accounts["acme"], first: func() { first(c, in) }}
	got := c.triggers(in)
	if got.Outcome != activities.FollowAdopted || got.Run != c.run("app", 0).Ref || c.runs("app") != 2 {
		t.Errorf("%+v of %d runs, want the older run", got, c.runs("app"))
	}
	if newer := c.run("app", 1); newer.State != spacelift.RunStateCanceled {
		t.Errorf("the newer run is %s", newer.State)
	}
	if again := c.triggers(in); again.Run != got.Run {
		t.Errorf("later %+v is taken", again)
	}
}

// Two chains that release a stack at the same moment end up with one run.
func TestTwoChainsTriggerTheSameStack(t *testing.T) {
	overtakes(t, func(c *town, in activities.TriggerFollowerInput) { c.triggers(in) })
}

// A push that reaches the stack between the last look and the trigger is not applied
// twice.
func TestAPushReachesAStackThatIsTriggered(t *testing.T) {
	overtakes(t, func(c *town, _ activities.TriggerFollowerInput) { c.push("c1", changes, "app") })
}

// A run that appears after Gantry listed those of the stack, and before it reads the
// stack itself, counts: nothing is triggered beside it.
func TestARunThatAppearsWhileGantryChecksCounts(t *testing.T) {
	c := newTown(t, "net", "app<net")
	c.push("c1", changes, "net")
	c.passes(time.Hour)
	c.applies("net")
	in := c.turn("app", "net")
	api := c.acts.Accounts["acme"]
	c.acts.Accounts["acme"] = interruption{api, sync.OnceFunc(func() {
		_, err := api.TriggerRun(t.Context(), "app", spacelift.Trigger{})
		c.must(err)
	})}
	if got := c.triggers(in); got.Outcome != activities.FollowAdopted || c.runs("app") != 1 || c.run("app", 0).Ref != got.Run {
		t.Errorf("%+v of %d runs, want the one that appeared", got, c.runs("app"))
	}
}

// interruption does something before a stack is read.
type interruption struct {
	activities.Spacelift
	before func()
}

func (i interruption) Stack(ctx context.Context, id spacelift.StackID) (spacelift.Stack, error) {
	i.before()
	return i.Spacelift.Stack(ctx, id)
}

// rival does something between the check and the first trigger.
type rival struct {
	activities.Spacelift
	first func()
}

func (r *rival) TriggerRun(ctx context.Context, stack spacelift.StackID, how spacelift.Trigger) (spacelift.RunOutcome, error) {
	first := r.first
	r.first = nil
	if first != nil {
		first()
	}
	return r.Spacelift.TriggerRun(ctx, stack, how)
}

// A stack that depends on its parent in Spacelift as well gets one run, not two:
// Spacelift's own counts. One that was skipped counts when nothing that it refers
// to has changed, and not when a parent had failed.
func TestTriggerFollowerTakesSpaceliftsOwnRun(t *testing.T) {
	for _, tc := range []struct {
		name       string
		references []simulator.Reference
		fails      bool // net fails first, and is retried
		takes      bool
	}{
		{name: "it runs", takes: true},
		{name: "nothing that it refers to has changed", references: []simulator.Reference{{Output: "vpc", Input: "VPC"}}, takes: true},
		{name: "net had failed", fails: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newTown(t, "net", "app<net")
			c.must(c.sim.AddDependency("app", "net", tc.references...))
			if tc.fails {
				c.push("c1", simulator.Plan{FailIn: spacelift.RunStatePlanning}, "net")
				c.passes(time.Hour)
				failed := c.run("net", -1).Ref.Run
				c.must(c.sim.SetNextPlan("net", changes))
				_, err := c.sim.Trigger("jane", simulator.Trigger{Stack: "net"})
				c.must(err)
				if failed == c.run("net", -1).Ref.Run {
					t.Fatal("net was not triggered again")
				}
				// What Spacelift queues for the new run is not of this story.
				c.must(c.sim.Cancel("jane", "app", c.run("app", -1).Ref.Run, "Canceled by Gantry: it does the same as run X"))
			} else {
				c.push("c1", changes, "net")
			}
			c.passes(time.Hour)
			c.applies("net")
			before := c.mutations("runTrigger")
			got := c.triggers(c.turn("app", "net"))
			switch {
			case tc.takes && (got.Outcome != activities.FollowAdopted || !strings.Contains(got.Reason, "depends on net") || c.mutations("runTrigger") != before):
				t.Errorf("%+v, want Spacelift's own run %+v", got, c.run("app", -1).Run)
			case !tc.takes && got.Outcome != activities.FollowTriggered:
				t.Errorf("%+v, want a new run", got)
			}
		})
	}
}

// A stack that also follows one outside the chain waits while that one works on
// the same commit: its chain reaches the stack too.
func TestTriggerFollowerYieldsToAnotherChain(t *testing.T) {
	c := newTown(t, "net", "dns", "app<net,dns")
	c.push("c1", changes, "net", "dns")
	c.passes(time.Hour)
	c.applies("net")
	in := c.turn("app", "net")
	if got := c.triggers(in); got.Outcome != activities.FollowWaits || !strings.Contains(got.Reason, "dns") || c.runs("app") != 0 {
		t.Errorf("%+v, want it to wait for dns", got)
	}
	c.applies("dns")
	c.acts.Temporal = chains{ids: []string{"it"}, answers: map[string]string{"it": `{"in":true,"waits":true,"open":true,"reason":"run 01A of cdn continues"}`}}
	if got := c.triggers(in); got.Outcome != activities.FollowWaits || !strings.Contains(got.Reason, "run 01A of cdn continues") {
		t.Errorf("%+v, want it to wait for the other chain", got)
	}
	c.acts.Temporal = c.temp
	if got := c.triggers(in); got.Outcome != activities.FollowTriggered {
		t.Errorf("%+v, want it triggered once dns is through", got)
	}
}

// A profile may keep old plans: then one counts however old it is.
func TestTriggerFollowerKeepsOldPlans(t *testing.T) {
	c := newTown(t, "net", "app<net")
	c.labels("app", "gantry:after=net", "gantry:profile=patient")
	c.push("c1", changes, "net")
	c.push("c1", noChanges, "app")
	c.passes(time.Hour)
	c.applies("net")
	if got := c.triggers(c.turn("app", "net")); got.Outcome != activities.FollowAdopted || !got.Keeps || c.runs("app") != 1 {
		t.Errorf("%+v, want the run that is there", got)
	}
}

// The sentence about a run that counts says so if its plan is older than what it follows.
func TestTriggerFollowerSaysThatAPlanIsOld(t *testing.T) {
	c := newTown(t, "net", "app<net")
	c.labels("app", "gantry:after=net", "gantry:profile=patient")
	c.push("c1", changes, "net")
	c.push("c2", noChanges, "app")
	c.passes(time.Hour)
	c.applies("net")
	got := c.triggers(c.turn("app", "net"))
	if got.Outcome != activities.FollowAdopted || !strings.HasSuffix(got.Reason, "planned before all that it follows had applied; the stack's policy keeps old plans") {
		t.Errorf("%+v", got)
	}
}

func TestTriggerFollowerHolds(t *testing.T) {
	for _, tc := range []struct {
		name   string
		before func(*town, *activities.TriggerFollowerInput)
		want   activities.FollowOutcome
		reason string
	}{
		{"its labels can't be read", func(c *town, _ *activities.TriggerFollowerInput) {
			c.labels("app", "gantry:after=net", "gantry:aprovals=2")
		}, activities.FollowHeld, "gantry:aprovals=2 of the stack app can't be followed"},
		{"a rule about its id contradicts its labels", func(c *town, _ *activities.TriggerFollowerInput) {
			rules, err := policy.Compile(policy.Config{
				Profiles: []policy.Profile{{Name: "auto", Confirm: new(policy.ConfirmAuto)}},
				Rules:    []policy.StackRule{{Name: "apps", Match: policy.Match{Stacks: []string{"app"}}, Profile: "auto"}},
			})
			c.must(err)
			c.acts.Definitions = func() *policy.Definitions { return rules }
			c.labels("app", "gantry:after=net", "gantry:approvals=2")
		}, activities.FollowHeld, "of the stack app can't be followed"},
		{"it follows itself", func(c *town, _ *activities.TriggerFollowerInput) {
			c.labels("app", "gantry:after=net", "gantry:after=app")
		}, activities.FollowHeld, "app follows itself"},
		{"it is no longer managed", func(c *town, _ *activities.TriggerFollowerInput) {
			c.must(c.sim.SetLabels("app", "gantry:after=net"))
		}, activities.FollowRelabelled, "labels of the stack app have changed"},
		{"it follows another now", func(c *town, in *activities.TriggerFollowerInput) {
			in.Labels = c.fingerprint("app")
			c.labels("app", "gantry:after=dns")
		}, activities.FollowRelabelled, "labels of the stack app have changed"},
		{"it is disabled", func(c *town, _ *activities.TriggerFollowerInput) { c.must(c.sim.Disable("app")) }, activities.FollowHeld, "disabled"},
		{"somebody has locked it", func(c *town, _ *activities.TriggerFollowerInput) { c.must(c.sim.Lock("joe", "app", "")) }, activities.FollowHeld, "joe"},
		{"Spacelift would not", func(c *town, _ *activities.TriggerFollowerInput) {
			_, err := c.sim.InjectAPI(simulator.APIFault{Kind: simulator.NotExecutable, Field: "runTrigger", Message: "the worker pool is full"})
			c.must(err)
		}, activities.FollowHeld, "the worker pool is full"},
		{"the stack is gone", func(_ *town, in *activities.TriggerFollowerInput) { in.Stack = "gone" }, activities.FollowHeld, "does not exist"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newTown(t, "net", "app<net")
			c.push("c1", changes, "net")
			c.passes(time.Hour)
			c.applies("net")
			in := c.turn("app", "net")
			tc.before(c, &in)
			if got := c.triggers(in); got.Outcome != tc.want || !strings.Contains(got.Reason, tc.reason) || c.runs("app") != 0 {
				t.Errorf("%+v, want %s because of %q", got, tc.want, tc.reason)
			}
		})
	}
}

func (c *town) graph(brief bool) chain.Graph {
	c.Helper()
	got, err := do[chain.Graph](c.env, c.acts.ReadChain, activities.ReadChainInput{Account: "acme", Root: "net", Brief: brief})
	c.must(err)
	return got
}

// fingerprint returns the fingerprint of a stack's labels in the graph of net.
func (c *town) fingerprint(stack spacelift.StackID) string {
	c.Helper()
	for _, s := range c.graph(false).Stacks {
		if s.Stack == stack {
			return s.Labels
		}
	}
	c.Fatalf("%s does not follow net", stack)
	return ""
}

func TestReadChain(t *testing.T) {
	c := newTown(t, "net", "app<net", "web<app", "odd<odd,net", "x<app,y", "y<x")
	c.must(c.sim.AddStack(simulator.Stack{ID: "stray", Labels: []string{"gantry:after=net"}})) // not managed
	got := c.graph(false)
	if len(got.Stacks) != 3 || got.Size != 3 || got.Stacks[0].Stack != "app" || got.Stacks[1].Stack != "odd" || got.Stacks[2].Stack != "web" {
		t.Errorf("%+v", got)
	}
	brief := c.graph(true)
	if len(brief.Stacks) != 0 || brief.Size != 3 || len(brief.Refused) != 1 || !strings.Contains(brief.Refused[0].Reason, "x → y → x") {
		t.Errorf("in brief %+v", brief)
	}
}
