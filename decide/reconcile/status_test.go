package reconcile_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/decide/reconcile"
	"github.com/gantryhq/gantry/spacelift"
)

// The sentence at the top names what is worst, and the level says whether to act.
func TestJudge(t *testing.T) {
	well := reconcile.Replica{Name: "gantry-0", Writable: true}
	down := reconcile.Replica{Name: "gantry-0", Writable: true, Pending: 40, Down: true, Since: time.Date(2026, 1, 1, 10, 0, 0, 0, time.UTC)}
	downToo := down
	downToo.Since, downToo.Pending = down.Since.Add(-time.Minute), 2
	for _, tt := range []struct {
		name     string
		replicas []reconcile.Replica
		findings []reconcile.Finding
		unknown  []string
		level    reconcile.Level
		summary  string
	}{
		{name: "well", replicas: []reconcile.Replica{well}, level: reconcile.LevelOK, summary: "All is well: Gantry stores notifications, Temporal answers, and there are no findings."},
		{
			name: "a warning", replicas: []reconcile.Replica{well}, level: reconcile.LevelWarning, summary: "A stack follows nothing.",
			findings: []reconcile.Finding{{Kind: reconcile.FindingUnknownParent, Summary: "a stack follows nothing"}},
		},
		{
			name: "the worst first", replicas: []reconcile.Replica{well}, level: reconcile.LevelCritical, summary: "The webhook is off. One more thing needs attention.",
			findings: []reconcile.Finding{{Kind: reconcile.FindingUnknownParent, Summary: "a stack follows nothing"}, {Kind: reconcile.FindingWebhookDisabled, Summary: "the webhook is off"}},
		},
		{
			name: "Temporal is away", replicas: []reconcile.Replica{down, downToo}, unknown: []string{"acme"}, level: reconcile.LevelCritical,
			summary: "Temporal hasn't answered since Thu 1 Jan 09:59 UTC; 42 events wait, and nothing is confirmed.",
		},
		{
			name: "a full disk, and a replica that is away", replicas: []reconcile.Replica{{Name: "gantry-0"}, {Name: "gantry-1", Problem: "no route"}}, level: reconcile.LevelCritical,
			summary: "Replica gantry-0 can't store events, so it refuses what Spacelift sends. One more thing needs attention.",
		},
		{name: "dead events", replicas: []reconcile.Replica{{Writable: true, Dead: 2}}, level: reconcile.LevelWarning, summary: "Temporal refused 2 events permanently; fix the cause, then gantry deliveries redeliver --dead sends them again."},
		{name: "unknown", replicas: []reconcile.Replica{well}, unknown: []string{"acme"}, level: reconcile.LevelCritical, summary: "Temporal doesn't answer, so Gantry doesn't know how account acme is."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			level, summary := reconcile.Judge(tt.replicas, tt.findings, tt.unknown)
			if level != tt.level || summary != tt.summary {
				t.Errorf("%s: %s\nwant %s: %s", level, summary, tt.level, tt.summary)
			}
		})
	}
}

func TestBypassed(t *testing.T) {
	at := time.Date(2026, 1, 1, 10, 0, 0, 0, time.UTC)
	var runs []reconcile.BypassedRun
	for i, stack := range []spacelift.StackID{"a", "b", "c", "d", "e"} {
		runs = append(runs, reconcile.BypassedRun{Run: spacelift.RunRef{Account: "acme", Stack: stack, Run: "01K"}, Started: at.Add(-time.Duration(i) * time.Hour)})
	}
	if _, ok := reconcile.Bypassed(nil, false); ok {
		t.Error("none are a finding")
	}
	f, _ := reconcile.Bypassed(runs, false)
	if f.Summary != "5 runs of the last day went ahead against the policy in effect: 01K of a; 01K of b; 01K of c; and 2 more" || !f.Since.Equal(at.Add(-4*time.Hour)) {
		t.Errorf("%+v", f)
	}
	if f, _ = reconcile.Bypassed(runs[:1], false); !strings.HasPrefix(f.Summary, "1 run of the last day") || f.Kind.Severity() != reconcile.SeverityCritical {
		t.Errorf("%+v", f)
	}
	if f, _ = reconcile.Bypassed(runs, true); !strings.HasPrefix(f.Summary, "more than 5 runs") {
		t.Errorf("%+v", f)
	}
}
