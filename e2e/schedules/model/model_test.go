package model

import (
	"slices"
	"testing"
	"time"

	"github.com/gantryhq/gantry/e2e/schedules/history"
)

var office = Config{
	Profiles: []history.Profile{
		{Name: "production", Confirm: "manual", Approvals: 2, Approvers: "platform", ApprovalTimeout: "1d12h", OnTimeout: "keep", Windows: []string{"day"}, Retries: new(2), RetryBackoff: "2m"},
		{Name: "small", Confirm: "auto", Limits: &history.Limits{MaxAdded: new(3)}, Drift: new(false)},
	},
	Windows:  []history.Window{{Name: "day", Allow: []history.Period{{Start: noon, End: noon.Add(time.Hour)}}, Deny: []history.Period{{Start: noon.Add(30 * time.Minute), End: noon.Add(40 * time.Minute)}}}},
	Channels: []string{"#deploys"},
	People: []history.Person{
		{Name: "jane", Role: "approver", Groups: []string{"platform"}, Aliases: []string{"jane-doe"}},
		{Name: "jane-admin", Role: "admin", Groups: []string{"platform"}, Person: "jane"},
		{Name: "bob", Role: "approver"},
		{Name: "vic", Role: "viewer", Groups: []string{"platform"}},
	},
}

var noon = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

func TestMay(t *testing.T) {
	c := Config{People: []history.Person{
		{Name: "dan", Role: "operator"}, {Name: "fay", Role: "viewer"}, {Name: "eve", Role: "admin"},
		{Name: "gil", Scopes: []history.Scope{{Role: "approver", Stacks: []string{"s*-a"}}, {Role: "operator", Spaces: []string{"prod"}, Stacks: []string{"s1-b"}}}},
	}}
	for _, g := range []struct {
		token, role, stack, space string
		want                      Grant
	}{
		{"dan", "approver", "s1-a", "", Never},
		{"dan", "viewer", "s1-a", "", Held},
		{"fay", "operator", "s1-a", "", Never},
		{"eve", "approver", "s1-a", "", Held},
		{"gil", "approver", "s12-a", "", Held},
		{"gil", "approver", "s12-b", "", Never},
		{"gil", "viewer", "s12-a", "", Held},
		{"gil", "operator", "s1-b", "prod/eu", Open},
		{"gil", "operator", "s1-b", "production", Never},
		{"gil", "operator", "s1-a", "prod", Never},
		{"nobody", "viewer", "s1-a", "", Never},
	} {
		if got := c.May(g.token, g.role, g.stack, g.space); got != g.want {
			t.Errorf("%+v: %s", g, got)
		}
	}
	c.People = append(c.People, history.Person{Name: "lea", Scopes: []history.Scope{{Role: "viewer", Labels: []string{"team:blue"}}}})
	if has, lacks := c.May("lea", "viewer", "s1-a", "", "env:prod", "team:blue"), c.May("lea", "viewer", "s1-a", "", "env:prod"); has != Open || lacks != Never {
		t.Errorf("a role by label is %s with the label and %s without", has, lacks)
	}
}

