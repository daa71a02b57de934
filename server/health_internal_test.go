package server

import (
	"testing"
	"time"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/inbox"
)

// A problem of forwarding ends when Temporal answers again.
func TestReadinessReportsCurrentProblems(t *testing.T) {
	now := time.Date(2026, 1, 5, 6, 0, 0, 0, time.UTC)
	health := inbox.Health{Writable: true, ForwarderDown: true, ForwarderSince: now.Add(-time.Minute), LastForwardError: "temporal is unavailable"}
	r := toAPIReadiness(health, now)
	if r.Status != api.ReadinessStatusDegraded || deref(r.Forwarding.Problem) != "temporal is unavailable" || !deref(r.Forwarding.DownSince).Equal(health.ForwarderSince) {
		t.Errorf("while Temporal is away: %+v", r)
	}
	health.ForwarderDown = false
	if r := toAPIReadiness(health, now); r.Status != api.ReadinessStatusReady || r.Forwarding.Problem != nil || r.Forwarding.DownSince != nil {
		t.Errorf("when it is back: %+v", r)
	}
}
