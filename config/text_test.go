package config_test

import (
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/gantryhq/gantry/config"
)

// oddTexts are texts that YAML reads as something else without quotes: numbers,
// times, truths.
var oddTexts = []string{
	"00012345", "5349", "0x1F", "0o17", "0b11", "1e3", "1E400", "1_000", "3.10", ".5", "-007", "+1", "12345678901234567890123", "685e890",
	"1:30", "09:00", "2026-01-05", "2026-01-05T09:00:00Z", "2026-01-05 09:00:00", "yes", "no", "on", "off", "y", "N", "true", "False", ".inf", ".NaN", "=", "<<",
}

// setting is one value within Config, with the ways to write it in a file and to
// find it.
type setting struct {
	name  string
	kind  reflect.Type
	write func(text string) string
	find  func(config.Config) reflect.Value
}

// settingsOf lists every value that a type can hold, one entry of each list.
func settingsOf(t reflect.Type, s setting) []setting {
	var all []setting
	s.kind = t
	switch {
	case t.Kind() == reflect.Struct:
		for f := range t.Fields() {
			name := f.Tag.Get("setting")
			all = append(all, settingsOf(f.Type, setting{
				name:  strings.TrimPrefix(s.name+"."+name, "."),
				write: func(text string) string { return s.write("{" + name + ": " + text + "}") },
				find:  func(c config.Config) reflect.Value { return s.find(c).FieldByIndex(f.Index) },
			})...)
		}
	case t.Kind() == reflect.Slice:
		all = append(all, settingsOf(t.Elem(), setting{
			name:  s.name + "[0]",
			write: func(text string) string { return s.write("[" + text + "]") },
			find:  func(c config.Config) reflect.Value { return s.find(c).Index(0) },
		})...)
	case t.Kind() == reflect.Pointer:
		s.kind = t.Elem()
		return append(all, setting{s.name, t.Elem(), s.write, func(c config.Config) reflect.Value { return s.find(c).Elem() }})
	default:
		all = append(all, s)
	}
	return all
}

// over replaces the content of a file.
func over(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func allSettings() []setting {
	return settingsOf(reflect.TypeFor[config.Config](), setting{
		write: func(text string) string { return text + "\n" },
		find:  func(c config.Config) reflect.Value { return reflect.ValueOf(c) },
	})
}

// Without quotes, each setting that holds text takes the text in the file, whatever
// YAML makes of it: a secret of digits stays the secret that signs. Other settings
// read the same text strictly, or name the line with the problem.
func TestEverySettingTakesWhatIsWritten(t *testing.T) {
	texts, file := 0, write(t, "")
	for _, s := range allSettings() {
		if s.kind.Kind() == reflect.String {
			texts++
		}
		for _, text := range oddTexts {
			over(t, file, s.write(text))
			loaded, err := config.Read(file, nil, nil)
			switch {
			case s.kind.Kind() == reflect.String && err != nil:
				t.Errorf("%s: %s is refused: %v", s.name, text, err)
			case s.kind.Kind() == reflect.String:
				if got := s.find(loaded.Config).String(); got != text {
					t.Errorf("%s: %s is read as %q", s.name, text, got)
				}
			case err != nil:
				if want := file + ":1:"; !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), " "+s.name+": ") {
					t.Errorf("%s: %s: it does not say %q: %v", s.name, text, want, err)
				}
			default:
				if got := fmt.Sprint(s.find(loaded.Config).Interface()); !strings.EqualFold(got, text) {
					t.Errorf("%s: %s is read as %s", s.name, text, got)
				}
			}
		}
	}
	if texts < 40 {
		t.Errorf("only %d settings hold text: the walk is incomplete", texts)
	}
}

