package config

import (
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/spacelift/spaceliftapi"
)

// accountVariables lists the variables of the one account that the environment can
// give, by setting. Those of a list are in its order, the current one first.
// Spacelift's own tools use the SPACELIFT_API_KEY_* variables too.
var accountVariables = map[string][]string{
	"name":               {"GANTRY_ACCOUNT"},
	"endpoint":           {"SPACELIFT_API_KEY_ENDPOINT"},
	"apiKeyId":           {"SPACELIFT_API_KEY_ID"},
	"apiKeySecret":       {"SPACELIFT_API_KEY_SECRET"},
	"apiKeySecretFile":   {"SPACELIFT_API_KEY_SECRET_FILE"},
	"webhookSecrets":     {"GANTRY_WEBHOOK_SECRET", "GANTRY_PREVIOUS_WEBHOOK_SECRET"},
	"webhookSecretFiles": {"GANTRY_WEBHOOK_SECRET_FILE", "GANTRY_PREVIOUS_WEBHOOK_SECRET_FILE"},
	"secretHeader":       {"GANTRY_SECRET_HEADER"},
	"secretHeaderValue":  {"GANTRY_SECRET_HEADER_VALUE"},
	"secretHeaderFile":   {"GANTRY_SECRET_HEADER_FILE"},
}

// accountAlternatives are the pairs of settings of which an account has one.
var accountAlternatives = [][2]string{
	{"apiKeySecret", "apiKeySecretFile"}, {"webhookSecrets", "webhookSecretFiles"}, {"secretHeaderValue", "secretHeaderFile"},
}

// describesAccount reports whether a variable belongs to that account.
func describesAccount(variable string) bool {
	for _, variables := range accountVariables {
		if slices.Contains(variables, variable) {
			return true
		}
	}
	return false
}

// givenAccount is the account in the environment: the values of its settings, and
// the variables that gave them.
type givenAccount struct {
	values  map[string][]string
	origins map[string]string
}

// accountFromEnvironment returns the account that GANTRY_ACCOUNT names. It refuses a
// variable that would have no effect, or make the previous webhook secret the
// current one.
func accountFromEnvironment(environ []string) (given givenAccount, problems []error) {
	env := map[string]string{}
	for _, e := range environ {
		name, value, _ := strings.Cut(e, "=")
		env[name] = trimLineEnd(value)
	}
	given = givenAccount{values: map[string][]string{}, origins: map[string]string{}}
	for _, setting := range slices.Sorted(maps.Keys(accountVariables)) {
		var from []string
		for i, variable := range accountVariables[setting] {
			switch first := accountVariables[setting][0]; {
			case env[variable] == "":
				continue
			case env["GANTRY_ACCOUNT"] == "" && strings.HasPrefix(variable, envPrefix):
				problems = append(problems, fmt.Errorf("%s: it needs an account; set GANTRY_ACCOUNT", variable))
				continue
			case i > 0 && env["GANTRY_WEBHOOK_SECRET"] == "" && env["GANTRY_WEBHOOK_SECRET_FILE"] == "":
				problems = append(problems, fmt.Errorf("%s: it needs %s, or the previous secret would be the current one", variable, first))
				continue
			}
			given.values[setting], from = append(given.values[setting], env[variable]), append(from, variable)
		}
		if len(from) > 0 {
			given.origins[setting] = strings.Join(from, " and ")
		}
	}
	return given, problems
}

// mergeInto replaces the settings of an account that the environment gives, and
// their alternatives, and keeps the others.
func (g givenAccount) mergeInto(a *Account) {
	fields := reflect.ValueOf(a).Elem()
	for _, pair := range accountAlternatives {
		if len(g.values[pair[0]])+len(g.values[pair[1]]) > 0 {
			for _, setting := range pair {
				field, _ := fieldOf(fields, setting)
				field.SetZero()
			}
		}
	}
	for setting, values := range g.values {
		field, _ := fieldOf(fields, setting)
		if field.Kind() == reflect.Slice {
			field.Set(reflect.ValueOf(values))
		} else {
			field.SetString(values[0])
		}
	}
}

// accountSetting returns the name of an account's setting in --print-config.
func accountSetting(i int, setting string) string { return fmt.Sprintf("accounts[%d].%s", i, setting) }

// nameOfAccountSetting returns the name by which the operator gave, or would give, a
// setting: that in the file, unless the environment gave it or the whole account.
func nameOfAccountSetting(origins map[string]string, i int, setting string) string {
	if origins[accountSetting(i, setting)] != "" || origins[accountSetting(i, "name")] != "" {
		return accountVariables[setting][0]
	}
	return setting
}

