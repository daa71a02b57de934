package activities_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// Labels that name a stack which isn't there, or that nobody manages, are
// described, with the id that may be meant.
func TestFindUnknownParents(t *testing.T) {
	r := newRig(t)
	add := func(id spacelift.StackID, labels ...string) {
		r.must(r.sim.AddStack(simulator.Stack{ID: id, Labels: labels}))
	}
	var a *activities.Activities
	find := func() activities.UnknownParents {
		found, err := do[activities.UnknownParents](r.env, a.FindUnknownParents, activities.ParentsInput{Account: "acme"})
		r.must(err)
		return found
	}
	add("web-prod", "gantry:managed", "gantry:after=network-prod")
	if found := find(); found.Count != 0 {
		t.Errorf("nothing is wrong, and it found %+v", found)
	}
	add("app-prod", "gantry:managed", "gantry:after=netwok-prod")
	add("loose", "env:prod")
	add("api-prod", "gantry:managed", "gantry:after=loose")
	found := find()
	says := strings.Join(found.First, "\n")
	if found.Count != 2 || !strings.Contains(says, `app-prod carries gantry:after=netwok-prod`) || !strings.Contains(says, `stack "loose" is not managed`) {
		t.Errorf("found %+v", found)
	}
	for i := range 50 {
		add(spacelift.StackID(fmt.Sprintf("follower-%02d", i)), "gantry:managed", fmt.Sprintf("gantry:after=gone-%02d", i))
	}
	if found := find(); found.Count != 52 || len(found.First) != 3 {
		t.Errorf("of 52 unknown parents it found %d, described by %q", found.Count, found.First)
	}
}
