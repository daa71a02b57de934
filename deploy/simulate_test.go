package deploy_test

import (
	"context"
	"testing"

	"github.com/gantryhq/gantry/deploy"
	"github.com/gantryhq/gantry/spacelift"
)

func TestRoutes(t *testing.T) {
	r := newRig(t)
	r.setUp(r.wanted())
	for _, tt := range []struct {
		name   string
		body   string
		labels []string
		want   bool
	}{
		{"a labelled stack", deploy.Policy, []string{"gantry:managed"}, true},
		{"an unlabelled stack", deploy.Policy, nil, false},
		{"a policy that routes to somebody else", `package spacelift
import rego.v1
webhook contains {"endpoint_id": "pager"}`, []string{"gantry:managed"}, false},
		{"a policy with a payload of its own", `package spacelift
import rego.v1
webhook contains {"endpoint_id": "gantry", "payload": {"run": input.run_updated.run.id}}`, []string{"gantry:managed"}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := deploy.Routes(t.Context(), r.admin, tt.body, r.webhook(), tt.labels...)
			if err != nil || got != tt.want {
				t.Errorf("got %t, %v; want %t", got, err, tt.want)
			}
		})
	}
	if _, err := deploy.Routes(t.Context(), r.admin, "package spacelift\n\nnonsense {", r.webhook()); err == nil {
		t.Error("a policy that doesn't compile passes")
	}
}

// simulation answers as some Spacelift might.
type simulation string

func (simulation) Account() spacelift.Account { return "acme" }
func (s simulation) SimulatePolicy(context.Context, string, string, string) (string, error) {
	return string(s), nil
}

func TestRoutesReadsAnswersOfAnyShape(t *testing.T) {
	for answer, want := range map[string]bool{
		`{"webhook":[{"endpoint_id":"gantry"}]}`:                               true,
		`{"result":{"webhook":[{"endpoint_id":"gantry"}]}}`:                    true,
		`[{"expressions":[{"value":{"webhook":[{"endpoint_id":"gantry"}]}}]}]`: true,
		`"{\"webhook\":[{\"endpoint_id\":\"gantry\"}]}"`:                       true,
		`{"webhook":[{"endpoint_id":"other"}]}`:                                false,
		`{"input":{"webhook_endpoints":[{"id":"gantry"}]},"webhook":[]}`:       false,
		`null`: false,
	} {
		got, err := deploy.Routes(t.Context(), simulation(answer), "", spacelift.NamedWebhook{ID: "gantry"}, "gantry:managed")
		if err != nil || got != want {
			t.Errorf("%s: got %t, %v; want %t", answer, got, err, want)
		}
	}
}
