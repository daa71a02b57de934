package policy_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

const h = policy.Duration(time.Hour)

// team is a configuration as a team might have it.
func team() policy.Config {
	return policy.Config{
		Channels:        []string{"deploys", "on-call"},
		DependsOnLabels: true,
		Windows: []policy.Window{
			officeHours(),
			{Name: "no-holidays", TimeZone: "Europe/Berlin", Deny: []policy.Recurrence{{Start: "2026-12-24T00:00", Duration: 4 * 24 * h, RRule: "FREQ=YEARLY"}}},
		},
		Profiles: []policy.Profile{
			{
				Name: "production", Confirm: new(policy.ConfirmNoDeletes), MaxChanged: new(10), Drift: new(false), Approvals: new(2), Approvers: new("platform"),
				ApprovalTimeout: new(24 * h), OnTimeout: new(policy.TimeoutKeep), Reminders: new(4 * h), Clock: new("office-hours"),
				Escalation: []policy.Step{{After: h, Notify: []string{"#deploys"}}, {After: 4 * h, Notify: []string{"on-call"}}, {After: 48 * h, Discard: true}},
				Windows:    []string{"office-hours", "no-holidays"}, Notify: []string{"#deploys"}, Retries: new(1), RetryBackoff: new(5 * h), ReadLogs: new(true),
				Deadlines: policy.ProfileDeadlines{Planning: new(2 * h)},
			},
			{Name: "sandbox", Confirm: new(policy.ConfirmAuto), Types: []spacelift.RunType{spacelift.RunTypeTracked, spacelift.RunTypeDestroy}},
			{Name: "observed", Retries: new(3)},
		},
	}
}

func officeHours() policy.Window {
	return policy.Window{Name: "office-hours", TimeZone: "Europe/Berlin", Allow: []policy.Recurrence{
		{Start: "2026-01-05T09:00", Duration: 8 * h, RRule: "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR"},
	}}
}

