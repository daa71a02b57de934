package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/doctor"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// newHealthyRig is an installation that nothing is wrong with.
func newHealthyRig(t *testing.T) (*rig, *temporal) {
	t.Helper()
	r := newRig(t)
	r.withHeader()
	r.setUp("--enforce")
	r.gantry.log("accepted", "", time.Now().Add(-time.Minute))
	t.Setenv("GANTRY_TOKEN", testToken)
	r.ok(r.spacelift.AddStack(simulator.Stack{ID: "network", Labels: []string{"env:prod", "gantry:managed", "gantry:confirm=auto"}}))
	r.ok(r.spacelift.AddStack(simulator.Stack{ID: "sandbox", Labels: []string{"env:dev"}}))
	return r, newTemporal(t)
}

func TestDoctorFindsNothingWrong(t *testing.T) {
	r, _ := newHealthyRig(t)
	found, report, code := r.doctor("--url", r.gantry.url)
	if code != 0 || report.Verdict != doctor.OK || len(report.LeftOut) > 0 {
		t.Errorf("exit code %d, %s, left out %v", code, report.Verdict, report.LeftOut)
	}
	for _, id := range checkIDs() {
		f, there := found[id]
		if !there || f.Verdict != doctor.OK || f.Text == "" || f.Fix != "" {
			t.Errorf("%s: %+v", id, f)
		}
	}
	if entries, err := os.ReadDir(filepath.Dir(r.data)); err != nil || len(entries) > 0 {
		t.Errorf("it left %v behind (%v)", entries, err)
	}

	out, code := r.run("doctor", "--url", r.gantry.url)
	if code != 0 || !regexp.MustCompile(`webhook-enabled +acme +ok +it is on`).MatchString(out) {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

func TestDoctorChangesNothing(t *testing.T) {
	r, _ := newHealthyRig(t)
	r.changeWebhook(func(in *spacelift.NamedWebhookInput) { in.Enabled = false })
	before := len(r.spacelift.Requests())
	r.doctor("--url", r.gantry.url)
	harmless := []string{"apiKeyUser", "policySimulatev2"}
	for _, q := range r.spacelift.Requests()[before:] {
		if q.Kind == "mutation" && !slices.Contains(harmless, q.Fields[0]) {
			t.Errorf("it sent the mutation %v", q.Fields)
		}
	}
	if r.gantry.received("network") > 0 {
		t.Error("its test notification is taken for an event")
	}
}

// A check that can't be made is listed, and isn't called ok.
func TestDoctorListsLeftOutChecks(t *testing.T) {
	r, _ := newHealthyRig(t)
	r.spacelift.RemoveAPIKey(os.Getenv("SPACELIFT_API_KEY_ID"))
	t.Setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
	found, report, code := r.doctor()
	if code != 1 {
		t.Errorf("exit code %d", code)
	}
	for _, id := range checkIDs() {
		_, checked := found[id]
		if left := slices.Contains(report.LeftOut, id) || slices.Contains(report.LeftOut, id+" of acme"); left == checked {
			t.Errorf("%s: found %t, left out %t", id, checked, left)
		}
	}
	out, _ := r.run("doctor")
	if !strings.Contains(out, "left out: temporal-namespace, ") || !strings.Contains(out, "gantry: 2 of ") {
		t.Error(out)
	}
}

// Without an address nothing is compared with it, and nothing that could not be
// checked is called fine.
func TestDoctorWithoutAnAddress(t *testing.T) {
	r, _ := newHealthyRig(t)
	found, report, code := r.doctor()
	for _, id := range []string{"webhook-address", "webhook-header"} {
		if f := found[id]; f.Verdict != doctor.Unknown || !strings.Contains(f.Text, "could not be checked") || !strings.Contains(f.Fix+f.Text, "--url") {
			t.Errorf("%s: %+v", id, f)
		}
	}
	if code != 0 || report.Verdict != doctor.Unknown {
		t.Errorf("exit code %d, %s", code, report.Verdict)
	}
}

// The address may be written in any way: it is asked as Gantry answers.
func TestDoctorTakesTheAddressAsGantryAnswers(t *testing.T) {
	r, _ := newHealthyRig(t)
	if found, report, code := r.doctor("--url", r.gantry.url+"/"); code != 0 || report.Verdict != doctor.OK {
		t.Errorf("exit code %d, %s: %+v", code, report.Verdict, found)
	}
	found, _, _ := r.doctor("--url", strings.TrimSuffix(r.gantry.url, "/webhook"))
	if f := found["gantry-signature"]; f.Verdict != doctor.Fail || f.Fix != "give --url "+r.gantry.url+": Gantry answers there" {
		t.Errorf("%+v", f)
	}
}

// Files that are not there keep serve from starting, and doctor says so before.
func TestDoctorReadsEverySecretThatServeReads(t *testing.T) {
	for name, file := range map[string]string{
		"a channel's address":         `channels: [{name: c, kind: slack, urlFile: /nowhere/slack}]`,
		"a channel's secret":          `channels: [{name: c, kind: webhook, url: "https://hooks.example.com/x", secretFile: /nowhere/secret}]`,
		"the value of a header":       `accounts: [{name: other, endpoint: "https://other", apiKeyId: k, apiKeySecret: s, webhookSecrets: [w], secretHeader: X, secretHeaderFile: /nowhere/header}]`,
		"a webhook's previous secret": `accounts: [{name: other, endpoint: "https://other", apiKeyId: k, apiKeySecret: s, webhookSecretFiles: [/nowhere/webhook]}]`,
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			t.Setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
			r.configure(file + "\n")
			served, code := r.run("serve", "--listen", "127.0.0.1:0")
			if code != 1 || !strings.Contains(served, "/nowhere/") {
				t.Fatalf("serve ends with %d: %s", code, served)
			}
			found, _, _ := r.doctor()
			if f := found["configuration"]; f.Verdict != doctor.Fail || !strings.Contains(strings.Join(f.Details, "\n"), "/nowhere/") {
				t.Errorf("%+v", f)
			}
		})
	}
}

