package config_test

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/config"
)

const completeAccount = `accounts:
  - {name: other, endpoint: 'https://other.app.spacelift.io', apiKeyId: o, apiKeySecret: o, webhookSecrets: [o]}
  - name: acme
    endpoint: https://acme.app.spacelift.io
    apiKeyId: key
    apiKeySecretFile: /file/key
    webhookSecretFiles: [/file/now, /file/before]
    secretHeader: X-Gantry-Secret
    secretHeaderFile: /file/header
  - {name: third, endpoint: 'https://third.app.spacelift.io', apiKeyId: t, apiKeySecret: t, webhookSecrets: [t]}
`

// The environment replaces single settings of an account in the file, and keeps
// the others: a second factor isn't lost.
func TestEnvironmentMergesIntoAnAccount(t *testing.T) {
	of := func(change func(*config.Account)) config.Account {
		a := config.Account{
			Name: "acme", Endpoint: "https://acme.app.spacelift.io", APIKeyID: "key", APIKeySecretFile: "/file/key",
			WebhookSecretFiles: []string{"/file/now", "/file/before"}, SecretHeader: "X-Gantry-Secret", SecretHeaderFile: "/file/header",
		}
		change(&a)
		return a
	}
	for name, tt := range map[string]struct {
		env     []string
		want    config.Account
		origins map[string]string
	}{
		"nothing else": {nil, of(func(*config.Account) {}), nil},
		"a webhook secret as text, in place of files": {
			[]string{"GANTRY_WEBHOOK_SECRET=w"},
			of(func(a *config.Account) { a.WebhookSecrets, a.WebhookSecretFiles = []string{"w"}, nil }),
			map[string]string{"webhookSecrets": "GANTRY_WEBHOOK_SECRET"},
		},
		"other files": {
			[]string{"GANTRY_WEBHOOK_SECRET_FILE=/env/now", "GANTRY_PREVIOUS_WEBHOOK_SECRET_FILE=/env/before"},
			of(func(a *config.Account) { a.WebhookSecretFiles = []string{"/env/now", "/env/before"} }),
			map[string]string{"webhookSecretFiles": "GANTRY_WEBHOOK_SECRET_FILE and GANTRY_PREVIOUS_WEBHOOK_SECRET_FILE"},
		},
		"a key": {
			[]string{"SPACELIFT_API_KEY_ID=k2", "SPACELIFT_API_KEY_SECRET=s2"},
			of(func(a *config.Account) { a.APIKeyID, a.APIKeySecret, a.APIKeySecretFile = "k2", "s2", "" }),
			map[string]string{"apiKeyId": "SPACELIFT_API_KEY_ID", "apiKeySecret": "SPACELIFT_API_KEY_SECRET"},
		},
		"the header's value": {
			[]string{"GANTRY_SECRET_HEADER_VALUE=v"},
			of(func(a *config.Account) { a.SecretHeaderValue, a.SecretHeaderFile = "v", "" }),
			map[string]string{"secretHeaderValue": "GANTRY_SECRET_HEADER_VALUE"},
		},
		"an endpoint and the header's name": {
			[]string{"SPACELIFT_API_KEY_ENDPOINT=https://e", "GANTRY_SECRET_HEADER=X-Other"},
			of(func(a *config.Account) { a.Endpoint, a.SecretHeader = "https://e", "X-Other" }),
			map[string]string{"endpoint": "SPACELIFT_API_KEY_ENDPOINT", "secretHeader": "GANTRY_SECRET_HEADER"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			loaded, err := config.Read(write(t, completeAccount), append(tt.env, "GANTRY_ACCOUNT=acme"), nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := loaded.Mistakes(); err != nil {
				t.Error(err)
			}
			if names := accountNames(loaded); !slices.Equal(names, []string{"other", "acme", "third"}) {
				t.Fatalf("accounts are %v", names)
			}
			if diff := cmp.Diff(tt.want, loaded.Accounts[1]); diff != "" {
				t.Errorf("account (-want +got):\n%s", diff)
			}
			origins := map[string]string{}
			for setting, origin := range loaded.Origins {
				if setting, ok := strings.CutPrefix(setting, "accounts[1]."); ok {
					origins[setting] = origin
				}
			}
			if !maps.Equal(origins, tt.origins) {
				t.Errorf("origins are %v, want %v", origins, tt.origins)
			}
			var out bytes.Buffer
			if err := loaded.Print(&out); err != nil || strings.Contains(out.String(), "accounts[3]") {
				t.Errorf("%v\n%s", err, &out)
			}
		})
	}
}

func accountNames(loaded config.Loaded) (names []string) {
	for _, a := range loaded.Accounts {
		names = append(names, a.Name)
	}
	return names
}

// Problems of an account in the file and the environment name each setting where it
// was given.
func TestProblemsOfAMergedAccount(t *testing.T) {
	loaded, err := config.Read(write(t, "accounts:\n  - {name: acme, endpoint: 'https://acme.app.spacelift.io', webhookSecrets: [w]}\n"),
		[]string{"GANTRY_ACCOUNT=acme", "SPACELIFT_API_KEY_ENDPOINT=acme", "GANTRY_SECRET_HEADER_VALUE=v"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = loaded.Mistakes()
	for _, says := range []string{
		`SPACELIFT_API_KEY_ENDPOINT: "acme" is not an address`, "accounts[0].apiKeyId: it is missing", "give one of apiKeySecret and apiKeySecretFile",
		"give secretHeader",
	} {
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("it lacks %q:\n%v", says, err)
		}
	}
}

// A variable of an account that would have no effect, or another than it says, is
// refused. Spacelift's own tools use SPACELIFT_*, so those may be there.
func TestIncompleteAccountsInTheEnvironment(t *testing.T) {
	for name, tt := range map[string]struct {
		env  []string
		says string // empty if they are fine
	}{
		"a secret header without an account": {[]string{"GANTRY_SECRET_HEADER=X"}, "GANTRY_SECRET_HEADER: it needs an account; set GANTRY_ACCOUNT"},
		"its value without an account":       {[]string{"GANTRY_SECRET_HEADER_FILE=/run/h"}, "GANTRY_SECRET_HEADER_FILE: it needs an account; set GANTRY_ACCOUNT"},
		"a webhook secret without an account": {
			[]string{"GANTRY_WEBHOOK_SECRET=w", "GANTRY_PREVIOUS_WEBHOOK_SECRET=p"}, "GANTRY_WEBHOOK_SECRET: it needs an account; set GANTRY_ACCOUNT",
		},
		"a previous secret without a current one": {
			[]string{"GANTRY_ACCOUNT=acme", "GANTRY_PREVIOUS_WEBHOOK_SECRET=p"}, "GANTRY_PREVIOUS_WEBHOOK_SECRET: it needs GANTRY_WEBHOOK_SECRET",
		},
		"a previous file without a current one": {
			[]string{"GANTRY_ACCOUNT=acme", "GANTRY_PREVIOUS_WEBHOOK_SECRET_FILE=/p"}, "GANTRY_PREVIOUS_WEBHOOK_SECRET_FILE: it needs GANTRY_WEBHOOK_SECRET_FILE",
		},
		"variables of Spacelift's tools": {[]string{"SPACELIFT_API_KEY_ID=k", "SPACELIFT_API_KEY_SECRET=s", "SPACELIFT_API_KEY_ENDPOINT=https://e"}, ""},
		"empty ones":                     {[]string{"GANTRY_SECRET_HEADER=", "GANTRY_PREVIOUS_WEBHOOK_SECRET="}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := config.Read(write(t, completeAccount), tt.env, nil)
			if tt.says == "" && err != nil || tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) {
				t.Errorf("got %v, want %q", err, tt.says)
			}
		})
	}
}
