package simulator_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

func read(t *testing.T, file string) string {
	t.Helper()
	raw, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func decode(t *testing.T, text string) (v map[string]any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// The policies of our reference, evaluated on inputs recorded from Spacelift.
func TestRecordedInputs(t *testing.T) {
	target := map[string]any{"endpoint_id": "orchestrator-prod"}
	for _, c := range []struct {
		policy, input string
		want          []any
	}{
		{"minimal.rego", "policy_input_run_updated_unconfirmed.json", []any{target}},
		{"minimal.rego", "policy_input_run_updated_finished.json", []any{target}},
		{"minimal.rego", "policy_input_run_updated_not_opted_in.json", []any{}},
		{"minimal.rego", "policy_input_module_version.json", []any{}},
		{"minimal.rego", "policy_input_internal_error.json", []any{}},
		{"envelope.rego", "policy_input_run_updated_unconfirmed.json", []any{
			map[string]any{"endpoint_id": "orchestrator-prod", "payload": decode(t, read(t, "custom_envelope_unconfirmed.json"))},
		}},
		{"envelope.rego", "policy_input_run_updated_finished.json", []any{
			map[string]any{"endpoint_id": "orchestrator-prod", "payload": decode(t, read(t, "custom_envelope_finished.json"))},
		}},
		{"envelope.rego", "policy_input_run_updated_not_opted_in.json", []any{}},
		{"envelope.rego", "policy_input_internal_error.json", []any{target}},
	} {
		t.Run(c.policy+" on "+c.input, func(t *testing.T) {
			r := newRig(t)
			var got struct{ PolicySimulatev2 string }
			a := r.graphql(`mutation ($in: PolicySimulateInput!) { policySimulatev2(input: $in) }`, map[string]any{
				"in": map[string]any{"type": "NOTIFICATION", "body": read(t, c.policy), "data": read(t, c.input)},
			}, &got)
			if len(a.Errors) > 0 {
				t.Fatal(a.Errors)
			}
			if diff := cmp.Diff(c.want, decode(t, got.PolicySimulatev2)["webhook"]); diff != "" {
				t.Errorf("webhook rule (-want +got)\n%s", diff)
			}
		})
	}
}

// The input the simulator makes has the fields of the recorded one, no more and
// no less.
func TestInputHasTheRecordedShape(t *testing.T) {
	r := newRig(t)
	r.ok(r.AddWorkerPool(simulator.WorkerPool{ID: "pool", Name: "prod-workers", Labels: []string{"pool:prod"}}))
	r.stack(simulator.Stack{ID: "net", Labels: []string{"a"}, WorkerPool: "pool"})
	r.routeAll()
	r.ok(r.AddPolicy(simulator.Policy{ID: "sampler", Engine: simulator.RegoV1, Body: `package spacelift

sample if input.run_updated.state == "UNCONFIRMED"
`}))
	r.push("net", simulator.Plan{Delta: twoAdded.Delta, Verdict: simulator.Warn, Messages: []string{"big"}, Changes: []simulator.Change{
		{Address: "aws_subnet.a", Type: "aws_subnet", Name: "a", Action: "added", Values: map[string]any{"cidr_block": "10.0.0.0/20"}},
	}})

	inputs := r.sampled("sampler")
	if len(inputs) != 1 {
		t.Fatalf("%d evaluations sampled, want 1", len(inputs))
	}
	input := inputs[0]
	if strings.Contains(input, "e+18") || !strings.Contains(input, `"created_at":17672`) {
		t.Errorf("nanoseconds lost their digits: %s", input)
	}
	recorded := decode(t, read(t, "policy_input_run_updated_unconfirmed.json"))
	updated := recorded["run_updated"].(map[string]any)
	// The page on notification policies draws the receipts here.
	updated["run"].(map[string]any)["policy_receipts"] = updated["policy_receipts"]
	got, want := shape("", decode(t, input)), shape("", recorded)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("fields (-recorded +ours)\n%s", diff)
	}
}

// sampled returns the inputs that a policy has sampled, newest first.
func (r *rig) sampled(policy string) []string {
	r.t.Helper()
	var list struct {
		Policy struct {
			EvaluationRecords []struct{ Key, Outcome string }
		}
	}
	r.graphql(`query ($id: ID!) { policy(id: $id) { evaluationRecords { key outcome timestamp } } }`, map[string]any{"id": policy}, &list)
	var inputs []string
	for _, record := range list.Policy.EvaluationRecords {
		var sample struct {
			Policy struct{ EvaluationSample struct{ Input string } }
		}
		r.graphql(`query ($id: ID!, $key: String!) { policy(id: $id) { evaluationSample(key: $key) { input body } } }`,
			map[string]any{"id": policy, "key": record.Key}, &sample)
		inputs = append(inputs, sample.Policy.EvaluationSample.Input)
	}
	return inputs
}

// shape lists the paths of a document with the type of each leaf.
func shape(path string, v any) []string {
	switch v := v.(type) {
	case map[string]any:
		var out []string
		for _, k := range slices.Sorted(maps.Keys(v)) {
			out = append(out, shape(path+"."+k, v[k])...)
		}
		return out
	case []any:
		if len(v) == 0 {
			return []string{path + "[]"}
		}
		return shape(path+"[]", v[0])
	case float64:
		return []string{path + " number"}
	case string:
		return []string{path + " string"}
	case bool:
		return []string{path + " bool"}
	}
	return []string{path + " null"}
}

func TestPolicyMakesTheRequest(t *testing.T) {
	r := newRig(t)
	r.stack(simulator.Stack{ID: "net"})
	r.ok(r.AddNamedWebhook(simulator.NamedWebhook{
		ID: "hook", Endpoint: r.hook.url, Secret: "hush", Headers: map[string]string{"X-Static": "one", "X-Both": "static"},
	}))
	r.ok(r.AddPolicy(simulator.Policy{ID: "p", Body: `package spacelift

webhook[{"endpoint_id": "hook", "method": "PUT", "headers": {"X-Event": "yes", "X-Both": "event", "X-Signature-256": "sha256=forged"},
	"payload": {"text": "log: spacelift::logs::planning", "amp": "a&b"}}] { input.run_updated.state == "FINISHED" }
`})) // REGO_V0 is Spacelift's default
	r.push("net", simulator.Plan{Logs: map[spacelift.RunState][]string{"PLANNING": {"No changes."}}})
	got := r.hook.all()
	if len(got) != 1 {
		t.Fatalf("%d deliveries", len(got))
	}
	if want := `{"amp":"a\u0026b","text":"log: No changes.\n"}`; got[0].Method != http.MethodPut || got[0].Body != want {
		t.Errorf("%s %s, want PUT %s", got[0].Method, got[0].Body, want)
	}
	h := got[0].Header
	if h.Get("X-Static") != "one" || h.Get("X-Event") != "yes" || h.Get("X-Both") != "event" || h.Get("X-Signature-256") == "sha256=forged" {
		t.Errorf("headers %v", h)
	}
}

// sanitized is a helper that Spacelift adds to Rego, in either engine.
func TestPoliciesMaySanitize(t *testing.T) {
	for engine, body := range map[string]string{
		simulator.RegoV0: `package spacelift

webhook[{"endpoint_id": "hook", "payload": {"h": sanitized("hello")}}] { input.run_updated.run.state == "FINISHED" }
`,
		simulator.RegoV1: `package spacelift

webhook contains {"endpoint_id": "hook", "payload": {"h": sanitized("hello")}} if input.run_updated.run.state == "FINISHED"
`,
	} {
		t.Run(engine, func(t *testing.T) {
			r := newRig(t)
			r.stack(simulator.Stack{ID: "net"})
			r.ok(r.AddNamedWebhook(simulator.NamedWebhook{ID: "hook", Endpoint: r.hook.url}))
			r.ok(r.AddPolicy(simulator.Policy{ID: "p", Engine: engine, Body: body}))
			r = r.restart() // it is compiled again
			r.push("net", simulator.Plan{})
			// The end of: printf hello | sha256sum
			if got := r.hook.all(); len(got) != 1 || got[0].Body != `{"h":"73043362938b9824"}` {
				t.Errorf("deliveries %+v", got)
			}
		})
	}
}

// What a rule can have that is not text arrives as text.
func TestHeadersAndQueriesAreText(t *testing.T) {
	r := newRig(t)
	r.stack(simulator.Stack{ID: "net"})
	r.ok(r.AddNamedWebhook(simulator.NamedWebhook{ID: "hook", Endpoint: r.hook.url + "/in?team=core&v=1"}))
	r.ok(r.AddPolicy(simulator.Policy{ID: "p", Engine: simulator.RegoV1, Body: `package spacelift

webhook contains {
	"endpoint_id": "hook", "payload": {},
	"headers": {"X-Version": count(input.run_updated.run.states_history), "X-Drift": input.run_updated.run.drift_detection},
	"query_params": {"run": "a b&c", "v": 2},
} if input.run_updated.state == "FINISHED"

inbox contains {"title": 7, "body": true} if input.run_updated.state == "FINISHED"
`}))
	r.push("net", simulator.Plan{})
	got := r.hook.all()
	if len(got) != 1 {
		t.Fatalf("%d deliveries", len(got))
	}
	if h := got[0].Header; h.Get("X-Version") != "6" || h.Get("X-Drift") != "false" {
		t.Errorf("headers %v", h)
	}
	if want := "/in?run=a+b%26c&team=core&v=2"; got[0].URL != want {
		t.Errorf("sent to %s, want %s", got[0].URL, want)
	}
	if inbox := r.Inbox(); len(inbox) != 1 || inbox[0].Title != "7" || inbox[0].Body != "true" {
		t.Errorf("inbox %+v", inbox)
	}
}

// A query that a policy adds survives a restart and another endpoint.
func TestQueryOfWaitingDeliveries(t *testing.T) {
	r := newRig(t)
	r.stack(simulator.Stack{ID: "net"})
	r.ok(r.AddNamedWebhook(simulator.NamedWebhook{ID: "hook", Endpoint: "http://127.0.0.1:1/old"}))
	r.ok(r.AddPolicy(simulator.Policy{ID: "p", Engine: simulator.RegoV1, Body: `package spacelift

webhook contains {"endpoint_id": "hook", "query_params": {"q": "1"}} if input.run_updated.state == "FINISHED"
`}))
	_, err := r.InjectDelivery(simulator.DeliveryFault{Kind: simulator.Delay, Delay: simulator.Duration(time.Minute)})
	r.ok(err)
	r.push("net", simulator.Plan{})
	r = r.restart(func(s *simulator.Simulator) error { return s.SetWebhookEndpoint("hook", r.hook.url+"/new") })
	r.advance(time.Minute)
	if got := r.hook.all(); len(got) != 1 || got[0].URL != "/new?q=1" {
		t.Errorf("deliveries %+v", got)
	}
}

// A rule that can't be carried out gets a notice in the inbox.
func TestUnusableRulesGetANotice(t *testing.T) {
	module := simulator.ModuleVersion{Module: "vpc", Number: "1.4.0"}
	for name, c := range map[string]struct {
		rules string
		want  string // of the notice
		sent  int
	}{
		"no payload for a module version": {
			`webhook contains {"endpoint_id": "hook"}`,
			`policy p, webhook "hook": Spacelift documents no default body of the event module_version, so nothing is sent; give the rule a payload`, 0,
		},
		"an unknown field": {
			`webhook contains {"endpoint_id": "hook", "payload": {}, "paylod": {}}`,
			`policy p, webhook "hook": a webhook rule has no field "paylod"; use endpoint_id, headers, method, payload, query_params`, 1,
		},
		"a header that is a list": {
			`webhook contains {"endpoint_id": "hook", "payload": {}, "headers": {"X-A": ["b"], "X-C": "d"}}`,
			`policy p, webhook "hook": headers.X-A is not a text, so it is left out: ["b"]`, 1,
		},
		"headers that are text": {
			`webhook contains {"endpoint_id": "hook", "payload": {}, "headers": "X-A: b"}`,
			`policy p, webhook "hook": headers is not an object, so it is ignored: "X-A: b"`, 1,
		},
		"an id alone": {
			`webhook contains "hook"`,
			`rule webhook of policy p has a member that is not an object, so it is ignored: "hook"`, 0,
		},
		"one object": {
			`webhook := {"endpoint_id": "hook", "payload": {}}`,
			`rule webhook of policy p is not a set of objects, so it is ignored: {"endpoint_id":"hook","payload":{}}`, 0,
		},
		"one object for the inbox": {
			`inbox := {"title": "t"}`,
			`rule inbox of policy p is not a set of objects, so it is ignored: {"title":"t"}`, 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.stack(simulator.Stack{ID: "vpc", Module: true})
			r.ok(r.AddNamedWebhook(simulator.NamedWebhook{ID: "hook", Endpoint: r.hook.url}))
			r.ok(r.AddPolicy(simulator.Policy{ID: "p", Engine: simulator.RegoV1, Body: "package spacelift\n\n" + c.rules + "\n"}))
			r.ok(r.PublishModuleVersion(module))
			r.settle()
			inbox := r.Inbox()
			if len(inbox) != 1 || inbox[0].Body != c.want || inbox[0].Severity != "ERROR" {
				t.Errorf("inbox %+v\nwant %s", inbox, c.want)
			}
			if got := len(r.hook.all()); got != c.sent {
				t.Errorf("%d deliveries, want %d", got, c.sent)
			}
		})
	}
}

