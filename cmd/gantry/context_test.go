package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestContexts(t *testing.T) {
	r := newAPIRig(t)
	there := r.server.URL
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(annToken), 0o600); err != nil {
		t.Fatal(err)
	}
	os.Unsetenv("GANTRY_URL")
	os.Unsetenv("GANTRY_TOKEN")
	if c, err := (target{new(""), new("")}).chosen(); c.URL != defaultURL || err != nil {
		t.Errorf("without any context it is %s; %v", c.URL, err)
	}

	r.wants([]string{"added lab, " + there}, "context", "add", "lab", "--url", there+"/", "--token-file", token, "--account", "acme")
	r.wants([]string{"added prod"}, "context", "add", "prod", "--url", "https://gantry.example.com", "--account", "initech")
	r.wants([]string{"*        lab      " + there, "acme     " + token, "prod", "gantry login --context prod"}, "context", "list")
	r.wants([]string{"lab\nprod\n"}, "context", "list", "-o", "name")
	r.wants([]string{"ann"}, "whoami") // the first is the current one
	r.wants([]string{"acme/network-prod"}, "stacks", "list")

	r.wants([]string{"commands use prod, https://gantry.example.com"}, "context", "use", "prod")
	r.wants([]string{"ann"}, "whoami", "--context", "lab")
	r.refused(exitRefused, []string{"no account of this name"}, "stacks", "list", "--context", "prod", "--url", there, "--token-file", token)
	t.Setenv("GANTRY_CONTEXT", "lab")
	r.wants([]string{"ann"}, "whoami")
	t.Setenv("GANTRY_URL", there)
	r.refused(1, []string{"both GANTRY_URL and GANTRY_CONTEXT are set"}, "whoami")
	r.wants([]string{"ann"}, "whoami", "--context", "lab")
	os.Unsetenv("GANTRY_CONTEXT")
	r.as(ottoToken)
	r.wants([]string{"otto"}, "whoami")                     // GANTRY_URL counts before the current context
	r.wants([]string{"otto"}, "whoami", "--context", "lab") // and a token of the environment before the context's

	r.refused(1, []string{`there is no context "prd"; did you mean prod?`}, "whoami", "--context", "prd")
	r.refused(1, []string{`there is no context "elsewhere"`, "gantry context add"}, "context", "use", "elsewhere")
	r.refused(1, []string{"there is a context lab already"}, "context", "add", "lab", "--url", there)
	r.refused(1, []string{"leave blanks and slashes out"}, "context", "add", "a b", "--url", there)
	r.refused(1, []string{"is not an address"}, "context", "add", "new", "--url", "gantry.example.com")
	for _, args := range [][]string{{"context", "use", ""}, {"context", "remove", ""}, {"runs", "list", "--context", ""}, {"login", "--context", ""}} {
		r.wants([]string{"lab\t" + there + "\n", "prod\t"}, append([]string{"__complete"}, args...)...)
	}
	r.wants([]string{"removed prod"}, "context", "remove", "prod")
	os.Unsetenv("GANTRY_URL")
	if c, err := (target{new(""), new("")}).chosen(); c.URL != defaultURL || err != nil {
		t.Errorf("without a current one it is %s; %v", c.URL, err)
	}
	if err := os.WriteFile(filepath.Join(os.Getenv("XDG_CONFIG_HOME"), "gantry", "contexts.yaml"), []byte("currant: lab\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.refused(1, []string{"read contexts", "contexts.yaml", "currant", "correct or remove it"}, "whoami")
}