// A missing value is no text: a secret that is the word null needs quotes.
func TestNothingIsNoValue(t *testing.T) {
	file := write(t, "")
	for _, s := range allSettings() {
		for _, nothing := range []string{"null", "~", "Null", "NULL"} {
			over(t, file, "# the first line\n"+s.write(nothing))
			_, err := config.Read(file, nil, nil)
			if want := file + ":2:"; err == nil || !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), " "+s.name+": ") || !strings.Contains(err.Error(), "in quotes") {
				t.Errorf("%s: %s: want an error that says %q and names quotes, got %v", s.name, nothing, want, err)
			}
			if s.kind.Kind() != reflect.String {
				continue
			}
			over(t, file, s.write(`"`+nothing+`"`))
			loaded, err := config.Read(file, nil, nil)
			if err != nil {
				t.Errorf("%s: %s in quotes: %v", s.name, nothing, err)
			} else if got := s.find(loaded.Config).String(); got != nothing {
				t.Errorf("%s: %s in quotes is read as %q", s.name, nothing, got)
			}
		}
	}
}

// The environment and flags take the same texts, and read other settings as
// strictly.
func TestVariablesAndFlagsTakeWhatIsWritten(t *testing.T) {
	byName := map[string]setting{}
	for _, s := range allSettings() {
		byName[s.name] = s
	}
	for _, given := range config.Settings() {
		if given.Variable == "" {
			continue
		}
		s, ok := byName[given.Name]
		if !ok { // a list, with commas between
			s = byName[given.Name+"[0]"]
		}
		for _, text := range oddTexts {
			for _, way := range []struct {
				name   string
				loaded func() (config.Loaded, error)
			}{
				{given.Variable, func() (config.Loaded, error) { return config.Read("", []string{given.Variable + "=" + text}, nil) }},
				{"--" + given.Flag(), func() (config.Loaded, error) { return config.Read("", nil, map[string]string{given.Name: text}) }},
			} {
				loaded, err := way.loaded()
				switch {
				case err == nil:
					if got := fmt.Sprint(s.find(loaded.Config).Interface()); !strings.EqualFold(got, text) || s.kind.Kind() == reflect.String && got != text {
						t.Errorf("%s: %s is read as %s", way.name, text, got)
					}
				case s.kind.Kind() == reflect.String || !strings.Contains(err.Error(), way.name+": "):
					t.Errorf("%s: %s: %v", way.name, text, err)
				}
			}
		}
	}
}