// Labels only tighten what a locked rule sets.
func TestFloors(t *testing.T) {
	c := office
	c.Floors = []history.Floor{{Name: "floor", Spaces: []string{"prod"}, Profile: "small"}, {Name: "floor-2", Spaces: []string{"prod/eu"}, Profile: "production"}}
	for _, f := range []struct {
		space  string
		labels []string
		want   func(Policy) bool
	}{
		{"dev", []string{"gantry:managed"}, func(p Policy) bool { return p.Confirm == "" }},
		{"prod", []string{"gantry:managed"}, func(p Policy) bool { return p.Confirm == "auto" && *p.Limits.MaxAdded == 3 && !p.Drift }},
		{"prod", []string{"gantry:managed", "gantry:confirm=manual", "gantry:approvals=3"}, func(p Policy) bool { return p.Confirm == "manual" && p.Approvals == 3 }},
		{"production", []string{"gantry:managed", "gantry:confirm=auto"}, func(p Policy) bool { return p.Limits.MaxAdded == nil }},
		{"prod/eu", []string{"gantry:managed", "gantry:confirm=no-deletes", "gantry:approvals=1", "gantry:approvers=security", "gantry:approval-timeout=3d"}, func(p Policy) bool {
			return p.Confirm == "manual" && p.Approvals == 2 && p.Approvers == "platform" && p.Timeout == 36*time.Hour && p.Discards && slices.Equal(p.Windows, []string{"day"})
		}},
		{"prod", []string{"gantry:managed", "gantry:profile=production", "gantry:confirm=auto"}, func(p Policy) bool { return len(p.Unclear) > 0 }},
	} {
		if p := c.Resolve("a", f.space, f.labels); !f.want(p) || len(p.Invalid) > 0 {
			t.Errorf("%s %q: %+v", f.space, f.labels, p)
		}
	}
}

func TestResolve(t *testing.T) {
	for _, c := range []struct {
		name   string
		labels []string
		holds  bool // a label can't be followed
		want   func(Policy) bool
	}{
		{"alone", []string{"gantry:managed"}, false, func(p Policy) bool { return p.Managed && p.Confirm == "" }},
		{"nothing", []string{"env:prod"}, false, func(p Policy) bool { return !p.Managed }},
		{"a label overrides the profile", []string{"gantry:managed", "gantry:profile=production", "gantry:approvals=3"}, false, func(p Policy) bool {
			return p.Approvals == 3 && p.Approvers == "platform" && p.Timeout == 36*time.Hour && !p.Discards && p.Retries == 2 && p.RetryBackoff == 2*time.Minute
		}},
		{"an unknown label", []string{"gantry:managed", "gantry:approval=2"}, true, nil},
		{"letters in the wrong case", []string{"gantry:managed", "gantry:Confirm=auto"}, true, nil},
		{"the prefix in the wrong case", []string{"gantry:managed", "Gantry:confirm=auto"}, true, nil},
		{"spaces around the =", []string{"gantry:managed", "gantry:confirm = auto"}, true, nil},
		{"no value", []string{"gantry:managed", "gantry:confirm"}, true, nil},
		{"a value out of range", []string{"gantry:managed", "gantry:approvals=21", "gantry:confirm=manual"}, true, nil},
		{"a time-out that is too short", []string{"gantry:managed", "gantry:confirm=manual", "gantry:approval-timeout=30s"}, true, nil},
		{"an unknown profile", []string{"gantry:managed", "gantry:profile=nope"}, true, nil},
		{"an unknown window", []string{"gantry:managed", "gantry:window=nope"}, true, nil},
		{"an unknown channel", []string{"gantry:managed", "gantry:notify=nope"}, true, nil},
		{"a channel without its #", []string{"gantry:managed", "gantry:notify=deploys"}, false, func(p Policy) bool { return slices.Equal(p.Notify, []string{"deploys"}) }},
		{"a contradiction", []string{"gantry:managed", "gantry:confirm=auto", "gantry:confirm=manual"}, true, nil},
		{"nobody is ever asked", []string{"gantry:managed", "gantry:confirm=auto", "gantry:approvals=2"}, true, nil},
		{"limits ask people", []string{"gantry:managed", "gantry:profile=small", "gantry:approvals=2"}, false, nil},
		{"a stack that follows itself", []string{"gantry:managed", "gantry:after=a"}, true, nil},
		{"several parents", []string{"gantry:managed", "gantry:after=b", "gantry:after=c"}, false, func(p Policy) bool { return slices.Equal(p.After, []string{"b", "c"}) }},
		{"depends-on without leave", []string{"gantry:managed", "depends-on:b"}, false, func(p Policy) bool { return p.After == nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := office.Resolve("a", "", c.labels)
			if len(p.Unclear) > 0 || (len(p.Invalid) > 0) != c.holds || (c.want != nil && !c.want(p)) {
				t.Errorf("%q resolve to %+v", c.labels, p)
			}
		})
	}
	depends := office
	depends.DependsOn = true
	if p := depends.Resolve("a", "", []string{"gantry:managed", "depends-on:b,c"}); !slices.Equal(p.After, []string{"b", "c"}) {
		t.Errorf("depends-on:b,c follows %q", p.After)
	}
}

