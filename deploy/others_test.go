package deploy_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/deploy"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/spacelift/spaceliftapi"
)

// Setting up asks each policy of others what it sends to Gantry, whatever words
// are in it.
func TestOtherPoliciesAreAskedWhatTheySend(t *testing.T) {
	v1 := func(rule string) string { return "package spacelift\n\nimport rego.v1\n\n" + rule + "\n" }
	tests := []struct {
		name  string
		other simulator.Policy
		want  []deploy.NoteKind
		says  string
	}{
		{
			name: "everything to every webhook, for the old engine, as guides have it", want: []deploy.NoteKind{deploy.NoteDouble}, says: "every such notification comes twice",
			other: simulator.Policy{Body: "package spacelift\n\nwebhook[{\"endpoint_id\": e.id}] {\n  e := input.webhook_endpoints[_]\n  input.run_updated != null\n}\n"},
		},
		{
			name:  "words about Gantry that do nothing",
			other: simulator.Policy{Body: "package spacelift\n\n# gantry:managed stacks go to webhook gantry\n"},
		},
		{
			name: "the ends of runs of one stack, by a label of its own", want: []deploy.NoteKind{deploy.NoteDouble}, says: "a TRACKED run of network in FINISHED",
			other: simulator.Policy{Engine: simulator.RegoV1, Body: v1("webhook contains {\"endpoint_id\": \"gantry\"} if {\n\tinput.run_updated.state == \"FINISHED\"\n\t\"env:prod\" in input.run_updated.stack.labels\n}")},
		},
		{
			name: "by fields that only a whole input has", want: []deploy.NoteKind{deploy.NoteDouble},
			other: simulator.Policy{Engine: simulator.RegoV1, Body: v1("webhook contains {\"endpoint_id\": \"gantry\"} if {\n\tinput.run_updated.run.commit.branch == input.run_updated.stack.branch\n\tinput.run_updated.stack.space.id == \"root\"\n\tnot input.run_updated.run.drift_detection\n\tcount(input.run_updated.run.changes) > 0\n}")},
		},
		{
			name:  "stacks that are not managed",
			other: simulator.Policy{Engine: simulator.RegoV1, Body: v1("webhook contains {\"endpoint_id\": \"gantry\"} if not \"gantry:managed\" in input.run_updated.stack.labels")},
		},
		{
			name:  "to somebody else's webhook",
			other: simulator.Policy{Engine: simulator.RegoV1, Body: v1("webhook contains {\"endpoint_id\": e.id, \"method\": \"PUT\"} if {\n\tsome e in input.webhook_endpoints\n\t\"pager\" in e.labels\n}")},
		},
		{
			name: "a payload of its own", want: []deploy.NoteKind{deploy.NoteDouble, deploy.NotePayload}, says: "sends a payload of its own to webhook gantry",
			other: simulator.Policy{Engine: simulator.RegoV1, Body: v1("webhook contains {\"endpoint_id\": \"gantry\", \"payload\": {\"text\": input.run_updated.run.id}}")},
		},
		{
			name: "by another method", want: []deploy.NoteKind{deploy.NoteDouble, deploy.NoteRefused}, says: "calls webhook gantry by PUT, such as for a TRACKED run of network in QUEUED: Gantry accepts only POST and answers 405",
			other: simulator.Policy{Engine: simulator.RegoV1, Body: v1("webhook contains {\"endpoint_id\": \"gantry\", \"method\": \"put\"} if input.run_updated")},
		},
		{
			name: "internal errors by another method", want: []deploy.NoteKind{deploy.NoteRefused}, says: "such as for an internal error",
			other: simulator.Policy{Engine: simulator.RegoV1, Body: v1("webhook contains {\"endpoint_id\": \"gantry\", \"method\": \"DELETE\"} if input.internal_error.severity == \"ERROR\"")},
		},
		{
			name: "module versions in a form of their own", want: []deploy.NoteKind{deploy.NotePayload}, says: "such as for a module version",
			other: simulator.Policy{Engine: simulator.RegoV1, Body: v1("webhook contains {\"endpoint_id\": \"gantry\", \"payload\": input.module_version.version.number}")},
		},
		{
			name: "another value of the secret header", want: []deploy.NoteKind{deploy.NoteDouble, deploy.NoteRefused}, says: "replaces the secret header x-gantry-token of webhook gantry",
			other: simulator.Policy{Engine: simulator.RegoV1, Body: v1("webhook contains {\"endpoint_id\": \"gantry\", \"headers\": {\"x-gantry-token\": \"mine\"}} if input.run_updated")},
		},
		{
			name: "in a space below that inherits", want: []deploy.NoteKind{deploy.NoteDouble},
			other: simulator.Policy{Space: "team", Engine: simulator.RegoV1, Body: v1("webhook contains {\"endpoint_id\": \"gantry\"}")},
		},
		{
			name:  "in a space that the webhook doesn't reach",
			other: simulator.Policy{Space: "island", Engine: simulator.RegoV1, Body: v1("webhook contains {\"endpoint_id\": \"gantry\"}")},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			w := r.wanted()
			w.Header, w.HeaderValue = "X-Gantry-Token", headerValue
			r.setUp(w)
			w.Header = "X-Gantry-Token"
			r.ok(r.AddSpace(simulator.Space{ID: "team", InheritEntities: true}))
			r.ok(r.AddSpace(simulator.Space{ID: "island"}))
			r.ok(r.AddNamedWebhook(simulator.NamedWebhook{ID: "pager", Endpoint: "https://pager.example.com/", Labels: []string{"pager"}, Secret: secret}))
			r.ok(r.AddStack(simulator.Stack{ID: "network", Branch: "main", Labels: []string{"gantry:managed", "env:prod"}}))
			r.ok(r.AddStack(simulator.Stack{ID: "app", Branch: "main", Labels: []string{"gantry:managed"}}))
			tt.other.ID = "others"
			r.ok(r.AddPolicy(tt.other))

			var got []deploy.NoteKind
			said := ""
			for _, n := range r.plan(w).Notes {
				if n.Kind == deploy.NoteNotCompared && strings.Contains(n.Text, "X-Gantry-Token") {
					continue
				}
				got, said = append(got, n.Kind), said+n.Text+"\n"
			}
			if diff := cmp.Diff(tt.want, got); diff != "" || !strings.Contains(said, tt.says) {
				t.Errorf("(-want +got)\n%s\n%s", diff, said)
			}
		})
	}
}