func compile(t testing.TB, c policy.Config) *policy.Definitions {
	t.Helper()
	r, err := policy.Compile(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// values renders those settings that are not defaults, as "value (origin)".
func values(t testing.TB, p policy.Policy) map[string]string {
	t.Helper()
	raw, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var settings map[string]json.RawMessage
	if err := json.Unmarshal(raw, &settings); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	show := func(name string, raw json.RawMessage) {
		var s struct {
			Value  any
			Origin string
		}
		if err := json.Unmarshal(raw, &s); err != nil {
			t.Fatal(err)
		}
		if s.Origin != policy.OriginDefault {
			value, _ := json.Marshal(s.Value)
			all[name] = strings.Trim(string(value), `"`) + " (" + s.Origin + ")"
		}
	}
	for name, raw := range settings {
		switch name {
		case "problems":
		case "limits":
			var limits map[string]json.RawMessage
			if err := json.Unmarshal(raw, &limits); err != nil {
				t.Fatal(err)
			}
			for name, raw := range limits {
				show(name, raw)
			}
		default:
			show(name, raw)
		}
	}
	return all
}

func TestResolve(t *testing.T) {
	rules := compile(t, team())
	for _, tt := range []struct {
		name      string
		labels    []string
		want      map[string]string
		approvals int
	}{
		{name: "managed alone is observed", labels: []string{"gantry:managed"}, want: map[string]string{}},
		{name: "no labels at all", want: map[string]string{}},
		{name: "labels of others", labels: []string{"gantry", "gantry-confirm=auto", "my:gantry:confirm=auto", "dependsOn:network"}, want: map[string]string{}},
		{name: "manual", labels: []string{"gantry:managed", "gantry:confirm=manual"}, approvals: 1, want: map[string]string{"confirm": "manual (gantry:confirm=manual)"}},
		{name: "no-deletes", labels: []string{"gantry:confirm=no-deletes"}, approvals: 1, want: map[string]string{"confirm": "no-deletes (gantry:confirm=no-deletes)"}},
		{name: "auto, with space around", labels: []string{" gantry:confirm=auto "}, approvals: 1, want: map[string]string{"confirm": "auto (gantry:confirm=auto)"}},
		{name: "said twice", labels: []string{"gantry:approvals=2", "gantry:approvals=2"}, approvals: 2, want: map[string]string{"approvals": "2 (gantry:approvals=2)"}},
		{name: "a group means that approvals count", labels: []string{"gantry:approvers=site reliability"}, approvals: 1, want: map[string]string{"approvers": "site reliability (gantry:approvers=site reliability)"}},
		{name: "so does a time-out", labels: []string{"gantry:approval-timeout=2d"}, approvals: 1, want: map[string]string{"approvalTimeout": "48h (gantry:approval-timeout=2d)"}},
		{name: "a window", labels: []string{"gantry:window=office-hours"}, want: map[string]string{"windows": `["office-hours"] (gantry:window=office-hours)`}},
		{name: "retries", labels: []string{"gantry:retries=0"}, want: map[string]string{"retries": "0 (gantry:retries=0)"}},
		{
			name: "several stacks before", labels: []string{"gantry:after=network", "gantry:after=dns", "depends-on:vpc, network"},
			want: map[string]string{"after": `["dns","network","vpc"] (depends-on:vpc, network, gantry:after=dns, gantry:after=network)`},
		},
		{
			name: "several channels, however written", labels: []string{"gantry:notify=#deploys", "gantry:notify=on-call", "gantry:notify=deploys"},
			want: map[string]string{"notify": `["deploys","on-call"] (gantry:notify=#deploys, gantry:notify=deploys, gantry:notify=on-call)`},
		},
		{
			name: "a profile", labels: []string{"gantry:profile=production"}, approvals: 2,
			want: map[string]string{
				"profile": "production (gantry:profile=production)", "confirm": "no-deletes (profile production)", "maxChanged": "10 (profile production)",
				"drift": "false (profile production)", "approvals": "2 (profile production)", "approvers": "platform (profile production)",
				"approvalTimeout": "24h (profile production)", "onTimeout": "keep (profile production)", "reminders": "4h (profile production)",
				"escalation": `[{"after":"1h","notify":["deploys"]},{"after":"4h","notify":["on-call"]},{"after":"48h","discard":true}] (profile production)`,
				"clock":      "office-hours (profile production)", "windows": `["no-holidays","office-hours"] (profile production)`, "notify": `["deploys"] (profile production)`,
				"retries": "1 (profile production)", "retryBackoff": "5h (profile production)", "readLogs": "true (profile production)",
				"deadlines": `{"applying":"2h","origins":{"planning":"profile production"},"planning":"2h","queued":"30m","starting":"20m"} (profile production)`,
			},
		},
		{
			name: "labels go over the profile", labels: []string{"gantry:retries=5", "gantry:profile=observed"},
			want: map[string]string{"profile": "observed (gantry:profile=observed)", "retries": "5 (gantry:retries=5)"},
		},
		{
			name: "types narrow auto down", labels: []string{"gantry:profile=sandbox", "gantry:approvals=3"}, approvals: 3,
			want: map[string]string{
				"profile": "sandbox (gantry:profile=sandbox)", "confirm": "auto (profile sandbox)", "types": `["TRACKED","DESTROY"] (profile sandbox)`, "approvals": "3 (gantry:approvals=3)",
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := rules.Resolve(policy.Labelled(tt.labels))
			if len(got.Problems) > 0 {
				t.Errorf("problems: %+v", got.Problems)
			}
			if diff := cmp.Diff(tt.want, values(t, got)); diff != "" {
				t.Errorf("settings that are not defaults (-want +got):\n%s", diff)
			}
			if got.Approvals.Value != tt.approvals {
				t.Errorf("%d approvals, want %d", got.Approvals.Value, tt.approvals)
			}
			roundTrip(t, got)
		})
	}
}

// roundTrip makes sure that a policy is the same after it was stored.
func roundTrip(t testing.TB, p policy.Policy) {
	t.Helper()
	raw, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var back policy.Policy
	if err := json.Unmarshal(raw, &back); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(p, back) || !p.Equal(back) {
		t.Errorf("%+v is read back as %+v", p, back)
	}
}

func TestLabelsThatCannotBeFollowed(t *testing.T) {
	rules := compile(t, team())
	for _, tt := range []struct {
		name     string
		labels   []string
		problems []string // each a label and, after a slash, words of the problem or remedy
	}{
		{"contradiction", []string{"gantry:confirm=auto", "gantry:confirm=manual"}, []string{"gantry:confirm=auto and gantry:confirm=manual/contradict"}},
		{"two profiles", []string{"gantry:profile=production", "gantry:profile=sandbox"}, []string{"gantry:profile=production and gantry:profile=sandbox/contradict"}},
		{"no value", []string{"gantry:confirm"}, []string{"gantry:confirm/write gantry:confirm=manual, auto or no-deletes"}},
		{"empty value", []string{"gantry:window="}, []string{"gantry:window=/value is missing"}},
		{"unknown value", []string{"gantry:confirm=yes"}, []string{"gantry:confirm=yes/none of auto, manual and no-deletes"}},
		{"value in capitals", []string{"gantry:confirm=AUTO"}, []string{"gantry:confirm=AUTO/write gantry:confirm=auto"}},
		{"space inside", []string{"gantry:confirm = auto"}, []string{"gantry:confirm = auto/meant gantry:confirm"}},
		{"prefix in capitals", []string{"Gantry:Confirm=Manual", "gantry:confirm=auto"}, []string{"Gantry:Confirm=Manual/write gantry:confirm=manual"}},
		{"key in capitals", []string{"gantry:Managed"}, []string{"gantry:Managed/meant gantry:managed"}},
		{"managed with a value", []string{"gantry:managed=true"}, []string{"gantry:managed=true/write gantry:managed"}},
		{"bare prefix", []string{"gantry:"}, []string{"gantry:/no such label"}},
		{"slip of the pen", []string{"gantry:approval_timeout=2h"}, []string{"gantry:approval_timeout=2h/meant gantry:approval-timeout"}},
		{"unknown label", []string{"gantry:confrim=manual", "gantry:confirm=auto"}, []string{"gantry:confrim=manual/no such label"}},
		{"more than is kept", []string{policy.LabelTooMany, "gantry:confirm=auto"}, []string{"gantry:(and more)/remove some"}},
		{"no approvals", []string{"gantry:approvals=0"}, []string{"gantry:approvals=0/within 1 and 20"}},
		{"too many approvals", []string{"gantry:approvals=21"}, []string{"gantry:approvals=21/within 1 and 20"}},
		{"approvals with a sign", []string{"gantry:approvals=+2"}, []string{"gantry:approvals=+2/not a number"}},
		{"too many retries", []string{"gantry:retries=11"}, []string{"gantry:retries=11/within 0 and 10"}},
		{"time-out in words", []string{"gantry:approval-timeout=tomorrow"}, []string{"gantry:approval-timeout=tomorrow/gantry:approval-timeout=24h"}},
		{"time-out of nothing", []string{"gantry:approval-timeout=0s"}, []string{"gantry:approval-timeout=0s/within 1m and 30d"}},
		{"time-out too long", []string{"gantry:approval-timeout=31d"}, []string{"gantry:approval-timeout=31d/within 1m and 30d"}},
		{"unknown window", []string{"gantry:window=weekend"}, []string{"gantry:window=weekend/there are no-holidays, office-hours"}},
		{"unknown profile", []string{"gantry:profile=prod"}, []string{"gantry:profile=prod/there are observed, production, sandbox"}},
		{"unknown channel", []string{"gantry:notify=#random"}, []string{"gantry:notify=#random/there are deploys, on-call"}},
		{"not a stack", []string{"gantry:after=a/b"}, []string{"gantry:after=a/b/not the id of a stack"}},
		{"not a stack of the community's", []string{"depends-on:"}, []string{"depends-on:/not the id of a stack"}},
		{"group with a line break", []string{"gantry:approvers=a\nb"}, []string{"gantry:approvers=a\nb/not the name of a group"}},
		{
			"nobody would be asked", []string{"gantry:confirm=auto", "gantry:approvals=2", "gantry:approvers=platform", "gantry:approval-timeout=1h"},
			[]string{"gantry:approval-timeout=1h/nobody is ever asked", "gantry:approvals=2/nobody is ever asked", "gantry:approvers=platform/nobody is ever asked"},
		},
		{
			"each of several is named", []string{"gantry:retries=x", "gantry:approvals=x", "gantry:confirm=auto"},
			[]string{"gantry:approvals=x/number", "gantry:retries=x/number"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := rules.Resolve(policy.Labelled(tt.labels))
			if len(got.Problems) != len(tt.problems) {
				t.Fatalf("problems are %+v, want %d", got.Problems, len(tt.problems))
			}
			for i, p := range got.Problems {
				at := strings.LastIndex(tt.problems[i], "/")
				label, words := tt.problems[i][:at], tt.problems[i][at+1:]
				if p.Label != label || !strings.Contains(p.Problem+"; "+p.Remedy, words) || p.Remedy == "" {
					t.Errorf("problem %+v, want label %q and %q", p, label, words)
				}
			}
			if alone, _ := got.AutoConfirms(policy.PlanFacts{Type: spacelift.RunTypeTracked, Delta: &spacelift.Delta{Added: 1}}); alone {
				t.Error("Gantry would confirm alone")
			}
			if !got.AsksPeople() {
				t.Error("people would not be asked")
			}
			roundTrip(t, got)
		})
	}
}

// TestNoConfiguration: without one, labels that need it can't be followed and
// the others can.
func TestNoConfiguration(t *testing.T) {
	var none *policy.Definitions
	got := none.Resolve(policy.Labelled([]string{"gantry:managed", "gantry:confirm=auto", "gantry:after=network", "depends-on:vpc"}))
	want := map[string]string{"confirm": "auto (gantry:confirm=auto)", "after": `["network"] (gantry:after=network)`}
	if diff := cmp.Diff(want, values(t, got)); diff != "" || len(got.Problems) > 0 {
		t.Errorf("settings (-want +got):\n%s\nproblems: %v", diff, got.Problems)
	}
	for _, label := range []string{"gantry:profile=production", "gantry:window=office-hours", "gantry:notify=deploys"} {
		if p := none.Resolve(policy.Labelled([]string{label})); len(p.Problems) != 1 || !strings.Contains(p.Problems[0].Remedy, "there are none yet") {
			t.Errorf("%s: %+v", label, p.Problems)
		}
	}
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	if g := none.Gate(got, "app", nil, at); !g.Open || !g.Until.IsZero() {
		t.Errorf("gate without windows: %+v", g)
	}
	got.Windows.Value = []string{"gone"}
	if g := none.Gate(got, "app", nil, at); g.Open || g.Window != "gone" || !g.Until.IsZero() {
		t.Errorf("gate of a window that is gone: %+v", g)
	}
}

func TestMayFollow(t *testing.T) {
	for _, label := range []string{"gantry:after=network-prod", " depends-on:network-prod,dns-prod"} {
		if !policy.MayFollow([]string{"env:prod", label}) {
			t.Errorf("%q follows nobody", label)
		}
	}
	if policy.MayFollow([]string{"gantry:managed", "gantry:after", "gantry:retries=2", "after=x"}) || policy.MayFollow(nil) {
		t.Error("a stack that names no other may follow one")
	}
}
