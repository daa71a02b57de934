package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/deploy"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

func TestSetupOfAnEmptyAccount(t *testing.T) {
	r := newRig(t)
	r.withHeader()

	out, code := r.run("setup", "--url", r.gantry.url)
	if code != 0 || !strings.Contains(out, "Nothing was changed. Add --yes") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	if n := len(r.spacelift.NamedWebhooks()); n != 0 {
		t.Fatalf("without --yes it made %d webhooks", n)
	}

	out, code = r.run("setup", "--url", r.gantry.url, "--yes")
	for _, want := range []string{"done: created webhook gantry", "done: set secret header X-Gantry-Token", "done: created policy gantry", "Label stacks gantry:managed"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("exit code %d, want %q in\n%s", code, want, out)
		}
	}

	out, code = r.run("setup", "--url", r.gantry.url, "--yes")
	if code != 0 || !strings.Contains(out, "nothing to do") || strings.Contains(out, "done:") {
		t.Errorf("the second run: exit code %d\n%s", code, out)
	}
}

// From an empty account to managed stacks, and back.
func TestLabelsSelectNotifications(t *testing.T) {
	r := newRig(t)
	r.withHeader()
	r.setUp()
	r.ok(r.spacelift.AddStack(simulator.Stack{ID: "network", Labels: []string{"gantry:managed"}}))
	r.ok(r.spacelift.AddStack(simulator.Stack{ID: "sandbox", Labels: []string{"env:dev"}}))

	r.push("network")
	r.push("sandbox")
	received := r.gantry.received("network")
	if received == 0 || r.gantry.received("sandbox") > 0 {
		t.Errorf("received %d notifications of network, %d of sandbox", received, r.gantry.received("sandbox"))
	}
	r.ok(r.spacelift.SetLabels("network"))
	r.push("network")
	if again := r.gantry.received("network"); again != received {
		t.Errorf("received %d notifications of network after its label was removed", again-received)
	}
}

