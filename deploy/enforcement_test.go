package deploy_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"

	"github.com/gantryhq/gantry/deploy"
	"github.com/gantryhq/gantry/spacelift"
)

// Both enforcement policies touch nothing but plans that wait for confirmation:
// every type of run in every state.
func TestEnforcementTouchesOnlyPlansThatWait(t *testing.T) {
	const key, other = "api::01GANTRY", "api::01OTHER"
	types := append(slices.Clone(spacelift.RunTypes), "SOMETHING_NEW")
	states := append(slices.Clone(spacelift.RunStates), "SOMETHING_NEW")
	for _, version := range []ast.RegoVersion{ast.RegoV0, ast.RegoV1} {
		t.Run(version.String(), func(t *testing.T) {
			approval := engineFor(t, version, deploy.ApprovalPolicy(key))
			plan := engineFor(t, version, deploy.PlanPolicy)
			for _, of := range types {
				for _, state := range states {
					for _, reviews := range []struct {
						name            string
						approve, reject []string
						approved        bool
						rejected        bool
					}{
						{name: "no review"},
						{name: "a person's approval", approve: []string{"jane"}},
						{name: "another key's approval", approve: []string{other}},
						{name: "a person's rejection", reject: []string{"jane"}},
						{name: "Gantry's approval", approve: []string{key}, approved: true},
						{name: "Gantry's approval against a person's rejection", approve: []string{key}, reject: []string{"jane"}, approved: true},
						{name: "Gantry's rejection", approve: []string{"jane"}, reject: []string{key}, rejected: true},
					} {
						want := object{"approve": true}
						if state == spacelift.RunStateUnconfirmed {
							want = object{}
							if reviews.approved {
								want["approve"] = true
							}
							if reviews.rejected {
								want["reject"] = true
							}
						}
						got := routes(t, approval, reviewed(of, state, reviews.approve, reviews.reject))
						delete(got, "gantry")
						delete(got, "rejected")
						if diff := cmp.Diff(want, got); diff != "" {
							t.Errorf("%s in %s with %s (-want +got)\n%s", of, state, reviews.name, diff)
						}
					}
				}
				for _, autodeploy := range []bool{false, true} {
					warns := autodeploy && (of == spacelift.RunTypeTracked || of == spacelift.RunTypeDestroy)
					want := object{"warn": []any{}}
					if warns {
						want["warn"] = []any{"Gantry decides about this plan"}
					}
					if diff := cmp.Diff(want, routes(t, plan, planned(of, autodeploy))); diff != "" {
						t.Errorf("%s with autodeploy %v (-want +got)\n%s", of, autodeploy, diff)
					}
				}
			}
		})
	}
}

// What Spacelift leaves out of the input must never approve a plan.
func TestApprovalNeedsItsInput(t *testing.T) {
	query := engineFor(t, ast.RegoV1, deploy.ApprovalPolicy("api::01GANTRY"))
	for _, missing := range [][]string{{"reviews"}, {"reviews", "current"}, {"reviews", "current", "approvals"}, {"run"}, {"run", "state"}} {
		doc := reviewed(spacelift.RunTypeTracked, spacelift.RunStateUnconfirmed, nil, nil)
		delete(at(doc, missing[:len(missing)-1]...), missing[len(missing)-1])
		if got := routes(t, query, doc); got["approve"] != nil {
			t.Errorf("without %v the plan is approved", missing)
		}
	}
}

func reviewed(of spacelift.RunType, state spacelift.RunState, approve, reject []string) object {
	reviews := func(authors []string) []any {
		list := []any{}
		for _, a := range authors {
			list = append(list, object{"author": a, "session": object{"login": a, "name": a, "teams": []any{}}, "state": string(state)})
		}
		return list
	}
	return object{
		"reviews": object{
			"current": object{"approvals": reviews(approve), "rejections": reviews(reject)},
			"older":   []any{object{"approvals": reviews([]string{"api::01GANTRY"}), "rejections": []any{}}},
		},
		"run":   object{"type": string(of), "state": string(state)},
		"stack": object{"autodeploy": false, "labels": []any{"gantry:managed"}},
	}
}

func planned(of spacelift.RunType, autodeploy bool) object {
	return object{"spacelift": object{
		"run": object{"type": string(of), "state": "PLANNING"}, "stack": object{"autodeploy": autodeploy, "labels": []any{"gantry:managed"}},
	}}
}

func engineFor(t *testing.T, version ast.RegoVersion, body string) rego.PreparedEvalQuery {
	t.Helper()
	able := ast.CapabilitiesForThisVersion()
	able.Builtins = slices.DeleteFunc(slices.Clone(able.Builtins), func(b *ast.Builtin) bool {
		return slices.Contains([]string{"http.send", "time.now_ns", "opa.runtime", "rego.parse_module", "trace"}, b.Name)
	})
	if version == ast.RegoV0 { // installations before the newer engine refuse rego.v1
		able.Features = slices.DeleteFunc(slices.Clone(able.Features), func(f string) bool { return f == ast.FeatureRegoV1Import })
	}
	query, err := rego.New(
		rego.Query("data.spacelift"),
		rego.Module("gantry.rego", body),
		rego.SetRegoVersion(version),
		rego.Capabilities(able),
		rego.StrictBuiltinErrors(false), // as in Spacelift: a builtin's error makes the rule undefined
	).PrepareForEval(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return query
}
