package deploy_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"pgregory.net/rapid"

	"github.com/gantryhq/gantry/deploy"
	"github.com/gantryhq/gantry/spacelift"
)

type object = map[string]any

// engine is one of Spacelift's: the policy has to be read by both. The functions
// Spacelift takes away are missing here too.
// https://docs.spacelift.io/concepts/policy
func engine(t *testing.T, version ast.RegoVersion) rego.PreparedEvalQuery {
	t.Helper()
	return engineFor(t, version, deploy.Policy)
}

// routes is everything the policy says of an input, rule by rule.
func routes(t interface {
	Helper()
	Fatal(args ...any)
	Context() context.Context
}, query rego.PreparedEvalQuery, input object,
) object {
	t.Helper()
	results, err := query.Eval(t.Context(), rego.EvalInput(input))
	if err != nil {
		t.Fatal(err)
	}
	rules, ok := results[0].Expressions[0].Value.(object)
	if !ok {
		t.Fatal("the policy gives no document")
	}
	return rules
}

// toGantry is all the policy may ever say: the webhook's id, and neither a body
// nor headers, so that nothing is sent beyond Spacelift's default body.
func toGantry(ids ...string) object {
	hooks := []any{}
	for _, id := range ids {
		hooks = append(hooks, object{"endpoint_id": id})
	}
	return object{"webhook": hooks}
}

func input(t *testing.T, name string) object {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	var doc object
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// at returns the object under a path of keys.
func at(doc object, path ...string) object {
	for _, key := range path {
		doc = doc[key].(object)
	}
	return doc
}

func TestPolicyRoutesLabelledRuns(t *testing.T) {
	tests := []struct {
		name   string
		input  string
		change func(object)
		want   object
	}{
		{name: "unconfirmed run of a labelled stack", input: "policy_input_run_updated_unconfirmed.json", want: toGantry("gantry")},
		{name: "finished run of a labelled stack", input: "policy_input_run_updated_finished.json", want: toGantry("gantry")},
		{name: "run of a stack without the label", input: "policy_input_run_updated_not_opted_in.json", want: toGantry()},
		{name: "internal error", input: "policy_input_internal_error.json", want: toGantry()},
		{name: "module version", input: "policy_input_module_version.json", want: toGantry()},
		{
			name: "receipts under run, as the documentation draws them", input: "policy_input_run_updated_unconfirmed.json",
			change: func(doc object) {
				updated := at(doc, "run_updated")
				at(updated, "run")["policy_receipts"] = updated["policy_receipts"]
				delete(updated, "policy_receipts")
			},
			want: toGantry("gantry"),
		},
		{
			name: "a refining label alone opts nothing in", input: "policy_input_run_updated_unconfirmed.json",
			change: labels("gantry:confirm=auto", "gantry", "gantry:managed=false", "Gantry:Managed"), want: toGantry(),
		},
		{
			name: "space around the label", input: "policy_input_run_updated_unconfirmed.json",
			change: labels("env:prod", " gantry:managed "), want: toGantry("gantry"),
		},
		{name: "no labels", input: "policy_input_run_updated_unconfirmed.json", change: labels(), want: toGantry()},
		{
			name: "labels are null", input: "policy_input_run_updated_unconfirmed.json",
			change: func(doc object) { at(doc, "run_updated", "stack")["labels"] = nil }, want: toGantry(),
		},
		{
			name: "every webhook with our label, and no other", input: "policy_input_run_updated_unconfirmed.json",
			change: func(doc object) {
				doc["webhook_endpoints"] = []any{
					object{"id": "gantry", "labels": []any{"gantry"}},
					object{"id": "gantry-staging", "labels": []any{"team:platform", "gantry"}},
					object{"id": "pager", "labels": []any{"gantry-like"}},
					object{"id": "bare", "labels": []any{}},
					object{"id": "unlabelled"},
				}
			},
			want: toGantry("gantry", "gantry-staging"),
		},
		{
			name: "no webhook has our label", input: "policy_input_run_updated_unconfirmed.json",
			change: func(doc object) { doc["webhook_endpoints"] = []any{} }, want: toGantry(),
		},
	}
	for _, version := range []ast.RegoVersion{ast.RegoV0, ast.RegoV1} {
		t.Run(version.String(), func(t *testing.T) {
			query := engine(t, version)
			for _, tt := range tests {
				t.Run(tt.name, func(t *testing.T) {
					doc := input(t, tt.input)
					if tt.change != nil {
						tt.change(doc)
					}
					if diff := cmp.Diff(tt.want, routes(t, query, doc)); diff != "" {
						t.Error(diff)
					}
				})
			}
		})
	}
}

func labels(all ...string) func(object) {
	return func(doc object) {
		list := []any{}
		for _, l := range all {
			list = append(list, l)
		}
		at(doc, "run_updated", "stack")["labels"] = list
	}
}

func TestPolicyRoutesTheTypesGantryManages(t *testing.T) {
	unmanaged := []spacelift.RunType{spacelift.RunTypeTesting, spacelift.RunTypeParse}
	query := engine(t, ast.RegoV1)
	for _, of := range append(slices.Clone(spacelift.RunTypes), "SOMETHING_NEW", "") {
		t.Run("type "+string(of), func(t *testing.T) {
			doc := input(t, "policy_input_run_updated_unconfirmed.json")
			at(doc, "run_updated", "run")["type"] = string(of)
			want := toGantry("gantry")
			if slices.Contains(unmanaged, of) {
				want = toGantry()
			}
			if diff := cmp.Diff(want, routes(t, query, doc)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What Spacelift leaves out, renames or nulls must not silence a labelled
// stack: only what the routing is about may.
func TestPolicySurvivesMissingKeys(t *testing.T) {
	query := engine(t, ast.RegoV1)
	doc := input(t, "policy_input_run_updated_unconfirmed.json")
	needed := []string{"run_updated", "run_updated.stack", "run_updated.stack.labels", "webhook_endpoints"}
	var visit func(container object, path []string)
	visit = func(container object, path []string) {
		for key, value := range container {
			here := append(slices.Clone(path), key)
			name := strings.Join(here, ".")
			want := toGantry("gantry")
			if slices.Contains(needed, name) {
				want = toGantry()
			}
			delete(container, key)
			if diff := cmp.Diff(want, routes(t, query, doc)); diff != "" {
				t.Errorf("without %s: %s", name, diff)
			}
			container[key] = nil
			if diff := cmp.Diff(want, routes(t, query, doc)); diff != "" {
				t.Errorf("with %s null: %s", name, diff)
			}
			container[key] = value
			if inner, ok := value.(object); ok {
				visit(inner, here)
			}
		}
	}
	visit(doc, nil)
}

// The policy and the receiver must agree on what opts a stack in: an event the
// one sends and the other ignores is waste, the reverse is a lost run.
func TestPolicyAgreesWithTheReceiverOnLabels(t *testing.T) {
	query := engine(t, ast.RegoV1)
	doc := input(t, "policy_input_run_updated_unconfirmed.json")
	piece := rapid.SampledFrom([]string{"gantry:managed", "gantry", ":", "managed", " ", "\t", "\u00a0", "\u2003", "Gantry:managed", "=true", "x"})
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) string {
			return strings.Join(rapid.SliceOfN(piece, 0, 3).Draw(t, "pieces"), "")
		}), 0, 3).Draw(t, "labels")
		labels(all...)(doc)
		want := toGantry()
		if spacelift.Managed(all) {
			want = toGantry("gantry")
		}
		if diff := cmp.Diff(want, routes(t, query, doc)); diff != "" {
			t.Fatalf("labels %q: %s", all, diff)
		}
	})
}
