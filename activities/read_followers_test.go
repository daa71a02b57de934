package activities_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

const follower = spacelift.StackID("app-prod")

// newFollowersRig is a rig whose stack is followed.
func newFollowersRig(t *testing.T) *rig {
	t.Helper()
	r := newRig(t)
	r.must(r.sim.AddStack(simulator.Stack{ID: follower, Labels: []string{"gantry:managed", "gantry:after=network-prod"}}))
	return r
}

// finishes lets the rig's run be confirmed and go to its end.
func (r *rig) finishes() {
	r.Helper()
	r.must(r.sim.Confirm("jane", stack, r.ref.Run, ""))
	r.reaches(spacelift.RunStateFinished)
}

// release returns the input of a chain once the rig's run has finished.
func (r *rig) release() activities.TriggerFollowerInput {
	r.Helper()
	run, err := r.sim.Run(stack, r.ref.Run)
	r.must(err)
	end, _ := run.End()
	return activities.TriggerFollowerInput{
		Account: "acme", Stack: follower, After: []spacelift.StackID{stack}, Begun: run.CreatedAt, Commit: run.Commit.Hash,
		Ended: end.At, Applied: end.At, OpenWork: besides,
	}
}

// Who follows is asked for at most once in ten seconds for each account, and not
// knowing is not the same as nobody.
func TestReadRulesKnowsWhoFollows(t *testing.T) {
	r := newFollowersRig(t)
	now := time.Now()
	r.acts.Now = func() time.Time { return now }
	in := activities.ReadRulesInput{Run: r.ref, Labels: auto}
	read := func() *managed.Followers {
		return done[managed.Rules](r, r.acts.ReadRules, in).Followers
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

// However many runs begin at the same time, one list answers them all.
func TestWhoFollowsIsAskedOnce(t *testing.T) {
	r := newFollowersRig(t)
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
