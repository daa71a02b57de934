package activities

import (
	"context"

	"go.temporal.io/sdk/activity"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// ReportBypassInput is a plan that was confirmed or applied against the policy in
// effect.
type ReportBypassInput struct {
	Run    spacelift.RunRef `json:"run"`
	Bypass managed.Bypass   `json:"bypass"`
}

// ReportBypass logs a bypass and counts it. A repeat after a lost task counts twice.
func (a *Activities) ReportBypass(ctx context.Context, in ReportBypassInput) error {
	activity.GetLogger(ctx).Warn("a plan was applied against its policy", "run", in.Run.String(), "actor", in.Bypass.Actor, "reason", in.Bypass.Reason)
	if a.OnBypassed != nil {
		a.OnBypassed(ctx, in)
	}
	return nil
}
