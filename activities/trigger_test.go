package activities_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/spacelift/simulator"
)

const follower = spacelift.StackID("app-prod")

// newChainRig is a rig whose run has finished, with a stack that follows.
func newChainRig(t *testing.T, labels ...string) (*rig, activities.TriggerFollowerInput) {
	t.Helper()
	r := newRig(t)
	if labels == nil {
		labels = []string{"gantry:managed", "gantry:after=network-prod"}
	}
	r.must(r.sim.AddStack(simulator.Stack{ID: follower, Labels: labels}))
	r.must(r.sim.Confirm("jane", stack, r.ref.Run, ""))
	r.reaches(spacelift.RunStateFinished)
	return r, r.release()
}

// release is what a chain asks once the run has finished.
func (r *rig) release() activities.TriggerFollowerInput {
	r.Helper()
	run, err := r.sim.Run(stack, r.ref.Run)
	r.must(err)
	return activities.TriggerFollowerInput{
		Account: "acme", Stack: follower, After: []spacelift.StackID{stack},
		Parents: []activities.ParentRun{{Run: r.ref, CreatedAt: run.CreatedAt}},
		Since:   run.History[len(run.History)-1].At,
	}
}

func (r *rig) runsOf(s spacelift.StackID) []spacelift.RunLine {
	r.Helper()
	found, err := r.acts.Accounts["acme"].RunsOfStack(r.Context(), s, spacelift.RunTypeTracked, 100)
	r.must(err)
	return found.Items
}

func TestTriggerFollower(t *testing.T) {
	r, in := newChainRig(t)
	got := done[activities.TriggerFollowerResult](r, r.acts.TriggerFollower, in)
	runs := r.runsOf(follower)
	if got.Outcome != activities.FollowTriggered || len(runs) != 1 || runs[0].Ref != got.Run {
		t.Fatalf("%+v, and the stack has the runs %+v", got, runs)
	}
	run, err := r.sim.Run(follower, got.Run.Run)
	r.must(err)
	if len(run.Metadata) != 1 || !strings.HasSuffix(run.Metadata[0], " "+string(follower)) {
		t.Errorf("the run's metadata is %q, want the chain and the stack", run.Metadata)
	}
}

// Only once, however often it is attempted: what an earlier attempt did is found.
func TestTriggerFollowerAfterALostAnswer(t *testing.T) {
	r, in := newChainRig(t)
	r.fault(simulator.APIFault{Kind: simulator.LostResponse, Field: "runTrigger", Times: 1})
	_, err := do[activities.TriggerFollowerResult](r.env, r.acts.TriggerFollower, in)
	app, ok := errors.AsType[*temporal.ApplicationError](err)
	if !ok || app.Type() != activities.ErrTypeAmbiguous || app.NonRetryable() || app.NextRetryDelay() == 0 {
		t.Fatalf("the first attempt ended with %v, want an error worth another attempt later", err)
	}
	in.Again = true
	got := done[activities.TriggerFollowerResult](r, r.acts.TriggerFollower, in)
	if runs := r.runsOf(follower); got.Outcome != activities.FollowTriggered || len(runs) != 1 || runs[0].Ref != got.Run {
		t.Errorf("%+v, and the stack has the runs %+v", got, runs)
	}
}

// What somebody else triggered is theirs, and what our key triggered before the
// release belongs to something else.
func TestTriggerFollowerTellsRunsApart(t *testing.T) {
	r, in := newChainRig(t)
	_, err := r.acts.Accounts["acme"].TriggerRun(t.Context(), follower, spacelift.Trigger{})
	r.must(err)
	_, err = r.sim.Trigger("jane", simulator.Trigger{Stack: follower})
	r.must(err)
	in.Since, in.Again = time.Now().Add(time.Hour), true
	got := done[activities.TriggerFollowerResult](r, r.acts.TriggerFollower, in)
	if got.Outcome != activities.FollowTriggered || len(r.runsOf(follower)) != 3 {
		t.Errorf("%+v, and the stack has %d runs", got, len(r.runsOf(follower)))
	}
}

// A stack that depends on its parent in Spacelift as well gets one run, not two.
func TestTriggerFollowerAdoptsSpaceliftsOwnRun(t *testing.T) {
	r := newRig(t)
	r.must(r.sim.AddStack(simulator.Stack{ID: follower, Labels: []string{"gantry:managed", "gantry:after=network-prod"}}))
	r.must(r.sim.AddDependency(follower, stack))
	r.must(r.sim.Discard("jane", stack, r.ref.Run, ""))
	id, err := r.sim.Push(stack, simulator.Commit{}, simulator.Plan{Delta: spacelift.Delta{Added: 1}})
	r.must(err)
	r.ref.Run = id
	r.reaches(spacelift.RunStateUnconfirmed)
	r.must(r.sim.Confirm("jane", stack, r.ref.Run, ""))
	r.reaches(spacelift.RunStateFinished)

	got := done[activities.TriggerFollowerResult](r, r.acts.TriggerFollower, r.release())
	if got.Outcome != activities.FollowAdopted || !strings.Contains(got.Reason, "depends on network-prod") || r.calls("runTrigger") != 0 {
		t.Errorf("%+v after %d triggers", got, r.calls("runTrigger"))
	}
}