func TestDoctorChecksEveryAccount(t *testing.T) {
	r, _ := newHealthyRig(t)
	file := filepath.Join(t.TempDir(), "gantry.yaml")
	r.ok(os.WriteFile(file, []byte(`accounts:
  - {name: other, endpoint: "http://127.0.0.1:1", apiKeyId: 01K, apiKeySecret: s, webhookSecrets: [w]}
`), 0o600))
	_, report, code := r.doctor("--config", file)
	verdicts := map[string]doctor.Verdict{}
	for _, f := range report.Findings {
		if f.Check == "spacelift-key" {
			verdicts[f.Account] = f.Verdict
		}
	}
	if diff := cmp.Diff(map[string]doctor.Verdict{"acme": doctor.OK, "other": doctor.Fail}, verdicts); diff != "" || code != 1 {
		t.Errorf("exit code %d %s", code, diff)
	}
	if _, _, code := r.doctor("--config", file, "--account", "acme"); code != 0 {
		t.Errorf("acme alone: exit code %d", code)
	}
}

// checkIDs lists the checks in the order they run.
func checkIDs() []string {
	var ids []string
	for _, c := range doctor.Checks() {
		ids = append(ids, c.ID)
	}
	return ids
}

func TestDoctorReferenceListsTheChecks(t *testing.T) {
	doc, err := os.ReadFile("../../docs/reference/doctor.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented [][]string
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| (.+?) \\|").FindAllStringSubmatch(string(doc), -1) {
		documented = append(documented, row[1:])
	}
	var asked [][]string
	for _, c := range doctor.Checks() {
		asked = append(asked, []string{c.ID, c.Question})
	}
	if diff := cmp.Diff(asked, documented); diff != "" {
		t.Errorf("(-checks +docs/reference/doctor.md)\n%s", diff)
	}
}

// doctor and setup read the certificate of the configuration.
func TestDoctorAndSetupKnowTheCertificate(t *testing.T) {
	r := newRig(t)
	r.speaksTLS()
	if out, _ := r.run("doctor", "--url", r.gantry.url); !strings.Contains(out, "gantry-certificate") || !strings.Contains(out, "the listener speaks TLS (tls.certFile), but --url is http") {
		t.Errorf("doctor says\n%s", out)
	}
	if out, _ := r.run("setup", "--url", r.gantry.url); !strings.Contains(out, "note: the listener speaks TLS (tls.certFile), but --url is http: give --url with https") {
		t.Errorf("setup says\n%s", out)
	}
}