// problems returns the mistakes of an account. nameOf returns the name by which the
// operator gave, or would give, a setting.
func (a Account) problems(nameOf func(setting string) string, i int, before []Account) (problems []error) {
	bad := func(setting, format string, args ...any) {
		problems = append(problems, &policy.Mistake{Setting: accountSetting(i, setting), Problem: fmt.Sprintf(format, args...)})
	}
	if err := spacelift.ValidateAccount(spacelift.Account(a.Name)); err != nil {
		bad("name", "it %s", err)
	}
	if slices.ContainsFunc(before, func(b Account) bool { return b.Name == a.Name }) {
		bad("name", "the account %s is configured twice; remove one", a.Name)
	}
	if a.Endpoint == "" {
		bad("endpoint", "it is missing; give the account's address, such as https://%s.app.spacelift.io", a.Name)
	} else if err := spaceliftapi.CheckEndpoint(a.Endpoint); err != nil {
		shown := fmt.Sprintf("%q", a.Endpoint)
		if strings.Contains(shown, "@") { // it may hold a password
			shown = "it"
		}
		bad("endpoint", "%s is not an address such as https://%s.app.spacelift.io: it %s", shown, a.Name, err)
	}
	if a.APIKeyID == "" {
		bad("apiKeyId", "it is missing; Gantry needs an API key to read and confirm runs")
	}
	if (a.APIKeySecret == "") == (a.APIKeySecretFile == "") {
		bad("apiKeySecret", "give one of %s and %s", nameOf("apiKeySecret"), nameOf("apiKeySecretFile"))
	}
	if len(a.WebhookSecrets)+len(a.WebhookSecretFiles) == 0 || slices.Contains(a.WebhookSecrets, "") {
		bad("webhookSecrets", "a webhook secret is missing or empty, and without one anyone could sign; give %s (or %s) with the secret of the webhook in Spacelift", nameOf("webhookSecretFiles"), nameOf("webhookSecrets"))
	}
	if len(a.WebhookSecrets) > 0 && len(a.WebhookSecretFiles) > 0 {
		bad("webhookSecrets", "webhook secrets are given both as text (%s) and in files (%s), so it is unclear which one is current; give all in one way", nameOf("webhookSecrets"), nameOf("webhookSecretFiles"))
	}
	if a.SecretHeader != "" && (a.SecretHeaderValue == "") == (a.SecretHeaderFile == "") {
		bad("secretHeaderValue", "give one of %s and %s for the header %s", nameOf("secretHeaderValue"), nameOf("secretHeaderFile"), a.SecretHeader)
	}
	if a.SecretHeader == "" && (a.SecretHeaderValue != "" || a.SecretHeaderFile != "") {
		bad("secretHeader", "the value of a secret header needs the header's name; give %s", nameOf("secretHeader"))
	}
	return problems
}

// Secrets authenticate the notifications of an account.
type Secrets struct {
	signing []*Secret
	header  *Secret
}

// OpenSecrets opens the webhook secrets and the secret header of an account.
func (a Account) OpenSecrets(log *slog.Logger) (*Secrets, error) {
	var opened Secrets
	add := func(value, file string) error {
		secret, err := NewSecret(value, file, log)
		opened.signing = append(opened.signing, secret)
		return err
	}
	for _, file := range a.WebhookSecretFiles {
		if err := add("", file); err != nil {
			return nil, fmt.Errorf("webhook %w", err)
		}
	}
	for _, value := range a.WebhookSecrets {
		if err := add(value, ""); err != nil {
			return nil, fmt.Errorf("webhook %w", err)
		}
	}
	var err error
	if opened.header, err = NewSecret(a.SecretHeaderValue, a.SecretHeaderFile, log); err != nil {
		return nil, fmt.Errorf("value of the secret header: %w", err)
	}
	return &opened, nil
}

// Signing returns the live webhook secrets, the current one first.
func (s *Secrets) Signing() []string {
	live := make([]string, len(s.signing))
	for i, secret := range s.signing {
		live[i] = secret.Value()
	}
	return live
}

// Header returns the value of the secret header; empty for none.
func (s *Secrets) Header() string { return s.header.Value() }

// NewClient returns a client of the account. It calls observe, unless it is nil,
// for each call of Spacelift.
func (a Account) NewClient(version string, observe func(spaceliftapi.Call)) (*spaceliftapi.Client, error) {
	var key spaceliftapi.Credentials = spaceliftapi.APIKey{ID: a.APIKeyID, Secret: a.APIKeySecret}
	if a.APIKeySecretFile != "" {
		key = spaceliftapi.FileCredentials{ID: a.APIKeyID, SecretFile: a.APIKeySecretFile}
	}
	return spaceliftapi.NewClient(spaceliftapi.Config{
		Account: spacelift.Account(a.Name), Endpoint: a.Endpoint, Credentials: key, UserAgent: "gantry/" + version, Observe: observe,
	})
}