func TestSetupOfASecondGantrySharesThePolicy(t *testing.T) {
	r := newRig(t)
	r.setUp()
	out, code := r.run("setup", "--url", "https://staging.example.com/webhook", "--webhook-name", "gantry-staging", "--yes")
	if code != 0 || !strings.Contains(out, "done: created webhook gantry-staging") || strings.Contains(out, "policy gantry") || strings.Contains(out, "twice") {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

func TestSetupCheckExitCodes(t *testing.T) {
	r := newRig(t)
	if out, code := r.run("setup", "--url", r.gantry.url, "--check"); code != exitDrift || !strings.Contains(out, "differs from what Gantry needs in 2 places") {
		t.Errorf("an empty account: exit code %d\n%s", code, out)
	}
	r.setUp()
	if out, code := r.run("setup", "--url", r.gantry.url, "--check"); code != 0 {
		t.Errorf("as it should be: exit code %d\n%s", code, out)
	}

	r.changeWebhook(func(in *spacelift.NamedWebhookInput) { in.RetryOnFailure = false })
	out, code := r.run("setup", "--url", r.gantry.url, "--check")
	if code != exitDrift || !strings.Contains(out, "~ webhook gantry, retryOnFailure: off → on") {
		t.Errorf("with drift: exit code %d\n%s", code, out)
	}
	if r.spacelift.NamedWebhooks()[0].RetryOnFailure {
		t.Error("--check changed something")
	}
	if n := len(r.spacelift.Mutations("namedWebhooksIntegrationUpdate")); n != 1 {
		t.Errorf("%d updates of the webhook, want the drift alone", n)
	}

	r.as(simulator.Reader)
	if out, code := r.run("setup", "--url", r.gantry.url, "--check"); code != exitDrift {
		t.Errorf("a reader's key is enough to check: exit code %d\n%s", code, out)
	}
	r.spacelift.RemoveAPIKey(os.Getenv("SPACELIFT_API_KEY_ID"))
	if out, code := r.run("setup", "--url", r.gantry.url, "--check"); code != 1 {
		t.Errorf("an error is no drift: exit code %d\n%s", code, out)
	}
}

// What could not be checked is neither fine nor drift.
func TestSetupReportsUncheckedThings(t *testing.T) {
	r := newRig(t)
	r.setUp()
	check := func(want int, says string, args ...string) {
		t.Helper()
		out, code := r.run(append([]string{"setup", "--url", r.gantry.url, "--check"}, args...)...)
		if code != want || !strings.Contains(out, says) {
			t.Errorf("exit code %d, want %d and %q in\n%s", code, want, says, out)
		}
	}
	check(0, "nothing to do")

	// Another tool's update leaves the secret empty.
	r.ok(r.spacelift.SetWebhookSecret("gantry", ""))
	check(exitUnchecked, "gantry setup --send-secrets --yes sends it again")
	check(exitDrift, "secret: not shown → the first one configured", "--send-secrets")

	// Gantry has seen what that does.
	r.gantry.finds("secret-mismatch", "this replica refused 5 signatures")
	check(exitUnchecked, "gantry setup --send-secrets --yes sends it again") // it says so only to those with a token
	t.Setenv("GANTRY_TOKEN", testToken)
	check(exitDrift, "secret: another one → the first one configured")
	t.Setenv("GANTRY_TOKEN", "")
	r.gantry.findings = nil
	if out, code := r.run("setup", "--url", r.gantry.url, "--send-secrets", "--yes"); code != 0 || !strings.Contains(out, "done: updated webhook gantry") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	check(0, "nothing to do")

	// The value of a secret header is known by what Gantry took.
	r.withHeader()
	r.setUp()
	check(exitUnchecked, "the value of secret header X-Gantry-Token can't be compared")
	t.Setenv("GANTRY_TOKEN", testToken)
	check(exitUnchecked, "the value of secret header X-Gantry-Token can't be compared")
	r.gantry.log("accepted", "", time.Now())
	check(0, "nothing to do")
	r.gantry.log("refused", "secret-header-mismatch", time.Now())
	check(exitUnchecked, "the value of secret header X-Gantry-Token can't be compared")
}

func TestSetupWarnsOfOtherPolicies(t *testing.T) {
	r := newRig(t)
	r.setUp()
	r.ok(r.spacelift.AddPolicy(simulator.Policy{ID: "everything", Body: everything}))
	out, code := r.run("setup", "--url", r.gantry.url, "--check")
	if code != 0 || !strings.Contains(out, "note: policy everything routes runs of managed stacks to webhook gantry too") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	r.ok(r.spacelift.AddPolicy(simulator.Policy{ID: "puts", Engine: simulator.RegoV1, Body: "package spacelift\n\nwebhook contains {\"endpoint_id\": \"gantry\", \"method\": \"PUT\"} if input.internal_error\n"}))
	out, code = r.run("setup", "--url", r.gantry.url, "--check")
	if code != exitDrift || !strings.Contains(out, "note: policy puts calls webhook gantry by PUT") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	r.as(simulator.Reader) // who may not simulate
	if out, code = r.run("setup", "--url", r.gantry.url, "--check"); code != exitUnchecked || !strings.Contains(out, "policies everything, puts") {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

// Nothing is written for an address at which Gantry doesn't answer, and none is
// offered.
func TestSetupWritesAddressesThatAnswer(t *testing.T) {
	r := newRig(t)
	root := strings.TrimSuffix(r.gantry.url, "/webhook")
	for _, tt := range []struct {
		name, url string
		code      int
		says      []string
	}{
		{"another path", root + "/hooks", 1, []string{"is not Gantry's webhook", "404", "give the address of the webhook"}},
		{"no path", root, 1, []string{"is not Gantry's webhook", "Gantry answers at " + r.gantry.url}},
		{"not to be reached from here", "http://127.0.0.1:1/webhook", 0, []string{"note: whether Gantry answers at http://127.0.0.1:1/webhook could not be checked from here", "connection refused"}},
		{"another Gantry's secret", r.gantry.url, 0, []string{"note: Gantry at " + r.gantry.url + " has another configuration: Gantry refuses a signed notification as signature-mismatch"}},
		{"a slash too many", r.gantry.url + "/", 0, []string{"note: the address is used as " + r.gantry.url + "\n", "+ webhook gantry: " + r.gantry.url + " in space root"}},
		{"in another spelling", strings.Replace(r.gantry.url, "http://", "HTTP://", 1), 0, []string{"+ webhook gantry: " + r.gantry.url + " in space root"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.name == "another Gantry's secret" {
				t.Setenv("GANTRY_WEBHOOK_SECRET", "another")
			}
			out, code := r.run("setup", "--url", tt.url)
			for _, part := range tt.says {
				if code != tt.code || !strings.Contains(out, part) {
					t.Errorf("exit code %d, want %d and %q in\n%s", code, tt.code, part, out)
				}
			}
			if strings.Contains(out, "doesn't end in /webhook") {
				t.Errorf("it finds fault with the address that it uses:\n%s", out)
			}
			if tt.code == 0 {
				return
			}
			if out, code := r.run("setup", "--url", tt.url, "--yes"); code != 1 || len(r.spacelift.NamedWebhooks()) > 0 {
				t.Errorf("with --yes: exit code %d, %d webhooks\n%s", code, len(r.spacelift.NamedWebhooks()), out)
			}
		})
	}
	if out, code := r.run("setup", "--url", r.gantry.url+"/", "--yes"); code != 0 || r.spacelift.NamedWebhooks()[0].Endpoint != r.gantry.url {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

func TestSetupPrintsJSON(t *testing.T) {
	r := newRig(t)
	r.withHeader()
	out, code := r.run("setup", "--url", r.gantry.url, "--yes", "-o", "json")
	var report struct {
		Account string
		Changes []deploy.Change
		Notes   []deploy.Note
		Applied []string
	}
	r.ok(json.Unmarshal([]byte(out), &report))
	if code != 0 || report.Account != "acme" || len(report.Changes) != 3 || len(report.Applied) != 3 {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

func TestSetupNamesMissingSettings(t *testing.T) {
	r := newRig(t)
	fromFile := filepath.Join(t.TempDir(), "secret")
	r.ok(os.WriteFile(fromFile, []byte("older\n"), 0o600))
	several := filepath.Join(t.TempDir(), "gantry.yaml")
	r.ok(os.WriteFile(several, []byte(`accounts:
  - {name: other, endpoint: "https://other.app.spacelift.io", apiKeyId: 01K, apiKeySecret: s, webhookSecrets: [w]}
`), 0o600))
	for _, tt := range []struct {
		name string
		env  map[string]string
		role simulator.Role
		args []string
		want string
	}{
		{name: "no address", want: "--url is missing"},
		{name: "half an address", args: []string{"--url", "gantry.example.com"}, want: "is not an address such as"},
		{name: "a password in the address", args: []string{"--url", "https://me:pw@gantry.example.com/webhook"}, want: "give scheme, host and path alone"},
		{name: "which account", args: []string{"--url", r.gantry.url, "--config", several}, want: "choose one with --account: other, acme"},
		{name: "an account nobody configured", args: []string{"--url", r.gantry.url, "--account", "amce"}, want: "account amce is not configured; there are acme"},
		{name: "rights", role: simulator.Writer, args: []string{"--url", r.gantry.url, "--yes"}, want: "takes an API key with the space admin role in space root"},
		{name: "no configuration", env: map[string]string{"GANTRY_WEBHOOK_SECRET": "", "GANTRY_ACCOUNT": ""}, args: []string{"--url", r.gantry.url}, want: "accounts: none is configured"},
		{
			name: "which secret is current", env: map[string]string{"GANTRY_PREVIOUS_WEBHOOK_SECRET_FILE": fromFile},
			args: []string{"--url", r.gantry.url}, want: "so it is unclear which one is current",
		},
		{name: "both modes", args: []string{"--url", r.gantry.url, "--yes", "--check"}, want: "give only one of --check and --yes"},
		{name: "an unknown format", args: []string{"--url", r.gantry.url, "-o", "wide"}, want: "choose one of table, json, yaml"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for name, value := range tt.env {
				t.Setenv(name, value)
			}
			if tt.role != "" {
				r.as(tt.role)
				defer r.as(simulator.Admin)
			}
			out, code := r.run(append([]string{"setup"}, tt.args...)...)
			if code != 1 || !strings.Contains(out, tt.want) {
				t.Errorf("exit code %d, want %q in\n%s", code, tt.want, out)
			}
		})
	}
}

func TestSetupSendsTheCurrentSecret(t *testing.T) {
	r := newRig(t)
	t.Setenv("GANTRY_WEBHOOK_SECRET", "the old one")
	r.setUp()
	// A rotation: the new secret first, the old one beside it for a while.
	t.Setenv("GANTRY_WEBHOOK_SECRET", testSecret)
	t.Setenv("GANTRY_PREVIOUS_WEBHOOK_SECRET", "the old one")
	out, code := r.run("setup", "--url", r.gantry.url, "--yes")
	if code != 0 || !strings.Contains(out, "~ webhook gantry, secret: another one →") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	r.ok(r.spacelift.AddStack(simulator.Stack{ID: "network", Labels: []string{"gantry:managed"}}))
	r.push("network")
	if r.gantry.received("network") == 0 {
		t.Error("notifications are not signed with the new secret")
	}
}

func TestOddAddressesAreNoted(t *testing.T) {
	for address, want := range map[string]int{
		"https://gantry.example.com/webhook": 0,
		"https://gantry.example.com/hooks":   1, // path
		"http://gantry.example.com/webhook":  1, // in the clear
		"http://127.0.0.1:8080/":             3, // and private
		"https://10.0.0.7/webhook":           1,
	} {
		odd, err := webhookAddress(address)
		if err != nil || len(odd) != want {
			t.Errorf("%s: %q, %v; want %d notes", address, odd, err, want)
		}
	}
}

func TestSetupEnforces(t *testing.T) {
	r := newRig(t)
	r.setUp()
	out, code := r.run("setup", "--url", r.gantry.url, "--enforce", "--yes")
	for _, want := range []string{"+ policy gantry-approval: an APPROVAL policy in space root", "done: created policy gantry-approval", "done: created policy gantry-plan"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("exit code %d, want %q in\n%s", code, want, out)
		}
	}
	for _, args := range [][]string{{"--enforce", "--yes"}, {"--check"}} {
		if out, code := r.run(append([]string{"setup", "--url", r.gantry.url}, args...)...); code != 0 || !strings.Contains(out, "nothing to do") {
			t.Errorf("%v: exit code %d\n%s", args, code, out)
		}
	}
	r.chdir()
	out, code = r.run("setup", "--url", r.gantry.url, "--no-enforce", "--yes")
	if code != 0 || !strings.Contains(out, "- policy gantry-plan: a policy in space root") || !strings.Contains(out, "done: deleted policy gantry-approval") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	if out, code := r.run("setup", "--url", r.gantry.url, "--check"); code != 0 {
		t.Errorf("after leaving: exit code %d\n%s", code, out)
	}
}

func TestSetupKeepsWhatItReplaces(t *testing.T) {
	const theirs = "package spacelift\n\nwebhook := {}\n"
	r := newRig(t)
	folder := r.chdir()
	r.ok(r.spacelift.AddPolicy(simulator.Policy{Name: "gantry", Body: theirs}))

	out, code := r.run("setup", "--url", r.gantry.url, "--yes")
	if code != 1 || !strings.Contains(out, "-webhook := {}") || !strings.Contains(out, "add --replace") || len(r.spacelift.NamedWebhooks()) > 0 {
		t.Errorf("exit code %d\n%s", code, out)
	}
	out, code = r.run("setup", "--url", r.gantry.url, "--yes", "--replace")
	if code != 0 || !strings.Contains(out, "kept: policy-gantry.old-1.rego") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	old, err := os.ReadFile(filepath.Join(folder, "policy-gantry.old-1.rego"))
	if err != nil || string(old) != theirs {
		t.Errorf("kept %q, %v", old, err)
	}
}
