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
	if found.Misspelt.Count != 0 {
		t.Errorf("misspelt labels: %+v", found.Misspelt)
	}
	add("db-prod", "ganrty:managed")
	add("dns-prod", "gantry:managed", "gantry :window=night")
	add("cdn-prod", "Gantry:managed", "gantry:confirm=auto")
	add("iam-prod", "sentry:dsn")
	found = find()
	for _, want := range []string{"db-prod carries ganrty:managed: Gantry doesn't read it", "dns-prod carries gantry :window=night:", "cdn-prod carries Gantry:managed: labels are case-sensitive"} {
		if !strings.Contains(strings.Join(found.Misspelt.First, "\n"), want) {
			t.Errorf("it lacks %q: %+v", want, found.Misspelt)
		}
	}
	if found.Misspelt.Count != 3 || !strings.Contains(found.Misspelt.Fix, "write gantry:") {
		t.Errorf("misspelt labels: %+v", found.Misspelt)
	}
	for i := range 50 {
		add(spacelift.StackID(fmt.Sprintf("follower-%02d", i)), "gantry:managed", fmt.Sprintf("gantry:after=gone-%02d", i))
	}
	if found := find(); found.Count != 52 || len(found.First) != 3 {
		t.Errorf("of 52 unknown parents it found %d, described by %q", found.Count, found.First)
	}
}
