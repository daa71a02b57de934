package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/simulator"
)

// mounted makes gantry.yaml a link into a folder of which each version is another, as
// Kubernetes mounts a ConfigMap.
func (w *world) mounted() {
	w.must(os.Mkdir(filepath.Join(w.dir, "v1"), 0o700))
	w.must(os.Symlink("v1", filepath.Join(w.dir, "data")))
	w.must(os.Symlink("data/gantry.yaml", filepath.Join(w.dir, "gantry.yaml")))
}

// edit returns the configuration file with replaced text.
func (w *world) edit(pairs ...string) []byte {
	w.t.Helper()
	before, err := os.ReadFile(filepath.Join(w.dir, "gantry.yaml"))
	w.must(err)
	after := strings.NewReplacer(pairs...).Replace(string(before))
	if after == string(before) {
		w.t.Fatalf("there is nothing to replace by %q in\n%s", pairs, before)
	}
	return []byte(after)
}

// swap replaces the mounted file.
func (w *world) swap(version string, content []byte) {
	w.t.Helper()
	w.must(os.Mkdir(filepath.Join(w.dir, version), 0o700))
	w.must(os.WriteFile(filepath.Join(w.dir, version, "gantry.yaml"), content, 0o600))
	w.must(os.Symlink(version, filepath.Join(w.dir, "next")))
	w.must(os.Rename(filepath.Join(w.dir, "next"), filepath.Join(w.dir, "data")))
}

// answers waits until a token gets a status.
func (w *world) answers(token string, status int) {
	w.t.Helper()
	c := w.bearer(token)
	w.eventually(fmt.Sprintf("the token %s gets %d", token, status), func(ctx context.Context) error {
		r, err := c.GetCallerWithResponse(ctx)
		if err == nil && r.StatusCode() != status {
			err = fmt.Errorf("%d %s", r.StatusCode(), r.Body)
		}
		return err
	})
}

// found waits until the account has a finding with a text, or none if it is empty.
func (w *world) found(text string) {
	w.t.Helper()
	w.eventually("the finding is "+text, func(ctx context.Context) error {
		r, err := w.client.ListAccountsWithResponse(ctx)
		if err != nil || r.JSON200 == nil {
			return errors.Join(err, errors.New("no accounts"))
		}
		all := r.JSON200.Accounts[0].Findings
		i := slices.IndexFunc(all, func(f api.Finding) bool { return f.Kind == "configuration-not-in-effect" })
		if i < 0 != (text == "") || i >= 0 && !strings.Contains(all[i].Summary, text) {
			return fmt.Errorf("the findings are %+v", all)
		}
		return nil
	})
}

// A running Gantry takes a changed file, mounted as Kubernetes does, and a signal; a run
// that waits gets the new rules. A wrong file changes nothing and is an alarm; settings
// that need a restart are named.
func TestConfigurationReloads(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Stack{ID: "network-prod", Labels: []string{"gantry:managed", "gantry:confirm=manual"}})
	w.mounted()
	p := w.serveWith(withToken + "  - {name: bob, role: approver, hash: " + authority.TokenHash("gantry_bob") + "}\n" +
		"profiles:\n  - {name: strict, approvals: 2}\nrules:\n  - {name: two, profile: strict, locked: true}\nreconcile: {interval: 1s}\n")
	w.answers("gantry_new", http.StatusUnauthorized)
	run := w.push("network-prod", 1)
	w.phase("network-prod", run, api.PhaseWaiting)

	// A new token, and rules under which one approval is enough.
	w.swap("v2", w.edit("name: bob,", "name: bobby,", "approvals: 2", "approvals: 1", "tokens:\n", "tokens:\n  - {name: new, role: viewer, hash: "+authority.TokenHash("gantry_new")+"}\n"))
	w.answers("gantry_new", http.StatusOK)
	w.eventually("the run waits for one approval", func(ctx context.Context) error {
		r, err := w.run(ctx, "network-prod", run)
		if err == nil && (r.Approvals == nil || r.Approvals.Needed != 1) {
			err = fmt.Errorf("its approvals are %+v", r.Approvals)
		}
		return err
	})
	bob := &person{"bobby", w.bearer("gantry_bob")}
	w.counts(bob, "network-prod", run, api.VerdictApprove)
	w.phase("network-prod", run, api.PhaseDone)

	// A wrong file: nothing of it counts.
	right, err := os.ReadFile(filepath.Join(w.dir, "gantry.yaml"))
	w.must(err)
	w.swap("v3", w.edit("role: viewer", "role: king", "name: new", "name: newer"))
	w.found(`there is no role "king"`)
	w.answers("gantry_new", http.StatusOK)
	if _, text := w.fetch(w.ops() + "/metrics"); !strings.Contains(text, "gantry_configuration_in_effect 0") || !strings.Contains(text, `gantry_guardian_findings{account="acme",kind="configuration-not-in-effect"} 1`) {
		t.Errorf("the metrics don't show it:\n%s", text)
	}
	if out, code := w.gantry("doctor"); code == 0 || !strings.Contains(out, `there is no role "king"`) {
		t.Errorf("doctor says %d:\n%s", code, out)
	}

	// The signal reads the file immediately. The format of the log needs a restart.
	w.swap("v4", []byte(strings.Replace(strings.Replace(string(right), "name: new,", "name: new, expires: 2020-01-01,", 1), "log: {format: text}", "log: {format: json}", 1)))
	w.must(p.Cmd.Process.Signal(syscall.SIGHUP))
	w.answers("gantry_new", http.StatusUnauthorized)
	w.found("need a restart: log.format")
	w.must(os.WriteFile(filepath.Join(w.dir, "gantry.yaml"), w.edit("log: {format: json}", "log: {format: text}"), 0o600))
	w.found("")

	audit, err := w.client.ListAuditWithResponse(t.Context(), &api.ListAuditParams{Action: new("reload")})
	w.must(err)
	var changes []string
	for _, e := range audit.JSON200.Entries {
		changes = append(changes, fmt.Sprint(*e.On, " ", deref(e.Before), " ", deref(e.After)))
	}
	for _, want := range []string{"profiles[strict].approvals 2 1", "tokens[new].role  viewer", "tokens[bob].role approver ", "tokens[new].expires  2020-01-01"} {
		if !slices.Contains(changes, want) {
			t.Errorf("the audit log lacks %q: %q", want, changes)
		}
	}
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
