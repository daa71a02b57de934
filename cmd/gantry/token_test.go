package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gantryhq/gantry/gen/api"
)

func TestWhoami(t *testing.T) {
	r := newAPIRig(t)
	r.wants([]string{"ann", "by:", "token ann", "approver everywhere"}, "whoami")
	if c := printed[api.Caller](t, r.wants(nil, "whoami", "-o", "json")); c.Name != "ann" || len(c.Grants) != 1 {
		t.Errorf("it prints %+v", c)
	}
	r.as("guess")
	r.refused(exitRefused, []string{"nobody has this token"}, "whoami")
}

func TestTokenList(t *testing.T) {
	r := newAPIRig(t)
	r.refused(exitRefused, []string{"this needs admin"}, "token", "list")
	r.as(adaToken)
	r.wants([]string{"TOKEN", "ann", "approver everywhere", "ada"}, "token", "list")
}

func TestTokenRevoke(t *testing.T) {
	r := newAPIRig(t)
	file := filepath.Join(t.TempDir(), "gantry.yaml")
	if err := os.WriteFile(file, []byte("tokens:\n  - name: ci\n    role: viewer\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.refused(1, []string{"--config"}, "token", "revoke", "ci")
	r.wants([]string{"ci is revoked"}, "token", "revoke", "ci", "--config", file)
	if got, _ := os.ReadFile(file); !strings.Contains(string(got), "- revoked: 20") {
		t.Errorf("the file is\n%s", got)
	}
	r.refused(1, []string{"was revoked at"}, "token", "revoke", "ci", "--config", file)
}

func TestTokenCreate(t *testing.T) {
	r := newAPIRig(t)
	out := r.wants([]string{"role: operator", "expires: 2027-01-31", "hash: "}, "token", "create", "ci", "--role", "operator", "--expires", "2027-01-31")
	if strings.Contains(out, "groups") {
		t.Errorf("it prints %s", out)
	}
	r.refused(1, []string{"--role", "there are"}, "token", "create", "ci", "--role", "boss")
	r.refused(1, []string{"--expires"}, "token", "create", "ci", "--expires", "soon")
}
