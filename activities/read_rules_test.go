package activities_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.temporal.io/api/serviceerror"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/simulator"
)

// noon is a Monday, and when these tests play.
var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// configured gives the activities a configuration: a window that is open on
// weekdays from 9 to 17, and a profile that names it.
func (r *rig) configured() {
	r.Helper()
	rules, err := policy.Compile(policy.Config{
		Windows: []policy.Window{{Name: "hours", TimeZone: "UTC", Allow: []policy.Recurrence{{Start: "2026-01-05T09:00", Duration: policy.Duration(8 * time.Hour), RRule: "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR"}}}},
		Profiles: []policy.Profile{
			{Name: "production", Windows: []string{"hours"}, Confirm: new(policy.ConfirmAuto), MaxDeleted: new(0)},
			{Name: "no-drift", Confirm: new(policy.ConfirmAuto), Drift: new(false)},
		},
	})
	r.must(err)
	r.acts.Definitions = func() *policy.Definitions { return rules }
	r.clock(noon)
}

func (r *rig) clock(at time.Time) { r.acts.Now = func() time.Time { return at } }

func TestReadRules(t *testing.T) {
	r := newRig(t)
	r.configured()
	r.temporal.freezes = []policy.Freeze{{ID: "f1", Reason: "audit", From: noon.Add(-time.Hour), DeclaredBy: "jane"}}
	labels := []string{"team:net", "gantry:managed", " gantry:profile=production", "gantry:approvals=2", "gantry:approval-timeout=24h"}

	start := done[managed.Rules](r, r.acts.ReadRules, activities.ReadRulesInput{Run: r.ref, Labels: labels})
	if p := start.Policy; p.Profile.Value != "production" || p.Confirm.Value != policy.ConfirmAuto || p.Approvals.Value != 2 {
		t.Errorf("the policy is %+v", p)
	}
	if diff := cmp.Diff([]string{"gantry:approval-timeout=24h", "gantry:approvals=2", "gantry:managed", "gantry:profile=production"}, start.Labels); diff != "" {
		t.Errorf("read from (-want +got):\n%s", diff)
	}
	if !start.Gate.At.IsZero() || start.Schedule != nil || len(r.temporal.queries) > 0 {
		t.Errorf("without a plan there is gate %+v and %d dues", start.Gate, len(start.Schedule))
	}

	plan := done[managed.Rules](r, r.acts.ReadRules, activities.ReadRulesInput{Run: r.ref, Labels: labels, PlanSince: noon.Add(-time.Hour)})
	if plan.Gate.Open || plan.Gate.Freeze != "f1" || !plan.Gate.At.Equal(noon) {
		t.Errorf("the gate is %+v in spite of a freeze", plan.Gate)
	}
	if want := []policy.Deadline{{At: noon.Add(23 * time.Hour), Kind: policy.DeadlineDiscard}}; !cmp.Equal(want, plan.Schedule) {
		t.Errorf("dues (-want +got):\n%s", cmp.Diff(want, plan.Schedule))
	}
}

// Without a freeze ever declared there is no execution that keeps them; without
// a configuration labels alone hold.
func TestReadRulesOfNothing(t *testing.T) {
	r := newRig(t)
	r.temporal.never = true
	rules := done[managed.Rules](r, r.acts.ReadRules, activities.ReadRulesInput{Run: r.ref, Labels: auto, PlanSince: noon})
	if !rules.Gate.Open || rules.Policy.Confirm.Origin != "gantry:confirm=auto" || len(rules.Policy.Problems) > 0 {
		t.Errorf("rules are %+v", rules)
	}
}

// Not knowing whether there is a freeze is not the same as there being none.
func TestReadRulesWhileTemporalIsAway(t *testing.T) {
	r := newRig(t)
	r.temporal.away = serviceerror.NewUnavailable("away")
	_, err := do[managed.Rules](r.env, r.acts.ReadRules, activities.ReadRulesInput{Run: r.ref, Labels: auto, PlanSince: noon})
	if err == nil || nonRetryable(err) {
		t.Errorf("%v, want an error worth another attempt", err)
	}
}

// judgedBy returns a workflow's input for a stack with these labels.
func (r *rig) judgedBy(labels ...string) managed.ConfirmRunInput {
	r.Helper()
	in := r.judged()
	rules := done[managed.Rules](r, r.acts.ReadRules, activities.ReadRulesInput{Run: r.ref, Labels: labels})
	in.Policy = rules.Policy
	return in
}

