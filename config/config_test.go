package config_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/config"
	"github.com/gantryhq/gantry/docs"
)

func write(t *testing.T, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "gantry.yaml")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestLayers checks that flags replace values of the environment, the environment
// those of the file, and the file defaults, and that each value has its origin.
func TestLayers(t *testing.T) {
	file := write(t, `
listen: 127.0.0.1:1
data: /from-file
log: {level: warn}
inbox: {linger: 5s, bodyCount: 7}
`)
	got, err := config.Read(file, []string{"GANTRY_LISTEN=127.0.0.1:2", "GANTRY_INBOX_BODY_COUNT=8", "PATH=/bin"}, map[string]string{"listen": "127.0.0.1:3"})
	if err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	want.Listen, want.Data, want.Log.Level, want.Inbox.Linger, want.Inbox.BodyCount = "127.0.0.1:3", "/from-file", "warn", 5*time.Second, 8
	if diff := cmp.Diff(want, got.Config); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
	for setting, origin := range map[string]string{
		"listen": "--listen", "inbox.bodyCount": "GANTRY_INBOX_BODY_COUNT", "data": file, "inbox.linger": file, "temporal.taskQueue": "default",
	} {
		if got.Origins[setting] != origin {
			t.Errorf("%s comes from %q, want %q", setting, got.Origins[setting], origin)
		}
	}
}

