package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The product links neither the embedded Temporal server nor the simulator.
func TestProductIsLean(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "../cmd/gantry").Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := strings.Fields(string(out))
	if len(deps) < 100 {
		t.Fatalf("only %d dependencies: the list is not what it should be", len(deps))
	}
	for _, dep := range deps {
		for _, heavy := range []string{
			"go.temporal.io/server", "github.com/temporalio/ui-server", "github.com/gantryhq/gantry/temporalserver",
			"github.com/gantryhq/gantry/simulator", "github.com/open-policy-agent/opa",
		} {
			if dep == heavy || strings.HasPrefix(dep, heavy+"/") {
				t.Errorf("cmd/gantry links %s", dep)
			}
		}
	}
}

// Without a webhook secret anyone could sign: Gantry refuses to start, with the
// reason and the remedy.
func TestServeRefusesToStart(t *testing.T) {
	dir := t.TempDir()
	config := func(content string) string {
		file := filepath.Join(dir, "gantry.yaml")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	account := "accounts:\n  - name: acme\n    endpoint: http://127.0.0.1:1\n    apiKeyId: k\n    apiKeySecret: s\n"
	for name, tt := range map[string]struct {
		config string
		env    []string
		says   string
	}{
		"no account":           {"data: " + dir, nil, "GANTRY_ACCOUNT"},
		"no webhook secret":    {account, nil, "webhook secret is missing"},
		"empty webhook secret": {account + "    webhookSecrets: ['']\n", nil, "webhook secret is missing"},
		"secret file missing":  {account + "    webhookSecretFiles: [" + dir + "/nowhere]\n", nil, "nowhere"},
		"misspelt setting":     {account + "    webhookSecret: x\n", nil, "webhookSecret"},
		"misspelt variable":    {"", []string{"GANTRY_LISSEN=:1"}, "GANTRY_LISSEN"},
		"not a number":         {"inbox: {concurrency: many}\n", nil, "concurrency"},
		"secret, no account":   {"", []string{"GANTRY_WEBHOOK_SECRET=x"}, "GANTRY_ACCOUNT"},
		"endpoint is no URL":   {strings.Replace(account, "http://127.0.0.1:1", "acme", 1) + "    webhookSecrets: [x]\n", nil, "endpoint"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), gantryBinary, "serve", "--config", config(tt.config), "--data", filepath.Join(dir, "inbox"), "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0")
			cmd.Env = append([]string{"HOME=" + dir}, tt.env...)
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), tt.says) {
				t.Errorf("err %v, said %q; want a refusal that names %q", err, out, tt.says)
			}
		})
	}
}

// A token is shown once; the configuration holds its hash only.
func TestTokenCreate(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), gantryBinary, "token", "create", "ci", "--role", "viewer").Output()
	if err != nil {
		t.Fatal(err)
	}
	token, after, ok := strings.Cut(strings.TrimPrefix(string(out), "token: "), "\n")
	if !ok || !strings.HasPrefix(token, "gantry_") || strings.Contains(after, token) || !strings.Contains(after, "hash: ") {
		t.Fatalf("printed %s", out)
	}

	w := newWorld(t)
	hash := after[strings.Index(after, "hash: ")+len("hash: "):]
	w.serveWith("tokens:\n  - {name: ci, role: viewer, hash: " + strings.TrimSpace(hash) + "}\n")
	w.connect(token)
	if r, err := w.client.ListRunsWithResponse(t.Context(), nil); err != nil || r.StatusCode() != 200 {
		t.Errorf("the token is not accepted: %v %s", err, r.Body)
	}
	w.connect("gantry_wrong")
	if r, err := w.client.ListRunsWithResponse(t.Context(), nil); err != nil || r.StatusCode() != 401 {
		t.Errorf("a wrong token: %v %s", err, r.Body)
	}
	if r, err := exec.CommandContext(t.Context(), gantryBinary, "token", "create", "x", "--role", "king").CombinedOutput(); err == nil {
		t.Errorf("a role that does not exist was taken: %s", r)
	}
}

// A pipe without a writer keeps a command where no context reaches it.
func TestASecondInterruptEndsAnything(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "gantry.yaml")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), gantryBinary, "lint", "--config", pipe)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	again := time.NewTicker(100 * time.Millisecond) // the program may not listen yet, and one signal is not enough
	defer again.Stop()
	for deadline := time.After(patience); ; {
		select {
		case <-again.C:
			_ = cmd.Process.Signal(syscall.SIGINT)
		case <-ended:
			return
		case <-deadline:
			t.Fatal("interrupts don't end it")
		}
	}
}
