package config_test

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"github.com/gantryhq/gantry/config"
	"github.com/gantryhq/gantry/decide/policy"
)

const publishedSchema = "../docs/reference/gantry.schema.json"

func schemaText(t *testing.T) []byte {
	t.Helper()
	text, err := json.MarshalIndent(config.Schema(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(text, '\n')
}

// TestSchemaIsPublished keeps docs/reference/gantry.schema.json equal to the settings.
// Run it with UPDATE=1 to write the file.
func TestSchemaIsPublished(t *testing.T) {
	want := schemaText(t)
	got, err := os.ReadFile(publishedSchema)
	if os.Getenv("UPDATE") != "" {
		err, got = os.WriteFile(publishedSchema, want, 0o600), want
	}
	if err != nil || string(got) != string(want) {
		t.Errorf("%s differs from the settings (%v); run this test with UPDATE=1", publishedSchema, err)
	}
}

// editor returns a function that checks a file like an editor does.
func editor(t *testing.T) func(file string) error {
	t.Helper()
	schema, err := jsonschema.UnmarshalJSON(strings.NewReader(string(schemaText(t))))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("gantry.schema.json", schema); err != nil {
		t.Fatal(err)
	}
	compiled, err := compiler.Compile("gantry.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return func(file string) error {
		var tree any
		if err := yaml.Unmarshal([]byte(file), &tree); err != nil {
			return err
		}
		text, err := json.Marshal(tree)
		if err != nil {
			return err
		}
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
		if err != nil {
			return err
		}
		return compiled.Validate(value)
	}
}

// An editor accepts the example, and what Gantry accepts for each setting, however it
// is written.
func TestSchemaAcceptsWhatGantryAccepts(t *testing.T) {
	check := editor(t)
	content, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	if err := check(string(content)); err != nil {
		t.Errorf("the example: %v", err)
	}
	good := []string{
		"0", "1", "-1", "20", "true", "False", "all", "worker", "debug", "text", "manual", "no-deletes", "discard", "keep", "replace", "transient", "TRACKED", "approver", "slack",
		"0s", "90m", "1h30m", "2d", "1d12h", "1.5h", ".5h", "127.0.0.1:80", "a word", `"a, list"`, `"0"`, `"true"`, `"90m"`,
	}
	file, accepted, seen := write(t, ""), 0, map[string]int{}
	for _, s := range allSettings() {
		texts := append(slices.Clone(good), oddTexts...)
		if seen[s.kind.String()]++; seen[s.kind.String()] > 3 { // the others of the kind are read and described alike
			texts = texts[:4]
		}
		for _, text := range texts {
			written := s.write(text)
			if text == "=" || text == "<<" || strings.Contains(text, "1E400") || text == "685e890" || strings.Contains(text, ".inf") || strings.Contains(text, ".NaN") {
				continue // JSON, or the reader of YAML in this test, has no such value
			}
			over(t, file, written)
			_, err := config.LoadShared(file, nil)
			refused := false
			for _, m := range policy.Mistakes(err) {
				refused = refused || m.Setting == s.name || strings.TrimSuffix(s.name, "[0]") == m.Setting
			}
			if refused {
				continue
			}
			accepted++
			if err := check(written); err != nil {
				t.Errorf("Gantry accepts %s, but not an editor: %v", written, err)
			}
		}
	}
	if accepted < 200 {
		t.Errorf("only %d values were compared", accepted)
	}
}

// An editor marks what Gantry can't read: names that don't exist, and values of another
// kind.
func TestSchemaRefusesWhatGantryRefuses(t *testing.T) {
	check, file := editor(t), write(t, "")
	refused := func(written string) {
		t.Helper()
		over(t, file, written)
		if _, err := config.LoadShared(file, nil); err == nil {
			t.Errorf("Gantry accepts %s", written)
		}
		if err := check(written); err == nil {
			t.Errorf("an editor accepts %s", written)
		}
	}
	for _, s := range allSettings() {
		for _, wrong := range []string{"null", "{no: setting}", "[[]]"} {
			refused(s.write(wrong))
		}
		if kind := s.kind.String(); kind == "int" || kind == "bool" || kind == "time.Duration" || kind == "policy.Duration" || strings.HasPrefix(kind, "policy.") {
			refused(s.write("nonsense"))
		}
	}
	for _, written := range []string{
		"inbox: 5s", "accounts: {name: acme}", "lissten: x", "inbox: {lingger: 5s}", "accounts: [{webhookSecret: [x]}]", "profiles: [acme]", "- data",
		"role: king", "log: {level: loud}", "tokens: [{role: king}]", "channels: [{kind: mail}]", "profiles: [{types: [APPLY]}]",
		"inbox: {linger: 5}", "inbox: {concurrency: 2.9}", "profiles: [{reminders: 5}]", "labels: {dependsOn: on}", "accounts: [null]",
	} {
		refused(written + "\n")
	}
}
