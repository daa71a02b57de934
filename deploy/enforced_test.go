package deploy_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/deploy"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

var nineDeletes = simulator.Plan{Delta: spacelift.Delta{Deleted: 9}}

// enforced installs both policies in an engine, for the admin's key.
func (r *rig) enforced(engine string) {
	r.t.Helper()
	viewer, err := r.admin.Viewer(r.t.Context())
	r.ok(err)
	attach := []string{"autoattach:" + spacelift.LabelManaged}
	r.ok(r.AddPolicy(simulator.Policy{Name: "gantry-approval", Type: simulator.PolicyApproval, Engine: engine, Body: deploy.ApprovalPolicy(viewer.ID), Labels: attach}))
	r.ok(r.AddPolicy(simulator.Policy{Name: "gantry-plan", Type: simulator.PolicyPlan, Engine: engine, Body: deploy.PlanPolicy, Labels: attach}))
}

// reaches pushes a commit and waits until the run is in the state.
func (r *rig) reaches(stack spacelift.StackID, commit simulator.Commit, plan simulator.Plan, state spacelift.RunState) spacelift.RunRef {
	r.t.Helper()
	id, err := r.Push(stack, commit, plan)
	r.ok(err)
	ref := spacelift.RunRef{Account: "acme", Stack: stack, Run: id}
	r.comesTo(ref, state)
	return ref
}

func (r *rig) comesTo(ref spacelift.RunRef, state spacelift.RunState) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	_, err := r.WaitState(ctx, ref.Stack, ref.Run, state)
	r.ok(err)
}

func TestSpaceliftRefusesWhatGantryHasNotReviewed(t *testing.T) {
	for _, engine := range []string{simulator.RegoV0, simulator.RegoV1} {
		for _, autodeploy := range []bool{false, true} {
			r := newRig(t)
			r.enforced(engine)
			r.ok(r.AddStack(simulator.Stack{ID: "net", Labels: []string{"gantry:managed", "gantry:approvals=2"}, Autodeploy: autodeploy}))
			run := r.reaches("net", simulator.Commit{}, nineDeletes, spacelift.RunStateUnconfirmed)

			err := r.Confirm("author", run.Stack, run.Run, "")
			if err == nil || !strings.Contains(err.Error(), "needs approval") {
				t.Errorf("%s, autodeploy %v: the author's confirmation: %v", engine, autodeploy, err)
			}
			r.ok(r.Review("author", run.Stack, run.Run, "APPROVE", ""))
			if err := r.Confirm("author", run.Stack, run.Run, ""); err == nil {
				t.Errorf("%s, autodeploy %v: the author's own review is enough", engine, autodeploy)
			}
			r.ok(r.admin.ReviewRun(t.Context(), run, spacelift.ReviewApprove, ""))
			_, err = r.admin.ConfirmRun(t.Context(), run, "")
			r.ok(err)
			r.comesTo(run, spacelift.RunStateFinished)
		}
	}
}

func TestEnforcementLetsOtherRunsPass(t *testing.T) {
	r := newRig(t)
	r.enforced(simulator.RegoV0)
	r.ok(r.AddStack(simulator.Stack{ID: "net", Labels: []string{"gantry:managed"}, Autodeploy: true}))
	r.ok(r.AddStack(simulator.Stack{ID: "other", Autodeploy: true}))
	warned := simulator.Plan{Delta: spacelift.Delta{Added: 1}, Verdict: simulator.Warn, Messages: []string{"a warning of the stack's own"}}

	r.reaches("net", simulator.Commit{Branch: "feature"}, warned, spacelift.RunStateFinished) // a preview
	r.reaches("net", simulator.Commit{}, simulator.Plan{}, spacelift.RunStateFinished)        // no changes
	r.reaches("other", simulator.Commit{}, nineDeletes, spacelift.RunStateFinished)           // not managed
	task, err := r.CreateTask("jane", "net", "true", false)
	r.ok(err)
	r.comesTo(spacelift.RunRef{Account: "acme", Stack: "net", Run: task}, spacelift.RunStateFinished)

	run := r.reaches("net", simulator.Commit{}, nineDeletes, spacelift.RunStateUnconfirmed)
	r.ok(r.Discard("jane", run.Stack, run.Run, "")) // a brake needs no review
	run = r.reaches("net", simulator.Commit{}, nineDeletes, spacelift.RunStateUnconfirmed)
	r.ok(r.admin.ReviewRun(t.Context(), run, spacelift.ReviewReject, ""))
	r.comesTo(run, spacelift.RunStateFailed)
}

func TestSetupEnforcesAndLeaves(t *testing.T) {
	r := newRig(t)
	w := r.wanted()
	r.setUp(w)
	if again := r.plan(w); !again.Empty() {
		t.Errorf("enforcement is not wanted, and the plan is %v", items(again))
	}
	w.Enforce = deploy.EnforceOn
	if diff := cmp.Diff([]string{"created policy gantry-approval", "created policy gantry-plan"}, r.setUp(w)); diff != "" {
		t.Error(diff)
	}
	if again := r.plan(w); !again.Empty() {
		t.Errorf("a second run would change %+v", again.Changes)
	}
	r.ok(r.AddStack(simulator.Stack{ID: "net", Labels: []string{"gantry:managed"}, Autodeploy: true}))
	run := r.reaches("net", simulator.Commit{}, nineDeletes, spacelift.RunStateUnconfirmed)
	if err := r.Confirm("author", run.Stack, run.Run, ""); err == nil {
		t.Error("Spacelift confirmed before Gantry's review")
	}

	w.Enforce = deploy.EnforceOff
	if diff := cmp.Diff([]string{"deleted policy gantry-approval", "deleted policy gantry-plan"}, r.setUp(w)); diff != "" {
		t.Error(diff)
	}
	if again := r.plan(w); !again.Empty() {
		t.Errorf("after leaving: %v", items(again))
	}
	r.ok(r.Confirm("author", run.Stack, run.Run, ""))
}