// Before there is a webhook, policies are asked about the one that will be.
func TestOtherPoliciesAreAskedAboutTheWebhookToBe(t *testing.T) {
	r := newRig(t)
	r.ok(r.AddPolicy(simulator.Policy{ID: "everything", Body: "package spacelift\n\nwebhook[{\"endpoint_id\": e.id}] { e := input.webhook_endpoints[_] }\n"}))
	if notes := r.plan(r.wanted()).Notes; len(notes) != 1 || notes[0].Kind != deploy.NoteDouble {
		t.Errorf("notes %+v", notes)
	}
}

// A policy that can't be asked is not called fine.
func TestPoliciesThatCanNotBeAskedAreNamed(t *testing.T) {
	r := newRig(t)
	r.setUp(r.wanted())
	for _, id := range []string{"one", "two"} {
		r.ok(r.AddPolicy(simulator.Policy{ID: id, Body: "package spacelift\n"}))
	}
	_, err := r.InjectAPI(simulator.APIFault{Kind: simulator.Unauthorized, Field: "policySimulatev2"})
	r.ok(err)
	plan := r.plan(r.wanted())
	if notes := plan.Unchecked(); len(notes) != 1 || len(plan.Notes) != 1 || !strings.Contains(notes[0].Text, "simulate the policies one, two") {
		t.Errorf("notes %+v", plan.Notes)
	}
}

// Our own policy is asked as well once somebody has edited it: one notification
// is its due, a second one and another form are not.
func TestOurPolicyIsAskedOnceItIsEdited(t *testing.T) {
	r := newRig(t)
	r.setUp(r.wanted())
	for body, want := range map[string][]deploy.NoteKind{
		deploy.Policy + "\n# edited\n": nil,
		deploy.Policy + "\nwebhook contains {\"endpoint_id\": \"gantry\", \"method\": \"PUT\"} if input.run_updated\n": {deploy.NoteDouble, deploy.NoteRefused},
	} {
		_, err := r.admin.UpdatePolicy(t.Context(), "gantry", spacelift.PolicyInput{Name: "gantry", Engine: "REGO_V1", Body: body, Space: "root"})
		r.ok(err)
		var got []deploy.NoteKind
		for _, n := range r.plan(r.wanted()).Notes {
			got = append(got, n.Kind)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s\n(-want +got)\n%s", body, diff)
		}
	}
}

// oldEngine reads policies as the older of the engines does: without the import
// a body for the newer one doesn't compile.
type oldEngine struct{ *spaceliftapi.Client }