func TestConfirmRunByPolicy(t *testing.T) {
	production := []string{"gantry:managed", "gantry:profile=production"}
	for _, tc := range []struct {
		name   string
		labels []string // production when nil
		shape  func(*simulator.Stack)
		before func(*rig)
		want   managed.ConfirmOutcome
		reason string
		check  func(*testing.T, managed.ConfirmResult)
	}{
		{name: "as judged", want: managed.Confirmed},
		{
			name:   "labels that ask for the same",
			before: func(r *rig) { r.must(r.sim.SetLabels(stack, append(production, "owner:me")...)) },
			want:   managed.Confirmed,
		},
		{
			name: "a label asks for something else now",
			before: func(r *rig) {
				r.must(r.sim.SetLabels(stack, append(production, "gantry:confirm=manual", "gantry:approval-timeout=2h")...))
			},
			want: managed.RulesChanged, reason: "gantry:confirm=manual",
			check: func(t *testing.T, got managed.ConfirmResult) {
				if got.Rules.Policy.Confirm.Value != policy.ConfirmManual || !got.Rules.Gate.Open || len(got.Rules.Schedule) != 1 {
					t.Errorf("the rules now are %+v", got.Rules)
				}
			},
		},
		{
			name:   "a label nobody can read appeared",
			before: func(r *rig) { r.must(r.sim.SetLabels(stack, append(production, "gantry:hold")...)) },
			want:   managed.RulesChanged, reason: "gantry:hold",
		},
		{
			name:   "the stack is managed no longer",
			before: func(r *rig) { r.must(r.sim.SetLabels(stack, "gantry:profile=production")) },
			want:   managed.RulesChanged, reason: "does not carry the label gantry:managed",
		},
		{
			name: "what can't be followed was asked for all the same", labels: append([]string{"gantry:hold"}, production...),
			shape: func(s *simulator.Stack) { s.Labels = append(s.Labels, "gantry:hold") },
			want:  managed.ConfirmRefused, reason: "gantry:hold",
		},
		{
			name:   "the window has closed",
			before: func(r *rig) { r.clock(noon.Add(10 * time.Hour)) },
			want:   managed.GateClosed, reason: "hours",
			check: func(t *testing.T, got managed.ConfirmResult) {
				if want := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC); !got.Rules.Gate.Until.Equal(want) {
					t.Errorf("closed until %s, want %s", got.Rules.Gate.Until, want)
				}
			},
		},
		{
			name: "a freeze holds",
			before: func(r *rig) {
				r.temporal.freezes = []policy.Freeze{{ID: "f1", Reason: "audit", From: noon.Add(-time.Minute), DeclaredBy: "jane"}}
			},
			want: managed.GateClosed, reason: "audit",
		},
		{
			name: "a freeze of another stack",
			before: func(r *rig) {
				r.temporal.freezes = []policy.Freeze{{ID: "f1", Reason: "audit", From: noon.Add(-time.Minute), Stacks: []string{"app-prod"}}}
			},
			want: managed.Confirmed,
		},
		{
			name:   "an approval policy asks for a review",
			shape:  func(s *simulator.Stack) { s.Approvals = 1 },
			want:   managed.ConfirmRefused,
			reason: "approval policy",
		},
		{
			name:   "a person was faster",
			before: func(r *rig) { r.must(r.sim.Confirm("jane", stack, r.ref.Run, "")) },
			want:   managed.AlreadyConfirmed, reason: "jane",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, func(s *simulator.Stack) {
				s.Labels = append([]string{"team:net"}, production...)
				if tc.shape != nil {
					tc.shape(s)
				}
			})
			r.configured()
			if tc.labels == nil {
				tc.labels = production
			}
			in := r.judgedBy(tc.labels...)
			if tc.before != nil {
				tc.before(r)
			}
			got, err := r.confirm(in)
			r.must(err)
			if got.Outcome != tc.want || !strings.Contains(got.Reason, tc.reason) {
				t.Errorf("%s: %s; want %s with %q", got.Outcome, got.Reason, tc.want, tc.reason)
			}
			if n := len(r.sim.Mutations("runConfirm")); n != 0 && tc.want != managed.Confirmed {
				t.Errorf("%d confirmations were carried out", n)
			}
			if tc.check != nil {
				tc.check(t, got)
			}
		})
	}
}

// A freeze that may be there and can't be asked for is a reason to wait.
func TestConfirmRunDoesNotGuessAboutFreezes(t *testing.T) {
	r := newRig(t)
	in := r.judgedBy(auto...)
	r.temporal.away = serviceerror.NewUnavailable("away")
	if _, err := r.confirm(in); err == nil || nonRetryable(err) {
		t.Errorf("%v, want an error worth another attempt", err)
	}
	if r.sent() > 0 {
		t.Error("a confirmation was sent")
	}
	r.temporal.away = nil
	if got, err := r.confirm(in); err != nil || got.Outcome != managed.Confirmed {
		t.Errorf("%+v, %v", got, err)
	}
}