func TestSpaceInheritanceDecidesWhichPoliciesHear(t *testing.T) {
	everything := func(id, space string) simulator.Policy {
		return simulator.Policy{ID: id, Space: space, Engine: simulator.RegoV1, Body: `package spacelift

webhook contains {"endpoint_id": e.id} if some e in input.webhook_endpoints
`}
	}
	for _, c := range []struct {
		name               string
		inherit            bool
		hookSpace, polices string
		want               bool
	}{
		{"all in root, inherited", true, "root", "root", true},
		{"all in root, not inherited", false, "root", "root", false},
		{"all in the stack's space", false, "team", "team", true},
		{"policy in root, webhook in a sibling", true, "other", "root", false},
		{"policy in a sibling", true, "root", "other", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.ok(r.AddSpace(simulator.Space{ID: "team", InheritEntities: c.inherit}))
			r.ok(r.AddSpace(simulator.Space{ID: "other", InheritEntities: true}))
			r.stack(simulator.Stack{ID: "net", Space: "team"})
			r.ok(r.AddNamedWebhook(simulator.NamedWebhook{ID: "hook", Endpoint: r.hook.url, Space: c.hookSpace}))
			r.ok(r.AddPolicy(everything("p", c.polices)))
			r.push("net", simulator.Plan{})
			if got := len(r.hook.all()) > 0; got != c.want {
				t.Errorf("delivered %v, want %v", got, c.want)
			}
		})
	}
}