func (e oldEngine) SimulatePolicy(ctx context.Context, ofType, body, input string) (string, error) {
	if !strings.Contains(body, "import future.keywords") {
		return "", context.DeadlineExceeded
	}
	return e.Client.SimulatePolicy(ctx, ofType, body, input)
}

func TestASimulationOfAnyEngineWillDo(t *testing.T) {
	r := newRig(t)
	r.setUp(r.wanted())
	r.ok(r.AddPolicy(simulator.Policy{ID: "new", Engine: simulator.RegoV1, Body: "# a comment\npackage spacelift # ours\n\nwebhook contains {\"endpoint_id\": \"gantry\"} if input.run_updated\n"}))
	found, err := deploy.Inspect(t.Context(), oldEngine{r.admin}, r.wanted())
	r.ok(err)
	plan, err := deploy.Compare(r.wanted(), found)
	r.ok(err)
	if len(plan.Notes) != 1 || plan.Notes[0].Kind != deploy.NoteDouble {
		t.Errorf("notes %+v", plan.Notes)
	}
}

func TestAddressesAreComparedAsHTTPDoes(t *testing.T) {
	for _, tt := range []struct {
		a, b       string
		same       bool
		normalized string // of a
	}{
		{"https://gantry.example.com/webhook", "https://gantry.example.com/webhook", true, "https://gantry.example.com/webhook"},
		{"HTTPS://Gantry.Example.COM:443/webhook", "https://gantry.example.com/webhook", true, "https://gantry.example.com/webhook"},
		{"http://gantry:80/webhook", "http://gantry/webhook", true, "http://gantry/webhook"},
		{"http://gantry:8080/webhook", "http://gantry/webhook", false, "http://gantry:8080/webhook"},
		{"http://[::1]:80/webhook", "http://[::1]/webhook", true, "http://[::1]/webhook"},
		{"https://gantry.example.com", "https://gantry.example.com/", true, "https://gantry.example.com/"},
		{"https://gantry.example.com/webhook/", "https://gantry.example.com/webhook", true, "https://gantry.example.com/webhook"},
		{"https://gantry.example.com//a/./b/../webhook//", "https://gantry.example.com/a/webhook", false, "https://gantry.example.com/a/webhook"},
		{"https://gantry.example.com/Webhook", "https://gantry.example.com/webhook", false, "https://gantry.example.com/Webhook"},
		{"https://gantry.example.com/hooks/", "https://gantry.example.com/hooks", false, "https://gantry.example.com/hooks/"},
		{"https://gantry.example.com/webhook", "http://gantry.example.com/webhook", false, "https://gantry.example.com/webhook"},
		{"nonsense", "nonsense", true, "nonsense"},
	} {
		if got := deploy.SameAddress(tt.a, tt.b); got != tt.same {
			t.Errorf("%s and %s: the same %t, want %t", tt.a, tt.b, got, tt.same)
		}
		if got := deploy.NormalAddress(tt.a); got != tt.normalized {
			t.Errorf("%s is spelled %s, want %s", tt.a, got, tt.normalized)
		}
	}
}

// A webhook that points at Gantry's address with a doubled slash gets 404; one that only
// spells it in another way, or has a slash behind it, is left alone.
func TestTheWebhooksAddressIsComparedByWhatAnswers(t *testing.T) {
	r := newRig(t)
	r.setUp(r.wanted())
	point := func(at string) deploy.Plan {
		t.Helper()
		_, err := r.admin.UpdateNamedWebhook(t.Context(), "gantry", spacelift.NamedWebhookInput{
			Name: "gantry", Endpoint: at, Enabled: true, Labels: []string{"gantry"}, Space: "root", Secret: secret, RetryOnFailure: true,
		})
		r.ok(err)
		return r.plan(r.wanted())
	}
	if plan := point(strings.Replace(r.hook.url, "http://", "HTTP://", 1)); !plan.Empty() {
		t.Errorf("changes %v", plan.Changes)
	}
	if plan := point(r.hook.url + "/"); !plan.Empty() {
		t.Errorf("changes %v", plan.Changes)
	}
	plan := point(strings.TrimSuffix(r.hook.url, "/webhook") + "//webhook")
	if c := plan.Change(deploy.ItemWebhookEndpoint); c == nil || c.Wanted != r.hook.url || !strings.Contains(c.Why, "404") {
		t.Errorf("changes %+v", plan.Changes)
	}
}
