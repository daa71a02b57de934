package config_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/config"
)

// Every mistake is reported in one error, in the order of the file: what can't be
// read, and what makes no sense. A value that can't be read has no other mistake, and
// each mistake has the place at which the operator gave the value.
func TestEveryMistakeIsReported(t *testing.T) {
	file := write(t, `role: king
inbox:
  linger: soon
  lingger: 5s
  bodyCount: 0
accounts:
  - name: acme
    endpoint: acme.app.spacelift.io
    apiKeyId: key
    apiKeySecret: hush
  - {name: other, endpoint: https://other, apiKeyId: k, apiKeySecret: s, webhookSecrets: [w], apiKeyId: l}
profiles:
  - name: production
    confirm: maybe
windows: [office]
`)
	_, err := config.Load(file, []string{"GANTRY_DATA=", "GANTRY_LISTNE=:80", "TEMPORAL_NAMESPACE=gantry"}, map[string]string{"reconcile.interval": "48h", "log.level": "loud", "inbox.logCount": "many"})
	if err == nil {
		t.Fatal("it is accepted")
	}
	got := strings.ReplaceAll(err.Error(), filepath.Dir(file)+string(filepath.Separator), "")
	for i, line := range strings.Split(got, "\n") {
		if after, ok := strings.CutPrefix(line, "gantry.yaml:"); !ok && i >= 6 || ok && strings.Contains(after, "gantry.yaml") {
			t.Errorf("line %d has no place: %s", i, line)
		}
	}
	want := []string{
		`GANTRY_LISTNE: there is no such setting (meant GANTRY_LISTEN?); docs/reference/configuration.md lists all`,
		`--inbox-log-count: "many" is not a whole number in plain digits, such as 50000`,
		`GANTRY_DATA: give the folder of the inbox`,
		`--log-level: "loud" is none of debug, info, warn and error`,
		`--reconcile-interval: 48h0m0s is neither 0 nor within 1s and 24h`,
		`gantry.yaml:1:7: role: "king" is none of all, api and worker`,
		`gantry.yaml:3:11: inbox.linger: "soon" is not a duration such as 30s, 90m or 24h`,
		`gantry.yaml:4:3: inbox.lingger: there is no such setting (meant linger?); docs/reference/configuration.md lists all`,
		`gantry.yaml:5:14: inbox.bodyCount: 0 is not positive`,
		`gantry.yaml:7:5: accounts[0].webhookSecrets: a webhook secret is missing or empty, and without one anyone could sign; give webhookSecretFiles (or webhookSecrets) with the secret of the webhook in Spacelift`,
		`gantry.yaml:8:15: accounts[0].endpoint: "acme.app.spacelift.io" is not an address such as https://acme.app.spacelift.io: it does not begin with https://`,
		`gantry.yaml:11:95: accounts[1].apiKeyId: it is given twice, first on line 11; remove one`,
		`gantry.yaml:14:14: profiles[0].confirm: "maybe" is none of auto, manual and no-deletes`,
		`gantry.yaml:15:11: windows[0]: it needs settings, such as name: value, each on its own line`,
	}
	if diff := cmp.Diff(want, strings.Split(got, "\n")); diff != "" {
		t.Errorf("mistakes (-want +got):\n%s", diff)
	}
}

// A file of which nothing is known makes nothing missing.
func TestAnUnreadableFileIsTheOnlyMistake(t *testing.T) {
	for content, want := range map[string]string{
		"accounts:\n\t- name: acme\n": "gantry.yaml: yaml: line 2: found character that cannot start any token",
		"accounts\n":                  "gantry.yaml:1:1: the file: it needs settings, such as name: value, each on its own line",
		"listen: :80\n---\nrole: all": "gantry.yaml: it holds more than one YAML document; keep one, without a line of --- in it",
	} {
		_, err := config.Load(write(t, content), []string{"GANTRY_AUDIT_CHANNEL=siem"}, nil)
		if err == nil || !strings.HasSuffix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, want %s", content, err, want)
		}
	}
	if _, err := config.Load("/nowhere/gantry.yaml", nil, nil); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("no file: %v", err)
	}
}

