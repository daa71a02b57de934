package policy_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// What a stack's labels refer to in the account is looked for there.
func TestReferencesThatLeadNowhere(t *testing.T) {
	stacks := map[spacelift.StackID]policy.Presence{
		"network-prod": policy.PresenceManaged, "app": policy.PresenceManaged, "legacy": policy.PresenceUnmanaged,
		"netwok-prod": policy.PresenceMissing, "does-not-exist": policy.PresenceMissing,
	}
	people := []decide.Person{
		{Name: "ann", Groups: []string{"platform"}}, {Name: "Ann", Groups: []string{"platform"}}, {Name: "bob", Groups: []string{"platform", "dba"}}, {Name: "cy"},
	}
	const missing = `, or Gantry's API key may not see it: this stack is never triggered after it`
	for _, tt := range []struct {
		name   string
		labels []string
		known  policy.Known
		want   []policy.Problem
	}{
		{"all there", []string{"gantry:after=network-prod", "gantry:approvers=platform", "gantry:approvals=2"}, policy.Known{Stacks: stacks, Approvers: people}, nil},
		{"nothing known", []string{"gantry:after=does-not-exist", "gantry:approvers=nobody"}, policy.Known{}, nil},
		{"not looked for", []string{"gantry:after=elsewhere"}, policy.Known{Stacks: stacks}, nil},
		{"a parent that isn't there", []string{"gantry:after=does-not-exist", "gantry:after=app"}, policy.Known{Stacks: stacks}, []policy.Problem{
			{"gantry:after=does-not-exist", `there is no stack "does-not-exist"` + missing, "name a stack by its id, or remove the label"},
		}},
		{"a parent misspelt, by a label of the community", []string{"depends-on:app, netwok-prod"}, policy.Known{Stacks: stacks}, []policy.Problem{
			{"depends-on:app, netwok-prod", `there is no stack "netwok-prod"` + missing, "name a stack by its id (meant network-prod?), or remove the label"},
		}},
		{"a parent that isn't managed", []string{"gantry:after=legacy"}, policy.Known{Stacks: stacks}, []policy.Problem{
			{"gantry:after=legacy", `stack "legacy" is not managed, so Gantry does not see its runs finish: this stack is never triggered after it`, "label it gantry:managed, name another, or remove the label"},
		}},
		{"a group of nobody", []string{"gantry:approvers=plattform"}, policy.Known{Approvers: people}, []policy.Problem{
			{"gantry:approvers=plattform", `nobody with a token that may approve belongs to the group "plattform", so nobody can approve`, "name another group (meant platform?), or give tokens this group"},
		}},
		{"a group too small", []string{"gantry:approvers=platform", "gantry:approvals=3"}, policy.Known{Approvers: people}, []policy.Problem{
			{"gantry:approvers=platform", `it takes 3 people of the group "platform" to approve, and 2 have a token that may`, "give more people of the group tokens with the role approver, or ask for fewer approvals"},
		}},
		{"no group", []string{"gantry:approvals=4"}, policy.Known{Approvers: people}, nil},
		{"nobody is asked", []string{"gantry:confirm=auto"}, policy.Known{Approvers: []decide.Person{}}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rules, err := policy.Compile(policy.Config{DependsOnLabels: true})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, rules.Resolve(policy.Labelled(tt.labels)).References(tt.known)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
