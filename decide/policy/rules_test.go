package policy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// compiled returns definitions for tests of rules: a few profiles and windows, and the
// given rules.
func compiled(t *testing.T, defaultProfile string, rules ...policy.StackRule) *policy.Definitions {
	t.Helper()
	d, err := policy.Compile(policy.Config{
		Profiles: []policy.Profile{
			{Name: "base", Notify: []string{"deploys"}, Retries: new(1)},
			{Name: "floor", Confirm: new(policy.ConfirmNoDeletes), MaxChanged: new(10), Approvals: new(2), Approvers: new("platform"), Windows: []string{"office"}, Notify: []string{"security"}},
			{Name: "hours", Confirm: new(policy.ConfirmAuto), MaxChanged: new(20), Windows: []string{"nights"}, Approvals: new(1)},
			{Name: "team", Confirm: new(policy.ConfirmAuto), MaxChanged: new(50), Approvals: new(3), SelfApproval: new(true), Notify: []string{"team"}, Retries: new(3)},
			{Name: "dbas", Approvers: new("dba")},
		},
		Windows: []policy.Window{
			{Name: "office", TimeZone: "UTC", Allow: []policy.Recurrence{{Start: "2026-01-05T09:00", Duration: policy.Duration(8 * 3600e9), RRule: "FREQ=DAILY"}}},
			{Name: "nights", TimeZone: "UTC", Allow: []policy.Recurrence{{Start: "2026-01-05T21:00", Duration: policy.Duration(8 * 3600e9), RRule: "FREQ=DAILY"}}},
		},
		Channels: []string{"deploys", "security", "team"}, DefaultProfile: defaultProfile, Rules: rules,
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// valuesOf returns the values that are not defaults, as "value (origin)".
func valuesOf(p policy.Policy) map[string]string {
	all := map[string]string{}
	for _, v := range p.Values() {
		if v.Origin != policy.OriginDefault {
			all[v.Name] = v.Value + " (" + v.Origin + ")"
		}
	}
	return all
}

func TestRulesSelectStacks(t *testing.T) {
	tree := []spacelift.Space{{ID: "root"}, {ID: "production", Parent: "root"}, {ID: "network", Parent: "production"}, {ID: "sandbox", Parent: "root"}}
	stack := policy.StackOf(spacelift.Stack{
		Account: "acme", ID: "network-prod", Space: "network", Labels: []string{"env:prod", "tier:1", "gantry:managed", "owner:Jose\u0301", "note:two\nlines"}, Branch: "release/7", Administrative: true,
	}, tree)
	for name, tt := range map[string]struct {
		match policy.Match
		want  bool
	}{
		"everything":                  {policy.Match{}, true},
		"its account":                 {policy.Match{Accounts: []string{"globex", "acme"}}, true},
		"another account":             {policy.Match{Accounts: []string{"globex"}}, false},
		"its space":                   {policy.Match{Spaces: []string{"network"}}, true},
		"a space above":               {policy.Match{Spaces: []string{"production"}}, true},
		"root, which is all":          {policy.Match{Spaces: []string{"root"}}, true},
		"another space":               {policy.Match{Spaces: []string{"sandbox"}}, false},
		"its id":                      {policy.Match{Stacks: []string{"network-prod"}}, true},
		"a pattern of its id":         {policy.Match{Stacks: []string{"*-dev", "*-prod"}}, true},
		"a part of its id":            {policy.Match{Stacks: []string{"network"}}, false},
		"a pattern is no regexp":      {policy.Match{Stacks: []string{"network.prod"}}, false},
		"a label":                     {policy.Match{Labels: []string{"env:prod"}}, true},
		"all of several labels":       {policy.Match{Labels: []string{"env:*", "tier:1"}}, true},
		"one of several labels":       {policy.Match{Labels: []string{"env:prod", "tier:2"}}, false},
		"a label, composed otherwise": {policy.Match{Labels: []string{"owner:Jos\u00e9"}}, true},
		"a label of two lines":        {policy.Match{Labels: []string{"note:*"}}, true},
		"a branch":                    {policy.Match{Branches: []string{"main", "release/*"}}, true},
		"another branch":              {policy.Match{Branches: []string{"main"}}, false},
		"administrative":              {policy.Match{Administrative: new(true)}, true},
		"not administrative":          {policy.Match{Administrative: new(false)}, false},
		"several parts":               {policy.Match{Spaces: []string{"production"}, Labels: []string{"env:prod"}}, true},
		"several parts, one misses":   {policy.Match{Spaces: []string{"production"}, Labels: []string{"env:dev"}}, false},
	} {
		p := compiled(t, "", policy.StackRule{Name: "r", Match: tt.match, Profile: "base"}).Resolve(stack)
		if got := p.Retries.Value == 1; got != tt.want {
			t.Errorf("%s: it selects the stack: %t, want %t", name, got, tt.want)
		}
	}
	// A tree that is not one does no harm.
	circle := []spacelift.Space{{ID: "a", Parent: "b"}, {ID: "b", Parent: "a"}}
	if got := policy.StackOf(spacelift.Stack{Space: "a"}, circle).Spaces; !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("spaces on a circle: %v", got)
	}
}

// Every rule that selects a stack counts, the later over the earlier, and a locked one
// can only be tightened from then on, by rules and labels.
func TestRulesCombine(t *testing.T) {
	rule := func(name, profile string, locked bool) policy.StackRule {
		return policy.StackRule{Name: name, Profile: profile, Locked: locked}
	}
	for name, tt := range map[string]struct {
		defaultProfile string
		rules          []policy.StackRule
		labels         []string
		want           map[string]string
		overruled      []string // setting=value by origin
		problems       []string
	}{
		"the default profile": {
			defaultProfile: "base",
			want: map[string]string{
				"profile": "base (defaultProfile base)", "notify": "deploys (defaultProfile base)", "retries": "1 (defaultProfile base)",
			},
		},
		"labels over a rule over the default profile": {
			defaultProfile: "base", rules: []policy.StackRule{rule("r", "team", false)}, labels: []string{"gantry:approvals=1", "gantry:notify=security"},
			want: map[string]string{
				"profile": "team (rule r (profile team))", "confirm": "auto (rule r (profile team))", "limits.maxChanged": "50 (rule r (profile team))",
				"approvals": "1 (gantry:approvals=1)", "selfApproval": "true (rule r (profile team))", "notify": "security (gantry:notify=security)", "retries": "3 (rule r (profile team))",
			},
		},
		"a later rule over an earlier one": {
			rules: []policy.StackRule{rule("one", "team", false), rule("two", "base", false)},
			want: map[string]string{
				"profile": "base (rule two (profile base))", "confirm": "auto (rule one (profile team))", "limits.maxChanged": "50 (rule one (profile team))", "approvals": "3 (rule one (profile team))",
				"selfApproval": "true (rule one (profile team))", "notify": "deploys (rule two (profile base))", "retries": "1 (rule two (profile base))",
			},
		},
		"labels tighten a locked rule, and loosen nothing": {
			rules:  []policy.StackRule{rule("floor", "floor", true)},
			labels: []string{"gantry:confirm=auto", "gantry:approvals=3", "gantry:approvers=dba", "gantry:window=nights", "gantry:notify=team", "gantry:retries=2", "gantry:approval-timeout=24h"},
			want: map[string]string{
				"profile": "floor (rule floor (profile floor))", "confirm": "no-deletes (rule floor (profile floor))", "limits.maxChanged": "10 (rule floor (profile floor))",
				"approvals": "3 (gantry:approvals=3)", "approvers": "platform (rule floor (profile floor))", "windows": "nights, office (rule floor (profile floor), gantry:window=nights)",
				"notify": "security, team (rule floor (profile floor), gantry:notify=team)", "retries": "2 (gantry:retries=2)", "approvalTimeout": "24h (gantry:approval-timeout=24h)",
			},
			overruled: []string{"approvers=dba by gantry:approvers=dba", "confirm=auto by gantry:confirm=auto"},
		},
		"a profile that a label names": {
			rules: []policy.StackRule{rule("floor", "floor", true)}, labels: []string{"gantry:profile=team"},
			want: map[string]string{
				"profile": "team (gantry:profile=team)", "confirm": "no-deletes (rule floor (profile floor))", "limits.maxChanged": "10 (rule floor (profile floor))",
				"approvals": "3 (profile team)", "approvers": "platform (rule floor (profile floor))", "windows": "office (rule floor (profile floor))",
				"notify": "security, team (rule floor (profile floor), profile team)", "retries": "3 (profile team)",
			},
			overruled: []string{"confirm=auto by profile team", "limits.maxChanged=50 by profile team", "selfApproval=true by profile team"},
		},
		"what a locked rule leaves out is locked too, if it decides whether a plan passes": {
			rules: []policy.StackRule{rule("floor", "dbas", true)}, labels: []string{"gantry:confirm=auto", "gantry:retries=2"},
			want:      map[string]string{"profile": "dbas (rule floor (profile dbas))", "approvers": "dba (rule floor (profile dbas))", "retries": "2 (gantry:retries=2)", "approvals": "1 (default)"},
			overruled: []string{"confirm=auto by gantry:confirm=auto"},
		},
		"locked rules add up, in any order": {
			rules: []policy.StackRule{rule("hours", "hours", true), rule("floor", "floor", true)},
			want: map[string]string{
				"profile": "floor (rule floor (profile floor))", "confirm": "no-deletes (rule floor (profile floor))", "limits.maxChanged": "10 (rule floor (profile floor))", "approvals": "2 (rule floor (profile floor))",
				"approvers": "platform (rule floor (profile floor))", "windows": "nights, office (rule hours (profile hours), rule floor (profile floor))", "notify": "security (rule floor (profile floor))",
			},
		},
		"a rule after a locked one": {
			rules: []policy.StackRule{rule("floor", "floor", true), rule("team", "team", false)},
			want: map[string]string{
				"profile": "team (rule team (profile team))", "confirm": "no-deletes (rule floor (profile floor))", "limits.maxChanged": "10 (rule floor (profile floor))", "approvals": "3 (rule team (profile team))",
				"approvers": "platform (rule floor (profile floor))", "selfApproval": "true (rule team (profile team))", "windows": "office (rule floor (profile floor))",
				"notify": "security, team (rule floor (profile floor), rule team (profile team))", "retries": "3 (rule team (profile team))",
			},
			overruled: []string{"confirm=auto by rule team (profile team)", "limits.maxChanged=50 by rule team (profile team)"},
		},
		"locked rules that contradict each other": {
			rules:    []policy.StackRule{rule("floor", "floor", true), rule("dbas", "dbas", true)},
			problems: []string{"rule floor (profile floor), rule dbas (profile dbas): they set approvers to platform and to dba, and neither is tighter; remove one of them"},
		},
		"a label that can't be read": {
			rules: []policy.StackRule{rule("floor", "floor", true)}, labels: []string{"gantry:confirm=atuo"},
			problems: []string{"gantry:confirm=atuo: its value is none of auto, manual and no-deletes; write gantry:confirm=auto, gantry:confirm=manual or gantry:confirm=no-deletes"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := compiled(t, tt.defaultProfile, tt.rules...).Resolve(policy.Labelled(tt.labels))
			var overruled, problems []string
			for _, o := range p.Overruled {
				overruled = append(overruled, o.Setting+"="+o.Value+" by "+o.Origin)
				if !strings.Contains(o.Reason, "rule floor (profile floor) locks it") && !strings.Contains(o.Reason, "rule floor (profile dbas) locks it") {
					t.Errorf("the reason doesn't name the rule: %s", o.Reason)
				}
			}
			for _, bad := range p.Problems {
				problems = append(problems, bad.Label+": "+bad.Problem+"; "+bad.Remedy)
			}
			slices.Sort(overruled)
			if diff := cmp.Diff(tt.overruled, overruled); diff != "" {
				t.Errorf("overruled (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.problems, problems); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			if got := valuesOf(p); len(problems) == 0 {
				if p.Approvals.Value == 1 && p.Approvals.Origin == policy.OriginDefault {
					got["approvals"] = "1 (default)"
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("values (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// A run that is held is reported to somebody: in the stack's own channels, or, where it
// has none, in those that the configuration names for that.
func TestHeldStacksHaveAChannel(t *testing.T) {
	d, err := policy.Compile(policy.Config{Channels: []string{"ops", "deploys"}, Fallback: []string{"ops"}})
	if err != nil {
		t.Fatal(err)
	}
	for labels, want := range map[string]string{
		"gantry:confirm=atuo":                        "ops (guardian.notify)",
		"gantry:notify=#depoys":                      "ops (guardian.notify)",
		"gantry:confirm=atuo,gantry:notify=#deploys": "deploys (gantry:notify=#deploys)",
		"gantry:after=app":                           "ops (guardian.notify)", // the stack itself
		"gantry:confirm=auto":                        "",
	} {
		p := d.Resolve(policy.Stack{ID: "app", Labels: strings.Split(labels, ",")}).Of("app")
		if len(p.Problems) == 0 != (want == "") || valuesOf(p)["notify"] != want {
			t.Errorf("%s: %s is notified, want %s: %v", labels, valuesOf(p)["notify"], want, p.Problems)
		}
	}
}

// plan is a plan that waits, and what has happened since: who approved it, how much time
// has passed on each clock, and which windows are open.
type waitingPlan struct {
	facts     policy.PlanFacts
	approvals []approval
	passed    map[string]policy.Duration // by clock; "" is all time
	open      map[string]bool            // windows
	upstream  map[string]bool            // stacks that have finished
}

type approval struct {
	groups []string
	self   bool // by the person who triggered the run
}

// passes says whether the policy lets a plan pass, by the words of the documentation.
func (w waitingPlan) passes(p policy.Policy) bool {
	if len(p.Problems) > 0 || slices.ContainsFunc(p.Windows.Value, func(name string) bool { return !w.open[name] }) ||
		slices.ContainsFunc(p.After.Value, func(stack string) bool { return !w.upstream[stack] }) {
		return false
	}
	if alone, _ := p.AutoConfirms(w.facts); alone {
		return true
	}
	passed := w.passed[p.Clock.Value]
	if p.OnTimeout.Value == policy.TimeoutDiscard && p.ApprovalTimeout.Value > 0 && passed >= p.ApprovalTimeout.Value {
		return false
	}
	if slices.ContainsFunc(p.Escalation.Value, func(s policy.Step) bool { return s.Discard && passed >= s.After }) {
		return false
	}
	given := 0
	for _, a := range w.approvals {
		if (p.Approvers.Value == "" || slices.Contains(a.groups, p.Approvers.Value)) && (!a.self || p.SelfApproval.Value) {
			given++
		}
	}
	return given >= p.Approvals.Value
}

func drawPlan(t *rapid.T) waitingPlan {
	w := waitingPlan{passed: map[string]policy.Duration{}, open: map[string]bool{}, upstream: map[string]bool{}}
	w.facts = policy.PlanFacts{Type: rapid.SampledFrom(spacelift.RunTypes).Draw(t, "type"), Drift: rapid.Bool().Draw(t, "drift")}
	if rapid.Bool().Draw(t, "known") {
		few := rapid.IntRange(0, 3)
		w.facts.Delta = &spacelift.Delta{Added: few.Draw(t, "added"), Changed: few.Draw(t, "changed"), Deleted: few.Draw(t, "deleted")}
	}
	w.approvals = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) approval {
		return approval{rapid.SliceOfDistinct(rapid.SampledFrom(someGroups), rapid.ID).Draw(t, "groups"), rapid.Bool().Draw(t, "self")}
	}), 0, 5).Draw(t, "approved")
	all := policy.Duration(rapid.IntRange(0, 200).Draw(t, "passed")) * policy.Duration(60e9)
	for _, name := range someWindows {
		w.open[name] = rapid.IntRange(0, 3).Draw(t, "open") > 0
		w.passed[name] = policy.Duration(rapid.Int64Range(0, int64(all)).Draw(t, "on its clock"))
	}
	w.passed[""] = all
	w.upstream["network"], w.upstream["dns"] = rapid.Bool().Draw(t, "network"), rapid.Bool().Draw(t, "dns")
	return w
}

var (
	someWindows  = []string{"w1", "w2"}
	someGroups   = []string{"platform", "dba"}
	someChannels = []string{"c1", "c2"}
)

// maybe draws a value or none.
func maybe[T any](t *rapid.T, name string, of *rapid.Generator[T]) *T {
	if !rapid.Bool().Draw(t, name+"?") {
		return nil
	}
	return new(of.Draw(t, name))
}

func drawProfile(t *rapid.T, name string) policy.Profile {
	minutes := rapid.Map(rapid.IntRange(1, 200), func(n int) policy.Duration { return policy.Duration(n) * policy.Duration(60e9) })
	orZero := rapid.OneOf(minutes, rapid.Just(policy.Duration(0)))
	p := policy.Profile{
		Name: name, Confirm: maybe(t, "confirm", rapid.SampledFrom(policy.ConfirmModes)),
		MaxAdded: maybe(t, "maxAdded", rapid.IntRange(0, 3)), MaxChanged: maybe(t, "maxChanged", rapid.IntRange(0, 3)), MaxDeleted: maybe(t, "maxDeleted", rapid.IntRange(0, 3)),
		Types: rapid.SliceOfDistinct(rapid.SampledFrom(spacelift.RunTypes), rapid.ID).Draw(t, "types"), Drift: maybe(t, "drift", rapid.Bool()),
		Approvals: maybe(t, "approvals", rapid.IntRange(1, 3)), Approvers: maybe(t, "approvers", rapid.SampledFrom(someGroups)), SelfApproval: maybe(t, "selfApproval", rapid.Bool()),
		ApprovalTimeout: maybe(t, "approvalTimeout", orZero), OnTimeout: maybe(t, "onTimeout", rapid.SampledFrom(policy.TimeoutActions)), Reminders: maybe(t, "reminders", orZero),
		Clock: maybe(t, "clock", rapid.SampledFrom(append([]string{""}, someWindows...))), Windows: rapid.SliceOfDistinct(rapid.SampledFrom(someWindows), rapid.ID).Draw(t, "windows"),
		Notify: rapid.SliceOfDistinct(rapid.SampledFrom(someChannels), rapid.ID).Draw(t, "notify"), Retries: maybe(t, "retries", rapid.IntRange(0, 3)),
		OldPlans: maybe(t, "oldPlans", rapid.SampledFrom(policy.OldPlansActions)),
	}
	after := policy.Duration(0)
	for range rapid.IntRange(0, 2).Draw(t, "steps") {
		if after += minutes.Draw(t, "after"); len(p.Escalation) > 0 && p.Escalation[len(p.Escalation)-1].Discard {
			break
		}
		p.Escalation = append(p.Escalation, policy.Step{After: after, Notify: []string{"c1"}, Discard: rapid.Bool().Draw(t, "discard")})
	}
	return p
}

var someLabels = rapid.OneOf(
	rapid.SampledFrom([]string{"gantry:managed", "gantry:approvals=0", "env:prod", "gantry:after=network", "gantry:after=dns", "gantry:notify=c1", "gantry:notify=c2"}),
	rapid.SampledFrom([]string{"gantry:profile=one", "gantry:profile=two"}), // the most can go wrong with these
	rapid.Map(rapid.SampledFrom(policy.ConfirmModes), func(m policy.ConfirmMode) string { return "gantry:confirm=" + string(m) }),
	rapid.SampledFrom([]string{"gantry:profile=one", "gantry:profile=two", "gantry:profile=three", "gantry:profile=gone"}),
	rapid.Map(rapid.IntRange(1, 3), func(n int) string { return fmt.Sprint("gantry:approvals=", n) }),
	rapid.Map(rapid.SampledFrom(someGroups), func(g string) string { return "gantry:approvers=" + g }),
	rapid.Map(rapid.SampledFrom(someWindows), func(w string) string { return "gantry:window=" + w }),
	rapid.Map(rapid.IntRange(1, 200), func(n int) string { return fmt.Sprintf("gantry:approval-timeout=%dm", n) }),
	rapid.Map(rapid.IntRange(0, 3), func(n int) string { return fmt.Sprint("gantry:retries=", n) }),
)

func invalid(c policy.Config) bool {
	_, err := policy.Compile(c)
	return err != nil
}

// TestLabelsOnlyTightenALockedStack: whatever the rules and labels are, and whatever has
// happened to a plan, it doesn't pass by a label if it was held without it.
func TestLabelsOnlyTightenALockedStack(t *testing.T) {
	held, passed := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		var c policy.Config
		for _, name := range someWindows {
			c.Windows = append(c.Windows, policy.Window{Name: name, TimeZone: "UTC", Allow: []policy.Recurrence{{Start: "2026-01-05T09:00", Duration: policy.Duration(3600e9), RRule: "FREQ=DAILY"}}})
		}
		c.Channels = someChannels
		for _, name := range []string{"one", "two", "three", "four"} {
			p, with := drawProfile(t, name), c
			if with.Profiles = append(slices.Clone(c.Profiles), p); invalid(with) { // it contradicts itself
				p.Approvals, p.Approvers, p.ApprovalTimeout = nil, nil, nil
			}
			c.Profiles = append(c.Profiles, p)
		}
		c.DefaultProfile = rapid.SampledFrom([]string{"", "four"}).Draw(t, "default profile")
		for i, locked := range rapid.Permutation([]bool{true, rapid.Bool().Draw(t, "second locked"), false}).Draw(t, "locked") {
			c.Rules = append(c.Rules, policy.StackRule{Name: fmt.Sprint("r", i), Profile: rapid.SampledFrom([]string{"one", "two", "three", "four"}).Draw(t, "rule"), Locked: locked})
		}
		rules, err := policy.Compile(c)
		if err != nil {
			t.Fatal(err)
		}
		labels := rapid.SliceOfNDistinct(someLabels, 0, 3, rapid.ID).Draw(t, "labels")
		label := someLabels.Draw(t, "label")
		without, with := rules.Resolve(policy.Labelled(labels)), rules.Resolve(policy.Labelled(append(slices.Clone(labels), label)))
		for range 30 {
			w := drawPlan(t)
			if w.passes(without) {
				passed++
			} else {
				held++
				if w.passes(with) {
					t.Fatalf("with %s the plan %+v passes\nwithout: %v %v\nwith: %v", label, w, valuesOf(without), without.Problems, valuesOf(with))
				}
			}
		}
	})
	if held < 100 || passed < 100 {
		t.Errorf("only %d plans were held, and %d passed", held, passed)
	}
}

// Labels add expressions to those of a locked rule, and replace none.
func TestLockedExpressionsStay(t *testing.T) {
	ask := func(group string) []policy.Requirement {
		return []policy.Requirement{{When: "plan.total > 0", Needed: 1, Group: group}}
	}
	rules, err := policy.Compile(policy.Config{
		Profiles: []policy.Profile{
			{Name: "floor", ConfirmWhen: new("plan.total < 10"), ApprovalsWhen: ask("dba"), HoldWhen: new("plan.total > 100")},
			{Name: "strict", ApprovalsWhen: ask("dba")},
			{Name: "loose", ConfirmWhen: new("plan.total < 1000"), ApprovalsWhen: ask("anyone"), HoldWhen: new("plan.total > 5000")},
		},
		Rules: []policy.StackRule{
			{Name: "floor", Profile: "floor", Locked: true, Match: policy.Match{Labels: []string{"tier:1"}}},
			{Name: "strict", Profile: "strict", Locked: true, Match: policy.Match{Labels: []string{"tier:2"}}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		labels []string
		want   map[string]string
	}{
		"both count": {[]string{"tier:1", "gantry:profile=loose"}, map[string]string{
			"confirm":       "auto (rule floor (profile floor))",
			"confirmWhen":   "(plan.total < 10) && (plan.total < 1000) (rule floor (profile floor), profile loose)",
			"approvalsWhen": "1 of dba when plan.total > 0; 1 of anyone when plan.total > 0 (rule floor (profile floor), profile loose)",
			"holdWhen":      "(plan.total > 100) || (plan.total > 5000) (rule floor (profile floor), profile loose)",
		}},
		"a condition switches nothing on": {[]string{"tier:2", "gantry:profile=loose"}, map[string]string{
			"confirmWhen":   "plan.total < 1000 (profile loose)",
			"approvalsWhen": "1 of dba when plan.total > 0; 1 of anyone when plan.total > 0 (rule strict (profile strict), profile loose)",
			"holdWhen":      "plan.total > 5000 (profile loose)",
		}},
	} {
		got := valuesOf(rules.Resolve(policy.Labelled(append(tt.labels, "gantry:managed"))))
		delete(got, "profile")
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
