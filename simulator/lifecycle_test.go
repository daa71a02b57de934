package simulator_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// step is one document of a story, with what it must answer. "$1" in either is
// the first id an earlier step answered with, "$2" the second, and so on.
type step struct{ document, want string }

func (r *rig) steps(steps ...step) {
	r.t.Helper()
	var ids []string
	fill := func(s string) string {
		for i, id := range ids {
			s = strings.ReplaceAll(s, "$"+string(rune('1'+i)), id)
		}
		return s
	}
	for _, st := range steps {
		a := r.graphql(fill(st.document), nil, nil)
		r.settle()
		got := string(a.Data)
		for _, e := range a.Errors {
			got = "error: " + e.Message
		}
		if want, isNew := strings.CutPrefix(st.want, "new id: "); isNew {
			var fields map[string]struct{ ID string }
			if err := json.Unmarshal(a.Data, &fields); err != nil || len(a.Errors) > 0 {
				r.t.Fatalf("%s\n got %s", st.document, got)
			}
			for _, f := range fields {
				ids = append(ids, f.ID)
			}
			st.want = want
		}
		if want := fill(st.want); got != want && (!strings.HasPrefix(want, "error: ") || !strings.Contains(got, strings.TrimPrefix(want, "error: "))) {
			r.t.Errorf("%s\n got %s\nwant %s", fill(st.document), got, want)
		}
	}
}

