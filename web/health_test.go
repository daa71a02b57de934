package web_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/web/webtest"
)

// healthSite is a Gantry that is well, or not; words replace texts that others wrote.
func healthSite(t testing.TB, level string, words ...string) *webtest.Site {
	now, word := webtest.Now, "the webhook's deliveries in Spacelift show what failed ten times in a row"
	if len(words) > 0 {
		word = words[0]
	}
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	status := api.Status{
		Level: "ok", Summary: "All is well: Gantry stores notifications, Temporal answers, and there are no findings.", At: now, Findings: []api.AccountFinding{},
		Accounts: []api.AccountStatus{
			{Name: "acme", LastNotification: new(ago(2 * time.Minute)), Webhook: &api.AccountWebhook{ID: "gantry", Enabled: true}, LastReconcile: &api.Reconciliation{At: ago(time.Minute), Outcome: "done", InProgress: 12, Open: 12, APICalls: 3}},
			{Name: "globex"},
		},
		Traffic: []api.Traffic{
			{Outcome: "refused", Reason: new("signature-missing"), Count: 3, Last: ago(time.Hour)},
			{Account: new("acme"), Outcome: "accepted", Count: 1214, Last: ago(2 * time.Minute)},
			{Account: new("acme"), Outcome: "duplicate", Reason: new("seen-before"), Count: 9, Last: ago(time.Hour)},
			{Account: new("acme"), Outcome: "ignored", Reason: new("unmanaged-stack"), Count: 331, Last: ago(3 * time.Minute)},
			{Account: new("acme"), Outcome: "ignored", Reason: new("not-a-run-event"), Count: 2, Last: ago(5 * time.Hour)},
		},
		Replicas: []api.ReplicaStatus{
			{Name: "gantry-0", ID: new("E9F1G3H5J7K9"), Version: new("0.1.0"), StartedAt: new(ago(50 * time.Hour)), Inbox: &api.InboxHealth{Writable: true}, Forwarding: &api.ForwardingHealth{}, Dead: new(0)},
			{Name: "gantry-1", ID: new("E9F1G3H5J7KA"), Version: new("0.1.1"), StartedAt: new(ago(time.Hour)), Inbox: &api.InboxHealth{Writable: true, Pending: 1}, Forwarding: &api.ForwardingHealth{}, Dead: new(0)},
		},
	}
	for i := range status.Replicas {
		status.Replicas[i].Temporal = &api.TemporalPlace{Address: "10.0.0.7:7233", Namespace: "gantry-prod", TaskQueue: "gantry"}
	}
	if level != "ok" {
		status.Level, status.Summary = level, "The named webhook \"gantry\" of account acme is switched off and Gantry could not switch it on. One more thing needs attention."
		status.Findings = []api.AccountFinding{
			{Account: "acme", Kind: "webhook-disabled", Severity: api.SeverityCritical, Since: ago(12 * time.Minute), Summary: `the named webhook "gantry" of account acme is switched off and Gantry could not switch it on: forbidden`, Fix: word},
			{Account: "acme", Kind: "not-enforced", Severity: api.SeverityWarning, Since: ago(26 * time.Hour), Summary: "network-prod promises 2 approvals, and people may confirm in Spacelift", Fix: "gantry setup --enforce makes Spacelift wait for Gantry's review"},
		}
		status.Accounts[0].Webhook.Enabled = false
		status.Accounts[0].LastReconcile.Outcome, status.Accounts[0].LastReconcile.Reason = "failed", new("list runs in progress: "+word)
		status.Replicas[0].Forwarding = &api.ForwardingHealth{Down: true, DownSince: new(ago(90 * time.Second)), LagSeconds: new(float32(88)), Problem: new("dial tcp 10.0.0.7:7233: connection refused")}
		status.Replicas[0].Inbox.Pending, status.Replicas[0].Dead = 42, new(2)
		status.Replicas = append(status.Replicas, api.ReplicaStatus{Name: "10.0.0.9:8080", Problem: new("it did not answer within 3s")})
	}
	s := webtest.New(t)
	s.Answer("GET /v1/status", status)
	return s
}

// The first line says whether to act; everything else says why.
func TestHealthPage(t *testing.T) {
	d := healthSite(t, "ok").Get("health")
	for _, want := range []string{"All is well", "2 min ago", "none in a day", "331 of stacks without gantry:managed", "no account", "3 without a signature", "namespace gantry-prod, queue gantry, 10.0.0.7:7233", "Replicas run different versions: 0.1.0, 0.1.1", "1 event waits"} {
		if !strings.Contains(d.Text(), want) {
			t.Errorf("it lacks %q: %s", want, d.Text())
		}
	}
	if d.All("title")[0].Text() != "All is well · Gantry" {
		t.Errorf("title %q", d.All("title")[0].Text())
	}
	d = healthSite(t, "critical").Get("health")
	for _, want := range []string{"Act now", "2 findings", "Fix: the webhook's deliveries", "critical", "network-prod promises 2 approvals", "webhook-disabled", "doesn't answer for 1 min", "42 events wait, the oldest for 1 min", "2 dead", "it did not answer within 3s"} {
		if !strings.Contains(d.Text(), want) {
			t.Errorf("it lacks %q: %s", want, d.Text())
		}
	}
}

// Other replicas are asked as the caller, so their credentials travel with the question.
func TestHealthAsksAsTheCaller(t *testing.T) {
	s := healthSite(t, "ok")
	s.Get("health", "Cookie", "gantry_session=carols", "Authorization", "Bearer carols")
	if c := s.Calls()[0]; c.Header.Get("Cookie") != "gantry_session=carols" || c.Header.Get("Authorization") != "Bearer carols" {
		t.Errorf("asked with %v", c.Header)
	}
}
