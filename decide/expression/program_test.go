package expression_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/decide/expression"
	"github.com/gantryhq/gantry/spacelift"
)

var friday = time.Date(2026, 11, 27, 16, 30, 0, 0, time.UTC)

// planned is a plan of a stack with changes given as "delete aws_db_instance.main".
func planned(changes ...string) spacelift.PlannedResources {
	p := spacelift.PlannedResources{Complete: true, Run: spacelift.Run{
		Ref: spacelift.RunRef{Account: "acme", Stack: "billing-prod", Run: "01KDX"}, Type: spacelift.RunTypeTracked, Branch: "main", TriggeredBy: "jdoe",
		Commit: spacelift.Commit{Hash: "9f2c", Message: "Drop the old database", AuthorLogin: "jdoe", AuthorName: "Jane Doe"},
		Delta:  &spacelift.Delta{Resources: 40}, StackLabels: []string{"env:prod", "gantry:managed"}, StackName: "billing / prod",
	}}
	for _, c := range changes {
		change, address, _ := strings.Cut(c, " ")
		address, before, _ := strings.Cut(address, " from ")
		p.Resources = append(p.Resources, spacelift.Resource{Address: address, PreviousAddress: before, Change: spacelift.Change(change)})
		switch spacelift.Change(change) {
		case spacelift.ChangeAdd:
			p.Run.Delta.Added++
		case spacelift.ChangeUpdate:
			p.Run.Delta.Changed++
		case spacelift.ChangeDelete:
			p.Run.Delta.Deleted++
		case spacelift.ChangeReplace:
			p.Run.Delta.Added, p.Run.Delta.Deleted = p.Run.Delta.Added+1, p.Run.Delta.Deleted+1
		}
	}
	return p
}

