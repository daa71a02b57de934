package policy

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/spacelift"
)

var tenPast = time.Date(2026, 11, 23, 8, 10, 0, 0, time.UTC) // a Monday

func planOf(resources ...spacelift.Resource) spacelift.PlannedResources {
	p := spacelift.PlannedResources{Complete: true, Resources: resources, Run: spacelift.Run{Delta: &spacelift.Delta{}}}
	for _, r := range resources {
		if r.Change == spacelift.ChangeDelete {
			p.Run.Delta.Deleted++
		} else {
			p.Run.Delta.Added++
		}
	}
	return p
}

func gone(address string) spacelift.Resource {
	return spacelift.Resource{Address: address, Change: spacelift.ChangeDelete}
}

func judged(t *testing.T, p Profile, plan spacelift.PlannedResources) *Verdicts {
	t.Helper()
	p.Name = "p"
	rules, err := Compile(Config{Profiles: []Profile{p}, Approvers: []decide.Person{{Name: "dora", Groups: []string{"dba"}}}})
	if err != nil {
		t.Fatal(err)
	}
	return rules.Judge(rules.Resolve(Labelled([]string{"gantry:managed", "gantry:profile=p"})), plan, tenPast)
}

func TestJudge(t *testing.T) {
	databases := Requirement{When: `resources.exists(r, r.destroys && r.type == "aws_db_instance")`, Needed: 2, Group: "dba"}
	reasoned := databases
	reasoned.Reason = "it drops a database"
	dora := &Approvers{People: []decide.Person{{Name: "dora"}}}
	main, other := gone("aws_db_instance.main"), gone("aws_vpc.a")
	for name, c := range map[string]struct {
		profile Profile
		plan    spacelift.PlannedResources
		want    *Verdicts
	}{
		"no expressions":  {Profile{}, planOf(main), nil},
		"nothing applies": {Profile{ConfirmWhen: new("plan.total < 10"), ApprovalsWhen: []Requirement{databases}}, planOf(other), &Verdicts{Confirm: true}},
		"all that apply add up": {
			Profile{ConfirmWhen: new("plan.total < 2"), ApprovalsWhen: []Requirement{databases, {When: "plan.deleted > 1", Needed: 1}, {When: "plan.added > 0", Needed: 3}}}, planOf(main, other),
			&Verdicts{Required: []Required{{Needed: 2, Group: "dba", Why: "deletes aws_db_instance.main", Approvers: dora}, {Needed: 1, Why: "plan.deleted > 1", Approvers: &Approvers{People: dora.People}}}},
		},
		"with a reason": {
			Profile{ApprovalsWhen: []Requirement{reasoned}}, planOf(main, gone("aws_db_instance.b"), gone("aws_db_instance.c"), gone("aws_db_instance.d")),
			&Verdicts{Confirm: true, Required: []Required{{Needed: 2, Group: "dba", Why: "it drops a database (deletes aws_db_instance.main, aws_db_instance.b, aws_db_instance.c, and 1 more)", Approvers: dora}}},
		},
		"held": {Profile{HoldWhen: new(`resources.exists(r, r.address == "aws_vpc.a")`)}, planOf(other), &Verdicts{Confirm: true, Holds: []string{"holdWhen (profile p) holds the plan: deletes aws_vpc.a"}}},
		"held until the time is another": {
			Profile{HoldWhen: new(`time.getHours("Europe/Berlin") < 10`)}, planOf(other), // it is 9:10 there
			&Verdicts{Confirm: true, Holds: []string{`holdWhen (profile p) holds the plan: time.getHours("Europe/Berlin") < 10`}, Until: tenPast.Add(50 * time.Minute)},
		},
		"the time changes nothing for a day": {Profile{HoldWhen: new(`time < timestamp("2020-01-01T00:00:00Z")`)}, planOf(other), &Verdicts{Confirm: true, Until: tenPast.Truncate(timeStep).Add(24 * time.Hour)}},
		"one that fails leaves the others without results": {
			Profile{ConfirmWhen: new(`time.getHours("Europe/Atlantis") < 10`), HoldWhen: new("plan.total == 1")}, planOf(other),
			&Verdicts{Trouble: "confirmWhen (profile p) can't be evaluated: ", Until: tenPast.Add(troubleAgain)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := judged(t, c.profile, c.plan)
			if got != nil && c.want != nil && c.want.Trouble != "" && strings.HasPrefix(got.Trouble, c.want.Trouble) {
				got.Trouble = c.want.Trouble // CEL's own words follow
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// A gate that an expression closes opens when the expression may be false again, even
// if a window closes it as well.
func TestAGateHeldByThePolicy(t *testing.T) {
	later, soon := tenPast.Add(8*time.Hour), tenPast.Add(time.Hour)
	held := &Verdicts{Holds: []string{"holdWhen (profile p) holds the plan: it is early"}, Until: soon}
	open := Gate{Open: true, At: tenPast, Until: later}.HeldBy(held)
	if open.Open || !open.Until.Equal(soon) || open.Reason != held.Holds[0] || !open.HeldByPolicy() {
		t.Errorf("an open gate becomes %+v", open)
	}
	shut := Gate{At: tenPast, Until: later, Reason: "the window is closed", Window: "w", Closed: []Closure{{Window: "w"}}}.HeldBy(held)
	if shut.Open || !shut.Until.Equal(soon) || shut.Reason != "the window is closed; "+held.Holds[0] || shut.HeldByPolicy() || len(shut.Closed) != 2 {
		t.Errorf("a closed gate becomes %+v", shut)
	}
	if g := (Gate{Open: true}).HeldBy(&Verdicts{Confirm: true}); !g.Open {
		t.Errorf("a gate that nothing holds is %+v", g)
	}
}

func TestCompileChecksExpressions(t *testing.T) {
	for says, p := range map[string]Profile{
		"confirmWhen: line 1, column 5 of the expression: undefined field 'deletd'":                         {ConfirmWhen: new("plan.deletd > 0")},
		"confirmWhen: people confirm every plan (confirm: manual)":                                          {ConfirmWhen: new("true"), Confirm: new(ConfirmManual)},
		"holdWhen: the expression is empty":                                                                 {HoldWhen: new(" ")},
		"approvalsWhen[0].when: line 1, column 1 of the expression: it is a int, and must be true or false": {ApprovalsWhen: []Requirement{{When: "plan.total", Needed: 1}}},
		"approvalsWhen[1].needed: 0 is not within 1 and 20":                                                 {ApprovalsWhen: []Requirement{{When: "true", Needed: 1}, {When: "true"}}},
		"approvalsWhen[0].group: \"a\\nb\" is not the name of a group":                                      {ApprovalsWhen: []Requirement{{When: "true", Needed: 1, Group: "a\nb"}}},
		"approvalsWhen[0].reason: it has 300 bytes, more than 200":                                          {ApprovalsWhen: []Requirement{{When: "true", Needed: 1, Reason: strings.Repeat("x", 300)}}},
	} {
		p.Name = "p"
		if _, err := Compile(Config{Profiles: []Profile{p}}); err == nil || !strings.Contains(err.Error(), "profiles[0]."+says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
}

// What an approval is for must be the same again for a confirmation.
func TestSame(t *testing.T) {
	a := &Verdicts{Confirm: true, Required: []Required{{Needed: 2, Group: "dba", Why: "deletes a"}}}
	b := *a
	b.Until = tenPast
	if !a.Same(&b) || !(*Verdicts)(nil).Same(nil) {
		t.Error("the same results differ")
	}
	for _, other := range []*Verdicts{nil, {}, {Confirm: true}, {Confirm: true, Required: []Required{{Needed: 2, Group: "dba", Why: "deletes b"}}}, {Confirm: true, Required: a.Required, Trouble: "x"}, {Confirm: true, Required: a.Required, Holds: []string{"x"}}} {
		if a.Same(other) || other.Same(a) {
			t.Errorf("%+v is taken for %+v", other, a)
		}
	}
}
