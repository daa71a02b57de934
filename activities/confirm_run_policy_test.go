package activities_test

import (
	"context"
	"strings"
	"testing"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// altered is an account that shows runs with a change.
type altered struct {
	activities.Spacelift
	change func(*spacelift.Run)
}

func (a altered) Run(ctx context.Context, ref spacelift.RunRef) (spacelift.Run, error) {
	run, err := a.Spacelift.Run(ctx, ref)
	a.change(&run)
	return run, err
}

// Gantry confirms without people what its policy allows for the run that was
// just read, whatever was said of the run before.
func TestConfirmRunWithoutPeopleJudgesWhatItReads(t *testing.T) {
	production := []string{"gantry:managed", "gantry:profile=production"} // deletes nothing
	noDrift := []string{"gantry:managed", "gantry:profile=no-drift"}
	for _, tc := range []struct {
		name     string
		labels   []string
		change   func(*spacelift.Run)
		approved bool
		want     managed.ConfirmOutcome
		reason   string
	}{
		{name: "as judged", labels: auto, want: managed.Confirmed},
		{
			name: "it repairs drift, and nobody said so", labels: noDrift, change: func(r *spacelift.Run) { r.DriftDetection = true },
			want: managed.AnotherPlan, reason: "people confirm repairs of drift (profile no-drift)",
		},
		{
			name: "people approved that repair", labels: noDrift, change: func(r *spacelift.Run) { r.DriftDetection = true },
			approved: true, want: managed.Confirmed,
		},
		{
			name: "it deletes something, and nobody knew the plan", labels: production, change: func(r *spacelift.Run) { r.Delta.Deleted = 1 },
			want: managed.AnotherPlan, reason: "the plan deletes 1 resource, more than 0 (profile production)",
		},
		{
			name: "nobody knows what it deletes", labels: production, change: func(r *spacelift.Run) { r.Delta = nil },
			want: managed.AnotherPlan, reason: "Gantry does not know how many resources the plan deletes",
		},
		{
			name: "it is of another type, and nobody knew which", labels: auto, change: func(r *spacelift.Run) { r.Type = spacelift.RunTypeDestroy },
			want: managed.AnotherPlan, reason: "people confirm runs of type DESTROY",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t)
			r.configured()
			r.must(r.sim.SetLabels(stack, tc.labels...))
			in := r.judgedBy(tc.labels...)
			in.Expect.Delta, in.Approved = nil, tc.approved
			if tc.change != nil {
				run, err := r.acts.Accounts["acme"].Run(t.Context(), r.ref)
				r.must(err)
				tc.change(&run)
				in.Expect.Type = run.Type // as a notification might have said
				r.acts.Accounts["acme"] = altered{r.acts.Accounts["acme"], tc.change}
			}
			got, err := r.confirm(in)
			r.must(err)
			if got.Outcome != tc.want || !strings.Contains(got.Reason, tc.reason) {
				t.Errorf("%s: %s; want %s with %q", got.Outcome, got.Reason, tc.want, tc.reason)
			}
			if sent := r.sent() > 0; sent != (tc.want == managed.Confirmed) {
				t.Errorf("a confirmation was sent: %t", sent)
			}
		})
	}
}
