package managed

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// Each act is forbidden by its own checks and by no other.
func TestForbids(t *testing.T) {
	labels := []string{"gantry:confirm=auto", "gantry:managed"}
	fine := func() Standing {
		p := (*policy.Definitions)(nil).Resolve(policy.Labelled(labels))
		return Standing{
			Run: testRun, Labels: labels, Rules: Rules{Policy: p, Gate: policy.Gate{Open: true}}, Judged: &Judged{Policy: p},
			Plan: policy.PlanFacts{Type: spacelift.RunTypeTracked, Delta: &spacelift.Delta{Added: 1}},
		}
	}
	all := []Act{ToConfirm, ToReview, ToRelease, ToDiscard, ToFollow, ToTrigger, ToRetry, ToRetryByPolicy}
	for name, tt := range map[string]struct {
		spoil   func(*Standing)
		forbids map[Act]Check
	}{
		"nothing": {func(*Standing) {}, nil},
		"a stack that isn't managed": {func(s *Standing) { s.Labels = nil }, map[Act]Check{
			ToConfirm: CheckManaged, ToReview: CheckManaged, ToRelease: CheckManaged, ToFollow: CheckManaged, ToTrigger: CheckManaged, ToRetryByPolicy: CheckManaged,
		}},
		"another policy": {func(s *Standing) { s.Judged.Policy.Approvals.Value++ }, map[Act]Check{
			ToConfirm: CheckPolicy, ToReview: CheckPolicy, ToRelease: CheckPolicy, ToDiscard: CheckPolicy, ToRetryByPolicy: CheckPolicy,
		}},
		"another verdict": {func(s *Standing) { s.Rules.Verdicts = &policy.Verdicts{Holds: []string{"late"}} }, map[Act]Check{
			ToConfirm: CheckVerdicts, ToReview: CheckVerdicts, ToRelease: CheckVerdicts,
		}},
		"a label that can't be followed": {func(s *Standing) {
			s.Rules.Policy.Problems = []policy.Problem{{Label: "gantry:x", Problem: "?", Remedy: "!"}}
			s.Judged.Policy = s.Rules.Policy
		}, map[Act]Check{ToConfirm: CheckLabels, ToReview: CheckLabels, ToRelease: CheckLabels, ToFollow: CheckLabels}},
		"people who are needed": {func(s *Standing) {
			s.Rules.Policy.Confirm.Value = policy.ConfirmManual
			s.Judged.Policy = s.Rules.Policy
		}, map[Act]Check{ToConfirm: CheckPeople}},
		"people who approved": {func(s *Standing) {
			s.Rules.Policy.Confirm.Value = policy.ConfirmManual
			s.Judged.Policy, s.Judged.Approved = s.Rules.Policy, true
		}, nil},
		"a lock": {func(s *Standing) { s.Brakes.Lock = &spacelift.Lock{By: "jane"} }, map[Act]Check{
			ToConfirm: CheckBrakes, ToRelease: CheckBrakes, ToFollow: CheckStart, ToTrigger: CheckStart, ToRetry: CheckStart, ToRetryByPolicy: CheckStart,
		}},
		"another run that holds the stack": {func(s *Standing) { s.Brakes.Blocker = "other" }, map[Act]Check{ToConfirm: CheckBrakes, ToRelease: CheckBrakes}},
		"a freeze":                         {func(s *Standing) { s.Rules.Gate = policy.Gate{Reason: "audit"} }, map[Act]Check{ToConfirm: CheckGate, ToRelease: CheckGate}},
	} {
		s := fine()
		tt.spoil(&s)
		got := map[Act]Check{}
		for _, act := range all {
			if no := s.Forbids(act); no != nil {
				got[act] = no.Check
				if no.Reason == "" || (no.Block != nil) != (no.Check == CheckBrakes || no.Check == CheckStart) {
					t.Errorf("%s: %s is forbidden by %+v", name, act, no)
				}
			}
		}
		if tt.forbids == nil {
			tt.forbids = map[Act]Check{}
		}
		if diff := cmp.Diff(tt.forbids, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
}