func compiled(t testing.TB, text string) *expression.Program {
	t.Helper()
	p, err := expression.Compile(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return p
}

func TestEvaluate(t *testing.T) {
	plan := planned("delete aws_db_instance.main", "add module.network.module.a[0].aws_subnet.x", "change aws_vpc.a", "move aws_iam_role.b from module.old.aws_iam_role.b")
	plan.Run.StackLabels = append(plan.Run.StackLabels, "owner:Jose\u0301")
	plan.Run.Commit.Message = "Drop the old database for Jos\u00e9"
	facts := expression.FactsOf(plan, friday)
	for text, want := range map[string]bool{
		"stack.labels.exists(l, l == \"owner:Jos\u00e9\") && commit.message.endsWith(\"Jose\u0301\")":            true, // composed in two ways
		`plan.total == 3 && plan.added == 1 && plan.changed == 1 && plan.deleted == 1 && plan.resources == 40`:   true,
		`resources.exists(r, r.destroys && r.type.matches("^aws_(db|rds)_"))`:                                    true,
		`resources.exists(r, r.change == "replace")`:                                                             false,
		`resources.exists(r, r.under("module.network"))`:                                                         true,
		`resources.exists(r, r.under("module.net"))`:                                                             false,
		`resources.exists(r, r.under("module.old"))`:                                                             true,
		`resources.exists(r, r.module == "module.network.module.a" && r.name == "x")`:                            true,
		`resources.all(r, r.type.startsWith("aws_")) && size(resources) == 4`:                                    true,
		`resources.filter(r, r.change == "move").exists(r, r.previousAddress == "module.old.aws_iam_role.b")`:    true,
		`run.type == "TRACKED" && run.account == "acme" && run.branch == "main" && run.triggeredBy == "jdoe"`:    true,
		`"env:prod" in stack.labels && stack.id == "billing-prod" && stack.name == "billing / prod"`:             true,
		`commit.message.contains("database") && commit.authorLogin == "jdoe" && commit.authorName == "Jane Doe"`: true,
		`time.getDayOfWeek("Europe/Berlin") == 5 && time.getHours("Europe/Berlin") >= 17`:                        true,
		`drift`: false,
	} {
		got, err := compiled(t, text).Evaluate(facts)
		if err != nil || got != want {
			t.Errorf("%s is %t, %v; want %t", text, got, err, want)
		}
	}
}

// What an expression may depend on and is not known makes it fail, so that nobody
// takes it for false.
func TestEvaluateFailsWithoutItsFacts(t *testing.T) {
	whole := func(change func(*spacelift.PlannedResources)) expression.Facts {
		p := planned("delete aws_db_instance.main", "add aws_vpc.a")
		change(&p)
		return expression.FactsOf(p, friday)
	}
	const any, byType = `resources.exists(r, r.destroys)`, `resources.exists(r, r.type == "aws_vpc")`
	for name, c := range map[string]struct {
		change func(*spacelift.PlannedResources)
		fails  map[string]string
		stays  []string
	}{
		"no counts": {func(p *spacelift.PlannedResources) { p.Run.Delta = nil },
			map[string]string{"plan.total < 10": "has not reported the plan's counts", any: "has not reported the plan's counts"}, []string{`run.branch == "main"`}},
		"a list that is cut off": {func(p *spacelift.PlannedResources) { p.Complete = false }, map[string]string{any: "more resources than the 2"}, []string{"plan.total < 10"}},
		"a list that lacks one":  {func(p *spacelift.PlannedResources) { p.Resources = p.Resources[1:] }, map[string]string{any: "fewer resources than the plan's 1 to add, 0 to change and 1 to delete"}, nil},
		"an unknown change":      {func(p *spacelift.PlannedResources) { p.Resources[0].Change = "transmuted" }, map[string]string{any: `does not know the change "transmuted" of aws_db`}, nil},
		"an unknown change beside": {func(p *spacelift.PlannedResources) {
			p.Resources = append(p.Resources, spacelift.Resource{Address: "x.y", Change: "transmuted"})
		}, map[string]string{any: `does not know the change "transmuted" of x.y`}, nil},
		"no address of Terraform's": {func(p *spacelift.PlannedResources) { p.Resources[1].Address = "urn:pulumi:x" },
			map[string]string{byType: "urn:pulumi:x is no address of Terraform's", `resources.exists(r, r.under("module.a"))`: "use its address"}, []string{any}},
	} {
		t.Run(name, func(t *testing.T) {
			facts := whole(c.change)
			for text, says := range c.fails {
				if got, err := compiled(t, text).Evaluate(facts); err == nil || got || !strings.Contains(err.Error(), says) {
					t.Errorf("%s is %t, %v; want an error with %q", text, got, err, says)
				}
			}
			for _, text := range c.stays {
				if got, err := compiled(t, text).Evaluate(facts); err != nil || !got {
					t.Errorf("%s is %t, %v", text, got, err)
				}
			}
		})
	}
	if _, err := compiled(t, `time.getHours("Europe/Atlantis") > 3`).Evaluate(whole(func(*spacelift.PlannedResources) {})); err == nil {
		t.Error("a time zone that does not exist has hours")
	}
}

// An expression that costs too much fails in time, and one over the largest plan that
// Gantry reads doesn't.
func TestEvaluateIsBounded(t *testing.T) {
	p := planned()
	for i := range 10_000 {
		p.Resources = append(p.Resources, spacelift.Resource{Address: fmt.Sprintf("module.network[%d].aws_subnet.private[%d]", i, i), Change: spacelift.ChangeAdd})
	}
	p.Run.Delta.Added = 10_000
	facts := expression.FactsOf(p, friday)
	if got, err := compiled(t, `resources.exists(r, r.destroys && (r.type.matches("^aws_(db|rds)_") || r.under("module.network")))`).Evaluate(facts); got || err != nil {
		t.Errorf("over 10000 resources: %t, %v", got, err)
	}
	began := time.Now()
	if _, err := compiled(t, `resources.all(a, resources.all(b, resources.all(c, a.address != b.address + c.address)))`).Evaluate(facts); err == nil || !strings.Contains(err.Error(), "limit") {
		t.Errorf("10^12 comparisons: %v", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestCompileNamesMistakesWithTheirPlace(t *testing.T) {
	for text, says := range map[string]string{
		"plan.deletd > 0":                        "line 1, column 5 of the expression: undefined field 'deletd'",
		"plan.deleted":                           "it is a int, and must be true or false",
		"plan.deleted > ":                        "line 1, column 16 of the expression",
		"deleted > 0":                            "undeclared reference to 'deleted'",
		"true &&\n  plan.total < '3'":            "line 2, column 14 of the expression",
		`resources.exists(r, r.tipe == "x")`:     "column 22 of the expression: undefined field 'tipe'",
		"":                                       "of the expression",
		strings.Repeat("true && ", 200) + "true": "more than 1000",
		"a && b && c && d && e":                  "and 2 more",
	} {
		if _, err := expression.Compile(text); err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "expression.Plan") {
			t.Errorf("%q: %v, want %q", text, err, says)
		}
	}
}

func TestBecauseNamesTheResources(t *testing.T) {
	facts := expression.FactsOf(planned("delete aws_db_instance.main", "replace aws_vpc.a", "add aws_vpc.b", "delete aws_db_instance.replica"), friday)
	for text, want := range map[string][]string{
		`resources.exists(r, r.destroys && r.type == "aws_db_instance")`: {"aws_db_instance.main", "aws_db_instance.replica"},
		`plan.deleted > 1 || resources.exists(r, r.destroys)`:            nil, // true whatever the resources are
		`size(resources) > 3`: nil, // no resource alone
	} {
		var got []string
		for _, r := range compiled(t, text).Because(facts) {
			got = append(got, r.Address)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", text, diff)
		}
	}
}
