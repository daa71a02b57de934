package service_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// The audit log records what Gantry does in Spacelift, and what changed in the
// configuration between two starts.
func TestAudit(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.must(r.spacelift.AddStack(simulator.Stack{ID: "network-prod", Labels: []string{"gantry:managed"}}))
	run, err := r.spacelift.Push("network-prod", simulator.Commit{}, simulator.Plan{Delta: spacelift.Delta{Added: 1}})
	r.must(err)
	g := r.start()
	r.temporal.awaitWorker(t)
	ref := spacelift.RunRef{Account: "acme", Stack: "network-prod", Run: run}
	r.must(r.temporal.execute(t, "StopRun", activities.StopRunInput{Run: ref, Note: "an incident"}, nil))
	entries := func(g *gantry, query string) string {
		t.Helper()
		a := g.get("/v1/audit"+query, "Authorization", "Bearer "+adminToken)
		if a.Status != http.StatusOK {
			t.Fatalf("the audit log answers %d %s", a.Status, a.Body)
		}
		return a.Body
	}
	if got := entries(g, "?by=Gantry&run="+url.QueryEscape(string(run))); !strings.Contains(got, `"action":"run`) || !strings.Contains(got, "an incident") {
		t.Errorf("entries about the run: %s", got)
	}
	r.must(r.temporal.execute(t, "ReportBypass", activities.ReportBypassInput{
		Run: ref, Bypass: managed.Bypass{StateVersion: 6, Actor: "jane", Reason: "0 of 2 approvals"},
	}, nil))
	if got := entries(g, "?action=bypass&by=jane"); !strings.Contains(got, "0 of 2 approvals") || !strings.Contains(got, string(run)) {
		t.Errorf("entries about the bypass: %s", got)
	}
	g.stop()
	r.config.Labels.DependsOn = true
	g = r.start()
	if got := entries(g, "?action=start&pageSize=1"); !strings.Contains(got, `"after":"labels.dependsOn=true`) {
		t.Errorf("newest start: %s", got)
	}
}
