package managed

import (
	"testing"
	"time"

	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// A run that ended without changes, though stacks that go first have applied since it
// planned, waits for the chain that reaches it, unless a newer run has taken its place.
func TestARunOnAnOldPlanLeavesReleasingToTheNewerRun(t *testing.T) {
	for _, replaced := range []bool{false, true} {
		s := about(at(spacelift.RunStateFinished, labels("gantry:managed", "gantry:after=app")))
		s.Policy = (*policy.Definitions)(nil).Resolve(policy.Labelled(s.Labels)).Of("web")
		s.followers = &Followers{Stacks: []spacelift.StackID{"edge"}, At: s.Now}
		s.parents = &Parents{
			Key: s.Key(), After: s.Policy.After.Value, At: s.Now, Until: s.Now.Add(time.Minute),
			ParentsProgress: ParentsProgress{State: ParentsNewer, Reason: "run 01N has taken its place", Chain: replaced},
		}
		n := s.Next()
		if want := map[bool]Action{false: doWait, true: DoRelease}[replaced]; n.Do != want {
			t.Errorf("replaced %t: decided %s (%s), want %s", replaced, n.Do, n.Then, want)
		}
		if leaves := s.LeavesReleasing() != ""; leaves != replaced {
			t.Errorf("replaced %t: releases nothing itself: %t", replaced, leaves)
		}
	}
}

// It waits no longer for that chain than it may, however far off the next reading is.
func TestARunOnAnOldPlanWaitsForItsChainNoLongerThanItMay(t *testing.T) {
	s := about(at(spacelift.RunStateFinished, labels("gantry:managed", "gantry:after=app")))
	s.Policy = (*policy.Definitions)(nil).Resolve(policy.Labelled(s.Labels)).Of("web")
	s.followers = &Followers{Stacks: []spacelift.StackID{"edge"}, At: s.Now}
	s.parents = &Parents{
		Key: s.Key(), After: s.Policy.After.Value, At: s.Now, Until: s.Now.Add(time.Hour), ParentsProgress: ParentsProgress{State: ParentsNewer, Reason: "run 01N applied"},
	}
	if n, want := s.Next(), s.Entered.At.Add(lateChain); n.Do != doWait || !n.Until.Equal(want) {
		t.Errorf("decided %s until %s, want %s until %s", n.Do, n.Until, doWait, want)
	}
}
