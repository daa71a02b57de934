package policy_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/policy"
)

// Who may approve is known from the tokens of the configuration, where it has any.
func TestApprovers(t *testing.T) {
	people := []decide.Person{
		{Name: "ann", Aliases: []string{"ann-gh"}, Groups: []string{"platform", "leads"}}, {Name: "bob", Groups: []string{"platform"}}, {Name: "eve"},
	}
	rules, err := policy.Compile(policy.Config{Approvers: people})
	if err != nil {
		t.Fatal(err)
	}
	for group, want := range map[string][]decide.Person{
		"":         {{Name: "ann", Aliases: []string{"ann-gh"}}, {Name: "bob"}, {Name: "eve"}},
		"platform": {{Name: "ann", Aliases: []string{"ann-gh"}}, {Name: "bob"}},
		"nobodies": nil,
	} {
		if diff := cmp.Diff(&policy.Approvers{People: want}, rules.Approvers(group)); diff != "" {
			t.Errorf("the group %q (-want +got)\n%s", group, diff)
		}
	}
	for i := range 40 {
		people = append(people, decide.Person{Name: fmt.Sprint("person-", i)})
	}
	many, err := policy.Compile(policy.Config{Approvers: people})
	if err != nil {
		t.Fatal(err)
	}
	none, err := policy.Compile(policy.Config{})
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]*policy.Definitions{"no tokens": none, "no configuration": nil, "too many": many} {
		if got := r.Approvers(""); got != nil {
			t.Errorf("%s: %d are known", name, len(got.People))
		}
	}
}
