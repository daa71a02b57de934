package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/doctor"
	"github.com/gantryhq/gantry/simulator"
)

const exampleConfig = "../../docs/reference/gantry.example.yaml"

// lintWith runs gantry lint and returns what it prints, and its error.
func lintWith(t *testing.T, args ...string) (string, error) {
	t.Helper()
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "GANTRY_") {
			t.Setenv(name, "") // put back at the end
			os.Unsetenv(name)
		}
	}
	cmd := newRootCommand()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(append([]string{"lint"}, args...))
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func TestLint(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "gantry.yaml")
	if err := os.WriteFile(broken, []byte("windows: [{name: w, timeZone: Mars}]\nprofiles: [{name: p, approvals: 99, windows: [v]}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	shared := filepath.Join(t.TempDir(), "gantry.yaml") // no accounts: each place has its own
	if err := os.WriteFile(shared, []byte("profiles: [{name: p, approvals: 3}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	unmanned := filepath.Join(t.TempDir(), "gantry.yaml")
	if err := os.WriteFile(unmanned, []byte("profiles: [{name: p, approvals: 2, approvers: platform}]\ntokens: [{name: ann, role: approver, groups: [platform], hash: "+authority.TokenHash("t")+"}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		args   []string
		prints []string // patterns of lines
		fails  []string // parts of the error; none: it ends with 0
	}{
		{name: "the example", args: []string{"--config", exampleConfig}, prints: []string{`.*gantry\.example\.yaml is valid\.`}},
		{name: "without accounts", args: []string{"--config", shared, "--without-accounts"}, prints: []string{`.* is valid\.`}},
		{name: "without accounts, which serve needs", args: []string{"--config", shared}, fails: []string{"accounts: none is configured"}},
		{
			name: "what labels resolve to", args: []string{"--config", exampleConfig, "--labels", "gantry:managed,gantry:profile=production,gantry:approvals=3"},
			prints: []string{
				`SETTING +VALUE +FROM`, `profile +production +gantry:profile=production`, `approvals +3 +gantry:approvals=3`, `approvers +platform +profile production`,
				`limits\.maxDeleted +0 +profile production`, `escalation +after 1h notify deploys; after 8h notify on-call; after 72h discard +profile production`,
				`deadlines\.planning +1h +profile production`, `after +none +default`,
			},
		},
		{
			name: "a label with a comma", args: []string{"--config", exampleConfig, "--labels", `gantry:managed,"depends-on:network,dns"`},
			prints: []string{`after +dns, network +depends-on:network,dns`},
		},
		{
			name: "a stack under a locked rule",
			args: []string{"--config", exampleConfig, "--account", "acme", "--stack", "vpc-prod", "--spaces", "network,production", "--branch", "main", "--labels", "gantry:managed,env:prod,gantry:confirm=auto,gantry:approvals=3"},
			prints: []string{
				`confirm +no-deletes +rule production-floor \(profile production\)`, ` +not auto +gantry:confirm=auto: rule production-floor \(profile production\) locks it, so it can only be tightened`,
				`approvals +3 +gantry:approvals=3`,
			},
		},
		{name: "labels alone", args: []string{"--labels", "gantry:managed,gantry:confirm=auto"}, prints: []string{`confirm +auto +gantry:confirm=auto`}},
		{name: "misspelt", args: []string{"--labels", "gantry-managed"}, prints: []string{`Warning: gantry-managed: Gantry doesn't read it, .*; write gantry:managed, or .*`, `The stack is not managed: .*`}},
		{name: "not managed", args: []string{"--labels", "gantry:confirm=auto"}, prints: []string{`The stack is not managed: it lacks the label gantry:managed\.`}},
		{
			name: "labels that can't be followed", args: []string{"--config", shared, "--without-accounts", "--labels", "gantry:managed,gantry:profile=production,gantry:aprovals=2"},
			prints: []string{`.* is valid\.`},
			fails:  []string{"gantry:aprovals=2: Gantry knows no such label", `gantry:profile=production: there is no profile "production"; name one that is configured under profiles (there are p)`},
		},
		{
			name: "people who are not there", args: []string{"--config", unmanned, "--without-accounts", "--labels", "gantry:managed,gantry:approvers=plattform,gantry:after=nowhere"},
			prints: []string{
				`.* is valid\.`, `warning: profiles\[0\]\.approvers: it takes 2 people of the group "platform" to approve, and 1 have a token that may; .*`,
				`warning: gantry:approvers=plattform: nobody with a token that may approve belongs to the group "plattform", so nobody can approve; name another group \(meant platform\?\), or give tokens this group`,
			},
		},
		{
			name: "mistakes", args: []string{"--config", broken, "--labels", "gantry:managed"},
			fails: []string{
				"accounts: none is configured", broken + `:1:31: windows[0].timeZone: there is no time zone "Mars"`, broken + ":2:33: profiles[0].approvals: 99",
				broken + `:2:37: profiles[0].windows: there is no window "v"`,
			},
		},
		{name: "no such file", args: []string{"--config", "/nowhere.yaml"}, fails: []string{"/nowhere.yaml"}},
		{name: "nothing to check", fails: []string{"give --config, --labels or --account"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out, err := lintWith(t, tt.args...)
			for _, line := range tt.prints {
				if !regexp.MustCompile(`(?m)^` + line + `$`).MatchString(out) {
					t.Errorf("no line is %s:\n%s", line, out)
				}
			}
			for _, part := range tt.fails {
				if err == nil || !strings.Contains(err.Error(), part) {
					t.Errorf("it does not say %q: %v", part, err)
				}
			}
			if want := len(tt.fails) > 0; (err != nil) != want || want && exitCode(err) != 1 {
				t.Errorf("it ends with %d: %v", exitCode(err), err)
			}
		})
	}
}

// A file that is linted in CI is one that Gantry starts with: lint refuses what
// serve refuses, in the same words, and so does doctor.
func TestLintAndDoctorRefuseLikeServe(t *testing.T) {
	hash := authority.TokenHash("gantry_ann")
	for name, file := range map[string]string{
		"a hash that is none":        `tokens: [{name: ann, role: viewer, hash: gantry_ann}]`,
		"a hash that is too short":   `tokens: [{name: ann, role: viewer, hash: "abcd"}]`,
		"no hash":                    `tokens: [{name: ann, role: viewer}]`,
		"a token of nobody":          `tokens: [{role: viewer, hash: ` + hash + `}]`,
		"no such role":               `tokens: [{name: ann, role: king, hash: ` + hash + `}]`,
		"a token twice":              `tokens: [{name: ann, role: viewer, hash: ` + hash + `}, {name: ann, role: admin, hash: ` + hash + `}]`,
		"tokens that differ in case": `tokens: [{name: ann, role: viewer, hash: ` + hash + `}, {name: Ann, role: admin, hash: ` + hash + `}]`,
		"a person without a name":    `people: [{aliases: [jd]}]`,
		"an empty alias":             `people: [{name: jane, aliases: [""]}]`,
		"a person twice":             `people: [{name: jane}, {name: jane}]`,
		"a name of two people":       `people: [{name: jane, aliases: [jd]}, {name: bob, aliases: [JD]}]`,
		"a name that is an alias":    `people: [{name: jane, aliases: [bob]}, {name: Bob}]`,
		"a secret of nothing":        `accounts: [{name: other, endpoint: "https://other", apiKeyId: k, apiKeySecret: null, webhookSecrets: [w]}]`,
		"a number with an exponent":  `inbox: {concurrency: 1e3}`,
		"a duration without a unit":  `inbox: {linger: 5}`,
		"a setting misspelt":         `inbox: {lingger: 5s}`,
		"an endpoint with a query":   `accounts: [{name: other, endpoint: "https://other?x", apiKeyId: k, apiKeySecret: s, webhookSecrets: [w]}]`,
		"several at once":            "inbox: {linger: 5, lingger: 5s}\nrole: king\nprofiles: [{name: p, approvals: 99}]",
		"no YAML":                    `accounts: [`,
		"no task queue":              `temporal: {taskQueue: ""}`,
		"a channel in the clear":     `channels: [{name: c, kind: slack, url: "http://hooks.example.com/x"}]`,
		"a channel on this machine":  `channels: [{name: c, kind: slack, url: "https://127.0.0.1/x"}]`,
		"a Slack address too short":  `channels: [{name: c, kind: slack, url: "https://hooks.slack.com"}]`,
		"a signing secret too short": `channels: [{name: c, kind: webhook, url: "https://hooks.example.com/x", secret: c2hvcnQ=}]`,
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.configure(file + "\n")
			served, code := r.run("serve", "--listen", "127.0.0.1:0")
			if code != 1 {
				t.Fatalf("serve ends with %d: %s", code, served)
			}
			linted, code := r.run("lint")
			if code != 1 || linted != served {
				t.Errorf("lint ends with %d: %s\nserve says: %s", code, linted, served)
			}
			t.Setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
			found, _, _ := r.doctor()
			if f := found["configuration"]; f.Verdict != doctor.Fail {
				t.Errorf("doctor says %+v\nserve says: %s", f, served)
			}
		})
	}
}

// In CI, lint checks the labels of all stacks of an account, and whether Spacelift
// enforces what they promise.
func TestLintAccount(t *testing.T) {
	r := newRig(t)
	r.ok(r.spacelift.AddStack(simulator.Stack{ID: "network", Labels: []string{"gantry:managed", "gantry:approvals=2"}}))
	if out, code := r.run("setup", "--url", r.gantry.url, "--enforce", "--yes"); code != 0 {
		t.Fatalf("setup: %d %s", code, out)
	}
	if out, code := r.run("lint", "--account", "acme"); code != 0 || !strings.Contains(out, "stacks-enforced") {
		t.Errorf("exit code %d, want 0: %s", code, out)
	}
	for labels, want := range map[string]string{
		"gantry:managed,gantry:aprovals=2":   "gantry:aprovals",
		"gantry:managed,gantry:after=netwok": `there is no stack "netwok"`,
	} {
		r.ok(r.spacelift.SetLabels("network", strings.Split(labels, ",")...))
		if out, code := r.run("lint", "--account", "acme"); code != 1 || !strings.Contains(out, want) {
			t.Errorf("%s: exit code %d, want 1 and %q: %s", labels, code, want, out)
		}
	}
	r.ok(r.spacelift.SetLabels("network", "gantry:managed", "gantry:approvals=2"))
	if out, code := r.run("setup", "--url", r.gantry.url, "--no-enforce", "--yes"); code != 0 {
		t.Fatalf("setup: %d %s", code, out)
	}
	if out, code := r.run("lint", "--account", "acme"); code != 1 || !strings.Contains(out, "network is advisory") {
		t.Errorf("without enforcement: exit code %d, want 1: %s", code, out)
	}
	for _, args := range [][]string{{"--account", "initech"}, {"--account", "acme", "--without-accounts"}} {
		if out, code := r.run(append([]string{"lint"}, args...)...); code != 1 || !strings.Contains(out, args[1]) && !strings.Contains(out, "--account") {
			t.Errorf("%v: exit code %d: %s", args, code, out)
		}
	}
}
