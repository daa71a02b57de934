package activities_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// newRuledRig has a stack in the space network, below production, and a locked rule over
// the stacks of production that are labelled env:prod.
func newRuledRig(t *testing.T, labels ...string) *rig {
	t.Helper()
	r := newRig(t)
	for _, sp := range []simulator.Space{{ID: "production", Name: "production", Parent: "root"}, {ID: "network", Name: "network", Parent: "production"}} {
		r.must(r.sim.AddSpace(sp))
	}
	r.must(r.sim.AddStack(simulator.Stack{ID: "vpc-prod", Space: "network", Labels: append([]string{"gantry:managed", "gantry:confirm=auto"}, labels...)}))
	run, err := r.sim.Push("vpc-prod", simulator.Commit{}, simulator.Plan{Delta: spacelift.Delta{Added: 3}})
	r.must(err)
	r.ref = spacelift.RunRef{Account: "acme", Stack: "vpc-prod", Run: run}
	r.reaches(spacelift.RunStateUnconfirmed)
	rules, err := policy.Compile(policy.Config{
		Profiles: []policy.Profile{{Name: "floor", Confirm: new(policy.ConfirmManual), Approvals: new(2)}},
		Rules:    []policy.StackRule{{Name: "production", Match: policy.Match{Spaces: []string{"production"}, Labels: []string{"env:prod"}}, Profile: "floor", Locked: true}},
	})
	r.must(err)
	r.acts.Definitions = func() *policy.Definitions { return rules }
	r.clock(noon)
	return r
}

// asked counts the requests for a root field.
func (r *rig) asked(field string) (n int) {
	for _, q := range r.sim.Requests() {
		if slices.Contains(q.Fields, field) {
			n++
		}
	}
	return n
}

// A rule selects a stack by what only Spacelift knows: its space and those above it, and
// labels that are not Gantry's.
func TestRulesOverStacksApply(t *testing.T) {
	for name, tt := range map[string]struct {
		labels []string
		want   string
	}{
		"selected":                 {[]string{"env:prod"}, "rule production (profile floor)"},
		"without the rule's label": {nil, "gantry:confirm=auto"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRuledRig(t, tt.labels...)
			in := activities.ReadRulesInput{Run: r.ref, Labels: []string{"gantry:managed", "gantry:confirm=auto"}}
			rules := done[managed.Rules](r, r.acts.ReadRules, in)
			if p := rules.Policy; p.Confirm.Origin != tt.want || len(p.Problems) > 0 || len(rules.Labels) != 2 {
				t.Errorf("the policy is %+v by the labels %v", p, rules.Labels)
			}
			// What a replica knows counts for a minute.
			stacks, spaces := r.asked("stack"), r.asked("spaces")
			done[managed.Rules](r, r.acts.ReadRules, in)
			if r.asked("stack") != stacks || r.asked("spaces") != spaces {
				t.Error("it read the stack or the spaces again")
			}
			r.clock(noon.Add(2 * time.Minute))
			done[managed.Rules](r, r.acts.ReadRules, in)
			if r.asked("stack") != stacks+1 || r.asked("spaces") != spaces+1 {
				t.Error("it never read the stack and the spaces again")
			}
			// A run was read with its stack.
			r.clock(noon.Add(4 * time.Minute))
			done[spacelift.Run](r, r.acts.ReadRun, r.ref)
			stacks = r.asked("stack")
			done[managed.Rules](r, r.acts.ReadRules, in)
			if r.asked("stack") != stacks {
				t.Error("it read the stack of a run that it had read")
			}
		})
	}
}

// Labels of Gantry's that were fixed count no longer, even if this replica still knows the
// stack as it was, and however they were written.
func TestLabelsOfBeforeDoNotCount(t *testing.T) {
	for _, was := range []string{"gantry:confirm=manual", "gantry:confirm=manual ", " Gantry:confirm=no-deletes", "depends-on:network "} {
		r := newRuledRig(t, was, "env:prod ")
		done[spacelift.Run](r, r.acts.ReadRun, r.ref)
		rules := done[managed.Rules](r, r.acts.ReadRules, activities.ReadRulesInput{Run: r.ref, Labels: []string{"gantry:managed", "gantry:confirm=auto"}})
		if len(rules.Policy.Problems) > 0 || len(rules.Policy.After.Value) > 0 {
			t.Errorf("after %q was removed, the policy is %+v", was, rules.Policy)
		}
	}
}

// A stack that comes under a locked rule while its plan waits is not confirmed by the
// policy of before, even if this replica still knows the stack as it was.
func TestConfirmRunByRulesOfNow(t *testing.T) {
	r := newRuledRig(t)
	in := r.judgedBy("gantry:managed", "gantry:confirm=auto")
	if in.Policy.Confirm.Value != policy.ConfirmAuto {
		t.Fatalf("the policy is %+v", in.Policy)
	}
	r.must(r.sim.SetLabels("vpc-prod", "gantry:managed", "gantry:confirm=auto", "env:prod"))
	got, err := r.confirm(in)
	r.must(err)
	if got.Outcome != managed.RulesChanged || got.Rules == nil || got.Rules.Policy.Approvals.Value != 2 || len(got.Rules.Policy.Overruled) != 1 {
		t.Errorf("%s: %s, %+v", got.Outcome, got.Reason, got.Rules)
	}
	if n := len(r.sim.Mutations("runConfirm")); n != 0 {
		t.Errorf("%d confirmations were sent", n)
	}
}

// A stack or space that can't be read may be under a rule that forbids the act.
func TestRulesDontGuessAboutStacks(t *testing.T) {
	r := newRuledRig(t, "env:prod")
	r.acts.Accounts["acme"] = unreadable{r.acts.Accounts["acme"]}
	in := activities.ReadRulesInput{Run: r.ref, Labels: []string{"gantry:managed", "gantry:confirm=auto"}}
	if _, err := do[managed.Rules](r.env, r.acts.ReadRules, in); err == nil || !strings.Contains(err.Error(), "read the spaces for the rules") {
		t.Errorf("without the spaces: %v", err)
	}
}

type unreadable struct{ activities.Spacelift }

func (unreadable) Spaces(context.Context) ([]spacelift.Space, error) {
	return nil, errors.New("not now")
}