func TestTwoPoliciesSendTwoDeliveries(t *testing.T) {
	r := newRig(t)
	r.stack(simulator.Stack{ID: "net"})
	r.routeAll()
	r.ok(r.AddPolicy(simulator.Policy{ID: "again", Engine: simulator.RegoV1, Body: `package spacelift

webhook contains {"endpoint_id": "hook"}
`}))
	r.push("net", simulator.Plan{})
	if got := len(r.hook.all()); got != 12 {
		t.Errorf("%d deliveries of 6 states, want 12", got)
	}
}

func TestInternalErrorReachesPolicies(t *testing.T) {
	r := newRig(t)
	r.routeAll()
	r.ok(r.AddPolicy(simulator.Policy{ID: "inbox-only", Engine: simulator.RegoV1, Body: `package spacelift

inbox contains {"title": "received", "body": input.internal_error.message, "severity": "INFO"}
`}))
	r.ok(r.SendInternalError(simulator.InternalError{
		Title: "Invalid Stack Slug Triggered", Error: "policy triggered for Stack that doesn't exist",
		Body: "policy tried to trigger Stack 'network-prdo' which either doesn't exist or this policy doesn't have access to",
	}))
	r.settle()
	want := `{"title":"Invalid Stack Slug Triggered","body":"policy tried to trigger Stack 'network-prdo' which either doesn't exist or this policy doesn't have access to","error":"policy triggered for Stack that doesn't exist","severity":"ERROR","account":"acme"}`
	if got := r.hook.all(); len(got) != 1 || got[0].Body != want {
		t.Errorf("got %+v", got)
	}
	if inbox := r.Inbox(); len(inbox) != 2 || inbox[1].Title != "received" {
		t.Errorf("inbox %+v, want Spacelift's own notice and the policy's", inbox)
	}
}

