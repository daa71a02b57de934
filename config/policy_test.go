package config_test

import (
	"bytes"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"github.com/gantryhq/gantry/config"
	"github.com/gantryhq/gantry/decide/policy"
)

const example = "../docs/reference/gantry.example.yaml"

// TestExampleIsValidAndComplete checks that the documented example is valid, has the
// policies that its comments describe, and shows every setting.
func TestExampleIsValidAndComplete(t *testing.T) {
	loaded, err := config.Read(example, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := loaded.Mistakes(); err != nil {
		t.Error(err)
	}
	rules, err := loaded.Definitions()
	if err != nil {
		t.Fatal(err)
	}
	p := rules.Resolve(policy.Labelled([]string{"gantry:managed", "gantry:profile=production", "depends-on:network"}))
	if len(p.Problems) > 0 || p.Approvals.Value != 2 || *p.Limits.MaxDeleted != (policy.Setting[int]{Value: 0, Origin: "profile production"}) || len(p.After.Value) != 1 {
		t.Errorf("its production profile resolves to %+v", p)
	}
	if g := rules.Gate(p, "app", nil, time.Date(2026, 12, 24, 11, 0, 0, 0, time.UTC)); g.Open || !g.Until.Equal(time.Date(2026, 12, 28, 8, 0, 0, 0, time.UTC)) {
		t.Errorf("at Christmas its gate is %+v", g)
	}

	content, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	var tree map[string]any
	if err := yaml.Unmarshal(content, &tree); err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	walk("", tree, shown)
	instead := map[string]string{ // of two ways to say it the example shows the better one
		"accounts[].apiKeySecret": "accounts[].apiKeySecretFile", "accounts[].webhookSecrets": "accounts[].webhookSecretFiles",
		"accounts[].secretHeaderValue": "accounts[].secretHeaderFile", "channels[].secret": "channels[].secretFile",
	}
	for _, s := range config.Settings() {
		if !shown[s.Name] && !shown[instead[s.Name]] {
			t.Errorf("it does not show %s", s.Name)
		}
	}
	if s := "accounts[].name"; !shown[s] {
		t.Errorf("the walk did not find %s", s)
	}
}

func walk(name string, value any, shown map[string]bool) {
	shown[name] = true
	switch v := value.(type) {
	case map[string]any:
		for key, child := range v {
			walk(strings.TrimPrefix(name+"."+key, "."), child, shown)
		}
	case []any:
		for _, child := range v {
			if _, ok := child.(map[string]any); ok {
				walk(name+"[]", child, shown)
			}
		}
	}
}

func TestMistakesInPoliciesAreNamed(t *testing.T) {
	for name, tt := range map[string]struct {
		file string
		env  []string
		says []string // each is a line of the error, or begins one
	}{
		"everything together": {
			file: `
profiles:
  - {name: a, confirm: maybe, approvals: 0, windows: [gone], notify: ["#gone"], limits: {maxDeleted: -1}, types: [APPLY], retries: 11, retryCauses: [code]}
  - {name: a, approvers: " ", approvalTimeout: 40d, onTimeout: wait, reminders: 1s, clock: gone, retryBackoff: 0s, deadlines: {planning: 8d}}
  - {name: "two words"}
  - {name: b, escalation: [{after: 2h}, {after: 1h, notify: [gone]}, {after: 3h, discard: true}, {after: 4h, notify: [away]}]}
  - {name: c, confirm: auto, approvals: 2}
`,
			says: []string{
				`profiles[0].confirm: "maybe" is none of auto, manual and no-deletes`,
				`profiles[0].approvals: 0 is not within 1 and 20`,
				`profiles[0].windows: there is no window "gone"; configure it under windows (there are none yet)`,
				`profiles[0].notify: there is no channel "#gone"; configure it under channels (there are none yet)`,
				`profiles[0].limits.maxDeleted: -1 is not within 0 and 1000000`,
				`profiles[0].types: there is no run type "APPLY"`,
				`profiles[0].retries: 11 is not within 0 and 10`,
				`profiles[0].retryCauses: "code" is neither transient nor capacity`,
				`profiles[1].approvers: " " is not the name of a group`,
				`profiles[1].approvalTimeout: 960h is neither 0 nor within 1m and 30d`,
				`profiles[1].onTimeout: "wait" is neither discard nor keep`,
				`profiles[1].reminders: 1s is neither 0 nor within 1m and 30d`,
				`profiles[1].clock: there is no window "gone"`,
				`profiles[1].retryBackoff: 0s is not within 1s and 24h`,
				`profiles[1].deadlines.planning: 192h is neither 0 nor within 1m and 7d`,
				`profiles[1].name: another profile has it`,
				`profiles[2].name: "two words" must be letters`,
				`profiles[3].escalation[0].notify: the step does nothing`,
				`profiles[3].escalation[1].after: 1h does not come after the step before, at 2h`,
				`profiles[3].escalation[1].notify: there is no channel "gone"`,
				`profiles[3].escalation[3].notify: there is no channel "away"`,
				`profiles[3].escalation[3].after: nothing comes after a step that discards the plan`,
				`profiles[4]: it asks for 2 approvals, but with confirm=auto (profile c) and no limit nobody is ever asked`,
			},
		},
		"windows": {
			file: `
windows:
  - {name: w, timeZone: Europe/Atlantis}
  - {name: w, timeZone: UTC, allow: [{start: 9 o'clock, duration: 8h}, {start: 1999-01-01T09:00, duration: 0s, exDates: [never]}]}
  - name: rules
    timeZone: UTC
    deny:
      - {start: 2026-01-01T09:00, duration: 1h, rrule: FREQ=HOURLY}
      - {start: 2026-01-01T09:00, duration: 1h, rrule: "FREQ=DAILY;BYMINUTE=1"}
      - {start: 2026-01-01T09:00, duration: 1h, rrule: "FREQ=DAILY;COUNT=3;UNTIL=20270101"}
      - {start: 2026-01-01T09:00, duration: 1h, rrule: "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"}
      - {start: 2026-01-01T09:00, duration: 1h, rrule: "FREQ=WEEKLY;BYDAY=1MO"}
      - {start: 2026-01-01T09:00, duration: 1h, rrule: "FREQ=DAILY;INTERVAL=0"}
      - {start: 2026-01-01T09:00, duration: 1h, rrule: "FREQ=OFTEN"}
      - {start: 2026-01-01T09:00, duration: 1h, rrule: "every day"}
      - {start: 2026-01-01T09:00, duration: 1h, rrule: "FREQ=MONTHLY;BYDAY=-6MO"}
      - {start: 2026-01-01T09:00, duration: 1h, rrule: "FREQ=YEARLY;BYMONTH=12;BYDAY=6FR"}
`,
			says: []string{
				`windows[0].timeZone: there is no time zone "Europe/Atlantis"`,
				`windows[0].allow: the window says nothing`,
				`windows[1].allow[0].start: "9 o'clock" is not a local time`,
				`windows[1].allow[1].start: 1999 is not a year within 2000 and 2099`,
				`windows[1].allow[1].duration: 0s is not within 1m and 366d`,
				`windows[1].allow[1].exDates: "never" is neither`,
				`windows[1].name: another window has it`,
				`windows[2].deny[0].rrule: FREQ=HOURLY is more often than DAILY`,
				`windows[2].deny[1].rrule: "BYMINUTE" is not understood`,
				`windows[2].deny[2].rrule: COUNT and UNTIL exclude each other`,
				`windows[2].deny[3].rrule: it never happens`,
				`windows[2].deny[4].rrule: a number in BYDAY needs FREQ=MONTHLY`,
				`windows[2].deny[5].rrule: INTERVAL=0 is not within 1 and 1000`,
				`windows[2].deny[6].rrule: "FREQ=OFTEN": undefined frequency: OFTEN`,
				`windows[2].deny[7].rrule: "every day" is not understood`,
				`windows[2].deny[8].rrule: a number in BYDAY is not within -5 and 5`,
				`windows[2].deny[9].rrule: a number in BYDAY is not within -5 and 5`,
			},
		},
		"rules": {
			file: `
accounts: [{name: acme, endpoint: "https://acme.app.spacelift.io", apiKeyId: k, apiKeySecret: s, webhookSecrets: [w]}]
profiles: [{name: production}]
defaultProfile: prodution
rules:
  - {name: a, profile: staging}
  - {name: a, match: {stacks: [""], labels: [" "]}, profile: production}
  - {name: "two words", match: {accounts: [acne, acme]}}
`,
			says: []string{
				`defaultProfile: there is no profile "prodution" (meant production?); configure it under profiles (there are production)`,
				`rules[0].profile: there is no profile "staging"; configure it under profiles (there are production)`,
				`rules[1].name: another rule has it; give each its own`, `rules[1].match.stacks: one is empty`, `rules[1].match.labels: one is empty`,
				`rules[2].name: "two words" must be letters`, `rules[2].profile: it is missing`, `rules[2].match.accounts[0]: there is no account "acne" (meant acme?)`,
			},
		},
		"channels": {
			file: `
channels:
  - {name: a, kind: mail, url: "https://x"}
  - {name: b, kind: slack, url: "https://x", urlFile: /x}
  - {name: b, kind: webhook, url: "https://x"}
  - {name: "#c", kind: slack, url: "https://x", secret: s}
`,
			env: []string{"GANTRY_GUARDIAN_NOTIFY=a, gone"},
			says: []string{
				`channels[0].kind: "mail" is neither slack nor webhook`,
				`channels[1]: give one of url and urlFile`,
				`channels[2]: give one of secret and secretFile`,
				`channels[2].name: another channel has it`,
				`channels[3].name: "#c" must be letters`,
				`channels[3].secret: Slack has no signatures`,
				`GANTRY_GUARDIAN_NOTIFY: there is no channel "gone"`,
			},
		},
		"people": {
			file: `
people:
  - {name: jane, aliases: [jd, ""]}
  - {aliases: [x]}
  - {name: bob, aliases: [JD]}
`,
			says: []string{`people[0].aliases: one is empty`, `people[1].name: it is missing`, `people[2].name: JD is a name of jane too`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			loaded, err := config.Read(write(t, tt.file), tt.env, nil)
			if err != nil {
				t.Fatal(err)
			}
			err = loaded.MistakesShared()
			if err == nil {
				t.Fatal("it is valid")
			}
			lines := strings.Split(err.Error(), "\n")
			for i, line := range lines { // after file:line:column
				lines[i] = line[len(regexp.MustCompile(`^(\S+:\d+:\d+: )?`).FindString(line)):]
			}
			for _, says := range tt.says {
				if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, says) }) {
					t.Errorf("it does not say %q", says)
				}
			}
			if len(lines) != len(tt.says) {
				t.Errorf("it says %d things, want %d:\n%v", len(lines), len(tt.says), err)
			}
		})
	}
	for name, file := range map[string]string{
		"duration": "profiles: [{name: a, reminders: soon}]", "unknown": "profiles: [{name: a, approvalCount: 2}]", "nested": "windows: [{name: w, allow: [{begin: x}]}]",
	} {
		if _, err := config.Read(write(t, file), nil, nil); err == nil || !regexp.MustCompile(`reminders|approvalCount|begin`).MatchString(err.Error()) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPolicySettingsFromEverywhere checks that settings outside lists can come from
// the environment, and that YAML's own reading of dates and numbers doesn't count.
func TestPolicySettingsFromEverywhere(t *testing.T) {
	file := write(t, `
channels: [{name: a, kind: slack, url: "https://x/y"}, {name: b, kind: slack, url: "https://x/y"}]
windows: [{name: w, timeZone: UTC, allow: [{start: 2026-01-05T09:00, duration: 1h, rrule: FREQ=DAILY, exDates: [2026-01-06, "2026-01-07", 2026-01-08T09:00]}]}]
profiles: [{name: p, approvals: "2", reminders: 0, approvalTimeout: 2d, drift: false}]
`)
	loaded, err := config.Read(file, []string{"GANTRY_GUARDIAN_NOTIFY=a, #b", "GANTRY_LABELS_DEPENDS_ON=true", "GANTRY_LOGS_READ=true"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := loaded.MistakesShared(); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(config.Names{"a", "b"}, loaded.Guardian.Notify); diff != "" {
		t.Errorf("guardian.notify (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"2026-01-06", "2026-01-07", "2026-01-08T09:00"}, loaded.Windows[0].Allow[0].ExDates); diff != "" {
		t.Errorf("exDates (-want +got):\n%s", diff)
	}
	rules, err := loaded.Definitions()
	if err != nil {
		t.Fatal(err)
	}
	p := rules.Resolve(policy.Labelled([]string{"gantry:profile=p", "gantry:window=w", "depends-on:x"}))
	got := []string{strconv.Itoa(p.Approvals.Value), p.Reminders.Value.String(), p.ApprovalTimeout.Value.String(), p.After.Origin, p.ReadLogs.Origin}
	if diff := cmp.Diff([]string{"2", "0s", "48h", "depends-on:x", "logs.read"}, got); diff != "" || len(p.Problems) > 0 {
		t.Errorf("policy (-want +got):\n%s\n%v", diff, p.Problems)
	}
	if g := rules.Gate(p, "app", nil, time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)); !g.Until.Equal(time.Date(2026, 1, 9, 9, 0, 0, 0, time.UTC)) {
		t.Errorf("with three days left out the gate is %+v", g)
	}
}

func TestPrintShowsListsWithoutSecrets(t *testing.T) {
	content, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	file := write(t, strings.NewReplacer(
		"urlFile: /run/secrets/slack-deploys", "url: https://hooks.slack.example/hush1", "secretFile: /run/secrets/on-call", "secret: hush2",
		"apiKeySecretFile: /run/secrets/acme-api-key", "apiKeySecret: hush3", "sha256:", "sha256:hush",
	).Replace(string(content)))
	loaded, err := config.Read(file, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := loaded.Print(&out); err != nil {
		t.Fatal(err)
	}
	for _, hidden := range []string{"hush", "alerts.acme.example"} { // addresses may hold tokens
		if strings.Contains(out.String(), hidden) {
			t.Errorf("it shows %q:\n%s", hidden, &out)
		}
	}
	for _, line := range []string{
		`channels\[0\]\.url +\(set\) +`, `channels\[1\]\.secret +\(set\) +`, `tokens\[0\]\.role +approver +`, `guardian\.notify +on-call +`,
		`windows\[0\]\.allow\[0\]\.duration +8h +`, `profiles\[0\]\.limits\.maxDeleted +0 +`, `profiles\[0\]\.escalation\[1\]\.notify +on-call +`, `people\[0\]\.aliases +jane-doe, jane@acme\.example +`,
	} {
		if !regexp.MustCompile(`(?m)^` + line + regexp.QuoteMeta(file) + `$`).MatchString(out.String()) {
			t.Errorf("no line is %s:\n%s", line, &out)
		}
	}
}
