package config_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/config"
)

// A reload takes what can change while Gantry runs, and names all else that differs.
// Entries of lists keep their names, and secrets stay secret.
func TestReload(t *testing.T) {
	running := config.Default()
	running.Tokens = []authority.Token{{Name: "ann", Role: "viewer", Hash: "1"}, {Name: "bob", Role: "viewer", Hash: "2"}}
	running.Accounts = []config.Account{{Name: "acme", APIKeySecret: "old"}}
	fresh := running
	fresh.Tokens = []authority.Token{{Name: "bob", Role: "admin", Hash: "3"}}
	fresh.Rules = []config.Rule{{Name: "two", Profile: "strict"}}
	fresh.Labels.DependsOn = true
	fresh.Listen, fresh.Inbox.Concurrency = "127.0.0.1:1", 3
	fresh.Accounts = []config.Account{{Name: "acme", APIKeySecret: "new"}}

	merged, restart := running.Reload(fresh)
	if diff := cmp.Diff([]string{"accounts[acme].apiKeySecret", "inbox.concurrency", "listen"}, restart); diff != "" {
		t.Errorf("what needs a restart (-want +got)\n%s", diff)
	}
	want := []config.Change{
		{"labels.dependsOn", "", "true"},
		{"rules[two].name", "", "two"}, {"rules[two].profile", "", "strict"},
		{"tokens[ann].hash", "(set)", ""}, {"tokens[ann].name", "ann", ""}, {"tokens[ann].role", "viewer", ""},
		{"tokens[bob].hash", "(set)", "(another)"}, {"tokens[bob].role", "viewer", "admin"},
	}
	if diff := cmp.Diff(want, config.Changes(running, merged)); diff != "" {
		t.Errorf("changes (-want +got)\n%s", diff)
	}
	if merged.Listen != running.Listen || merged.Accounts[0].APIKeySecret != "old" || len(config.Changes(merged, merged)) != 0 {
		t.Errorf("merged is %+v", merged)
	}
	for _, name := range config.Reloadable {
		if !slices.ContainsFunc(config.Settings(), func(s config.Setting) bool {
			return s.Name == name || len(s.Name) > len(name) && s.Name[:len(name)+1] == name+"."
		}) {
			t.Errorf("there is no setting %s", name)
		}
	}
}
