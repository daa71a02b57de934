package policy

import (
	"strings"
	"testing"

	"github.com/gantryhq/gantry/spacelift"
)

func TestEnforcement(t *testing.T) {
	approval := spacelift.AttachedPolicy{Name: spacelift.EnforcingApproval, Type: spacelift.PolicyTypeApproval}
	plan := spacelift.AttachedPolicy{Name: spacelift.EnforcingPlan, Type: spacelift.PolicyTypePlan}
	theirs := spacelift.AttachedPolicy{Name: "theirs", Type: spacelift.PolicyTypeApproval}
	impostor := spacelift.AttachedPolicy{Name: spacelift.EnforcingApproval, Type: spacelift.PolicyTypePlan}
	hold := func(autodeploy bool, policies ...spacelift.AttachedPolicy) spacelift.Hold {
		return spacelift.Hold{CanWrite: true, Autodeploy: autodeploy, Policies: policies}
	}
	for _, tt := range []struct {
		name  string
		hold  spacelift.Hold
		texts PolicyTexts
		want  EnforcementLevel
		says  string
		asks  bool
	}{
		{name: "both policies", hold: hold(true, approval, plan), want: Enforced, says: "only after Gantry's review", asks: true},
		{name: "autodeploy is off", hold: hold(false, approval), want: Enforced, says: "only after Gantry's review", asks: true},
		{name: "no policy", hold: hold(false), want: Advisory, says: "gantry-approval is not attached"},
		{name: "a policy of another type with the name", hold: hold(false, impostor), want: Advisory, says: "gantry-approval is not attached"},
		{name: "autodeploy without a warning", hold: hold(true, approval), want: Void, says: "autodeploy is on", asks: true},
		{name: "another approval policy", hold: hold(false, approval, theirs), want: Advisory, says: "theirs"},
		{name: "the key may only read", hold: spacelift.Hold{Policies: []spacelift.AttachedPolicy{approval}}, want: Void, says: "may not act", asks: true},
		{name: "an edited approval policy", hold: hold(false, approval), texts: PolicyTexts{Approval: "the text isn't Gantry's"}, want: Advisory, says: "isn't Gantry's", asks: true},
		{name: "an edited plan policy", hold: hold(true, approval, plan), texts: PolicyTexts{Plan: "the text isn't Gantry's"}, want: Void, says: "isn't Gantry's", asks: true},
		{name: "an edited plan policy without autodeploy", hold: hold(false, approval, plan), texts: PolicyTexts{Plan: "the text isn't Gantry's"}, want: Enforced, asks: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := EnforcementBy(tt.hold, tt.texts)
			if got.Level != tt.want || !strings.Contains(got.Reason, tt.says) || got.Asks != tt.asks || got.Reason == "" {
				t.Errorf("%+v", got)
			}
		})
	}
	if EnforcementOf(nil) != nil {
		t.Error("what is not known is judged")
	}
}

func TestPromises(t *testing.T) {
	for labels, want := range map[string]bool{
		"gantry:managed": false, "gantry:managed gantry:approvals=2": true, "gantry:managed gantry:confirm=manual": true,
		"gantry:managed gantry:confirm=no-deletes": true, "gantry:managed gantry:confirm=auto": false,
	} {
		if got := len((*Definitions)(nil).Resolve(Labelled(strings.Fields(labels))).Promises()) > 0; got != want {
			t.Errorf("%s promises something: %v", labels, got)
		}
	}
}
