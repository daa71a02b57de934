package activities_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

func TestReadRulesReadsTheResourcesOfAPlan(t *testing.T) {
	r := newRig(t)
	r.configured()
	read := func(plan *int) *managed.Resources {
		return done[managed.Rules](r, r.acts.ReadRules, activities.ReadRulesInput{Run: r.ref, Labels: auto, PlanSince: noon, Plan: plan}).Resources
	}
	if got := read(nil); got != nil || r.reads("PlannedResources") > 0 {
		t.Errorf("resources that nobody asked for: %+v", got)
	}
	want := &managed.Resources{StateVersion: 5, Total: 4, First: []spacelift.Resource{
		{Address: "module.app.aws_ecs_task_definition.api", Change: spacelift.ChangeUpdate},
		{Address: "aws_iam_role.deploy", Change: spacelift.ChangeAdd}, {Address: "aws_s3_bucket.artifacts", Change: spacelift.ChangeAdd},
		{Address: "module.network.aws_subnet.private", Change: spacelift.ChangeAdd},
	}}
	if diff := cmp.Diff(want, read(new(5))); diff != "" {
		t.Errorf("resources (-want +got)\n%s", diff)
	}
	if got := read(new(9)); got.First != nil || !strings.Contains(got.Unread, "the run is in UNCONFIRMED (5) by now") {
		t.Errorf("the resources of another plan: %+v", got)
	}
	r.fault(simulator.APIFault{Field: "stack", Kind: simulator.NotExecutable, Message: "unauthorized", Times: 1})
	if got := read(new(5)); got.First != nil || got.Unread == "" {
		t.Errorf("in spite of an error: %+v", got)
	}
}
