package activities_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
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

// guarded is a configuration whose profile asks for dba where a database goes.
func (r *rig) guarded() {
	r.Helper()
	rules, err := policy.Compile(policy.Config{Profiles: []policy.Profile{{
		Name: "guarded", ConfirmWhen: new("plan.total < 10"), HoldWhen: new(`time.getHours("UTC") < 6`),
		ApprovalsWhen: []policy.Requirement{{When: `resources.exists(r, r.destroys && r.type == "aws_db_instance")`, Needed: 2, Group: "dba"}},
	}}})
	r.must(err)
	r.acts.Definitions = func() *policy.Definitions { return rules }
	r.must(r.sim.SetLabels(stack, guardedLabels...))
	r.clock(noon)
}

var guardedLabels = []string{"gantry:managed", "gantry:profile=guarded"}

// judgedBy returns the input of a workflow that judged the plan by rules it read.
func (r *rig) judgedWith(rules managed.Rules) managed.ConfirmRunInput {
	r.Helper()
	in := r.judged()
	in.Policy, in.Verdicts = rules.Policy, rules.Verdicts
	return in
}

func (r *rig) readRules() managed.Rules {
	r.Helper()
	return done[managed.Rules](r, r.acts.ReadRules, activities.ReadRulesInput{Run: r.ref, Labels: guardedLabels, PlanSince: noon, Plan: new(5), Listed: true})
}

// Expressions are evaluated when the rules are read, and again right before a plan is
// confirmed: the same plan must have the same results.
func TestExpressionsAreEvaluatedAgainBeforeConfirming(t *testing.T) {
	r := newRig(t)
	r.guarded()
	rules := r.readRules()
	if v := rules.Verdicts; v == nil || !v.Confirm || len(v.Required) > 0 || v.Trouble != "" || v.Until.IsZero() {
		t.Fatalf("the results are %+v", v)
	}

	r.must(r.sim.ChangePlan(stack, r.ref.Run, func(p *simulator.Plan) {
		p.Changes = []simulator.Change{{Address: "aws_db_instance.main", Action: "deleted"}}
	}))
	got, err := r.confirm(r.judgedWith(rules))
	if err != nil || got.Outcome != managed.RulesChanged || got.Rules == nil || r.sent() > 0 {
		t.Fatalf("another plan behind the same counts: %+v, %v", got, err)
	}
	if v := got.Rules.Verdicts; v == nil || !strings.Contains(v.Trouble, "fewer resources than the plan's 3 to add") {
		t.Errorf("the new results are %+v", v)
	}

	r.must(r.sim.ChangePlan(stack, r.ref.Run, func(p *simulator.Plan) { p.Changes = nil }))
	r.clock(noon.Add(-8 * time.Hour))
	if got, err := r.confirm(r.judgedWith(rules)); err != nil || got.Outcome != managed.RulesChanged || r.sent() > 0 {
		t.Errorf("at 4 in the morning: %+v, %v", got, err)
	}
	early := r.readRules()
	if got, err := r.confirm(r.judgedWith(early)); err != nil || got.Outcome != managed.GateClosed || r.sent() > 0 || early.Gate.Open {
		t.Errorf("judged at 4 in the morning: %+v, %v", got, err)
	}
	r.clock(noon)
	if got, err := r.confirm(r.judgedWith(rules)); err != nil || got.Outcome != managed.Confirmed {
		t.Errorf("the plan that was judged: %+v, %v", got, err)
	}
}

// A key that may not read the resources holds plans with expressions; a failure that
// may pass is tried again.
func TestExpressionsOverResourcesThatCantBeRead(t *testing.T) {
	r := newRig(t)
	r.guarded()
	r.fault(simulator.APIFault{Field: "stack", Kind: simulator.NotExecutable, Message: "unauthorized", Times: 1})
	if v := r.readRules().Verdicts; v == nil || !strings.Contains(v.Trouble, "can't be evaluated: read planned resources of run acme") || v.Until.IsZero() {
		t.Errorf("the results are %+v", v)
	}
	r.fault(simulator.APIFault{Field: "stack", Kind: simulator.ServerError, Times: 50})
	_, err := do[managed.Rules](r.env, r.acts.ReadRules, activities.ReadRulesInput{Run: r.ref, Labels: guardedLabels, PlanSince: noon, Plan: new(5)})
	if err == nil || nonRetryable(err) {
		t.Errorf("a server error is %v", err)
	}
}

// What was confirmed without Gantry is compared with the expressions' results for that
// plan, at the time of the confirmation.
func TestExpressionsOverAPlanThatWasConfirmedWithoutGantry(t *testing.T) {
	r := newRig(t)
	r.guarded()
	r.must(r.sim.Confirm("jane", stack, r.ref.Run, ""))
	at := func(when time.Time) managed.Rules {
		return done[managed.Rules](r, r.acts.ReadRules, activities.ReadRulesInput{Run: r.ref, Labels: guardedLabels, GateAt: when})
	}
	if got := at(noon); got.Verdicts == nil || !got.Verdicts.Confirm || !got.Gate.Open {
		t.Errorf("at noon: %+v", got)
	}
	if got := at(noon.Add(-8 * time.Hour)); got.Gate.Open {
		t.Errorf("at 4 in the morning: %+v", got)
	}
	r.fault(simulator.APIFault{Field: "stack", Kind: simulator.NotExecutable, Message: "unauthorized", Times: 1})
	if got := at(noon); got.Verdicts != nil || !got.Gate.Open {
		t.Errorf("what can't be read accuses: %+v", got)
	}
}