func TestPolicyThatNamesNobodyInReach(t *testing.T) {
	r := newRig(t)
	r.stack(simulator.Stack{ID: "net"})
	r.ok(r.AddSpace(simulator.Space{ID: "other", InheritEntities: true}))
	r.ok(r.AddNamedWebhook(simulator.NamedWebhook{ID: "elsewhere", Space: "other", Endpoint: r.hook.url}))
	r.ok(r.AddPolicy(simulator.Policy{ID: "lost", Engine: simulator.RegoV1, Body: `package spacelift

webhook contains {"endpoint_id": id} if {
	some id in ["elsewhere", "nowhere"]
	input.run_updated.state == "FINISHED"
}
`}))
	r.push("net", simulator.Plan{})
	inbox := r.Inbox()
	if len(inbox) != 2 || !strings.Contains(inbox[0].Body, "elsewhere") || !strings.Contains(inbox[1].Body, "nowhere") {
		t.Errorf("inbox %+v", inbox)
	}
	if got := r.hook.all(); len(got) != 0 {
		t.Errorf("%d deliveries to a webhook out of reach", len(got))
	}
}

// A policy that lost the label by which it attached itself decides about no stack more,
// until it has it back.
func TestAPolicyIsAttachedAsLongAsItsLabelSays(t *testing.T) {
	r := newRig(t)
	r.ok(r.AddPolicy(simulator.Policy{
		ID: "two-people", Type: simulator.PolicyApproval, Engine: simulator.RegoV1, Body: "package spacelift\napprove if count(input.reviews.current.approvals) > 1", Labels: []string{"autoattach:prod"},
	}))
	r.stack(simulator.Stack{ID: "net", Labels: []string{"prod"}})
	attached := func() string { return r.ask(`{ stack(id: "net") { attachedPolicies { policyId } } }`, nil) }
	for _, tc := range []struct {
		labels []string
		want   string
	}{
		{nil, `{"stack":{"attachedPolicies":[]}}`},
		{[]string{"autoattach:prod"}, `{"stack":{"attachedPolicies":[{"policyId":"two-people"}]}}`},
	} {
		r.ok(r.LabelPolicy("two-people", tc.labels...))
		if got := attached(); got != tc.want {
			t.Errorf("with the labels %q: %s, want %s", tc.labels, got, tc.want)
		}
	}
	if err := r.LabelPolicy("another"); err == nil {
		t.Error("a policy that doesn't exist has labels")
	}
}
