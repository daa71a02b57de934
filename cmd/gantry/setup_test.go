package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gantryhq/gantry/deploy"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/spacelift/simulator"
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
func TestLabelsDecideWhatGantryHearsOf(t *testing.T) {
	r := newRig(t)
	r.withHeader()
	r.setUp()
	r.ok(r.spacelift.AddStack(simulator.Stack{ID: "network", Labels: []string{"gantry:managed"}}))
	r.ok(r.spacelift.AddStack(simulator.Stack{ID: "sandbox", Labels: []string{"env:dev"}}))

	r.push("network")
	r.push("sandbox")
	heard := r.gantry.heard("network")
	if heard == 0 || r.gantry.heard("sandbox") > 0 {
		t.Errorf("heard %d times of network, %d times of sandbox", heard, r.gantry.heard("sandbox"))
	}
	r.ok(r.spacelift.SetLabels("network"))
	r.push("network")
	if again := r.gantry.heard("network"); again != heard {
		t.Errorf("heard of network %d times after its label was removed", again-heard)
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

func TestSetupCheckTellsByItsExitCode(t *testing.T) {
	r := newRig(t)
	if out, code := r.run("setup", "--url", r.gantry.url, "--check"); code != exitDrift || !strings.Contains(out, "differs from what is wanted in 2 places") {
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

func TestSetupSaysWhatIsMissing(t *testing.T) {
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
		{name: "which account", args: []string{"--url", r.gantry.url, "--config", several}, want: "say which with --account, one of other, acme"},
		{name: "an account nobody configured", args: []string{"--url", r.gantry.url, "--account", "amce"}, want: "account amce is not configured; there are acme"},
		{name: "rights", role: simulator.Writer, args: []string{"--url", r.gantry.url, "--yes"}, want: "takes an API key with the space admin role in space root"},
		{name: "no configuration", env: map[string]string{"GANTRY_WEBHOOK_SECRET": "", "GANTRY_ACCOUNT": ""}, args: []string{"--url", r.gantry.url}, want: "accounts: none is configured"},
		{
			name: "which secret is current", env: map[string]string{"GANTRY_PREVIOUS_WEBHOOK_SECRET_FILE": fromFile},
			args: []string{"--url", r.gantry.url}, want: "which leaves open which one is current",
		},
		{name: "both modes", args: []string{"--url", r.gantry.url, "--yes", "--check"}, want: "none of the others can be"},
		{name: "an unknown format", args: []string{"--url", r.gantry.url, "-o", "yaml"}, want: `"yaml" is neither table nor json`},
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
	if r.gantry.heard("network") == 0 {
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
