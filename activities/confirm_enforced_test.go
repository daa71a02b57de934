package activities_test

import (
	"strings"
	"testing"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/deploy"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/spacelift/spaceliftapi"
)

// enforced attaches Gantry's approval policy to the stack.
func enforced(t *testing.T) *rig {
	t.Helper()
	r := newRig(t)
	r.must(r.sim.AddPolicy(simulator.Policy{
		Name: spacelift.EnforcingApproval, Type: simulator.PolicyApproval, Labels: []string{"autoattach:" + spacelift.LabelManaged},
		Body: deploy.ApprovalPolicy("api::" + r.sim.APIKeys()[0].ID),
	}))
	return r
}

func TestGantryReviewsAndConfirmsInOneStep(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault *simulator.APIFault
	}{
		{"all goes well", nil},
		{"the answer to the review gets lost", &simulator.APIFault{Kind: simulator.LostResponse, Field: "runReview", Times: 1}},
		{"the worker ends between the two", &simulator.APIFault{Kind: simulator.ServerError, Field: "runConfirm", Times: 1}},
		{"the answer to the confirmation gets lost", &simulator.APIFault{Kind: simulator.LostResponse, Field: "runConfirm", Times: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := enforced(t)
			if err := r.sim.Confirm("author", stack, r.ref.Run, ""); err == nil {
				t.Fatal("Spacelift took a person's confirmation before Gantry's review")
			}
			if tt.fault != nil {
				r.fault(*tt.fault)
			}
			result, err := r.confirm(r.judged())
			for attempt := 0; err != nil && attempt < 3; attempt++ {
				result, err = r.confirm(r.judged())
			}
			if err != nil || result.Outcome != managed.Confirmed && result.Outcome != managed.AlreadyConfirmed || !result.ByUs {
				t.Fatalf("%+v, %v", result, err)
			}
			run, err := r.sim.Run(stack, r.ref.Run)
			r.must(err)
			if len(run.Reviews) != 1 || run.Reviews[0].Decision != "APPROVE" || !strings.HasSuffix(run.Reviews[0].Note, "[gantry: approve 5]") {
				t.Errorf("reviews %+v", run.Reviews)
			}
			if result.Outcome == managed.Confirmed && !result.Reviewed {
				t.Error("the review is not recorded")
			}
		})
	}
}

func TestGantryReviewsNothingItMayNotConfirm(t *testing.T) {
	t.Run("another approval policy", func(t *testing.T) {
		r := enforced(t)
		r.must(r.sim.AddPolicy(simulator.Policy{Name: "two people", Type: simulator.PolicyApproval, Labels: []string{"autoattach:*"}, Body: "package spacelift\n"}))
		result, err := r.confirm(r.judged())
		if err != nil || result.Outcome != managed.ConfirmRefused || !strings.Contains(result.Reason, "asks for a review of this plan first") {
			t.Errorf("%+v, %v", result, err)
		}
		r.notReviewed()
	})
	t.Run("the labels changed", func(t *testing.T) {
		r := enforced(t)
		r.must(r.sim.SetLabels(stack, "gantry:managed", "gantry:approvals=2"))
		result, err := r.confirm(r.judged())
		if err != nil || result.Outcome != managed.RulesChanged {
			t.Errorf("%+v, %v", result, err)
		}
		r.notReviewed()
	})
	t.Run("no policy asks", func(t *testing.T) {
		r := newRig(t)
		result, err := r.confirm(r.judged())
		if err != nil || result.Outcome != managed.Confirmed || result.Reviewed {
			t.Errorf("%+v, %v", result, err)
		}
		r.notReviewed()
	})
}

func (r *rig) notReviewed() {
	r.Helper()
	if n := len(r.sim.Mutations("runReview")); n > 0 {
		r.Errorf("Gantry sent %d reviews", n)
	}
}

func TestFindStacksThatPromiseMoreThanSpaceliftHolds(t *testing.T) {
	r := newRig(t)
	r.must(r.sim.AddStack(simulator.Stack{ID: "billing", Labels: []string{"gantry:managed", "gantry:approvals=2"}}))
	r.must(r.sim.AddStack(simulator.Stack{ID: "watched", Labels: []string{"gantry:managed"}}))
	find := func() activities.Faults {
		return done[activities.UnknownParents](r, r.acts.FindUnknownParents, activities.ParentsInput{Account: "acme"}).Unenforced
	}
	if found := find(); found.Count != 1 || !strings.Contains(found.First[0], "billing is advisory: the policy gantry-approval is not attached") {
		t.Errorf("found %+v", found)
	}
	policy := simulator.Policy{Name: spacelift.EnforcingApproval, Type: simulator.PolicyApproval, Labels: []string{"autoattach:" + spacelift.LabelManaged}}
	policy.Body = deploy.ApprovalPolicy("api::01OTHER")
	r.must(r.sim.AddPolicy(policy))
	if found := find(); found.Count != 1 || !strings.Contains(found.First[0], "takes the reviews of api::01OTHER") {
		t.Errorf("with another key's policy: %+v", found)
	}
	_, err := r.acts.Accounts["acme"].(*spaceliftapi.Client).UpdatePolicy(t.Context(), spacelift.EnforcingApproval, spacelift.PolicyInput{
		Name: policy.Name, Body: deploy.ApprovalPolicy("api::" + r.sim.APIKeys()[0].ID), Labels: policy.Labels, Space: "root",
	})
	r.must(err)
	if found := find(); found.Count != 0 {
		t.Errorf("with Gantry's policy: %+v", found)
	}
}