func TestDecider(t *testing.T) {
	adds := Plan{Type: "TRACKED", Delta: &history.Delta{Added: 2}}
	deletes := Plan{Type: "TRACKED", Delta: &history.Delta{Deleted: 1}}
	unknown := Plan{Type: "TRACKED"}
	for _, c := range []struct {
		label string
		plan  Plan
		want  Decider
	}{
		{"gantry:confirm=auto", deletes, Gantry},
		{"gantry:confirm=auto", unknown, Gantry},
		{"gantry:confirm=auto", Plan{Type: "TASK"}, People},
		{"gantry:confirm=no-deletes", adds, Gantry},
		{"gantry:confirm=no-deletes", deletes, People},
		{"gantry:confirm=no-deletes", unknown, People},
		{"gantry:confirm=manual", adds, People},
		{"gantry:approvals=1", adds, People},
		{"env:prod", adds, Outside},
		{"gantry:profile=small", adds, Gantry},
		{"gantry:profile=small", unknown, People},
		{"gantry:profile=small", Plan{Type: "TRACKED", Delta: &history.Delta{Added: 4}}, People},
		{"gantry:profile=small", Plan{Type: "TRACKED", Delta: adds.Delta, Drift: true}, People},
		{"gantry:nonsense=1", adds, Nobody},
	} {
		if got := office.Resolve("a", "", []string{"gantry:managed", c.label}).Decider(c.plan); got != c.want {
			t.Errorf("%s leaves %+v to %s, not to %s", c.label, c.plan, got, c.want)
		}
	}
}

func TestMayApprove(t *testing.T) {
	p := office.Resolve("a", "", []string{"gantry:managed", "gantry:profile=production"})
	change := Plan{Author: "carol"}
	for _, c := range []struct {
		name, token string
		plan        Plan
		may         bool
	}{
		{"a member of the group", "jane", change, true},
		{"somebody else", "bob", change, false},
		{"a viewer", "vic", change, false},
		{"a stranger", "eve", change, false},
		{"the author", "jane", Plan{Author: "Jane-Doe"}, false},
		{"the author by another token", "jane-admin", Plan{Author: "jane-doe"}, false},
		{"who triggered it", "jane", Plan{Author: "carol", By: []string{"jane"}}, false},
		{"anybody, if nobody is known", "jane", Plan{}, false},
	} {
		if why := office.MayApprove(p, c.plan, c.token, office.May(c.token, "approver", "a", "")); (why == "") != c.may {
			t.Errorf("%s: %q", c.name, why)
		}
	}
	p.SelfApproval = true
	if why := office.MayApprove(p, Plan{Author: "jane"}, "jane", Held); why != "" {
		t.Errorf("the policy allows it: %s", why)
	}
}