func TestLivesOfConfigurationObjects(t *testing.T) {
	for name, steps := range map[string][]step{
		"dependency": {
			{`mutation { stackDependencyCreate(input: {stackId: "top", dependsOnStackId: "base"}) { id } }`, `new id: {"stackDependencyCreate":{"id":"$1"}}`},
			{`mutation { stackDependencyCreate(input: {stackId: "base", dependsOnStackId: "top"}) { id } }`, `error: cycle`},
			{`mutation { stackDependencyCreate(input: {stackId: "top", dependsOnStackId: "base"}) { id } }`, `error: already`},
			{`mutation { stackDependencyUpdate(input: {id: "$1", triggerAlways: true}) { triggerAlways } }`, `{"stackDependencyUpdate":{"triggerAlways":true}}`},
			{`mutation { stackDependenciesAddReference(stackDependencyID: "$1", reference: {outputName: "a", inputName: "A"}) { id } }`, `new id: {"stackDependenciesAddReference":{"id":"$2"}}`},
			{`mutation { stackDependenciesUpdateReference(reference: {id: "$2", outputName: "b", inputName: "A", triggerAlways: true}) { outputName inputName type triggerAlways } }`, `{"stackDependenciesUpdateReference":{"outputName":"b","inputName":"A","type":"ENVIRONMENT_VARIABLE","triggerAlways":true}}`},
			{`{ stack(id: "top") { dependsOn { referenceCount dependsOnStack { id } } } }`, `{"stack":{"dependsOn":[{"referenceCount":1,"dependsOnStack":{"id":"base"}}]}}`},
			{`{ stack(id: "base") { isDependedOnBy { id stack { id } } } }`, `{"stack":{"isDependedOnBy":[{"id":"$1","stack":{"id":"top"}}]}}`},
			{`mutation { stackDependenciesDeleteReference(id: "$2") { inputName } }`, `{"stackDependenciesDeleteReference":{"inputName":"A"}}`},
			{`mutation { stackDependenciesDeleteReference(id: "$2") { inputName } }`, `{"stackDependenciesDeleteReference":null}`},
			{`mutation { stackDependencyDelete(id: "$1") { dependsOnStackId } }`, `{"stackDependencyDelete":{"dependsOnStackId":"base"}}`},
			{`mutation { stackDependencyUpdate(input: {id: "$1"}) { id } }`, `error: not found`},
			{`{ stack(id: "top") { dependsOn { id } dependency(id: "$1", dependsOnStackId: "") { id } } }`, `{"stack":{"dependsOn":[],"dependency":null}}`},
		},
		"policy": {
			{`mutation { policyCreatev2(input: {name: "Plan Guard", type: PLAN, body: "package spacelift\n"}) { id } }`, `new id: {"policyCreatev2":{"id":"plan-guard"}}`},
			{`mutation { policyAttach(id: "$1", stack: "base") { id } }`, `new id: {"policyAttach":{"id":"$2"}}`},
			{`{ stack(id: "base") { attachedPolicies { policyId policyType } } policy(id: "$1") { engineType attachedStack(id: "base") { id stackName } } }`, `{"stack":{"attachedPolicies":[{"policyId":"plan-guard","policyType":"PLAN"}]},"policy":{"engineType":"REGO_V0","attachedStack":{"id":"$2","stackName":"base"}}}`},
			{`mutation { policyDetach(id: "$2") { stackId } }`, `{"policyDetach":{"stackId":"base"}}`},
			{`mutation { policyDetach(id: "$2") { stackId } }`, `{"policyDetach":null}`},
			{`{ policy(id: "$1") { attachedStack(id: "base") { id } } }`, `{"policy":{"attachedStack":null}}`},
			{`mutation { policyDelete(id: "$1") { id } }`, `{"policyDelete":{"id":"plan-guard"}}`},
			{`{ policy(id: "$1") { id } }`, `{"policy":null}`},
			{`mutation { policySimulate(body: "package spacelift\n\nsample { input.x == 1 }", input: "{\"x\": 1}", type: NOTIFICATION) }`, `{"policySimulate":"{\"sample\":true}"}`},
			{`mutation { policySimulate(body: "package spacelift\n\nsample if input.x == 1", input: "{\"x\": 1}", type: NOTIFICATION) }`, `{"policySimulate":"{\"sample\":true}"}`},
			{`mutation { policySimulatev2(input: {type: NOTIFICATION, body: "package spacelift\n\nsample { input.x == 1 }", data: "{\"x\": 1}"}) }`, `{"policySimulatev2":"{\"sample\":true}"}`},
			{`mutation { policySimulatev2(input: {type: NOTIFICATION, body: "package", data: "{}"}) }`, `error: rego_parse_error`},
			{`mutation { policySimulatev2(input: {type: NOTIFICATION, body: "package spacelift\n", data: "{"}) }`, `error: read policy input`},
		},
		"space": {
			{`mutation { spaceCreate(input: {name: "A", parentSpace: "root"}) { id } }`, `new id: {"spaceCreate":{"id":"$1"}}`},
			{`mutation { spaceCreate(input: {name: "B", parentSpace: "$1"}) { id } }`, `new id: {"spaceCreate":{"id":"$2"}}`},
			{`mutation { spaceUpdate(space: "$1", input: {name: "A", parentSpace: "$2"}) { id } }`, `error: below itself`},
			{`mutation { spaceUpdate(space: "root", input: {name: "R", parentSpace: "root"}) { id } }`, `error: root`},
			{`mutation { spaceUpdate(space: "$2", input: {name: "C", parentSpace: "root", inheritEntities: true, labels: ["x"]}) { name parentSpace inheritEntities labels } }`, `{"spaceUpdate":{"name":"C","parentSpace":"root","inheritEntities":true,"labels":["x"]}}`},
			{`mutation { spaceDelete(space: "$2") { name } }`, `{"spaceDelete":{"name":"C"}}`},
			{`{ space(id: "$2") { id } }`, `{"space":null}`},
		},
		"environment variable": {
			{`mutation { stackConfigAdd(stack: "base", config: {id: "K", type: ENVIRONMENT_VARIABLE, value: "v", writeOnly: true}) { value writeOnly } }`, `{"stackConfigAdd":{"value":null,"writeOnly":true}}`},
			{`mutation { stackConfigAdd(stack: "base", config: {id: "K", type: ENVIRONMENT_VARIABLE, value: "w", writeOnly: false}) { value } }`, `{"stackConfigAdd":{"value":"w"}}`},
			{`{ stack(id: "base") { config { id } configElement(id: "K") { value } } }`, `{"stack":{"config":[{"id":"K"}],"configElement":{"value":"w"}}}`},
			{`mutation { stackConfigDelete(stack: "base", id: "K") { id } }`, `{"stackConfigDelete":{"id":"K"}}`},
			{`mutation { stackConfigDelete(stack: "base", id: "K") { id } }`, `{"stackConfigDelete":null}`},
		},
		"stack webhook": {
			{`mutation { webhooksIntegrationCreate(stack: "base", input: {enabled: true, endpoint: "https://e.example", secret: "s"}) { id } }`, `new id: {"webhooksIntegrationCreate":{"id":"$1"}}`},
			{`{ stack(id: "base") { integrations { webhooks { id secret } } } }`, `{"stack":{"integrations":{"webhooks":[{"id":"$1","secret":"s"}]}}}`},
			{`mutation { webhooksIntegrationDelete(stack: "base", id: "$1") { id } }`, `{"webhooksIntegrationDelete":{"id":"$1"}}`},
			{`mutation { webhooksIntegrationDelete(stack: "base", id: "$1") { id } }`, `{"webhooksIntegrationDelete":null}`},
		},
		"protected stack": {
			{`mutation { stackCreate(manageState: true, input: {name: "safe", branch: "main", repository: "r", administrative: false, protectFromDeletion: true}) { id } }`, `new id: {"stackCreate":{"id":"safe"}}`},
			{`mutation { stackDelete(id: "safe") { id } }`, `error: protected`},
			{`mutation { stackCreate(manageState: true, input: {name: "safe", branch: "main", repository: "r", administrative: false}) { id } }`, `error: exists`},
			{`mutation { stackSyncCommit(id: "safe") { trackedCommit { message } } }`, `{"stackSyncCommit":{"trackedCommit":{"message":"Change safe"}}}`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.stack(simulator.Stack{ID: "base"})
			r.stack(simulator.Stack{ID: "top"})
			r.steps(steps...)
		})
	}
}