// The key of gantry serve stays where setup runs with another one, and a change to
// the policies is drift.
func TestSetupWithAnotherKeyKeepsTheReviewers(t *testing.T) {
	r := newRig(t)
	w := r.wanted()
	w.Enforce, w.Reviewers = deploy.EnforceOn, []string{"api::01SERVE", "api::01STAGING"}
	r.setUp(w)
	w.Enforce, w.Reviewers = deploy.EnforceKeep, nil
	if again := r.plan(w); !again.Empty() {
		t.Fatalf("changes %+v", again.Changes)
	}
	approval, err := r.admin.Policy(t.Context(), spacelift.EnforcingApproval)
	r.ok(err)
	if keys, ok := deploy.ReviewersOf(approval.Body); !ok || !slices.Equal(keys, []string{"api::01SERVE", "api::01STAGING"}) {
		t.Errorf("reviewers %q %v", keys, ok)
	}
	for _, body := range []string{approval.Body + "\napprove := true\n", strings.Replace(approval.Body, "UNCONFIRMED", "APPLYING", 1)} {
		_, err = r.admin.UpdatePolicy(t.Context(), approval.ID, spacelift.PolicyInput{Name: approval.Name, Engine: approval.Engine, Body: body, Space: "root"})
		r.ok(err)
		plan := r.plan(w)
		if diff := cmp.Diff([]deploy.Item{deploy.ItemPolicyBody, deploy.ItemPolicyLabels}, items(plan)); diff != "" {
			t.Error(diff)
		}
		if _, ok := deploy.ReviewersOf(body); ok {
			t.Error("an edited policy passes for Gantry's")
		}
	}
}

// What somebody else wrote is shown, and replaced only on request.
func TestSetupReplacesNothingOfOthers(t *testing.T) {
	const theirs = "package spacelift\n\napprove = true\n"
	r := newRig(t)
	r.ok(r.AddPolicy(simulator.Policy{Name: "gantry-approval", Type: simulator.PolicyApproval, Body: theirs}))
	r.ok(r.AddPolicy(simulator.Policy{Name: "gantry", Body: "package spacelift\n"}))
	r.ok(r.AddNamedWebhook(simulator.NamedWebhook{ID: "gantry", Endpoint: "https://pager.example.com", Secret: secret}))
	w := r.wanted()
	w.Enforce = deploy.EnforceOn
	plan := r.plan(w)
	if diff := cmp.Diff([]string{"webhook gantry", "policy gantry", "policy gantry-approval"}, plan.Foreign()); diff != "" {
		t.Error(diff)
	}
	err := deploy.Apply(t.Context(), r.admin, plan, func(what string) { t.Errorf("did %s", what) })
	if !errors.Is(err, deploy.ErrForeign) {
		t.Errorf("got %v", err)
	}
	for _, c := range plan.Changes {
		if c.Name == "gantry-approval" && c.Item == deploy.ItemPolicyBody && (c.Old != theirs || !strings.Contains(c.Diff, "-approve = true\n")) {
			t.Errorf("old %q, diff %q", c.Old, c.Diff)
		}
	}
	w.Replace = true
	r.setUp(w)
	if again := r.plan(w); !again.Empty() {
		t.Errorf("left undone: %v", items(again))
	}
}

// Only a text that could be read proves a policy, and all of one name must be right.
func TestTextsThatCannotBeReadProveNothing(t *testing.T) {
	approval := func(body string) spacelift.Policy {
		return spacelift.Policy{Name: spacelift.EnforcingApproval, Type: spacelift.PolicyTypeApproval, Body: body}
	}
	plan := spacelift.Policy{Name: spacelift.EnforcingPlan, Type: spacelift.PolicyTypePlan, Body: deploy.PlanPolicy}
	good, bad := approval(deploy.ApprovalPolicy("api::01GANTRY")), approval("package spacelift\napprove := true\n")
	for name, tt := range map[string]struct {
		read           []spacelift.Policy
		approval, plan string // parts of what is wrong; empty for nothing
	}{
		"both":                 {[]spacelift.Policy{good, plan}, "", ""},
		"no plan policy":       {[]spacelift.Policy{good}, "", "can't read the policy gantry-plan"},
		"nothing":              {nil, "can't read the policy gantry-approval", "can't read the policy gantry-plan"},
		"one of two is wrong":  {[]spacelift.Policy{bad, good, plan}, "isn't this version's", ""},
		"the other one of two": {[]spacelift.Policy{good, bad, plan}, "isn't this version's", ""},
	} {
		got := deploy.TextsOf(tt.read, "api::01GANTRY")
		for text, want := range map[string]string{got.Approval: tt.approval, got.Plan: tt.plan} {
			if (text == "") != (want == "") || !strings.Contains(text, want) {
				t.Errorf("%s: %q, want %q", name, text, want)
			}
		}
	}
}