func TestTriggerFollowerHolds(t *testing.T) {
	for _, tc := range []struct {
		name   string
		labels []string
		before func(*rig)
		reason string
	}{
		{name: "its labels can't be read", labels: []string{"gantry:managed", "gantry:after=network-prod", "gantry:aprovals=2"}, reason: "gantry:aprovals=2 of the stack app-prod can't be followed"},
		{name: "it is no longer managed", labels: []string{"gantry:after=network-prod"}, reason: "no longer carries gantry:managed"},
		{name: "it follows another now", labels: []string{"gantry:managed", "gantry:after=dns-prod"}, reason: "no longer follows network-prod"},
		{name: "it is disabled", before: func(r *rig) { r.must(r.sim.Disable(follower)) }, reason: "disabled"},
		{name: "Spacelift would not", before: func(r *rig) {
			r.fault(simulator.APIFault{Kind: simulator.NotExecutable, Field: "runTrigger", Message: "stack is locked by joe"})
		}, reason: "locked by joe"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, in := newChainRig(t, tc.labels...)
			if tc.before != nil {
				tc.before(r)
			}
			got := done[activities.TriggerFollowerResult](r, r.acts.TriggerFollower, in)
			if got.Outcome != activities.FollowHeld || !strings.Contains(got.Reason, tc.reason) || len(r.runsOf(follower)) != 0 {
				t.Errorf("%+v, want it held because of %q", got, tc.reason)
			}
		})
	}
	t.Run("the stack is gone", func(t *testing.T) {
		r, in := newChainRig(t)
		in.Stack = "gone"
		if got := done[activities.TriggerFollowerResult](r, r.acts.TriggerFollower, in); got.Outcome != activities.FollowHeld {
			t.Errorf("%+v, want it held", got)
		}
	})
}

func TestReadChain(t *testing.T) {
	r, _ := newChainRig(t)
	r.must(r.sim.AddStack(simulator.Stack{ID: "web-prod", Labels: []string{"gantry:managed", "gantry:after=app-prod"}}))
	r.must(r.sim.AddStack(simulator.Stack{ID: "stray", Labels: []string{"gantry:after=network-prod"}})) // not managed
	got := done[activities.ChainGraph](r, r.acts.ReadChain, activities.ReadChainInput{Account: "acme", Root: stack})
	if len(got.Stacks) != 2 || got.Stacks[0].Stack != follower || got.Stacks[1].Stack != "web-prod" || got.Partial {
		t.Errorf("%+v", got)
	}
}

// Who follows is asked for at most once in ten seconds for each account, and not
// knowing is not the same as nobody.
func TestReadRulesKnowsWhoFollows(t *testing.T) {
	r, _ := newChainRig(t)
	now := time.Now()
	r.acts.Now = func() time.Time { return now }
	in := activities.ReadRulesInput{Run: r.ref, Labels: auto}
	read := func() *activities.Followers {
		return done[activities.Rules](r, r.acts.ReadRules, in).Followers
	}
	if got := read(); got == nil || len(got.Stacks) != 1 || got.Stacks[0] != follower {
		t.Fatalf("%+v follow, want %s", got, follower)
	}
	r.must(r.sim.SetLabels(follower, "gantry:managed"))
	if got := read(); got == nil || !got.Any() {
		t.Errorf("%+v follow right after", got)
	}
	now = now.Add(10 * time.Second)
	if got := read(); got == nil || got.Any() {
		t.Errorf("%+v follow, want nobody", got)
	}
	r.fault(simulator.APIFault{Kind: simulator.ServerError, Field: "stacks"})
	now = now.Add(4 * time.Minute)
	if got := read(); got == nil || got.Any() || !got.At.Equal(now.Add(-4*time.Minute)) {
		t.Errorf("%+v follow, want nobody as of four minutes ago", got)
	}
	now = now.Add(2 * time.Minute)
	if got := read(); got != nil {
		t.Errorf("%+v follow though Spacelift does not say", got)
	}
	in.Labels = []string{"gantry:confirm=auto"}
	if got := read(); got != nil {
		t.Errorf("%+v follow a stack that is not managed", got)
	}
}

// However many runs begin at once, one list answers them all.
func TestWhoFollowsIsAskedOnce(t *testing.T) {
	r, _ := newChainRig(t)
	before := len(r.lists())
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			rules, err := r.acts.ReadRules(t.Context(), activities.ReadRulesInput{Run: r.ref, Labels: auto})
			if err != nil || rules.Followers == nil || !rules.Followers.Any() {
				t.Errorf("%+v follow: %v", rules.Followers, err)
			}
		})
	}
	all.Wait()
	if n := len(r.lists()) - before; n != 1 {
		t.Errorf("Spacelift was asked %d times", n)
	}
}

// lists are the lists of stacks that Spacelift was asked for.
func (r *rig) lists() []simulator.Request {
	return slices.DeleteFunc(r.sim.Requests(), func(q simulator.Request) bool { return !slices.Contains(q.Fields, "stacks") })
}