func TestRunVerbsOverGraphQL(t *testing.T) {
	r := newRig(t)
	r.stack(simulator.Stack{ID: "net"})
	slow := simulator.Plan{Delta: twoAdded.Delta, Phases: simulator.Phases{"PLANNING": time.Minute}}
	queuedRun := func(p simulator.Plan) string {
		id, err := r.Push("net", simulator.Commit{Branch: "feature"}, p)
		r.ok(err)
		return string(id)
	}
	canceled := queuedRun(twoAdded)
	r.steps(step{`mutation { runCancel(stack: "net", run: "` + canceled + `", note: "n") { state } }`, `{"runCancel":{"state":"CANCELED"}}`})
	stopped := queuedRun(slow)
	r.settle()
	r.steps(
		step{`mutation { runStop(stack: "net", run: "` + stopped + `", note: "n") { state } }`, `{"runStop":{"state":"PLANNING"}}`},
		step{`{ stack(id: "net") { run(id: "` + stopped + `") { state } } }`, `{"stack":{"run":{"state":"STOPPED"}}}`},
	)
	killed := queuedRun(slow)
	r.settle()
	r.steps(
		step{`mutation { runKill(stack: "net", run: "` + killed + `") { state } }`, `{"runKill":{"state":"STOPPED"}}`},
		step{`mutation { runRetry(stack: "net", run: "` + killed + `") { id } }`, `new id: {"runRetry":{"id":"$1"}}`},
		step{`{ stack(id: "net") { proposedRuns { id canRetry isMostRecent } } }`, `{"stack":{"proposedRuns":[{"id":"$1","canRetry":false,"isMostRecent":true},{"id":"` + killed +
			`","canRetry":true,"isMostRecent":false},{"id":"` + stopped + `","canRetry":true,"isMostRecent":false},{"id":"` + canceled + `","canRetry":true,"isMostRecent":false}]}}`},
	)
	r.advance(time.Minute)
	r.steps(
		step{`mutation { runPromote(stack: "net", run: "` + canceled + `") { id } }`, `error: cannot promote`},
		step{`mutation { runTrigger(stack: "net", runType: TASK) { id } }`, `error: can't be triggered`},
		step{`mutation { runStop(stack: "net", run: "` + canceled + `") { id } }`, `error: cannot stop run ` + canceled + ` in state CANCELED`},
		step{`mutation { runConfirm(stack: "net") { id } }`, `error: not found`},
	)
}

func TestModuleVersionInputHasTheRecordedShape(t *testing.T) {
	r := newRig(t)
	r.stack(simulator.Stack{ID: "vpc", Module: true, Labels: []string{"kind:module"}})
	r.ok(r.AddNamedWebhook(simulator.NamedWebhook{ID: "hook", Endpoint: r.hook.url, Labels: []string{"x"}}))
	r.ok(r.AddPolicy(simulator.Policy{ID: "p", Engine: simulator.RegoV1, Body: `package spacelift

webhook contains {"endpoint_id": "hook", "payload": input} if input.module_version
`}))
	id, err := r.TestModule("vpc", simulator.Commit{}, twoAdded)
	r.ok(err)
	r.settle()
	r.ok(r.PublishModuleVersion(simulator.ModuleVersion{Module: "vpc", Number: "1.4.0", TestRuns: []spacelift.RunID{id}}))
	r.settle()
	got := r.hook.all()
	if len(got) != 1 {
		t.Fatalf("%d deliveries", len(got))
	}
	want := shape("", decode(t, read(t, "policy_input_module_version.json")))
	have := shape("", decode(t, got[0].Body))
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("fields (-recorded +ours)\n%s", diff)
	}
}

