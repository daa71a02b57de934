package simulator_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// A set-up is everything a story needs: a run reaches the webhook, signed.
func TestSetUp(t *testing.T) {
	r := newRig(t)
	r.ok(r.SetUp(strings.NewReader(strings.ReplaceAll(`{
		"spaces": [{"id": "team", "inheritEntities": true}],
		"workerPools": [{"id": "pool"}],
		"apiKeys": [{"id": "01CI", "secret": "ci", "role": "reader"}],
		"webhooks": [{"id": "ci", "endpoint": "URL", "secret": "hush", "headers": {"X-Team": "core"}}],
		"policies": [{"id": "ci", "engine": "REGO_V1", "body": "package spacelift\nwebhook contains {\"endpoint_id\": \"ci\"}"}],
		"stacks": [
			{"id": "net", "space": "team", "workerPool": "pool", "autodeploy": true, "plan": {"delta": {"added": 1}}},
			{"id": "app", "autodeploy": true}
		],
		"stackWebhooks": [{"stack": "app", "endpoint": "URL/own", "secret": "own"}],
		"dependencies": [{"stack": "app", "dependsOn": "net"}],
		"contexts": [{"id": "aws", "space": "root", "config": [{"id": "AWS_REGION", "value": "eu-1"}]}],
		"contextAttachments": [{"stack": "app", "context": "aws", "priority": 2}]
	}`, "URL", r.hook.url))))
	if r.exchange("01CI", "ci") == "" {
		t.Error("the key lets nobody in")
	}
	_, err := r.Trigger("jane", simulator.Trigger{Stack: "net"})
	r.ok(err)
	r.settle()
	apps, err := r.Runs("app")
	r.ok(err)
	if len(apps) != 1 || apps[0].State != spacelift.RunStateFinished {
		t.Errorf("the dependent's runs: %+v", apps)
	}
	if got := r.ask(`{ stack(id: "app") { attachedContexts { contextId priority config { id value } } } }`, nil); got !=
		`{"stack":{"attachedContexts":[{"contextId":"aws","priority":2,"config":[{"id":"AWS_REGION","value":"eu-1"}]}]}}` {
		t.Errorf("attached: %s", got)
	}
	signed := map[string]int{}
	for _, got := range r.hook.all() {
		for _, secret := range []string{"hush", "own"} {
			if spacelift.VerifySignature([]byte(secret), []byte(got.Body), got.Header.Get("X-Signature-256")) == nil {
				signed[secret+" "+got.Header.Get("X-Team")]++
			}
		}
	}
	if diff := cmp.Diff(map[string]int{"hush core": 13, "own ": 6}, signed); diff != "" {
		t.Errorf("deliveries by secret and team (-want +got)\n%s", diff)
	}
}

func TestSetUpSaysWhatIsWrong(t *testing.T) {
	for body, want := range map[string]string{
		``:                                       "read set-up: EOF",
		`[]`:                                     "read set-up: json: cannot unmarshal array into Go value of type simulator.setup",
		`{"stakcs": []}`:                         `read set-up: json: unknown field "stakcs"`,
		`{} {}`:                                  "read set-up: something follows the JSON object",
		`{"stacks": [{}]}`:                       "stacks[0]: a stack needs a name",
		`{"stacks": [{"id": "a"}, {"id": "a"}]}`: "stacks[1]: stack a exists",
		`{"stacks": [{"id": "a", "space": "x"}]}`:                  "stacks[0]: space x: not found",
		`{"webhooks": [{"endpoint": "http://x"}]}`:                 "webhooks[0]: a named webhook needs a name",
		`{"policies": [{"id": "p", "body": "packag"}]}`:            "policies[0]: policy p: ",
		`{"dependencies": [{"stack": "a", "dependsOn": "b"}]}`:     "dependencies[0]: stack a: not found",
		`{"contexts": [{"id": "c", "config": [{"value": "v"}]}]}`:  "contexts[0]: context c: an element needs an id and the type ENVIRONMENT_VARIABLE or FILE_MOUNT",
		`{"contextAttachments": [{"stack": "a", "context": "c"}]}`: "contextAttachments[0]: context c: not found",
	} {
		r := newRig(t)
		if err := r.SetUp(strings.NewReader(body)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: error %v, want %s", body, err, want)
		}
	}
}
