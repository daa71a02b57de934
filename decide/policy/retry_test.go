package policy_test

import (
	"testing"

	"github.com/gantryhq/gantry/decide/policy"
)

func TestRetry(t *testing.T) {
	twice := []string{"gantry:managed", "gantry:retries=2"}
	for _, tc := range []struct {
		name    string
		labels  []string
		f       policy.FailureFacts
		allowed bool
		forbids []string
	}{
		{name: "a cause that passes", labels: twice, f: policy.FailureFacts{Cause: policy.CauseTransient, Attempt: 1}, allowed: true},
		{name: "the last attempt", labels: twice, f: policy.FailureFacts{Cause: policy.CauseTransient, Attempt: 3}, forbids: []string{"retries"}},
		{name: "nothing allows it", labels: twice[:1], f: policy.FailureFacts{Cause: policy.CauseTransient, Attempt: 1}, forbids: []string{"retries"}},
		{name: "a cause that stays", labels: twice, f: policy.FailureFacts{Cause: policy.CauseCode, Attempt: 1}, forbids: []string{"retryCauses"}},
		{name: "an apply had begun", labels: twice, f: policy.FailureFacts{Cause: policy.CauseCapacity, ApplyBegan: true, Attempt: 1}, forbids: []string{"retryAfterApply"}},
		{name: "a person ended it", labels: twice, f: policy.FailureFacts{Cause: policy.CauseTransient, Attempt: 1, EndedBy: "ann"}, forbids: []string{"endedBy"}},
		{name: "a label can't be followed", labels: append([]string{"gantry:windw=x"}, twice...), f: policy.FailureFacts{Cause: policy.CauseTransient, Attempt: 1}, forbids: []string{"labels"}},
		{name: "more than one reason", labels: twice, f: policy.FailureFacts{Cause: policy.CausePolicy, ApplyBegan: true, Attempt: 1}, forbids: []string{"retryCauses", "retryAfterApply"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			allowed, rules := (*policy.Definitions)(nil).Resolve(policy.Labelled(tc.labels)).Retry(tc.f)
			var forbids []string
			for _, r := range rules {
				if r.Effect == policy.EffectForbids {
					forbids = append(forbids, r.Name)
				}
				if r.Value == "" || r.Origin == "" || r.Detail == "" {
					t.Errorf("a rule says too little: %+v", r)
				}
			}
			if allowed != tc.allowed || len(forbids) != len(tc.forbids) {
				t.Fatalf("allowed: %t, forbidden by %q, want %t, %q", allowed, forbids, tc.allowed, tc.forbids)
			}
			for i, name := range tc.forbids {
				if forbids[i] != name {
					t.Errorf("forbidden by %q, want %q", forbids, tc.forbids)
				}
			}
		})
	}
}