func TestSecretRotation(t *testing.T) {
	r := newRig(t)
	r.stack(simulator.Stack{ID: "net"})
	r.routeAll()
	r.ok(r.SetWebhookSecret("hook", "new"))
	r.push("net", simulator.Plan{})
	got := r.hook.all()[0]
	if err := spacelift.VerifySignature([]byte("new"), []byte(got.Body), got.Header.Get("X-Signature-256")); err != nil {
		t.Error(err)
	}
}

// Labels are read when an event happens, not when the run was created.
func TestRelabellingUnderway(t *testing.T) {
	r := newRig(t)
	r.stack(simulator.Stack{ID: "net"})
	r.ok(r.AddNamedWebhook(simulator.NamedWebhook{ID: "hook", Endpoint: r.hook.url}))
	r.ok(r.AddPolicy(simulator.Policy{ID: "p", Engine: simulator.RegoV1, Body: `package spacelift

webhook contains {"endpoint_id": "hook"} if "gantry:managed" in input.run_updated.stack.labels
`}))
	id := r.push("net", twoAdded)
	if n := len(r.hook.all()); n != 0 {
		t.Fatalf("%d deliveries of an unlabelled stack", n)
	}
	r.ok(r.SetLabels("net", "gantry:managed"))
	r.ok(r.Discard("jane", "net", id, ""))
	r.settle()
	if diff := cmp.Diff([]spacelift.RunState{"DISCARDED"}, r.hook.states()); diff != "" {
		t.Errorf("states (-want +got)\n%s", diff)
	}
}

func TestVendorsAreShownAgain(t *testing.T) {
	for vendor, fields := range map[string]string{
		`{ansible: {playbook: "p.yml"}}`: `Ansible { playbook`,
		`{cloudFormation: {entryTemplateFile: "t", region: "eu-west-1", stackName: "s", templateBucket: "b"}}`: `CloudFormation { stackName`,
		`{kubernetes: {namespace: "n"}}`:                `Kubernetes { namespace`,
		`{opentofu: {concise: true, version: "1.9.0"}}`: `OpenTofu { version concise`,
		`{pulumi: {loginURL: "u", stackName: "s"}}`:     `Pulumi { loginURL`,
		`{terraform: {version: "1.5.7"}}`:               `Terraform { version`,
		`{terragrunt: {useRunAll: true, useSmartSanitization: false, terragruntVersion: "0.55", tool: "OPEN_TOFU"}}`: `Terragrunt { useRunAll tool`,
	} {
		r := newRig(t)
		name, _, _ := strings.Cut(fields, " ")
		r.steps(step{
			`mutation { stackCreate(manageState: false, input: {name: "s", branch: "main", repository: "r", administrative: true, vendorConfig: ` + vendor + `}) {
				administrative vendorConfig { __typename } } }`,
			`{"stackCreate":{"administrative":true,"vendorConfig":{"__typename":"StackConfigVendor` + name + `"}}}`,
		})
		if a := r.graphql(`{ stack(id: "s") { vendorConfig { ... on StackConfigVendor`+fields+` } } } }`, nil, nil); len(a.Errors) > 0 || strings.Contains(string(a.Data), `{}`) {
			t.Errorf("%s: %s %v", name, a.Data, a.Errors)
		}
	}
}

func TestFragmentsAreRecordedByTheirFields(t *testing.T) {
	r := newRig(t)
	r.graphql(`query Both($id: ID! = "net") { ...A ... on Query { viewer { id } } } fragment A on Query { stack(id: $id) { id } }`, nil, nil)
	got := r.Requests()[1]
	if diff := cmp.Diff([]string{"stack", "viewer"}, got.Fields); diff != "" || got.Operation != "Both" || got.Arguments["id"] != "net" {
		t.Errorf("recorded %+v (-want +got)\n%s", got, diff)
	}
	// Fragments that include each other are refused, not followed for ever.
	if a := r.graphql(`{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }`, nil, nil); len(a.Errors) == 0 {
		t.Errorf("taken: %s", a.Data)
	}
}