// Temporal's address is a setting like others: the SDK's temporal.toml gives it, the
// configuration file replaces that, a variable or a flag replaces both. The connection
// is made with the value that --print-config shows.
func TestTemporalAddress(t *testing.T) {
	toml := filepath.Join(t.TempDir(), "temporal.toml")
	if err := os.WriteFile(toml, []byte("[profile.default]\naddress = \"toml:7233\"\n[profile.prod]\naddress = \"prod:7233\"\nnamespace = \"prod\"\napi_key = \"hush\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const inFile = "temporal: {address: 'file:7233'}\n"
	for name, tt := range map[string]struct {
		file          string
		env           []string
		flags         map[string]string
		address, from string
		namespace     string
	}{
		"nothing":             {address: "localhost:7233", from: "default", namespace: "default"},
		"temporal.toml":       {env: []string{"TEMPORAL_CONFIG_FILE=" + toml}, address: "toml:7233", from: "temporal.toml", namespace: "default"},
		"another profile":     {env: []string{"TEMPORAL_CONFIG_FILE=" + toml, "TEMPORAL_PROFILE=prod"}, address: "prod:7233", from: "temporal.toml", namespace: "prod"},
		"the file":            {file: inFile, env: []string{"TEMPORAL_CONFIG_FILE=" + toml}, address: "file:7233", from: "FILE", namespace: "default"},
		"a variable":          {file: inFile, env: []string{"TEMPORAL_ADDRESS=env:7233", "TEMPORAL_NAMESPACE=ns"}, address: "env:7233", from: "TEMPORAL_ADDRESS", namespace: "ns"},
		"an empty variable":   {file: inFile, env: []string{"TEMPORAL_ADDRESS="}, address: "file:7233", from: "FILE", namespace: "default"},
		"a flag":              {file: inFile, env: []string{"TEMPORAL_ADDRESS=env:7233"}, flags: map[string]string{"temporal.address": "flag:7233"}, address: "flag:7233", from: "--temporal-address", namespace: "default"},
		"a variable and toml": {env: []string{"TEMPORAL_CONFIG_FILE=" + toml, "TEMPORAL_ADDRESS=env:7233"}, address: "env:7233", from: "TEMPORAL_ADDRESS", namespace: "default"},
	} {
		file := write(t, tt.file)
		loaded, err := config.Read(file, tt.env, tt.flags)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		options, err := loaded.TemporalOptions()
		if err != nil || options.HostPort != tt.address || options.Namespace != tt.namespace {
			t.Errorf("%s: it connects to %s, namespace %s, %v", name, options.HostPort, options.Namespace, err)
		}
		var out strings.Builder
		if err := loaded.Print(&out); err != nil {
			t.Fatal(err)
		}
		shown := regexp.MustCompile(`(?m)^temporal\.address +(\S+) +(\S+)$`).FindStringSubmatch(strings.ReplaceAll(out.String(), file, "FILE"))
		if diff := cmp.Diff([]string{tt.address, tt.from}, shown[1:]); diff != "" || strings.Contains(out.String(), "hush") {
			t.Errorf("%s: it prints (-want +got):\n%s", name, diff)
		}
	}
	if _, err := config.Load("", []string{"GANTRY_TEMPORAL_ADDRESS=x:7233"}, nil); err == nil || !strings.Contains(err.Error(), "GANTRY_TEMPORAL_ADDRESS: there is no such setting (meant TEMPORAL_ADDRESS?)") {
		t.Errorf("a second name of the variable: %v", err)
	}
	if _, err := config.Load("", []string{"TEMPORAL_CONFIG_FILE=" + toml, "TEMPORAL_PROFILE=gone"}, nil); err == nil || !strings.Contains(err.Error(), "temporal.toml: unable to find profile gone") {
		t.Errorf("a profile that isn't there: %v", err)
	}
}