// Expressions ask for people besides the stack's own, and each person counts once.
func TestApprovalsByResources(t *testing.T) {
	c := Config{Profiles: []history.Profile{{Name: "db", Confirm: "auto", Approvals: 1, Approvers: "platform", ApprovalsWhen: []history.ApprovalWhen{history.WhenDestroyed("aws_db_instance", 2, "dba")}}}}
	p := c.Resolve("a", "", []string{"gantry:managed", "gantry:profile=db"})
	plan := Plan{Type: "TRACKED", Delta: &history.Delta{Deleted: 1}, Destroys: []string{"aws_iam_user"}}
	if p.Decider(plan) != Gantry || len(p.Invalid)+len(p.Unclear) > 0 {
		t.Errorf("a plan that destroys no database is not left to Gantry: %+v", p)
	}
	plan.Destroys = append(plan.Destroys, "aws_db_instance")
	if p.Decider(plan) != People {
		t.Error("a plan that destroys a database is not left to people")
	}
	both, platform, dba := []string{"dba", "platform"}, []string{"platform"}, []string{"dba"}
	for _, l := range []struct {
		people  [][]string
		missing int
	}{
		{nil, 3}, {[][]string{platform, dba, dba}, 0}, {[][]string{both, both, both}, 0}, {[][]string{both, dba}, 1}, {[][]string{platform, platform, dba}, 1}, {[][]string{dba, dba, dba}, 1},
	} {
		if got := Lacking(p.Demands(plan), l.people); got != l.missing {
			t.Errorf("%v: %d people are missing, not %d", l.people, got, l.missing)
		}
	}
}

func TestWindowsAndFreezes(t *testing.T) {
	p := Policy{Windows: []string{"day"}}
	for after, open := range map[time.Duration]bool{-time.Second: false, 0: true, 35 * time.Minute: false, 50 * time.Minute: true, time.Hour: false} {
		if got := office.Open(p, noon.Add(after)); got != open {
			t.Errorf("%s after noon the window is open: %t", after, got)
		}
	}
	f := Freeze{Stacks: []string{"a"}, Begin: noon, End: noon.Add(time.Hour)}
	if f.Binds("b", noon) || !f.Binds("a", noon) || f.Binds("a", noon.Add(time.Hour)) || !(Freeze{}).Binds("b", noon) {
		t.Error("a freeze binds the stacks that it names, from its begin to its end, or all of them")
	}
}

func TestBrake(t *testing.T) {
	if Brake(history.Stack{LockedBy: "api::gantry"}, "api::gantry") != "" || Brake(history.Stack{}, "x") != "" {
		t.Error("Gantry's own lock is no brake")
	}
	for _, s := range []history.Stack{{LockedBy: "ann"}, {Disabled: true}, {Deleting: true}} {
		if Brake(s, "api::gantry") == "" {
			t.Errorf("%+v is a brake", s)
		}
	}
}

func TestGraph(t *testing.T) {
	g := NewGraph(map[string]Policy{
		"a": {Managed: true}, "b": {Managed: true, After: []string{"a", "ghost"}}, "c": {Managed: true, After: []string{"b"}},
		"x": {Managed: true, After: []string{"y"}}, "y": {Managed: true, After: []string{"x"}}, "z": {Managed: true, After: []string{"y"}},
		"u": {After: []string{"a"}},
	})
	if above := g.Above("c"); !slices.Equal(above, []string{"b", "a"}) {
		t.Errorf("before c go %q", above)
	}
	for stack, circular := range map[string]bool{"a": false, "c": false, "x": true, "y": true, "z": true} {
		if g.Circular(stack) != circular {
			t.Errorf("%s is on or behind a circle: %t", stack, !circular)
		}
	}
}

func TestMayRetry(t *testing.T) {
	p := Policy{Managed: true, Retries: 1, RetryCauses: []string{"transient"}}
	for _, c := range []struct {
		name string
		f    Failure
		may  bool
	}{
		{"a cause that passes", Failure{Cause: Cause("dial tcp 10.0.0.1: connection refused")}, true},
		{"another one", Failure{Cause: Cause("RESOURCE_EXHAUSTED")}, false},
		{"the one that a retry can't fix wins", Failure{Cause: Cause("Unsupported argument after connection refused")}, false},
		{"unknown", Failure{Cause: Cause("VpcLimitExceeded")}, false},
		{"no budget", Failure{Cause: "transient", Attempts: 1}, false},
		{"a person", Failure{Cause: "transient", ByPerson: true}, false},
		{"an apply had begun", Failure{Cause: "transient", Applied: true}, false},
	} {
		if why := p.MayRetry(c.f); (why == "") != c.may {
			t.Errorf("%s: %q", c.name, why)
		}
	}
}