func TestAccountFromTheEnvironment(t *testing.T) {
	got, err := config.Read("", []string{
		"GANTRY_ACCOUNT=acme", "GANTRY_WEBHOOK_SECRET_FILE=/run/now", "GANTRY_PREVIOUS_WEBHOOK_SECRET_FILE=/run/before",
		"SPACELIFT_API_KEY_ENDPOINT=https://acme.app.spacelift.io", "SPACELIFT_API_KEY_ID=key", "SPACELIFT_API_KEY_SECRET_FILE=/run/key",
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []config.Account{{
		Name: "acme", Endpoint: "https://acme.app.spacelift.io", APIKeyID: "key", APIKeySecretFile: "/run/key",
		WebhookSecretFiles: []string{"/run/now", "/run/before"},
	}}
	if diff := cmp.Diff(want, got.Accounts); diff != "" {
		t.Errorf("accounts (-want +got):\n%s", diff)
	}
	if err := got.Mistakes(); err != nil {
		t.Errorf("it is not valid: %v", err)
	}
}

func TestMistakesAreNamed(t *testing.T) {
	account := func(edit string) string {
		return "accounts:\n  - {name: acme, endpoint: 'https://acme.app.spacelift.io', apiKeyId: k, apiKeySecret: s, webhookSecrets: [w]" + edit + "}\n"
	}
	for name, tt := range map[string]struct {
		file string
		env  []string
		says string
	}{
		"unknown setting":        {account("") + "lissten: x\n", nil, "lissten"},
		"unknown in account":     {account(", secret: x"), nil, "secret"},
		"wrong case":             {account("") + "Listen: x\n", nil, "Listen"},
		"unknown variable":       {account(""), []string{"GANTRY_INBOX_LINGGER=1s"}, "GANTRY_INBOX_LINGGER"},
		"not a duration":         {account("") + "inbox: {linger: soon}\n", nil, "linger"},
		"not YAML":               {"accounts: [", nil, "gantry.yaml"},
		"no account":             {"", nil, "GANTRY_ACCOUNT"},
		"unknown part":           {account("") + "role: king\n", nil, "role"},
		"bad address":            {account("") + "listen: nowhere\n", nil, "listen"},
		"bad ops address":        {account("") + "opsListen: nowhere\n", nil, "opsListen"},
		"a port beyond the last": {account("") + "listen: 127.0.0.1:99999\n", nil, "listen"},
		"no ops port":            {account("") + "opsListen: 127.0.0.1:operations\n", nil, "opsListen"},
		"one port for both":      {account("") + "opsListen: 127.0.0.1:8080\n", nil, "opsListen"},
		"long shutdown":          {account("") + "shutdownDelay: 1h\n", nil, "shutdownDelay"},
		"no key":                 {account("") + "tls: {certFile: cert.pem}\n", nil, "tls: certFile and keyFile belong together"},
		"no certificate":         {account(""), []string{"GANTRY_TLS_KEY_FILE=key.pem"}, "tls: certFile and keyFile belong together"},
		"no proxy":               {account("") + "trustedProxies: [10.0.0.0/8, balancer]\n", nil, "balancer"},
		"no public address":      {account("") + "publicUrl: gantry.acme.example\n", nil, "publicUrl"},
		"plain public address":   {account("") + "publicUrl: http://gantry.acme.example\n", nil, "publicUrl"},
		"sign-in nowhere":        {account("") + "signIn: {issuer: sso}\n", nil, "publicUrl: it is missing"},
		"no Temporal UI":         {account("") + "temporal: {uiUrl: \"temporal.acme.example:8233\"}\n", nil, "temporal.uiUrl"},
		"any proxy":              {account("") + "proxyProtocol: true\n", nil, "trustedProxies"},
		"bad level":              {account("") + "log: {level: loud}\n", nil, "log.level"},
		"bad format":             {account("") + "log: {format: xml}\n", nil, "log.format"},
		"no data":                {account("") + "data: ''\n", nil, "data"},
		"no concurrency":         {account("") + "inbox: {concurrency: 0}\n", nil, "inbox.concurrency"},
		"endless linger":         {account("") + "inbox: {linger: 1h}\n", nil, "inbox.linger"},
		"unknown role":           {account("") + "tokens: [{name: x, role: king, hash: y}]\n", nil, "king"},
		"account twice":          {account("") + strings.TrimPrefix(account(""), "accounts:\n"), nil, "twice"},
		"name is a path":         {strings.Replace(account(""), "acme", "a/b", 1), nil, "name"},
		"two key secrets":        {account(", apiKeySecretFile: f"), nil, "apiKeySecret"},
		"header without name":    {account(", secretHeaderValue: v"), nil, "secretHeader"},
		"header, no value":       {account(", secretHeader: X-Token"), nil, "secretHeader"},
	} {
		t.Run(name, func(t *testing.T) {
			loaded, err := config.Read(write(t, tt.file), tt.env, nil)
			if err == nil {
				err = loaded.Mistakes()
			}
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want an error that names %q", err, tt.says)
			}
		})
	}
	if _, err := config.Read("/nowhere/gantry.yaml", nil, nil); err == nil || !strings.Contains(err.Error(), "/nowhere/gantry.yaml") {
		t.Errorf("a missing file: %v", err)
	}
}

func TestProxiesAreAddressesOrNetworks(t *testing.T) {
	loaded, err := config.Read("", []string{"GANTRY_TRUSTED_PROXIES=10.1.2.3/8, 192.0.2.7,fd00::/8"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := loaded.Proxies()
	if want := "[10.0.0.0/8 192.0.2.7/32 fd00::/8]"; err != nil || fmt.Sprint(got) != want {
		t.Errorf("got %v, %v, want %s", got, err, want)
	}
}

func TestPrintShowsOriginsAndNoSecrets(t *testing.T) {
	loaded, err := config.Read(write(t, "accounts:\n  - {name: acme, endpoint: 'https://x', apiKeyId: k, apiKeySecret: hush1, webhookSecrets: [hush2], secretHeader: X, secretHeaderValue: hush3}\n"),
		[]string{"GANTRY_DATA=/data"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := loaded.Print(&out); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "hush") {
		t.Errorf("it shows a secret:\n%s", &out)
	}
	for _, want := range []string{"/data", "GANTRY_DATA", "inbox.linger", "default", "acme", "(set)"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not show %q:\n%s", want, &out)
		}
	}
}

// Problems and origins of an account from the environment name its variables.
func TestProblemsNameVariables(t *testing.T) {
	loaded, err := config.Read("", []string{"GANTRY_ACCOUNT=acme", "GANTRY_SECRET_HEADER=X"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = loaded.Mistakes()
	for _, says := range []string{
		`SPACELIFT_API_KEY_ENDPOINT: it is missing`, "SPACELIFT_API_KEY_ID: it is missing",
		"give one of SPACELIFT_API_KEY_SECRET and SPACELIFT_API_KEY_SECRET_FILE", "give GANTRY_WEBHOOK_SECRET_FILE (or GANTRY_WEBHOOK_SECRET)",
		"give one of GANTRY_SECRET_HEADER_VALUE and GANTRY_SECRET_HEADER_FILE for the header X",
	} {
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("it does not say %q:\n%v", says, err)
		}
	}
	if err == nil || strings.Contains(err.Error(), "accounts[0]") || strings.Contains(err.Error(), "apiKey") {
		t.Errorf("it speaks of a file:\n%v", err)
	}

	file := write(t, "accounts:\n  - {name: other, endpoint: 'https://x', apiKeyId: k, apiKeySecret: s, webhookSecrets: [w]}\n")
	loaded, err = config.Read(file, []string{
		"GANTRY_ACCOUNT=acme", "GANTRY_WEBHOOK_SECRET=now", "GANTRY_PREVIOUS_WEBHOOK_SECRET=before",
		"SPACELIFT_API_KEY_ENDPOINT=https://acme.app.spacelift.io", "SPACELIFT_API_KEY_ID=key", "SPACELIFT_API_KEY_SECRET_FILE=/run/key",
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := loaded.Print(&out); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`accounts\[0\]\.webhookSecrets +\(set\) +` + regexp.QuoteMeta(file), `accounts\[0\]\.name +other +` + regexp.QuoteMeta(file),
		`accounts\[1\]\.name +acme +GANTRY_ACCOUNT`, `accounts\[1\]\.apiKeyId +key +SPACELIFT_API_KEY_ID`,
		`accounts\[1\]\.apiKeySecretFile +/run/key +SPACELIFT_API_KEY_SECRET_FILE`,
		`accounts\[1\]\.webhookSecrets +\(set\), \(set\) +GANTRY_WEBHOOK_SECRET and GANTRY_PREVIOUS_WEBHOOK_SECRET`,
	} {
		if !regexp.MustCompile(`(?m)^` + line + `$`).MatchString(out.String()) {
			t.Errorf("no line is %s:\n%s", line, &out)
		}
	}
}

// GANTRY_TOKEN_FILE is for the commands that call a Gantry. Set for a whole machine,
// it is no mistake.
func TestVariablesOfOtherCommands(t *testing.T) {
	if _, err := config.Read("", []string{"GANTRY_URL=https://x", "GANTRY_TOKEN=t", "GANTRY_TOKEN_FILE=/run/token"}, nil); err != nil {
		t.Error(err)
	}
}

// TestSecretFollowsItsFile checks that a rotated secret counts within a second, and
// that the last value remains when the file is gone.
func TestSecretFollowsItsFile(t *testing.T) {
	file := write(t, "first\n")
	synctest.Test(t, func(t *testing.T) {
		s, err := config.NewSecret("", file, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		expect := func(want string) {
			t.Helper()
			<-time.After(1100 * time.Millisecond) // fake time
			if got := s.Value(); got != want {
				t.Fatalf("the secret is %q, want %q", got, want)
			}
		}
		change := func(content string, at time.Duration) {
			if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			modified := time.Now().Add(at)
			if err := os.Chtimes(file, modified, modified); err != nil {
				t.Fatal(err)
			}
		}
		expect("first")
		change("other", time.Hour) // of the same length
		expect("other")
		change("", 2*time.Hour)
		expect("other")
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		expect("other")
		change("third\r\n", 3*time.Hour)
		expect("third")
	})
}

func TestSecretFileMustBeReadable(t *testing.T) {
	for name, file := range map[string]string{"missing": "/nowhere/secret", "empty": write(t, "\n")} {
		if _, err := config.NewSecret("", file, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestReferenceListsEverySetting keeps docs/reference/configuration.md equal to
// the tags of Config. Run it with UPDATE=1 to write the table.
func TestReferenceListsEverySetting(t *testing.T) {
	var table strings.Builder
	table.WriteString("| Setting | Variable | Default | Meaning |\n| --- | --- | --- | --- |\n")
	for _, s := range config.Settings() {
		cell := func(v string) string {
			if v == "" {
				return ""
			}
			return "`" + v + "`"
		}
		fmt.Fprintf(&table, "| %s | %s | %s | %s |\n", cell(s.Name), cell(s.Variable), cell(s.Default), s.Doc)
	}
	docs.KeepSection(t, "../docs/reference/configuration.md", "settings", table.String())
}