func TestTheEnvironmentsAccountTakesWhatIsWritten(t *testing.T) {
	for _, text := range oddTexts {
		loaded, err := config.Read("", []string{
			"GANTRY_ACCOUNT=" + text, "GANTRY_WEBHOOK_SECRET=" + text + "\n", "SPACELIFT_API_KEY_ID=" + text, "SPACELIFT_API_KEY_SECRET=" + text,
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		a := loaded.Accounts[0]
		if a.Name != text || a.WebhookSecrets[0] != text || a.APIKeyID != text || a.APIKeySecret != text {
			t.Errorf("%s is read as %+v", text, a)
		}
		secret, err := config.NewSecret("", write(t, text+"\n"), slog.New(slog.DiscardHandler))
		if err != nil || secret.Value() != text {
			t.Errorf("a file with %s is read as %q, %v", text, secret.Value(), err)
		}
	}
}

// Without a refusal, each of these would have another meaning than its author's, or
// none.
func TestAmbiguousValuesAreRefused(t *testing.T) {
	for name, tt := range map[string]struct{ file, says string }{
		"a fraction for a number":      {"inbox: {concurrency: 2.9}", `:1:C: inbox.concurrency: "2.9" is not a whole number`},
		"true for a number":            {"inbox: {concurrency: true}", "inbox.concurrency"},
		"an octal number":              {"inbox:\n  bodyCount: 010", `:2:C: inbox.bodyCount: "010" is not a whole number in plain digits`},
		"a duration without a unit":    {"reconcile:\n  interval: 5", `:2:C: reconcile.interval: "5" is not a duration such as`},
		"a policy's, too":              {"profiles:\n  - name: p\n    reminders: 5", `:3:C: profiles[0].reminders: "5" is not a duration such as`},
		"a word for a truth":           {"labels: {dependsOn: on}", `labels.dependsOn: "on" is neither true nor false`},
		"an account that is no list":   {"accounts:\n  name: acme", ":2:C: accounts: it needs a list"},
		"text for a section":           {"inbox: 5s", ":1:C: inbox: it needs settings"},
		"a mapping for a secret":       {"accounts:\n  - webhookSecrets: [hush: hush]", ":2:C: accounts[0].webhookSecrets[0]: it needs one value; write it in quotes"},
		"a tag":                        {"accounts:\n  - apiKeySecret: !!binary aHVzaA==", ":2:C: accounts[0].apiKeySecret: it begins with !, which is a tag in YAML; write it in quotes"},
		"a secret that is a tag":       {"accounts:\n  - apiKeySecret: !hush", ":2:C: accounts[0].apiKeySecret: it begins with !"},
		"a secret that is an alias":    {"accounts:\n  - apiKeySecret: *hush", "begins with * but is no alias"},
		"a secret that is an anchor":   {"accounts:\n  - apiKeySecret: &hush", ":2:C: accounts[0].apiKeySecret: it has no value"},
		"a secret that is a comment":   {"accounts:\n  - apiKeySecret: #hush", ":2:C: accounts[0].apiKeySecret: it has no value"},
		"an entry without a value":     {"accounts:\n  - webhookSecrets:\n      -", ":3:C: accounts[0].webhookSecrets[0]: the entry is empty"},
		"a setting misspelt":           {"accounts:\n  - webhookSecret: [hush]", ":2:C: accounts[0].webhookSecret: there is no such setting (meant webhookSecrets?)"},
		"a setting with a dot":         {"inbox.linger: 5s", ":1:C: inbox.linger: there is no such setting"},
		"a setting twice":              {"data: a\ndata: b", ":2:C: data: it is given twice, first on line 1"},
		"a second document":            {"data: a\n---\ndata: b", "more than one YAML document"},
		"a list for the whole":         {"- data", ":1:C: the file: it needs settings"},
		"everything wrong at one time": {"data:\ninbox: {linger: soon}\n", ":1:C: data: it has no value"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := config.Read(write(t, tt.file+"\n"), nil, nil)
			if err == nil || !strings.Contains(regexp.MustCompile(`:(\d+):\d+: `).ReplaceAllString(err.Error(), ":$1:C: "), tt.says) || strings.Contains(err.Error(), "hush") {
				t.Errorf("got %v, want %q", err, tt.says)
			}
		})
	}
}

// Anchors, aliases and merged mappings work.
func TestAnchorsMergesAndBlocks(t *testing.T) {
	loaded, err := config.Read(write(t, `
profiles:
  - &base {name: base, approvals: 2, approvers: &group 007}
  - {<<: *base, name: strict, approvals: 3}
  - {<<: [{approvers: one}, *base], name: other}
tokens:
  - {name: ann, groups: *group}
  - name: bob
    groups: [*group, 42]
accounts:
  - name: acme
    apiKeySecret: |
      a block
    webhookSecrets: 00012345
windows:
`), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for what, got := range map[string][2]string{
		"merged":             {*loaded.Profiles[1].Approvers, "007"},
		"over what it lends": {fmt.Sprint(loaded.Profiles[1].Name, *loaded.Profiles[1].Approvals), "strict3"},
		"the earlier of two": {fmt.Sprint(*loaded.Profiles[2].Approvers, *loaded.Profiles[2].Approvals), "one2"},
		"a list of one":      {strings.Join(loaded.Tokens[0].Groups, ","), "007"},
		"an alias in a list": {strings.Join(loaded.Tokens[1].Groups, ","), "007,42"},
		"a block":            {loaded.Accounts[0].APIKeySecret, "a block"},
		"a secret of digits": {loaded.Accounts[0].WebhookSecrets[0], "00012345"},
	} {
		if got[0] != got[1] {
			t.Errorf("%s: got %q, want %q", what, got[0], got[1])
		}
	}
}
