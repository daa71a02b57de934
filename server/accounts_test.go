package server_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"
	"go.temporal.io/api/serviceerror"

	"github.com/gantryhq/gantry/decide/reconcile"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/inbox"
	"github.com/gantryhq/gantry/openapi"
	"github.com/gantryhq/gantry/server"
	"github.com/gantryhq/gantry/spacelift"
)

func reconciling(c *server.Config) { c.Reconcile = 2 * time.Minute }

func (r *rig) accounts() []api.Account {
	r.t.Helper()
	w := r.get("/v1/accounts", viewerToken)
	if w.Code != http.StatusOK {
		r.t.Fatalf("%d %s", w.Code, w.Body)
	}
	return decode[api.AccountList](r.t, w).Accounts
}

func TestListAccounts(t *testing.T) {
	r := newRig(t, reconciling)
	now := time.Now().UTC().Truncate(time.Second)
	r.temporal.reports = map[spacelift.Account]reconcile.Report{
		"acme": {
			Account: "acme", At: now, Outcome: reconcile.OutcomePartial, Reason: "7 runs wait", InProgress: 60, Open: 53,
			Adopted: 1, Repaired: 2, Finished: 3, Postponed: 7, APICalls: 55, Webhook: &reconcile.WebhookStatus{ID: "gantry"},
			Findings: []reconcile.Finding{{Kind: reconcile.FindingWebhookDisabled, Since: now, Summary: "it is off", Fix: "switch it on"}},
		},
	}
	want := []api.Account{
		{
			Name: "acme",
			LastReconcile: &api.Reconciliation{
				At: now, Outcome: "partial", Reason: new("7 runs wait"), InProgress: 60, Open: 53,
				Adopted: 1, Repaired: 2, Finished: 3, Postponed: 7, APICalls: 55,
			},
			Webhook:  &api.AccountWebhook{ID: "gantry"},
			Findings: []api.Finding{{Kind: "webhook-disabled", Since: now, Summary: "it is off", Fix: "switch it on"}},
		},
		{Name: "globex", Findings: []api.Finding{}},
	}
	if diff := cmp.Diff(want, r.accounts()); diff != "" {
		t.Errorf("accounts (-want +got):\n%s", diff)
	}
}

// While Temporal is away, this replica still knows its accounts and what it noticed
// itself, and says what it doesn't know.
func TestAccountsWhileTemporalIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, reconciling)
		for range 5 {
			r.deliver("not-the-secret", example(t, "run_tracked_queued"))
		}
		<-time.After(time.Hour / 2) // Reconcile would be overdue, but that isn't known either
		unknown := []string{"lastReconcile", "webhook", "findings"}
		for _, err := range []error{serviceerror.NewUnavailable("connection refused"), context.DeadlineExceeded} {
			r.temporal.err, r.temporal.asks = err, 0
			accounts := r.accounts()
			if len(accounts) != 2 || accounts[0].Name != "acme" || accounts[1].Name != "globex" {
				t.Fatalf("accounts %s", show(accounts))
			}
			for i, findings := range []int{1, 0} {
				a := accounts[i]
				if !slices.Equal(a.Unknown, unknown) || a.LastReconcile != nil || a.Webhook != nil || len(a.Findings) != findings {
					t.Errorf("account %s", show(a))
				}
			}
			if accounts[0].Findings[0].Kind != "secret-mismatch" {
				t.Errorf("findings %s", show(accounts[0].Findings))
			}
		}
		r.temporal.err = nil
		for _, a := range r.accounts() {
			if a.Unknown != nil {
				t.Errorf("Temporal is back, and unknown is %v", a.Unknown)
			}
		}
	})
}

// A failure that waiting can't fix is not hidden.
func TestAccountsThatCannotBeRead(t *testing.T) {
	r := newRig(t, reconciling)
	r.temporal.err = errors.New("nobody planned for this")
	wantProblem(t, r.get("/v1/accounts", viewerToken), http.StatusInternalServerError, "internal")
}

// Without Reconcile there is no report.
func TestAccountsWithoutReconcile(t *testing.T) {
	r := newRig(t)
	for _, a := range r.accounts() {
		if a.LastReconcile != nil || len(a.Findings) != 0 {
			t.Errorf("%+v", a)
		}
	}
}

func TestReconcileIsOverdue(t *testing.T) {
	r := newRig(t, reconciling)
	old := time.Now().Add(-7 * time.Minute).UTC().Truncate(time.Second)
	r.temporal.reports = map[spacelift.Account]reconcile.Report{
		"acme": {At: old, Outcome: reconcile.OutcomeDone}, "globex": {At: old.Add(5 * time.Minute), Outcome: reconcile.OutcomeDone},
	}
	accounts := r.accounts()
	if len(accounts[0].Findings) != 1 || accounts[0].Findings[0].Kind != "reconcile-overdue" || !accounts[0].Findings[0].Since.Equal(old) {
		t.Errorf("findings %+v, want that Reconcile is overdue since %s", accounts[0].Findings, old)
	}
	if len(accounts[1].Findings) != 0 {
		t.Errorf("findings %+v two minutes after a tick", accounts[1].Findings)
	}
}

// A webhook that signs with another secret is noticed before Spacelift
// switches it off, loudly and once; the right secret settles it.
func TestWebhookWithAnotherSecretIsNoticed(t *testing.T) {
	r := newRig(t)
	body := example(t, "run_tracked_queued")
	for range 10 { // anybody can send these
		r.deliver("not-the-secret", `{"account":"nobody","run":{}}`)
		r.deliver("not-the-secret", `{"stack":"on fire"}`)
		r.deliver("not-the-secret", `{"account":"acme"`)
	}
	for range 4 {
		r.deliver("not-the-secret", body)
	}
	if found := r.accounts()[0].Findings; len(found) != 0 {
		t.Errorf("four refusals are found out to be %+v", found)
	}
	for range 6 {
		r.deliver("not-the-secret", body)
	}
	accounts := r.accounts()
	if found := accounts[0].Findings; len(found) != 1 || found[0].Kind != "secret-mismatch" || !strings.Contains(found[0].Fix, "webhookSecrets") {
		t.Errorf("ten refusals are found out to be %+v", found)
	}
	if lines := r.log.entries(t, "guardian: "+accounts[0].Findings[0].Summary); len(lines) != 1 || lines[0]["level"] != "ERROR" {
		t.Errorf("logged %v", lines)
	}
	if strings.Contains(accounts[0].Findings[0].Summary, acmeSecret) {
		t.Error("it shows the secret")
	}

	// A test that gantry doctor sends shows nothing about Spacelift's webhook.
	r.send(http.MethodPost, "/webhook", body, "Content-Type", "application/json", "User-Agent", server.TestUserAgent+"/1",
		spacelift.SignatureHeader, spacelift.Sign([]byte(acmeSecret), []byte(body)))
	if found := r.accounts()[0].Findings; len(found) != 1 {
		t.Errorf("after gantry doctor's test: %+v", found)
	}
	r.receipt(body)
	accounts = r.accounts()
	if len(accounts[0].Findings) != 0 || len(accounts[1].Findings) != 0 {
		t.Errorf("after a good signature of acme: %+v, %+v", accounts[0].Findings, accounts[1].Findings)
	}
}

func TestFindingsAreMeasured(t *testing.T) { synctest.Test(t, findingsAreMeasured) }

func findingsAreMeasured(t *testing.T) {
	r := newRig(t, reconciling)
	r.temporal.reports = map[spacelift.Account]reconcile.Report{
		"acme": {At: time.Now(), Findings: []reconcile.Finding{{Kind: reconcile.FindingSilence, Since: time.Now(), Summary: "x", Fix: "y"}}},
	}
	shows := func(lines ...string) {
		t.Helper()
		text := r.metrics()
		for _, line := range lines {
			if !strings.Contains(text, line+"\n") {
				t.Errorf("no %s in\n%s", line, text)
			}
		}
	}
	shows(`gantry_guardian_findings{account="acme",kind="silence"} 1`, `gantry_guardian_findings{account="acme",kind="webhook-disabled"} 0`,
		`gantry_guardian_findings{account="globex",kind="silence"} 0`)

	// Scrapes within 15 seconds don't ask Temporal again.
	asked := r.temporal.lists
	<-time.After(14 * time.Second)
	r.metrics()
	if n := r.temporal.lists - asked; n != 0 {
		t.Errorf("the next scrape asks Temporal %d times", n)
	}
	<-time.After(time.Second)

	// While Temporal is away nobody knows better.
	r.temporal.err = serviceerror.NewUnavailable("connection refused")
	shows(`gantry_guardian_findings{account="acme",kind="silence"} 1`)
	for range 5 {
		r.deliver("not-the-secret", example(t, "run_tracked_queued"))
	}
	shows(`gantry_guardian_findings{account="acme",kind="secret-mismatch"} 1`)

	<-time.After(15 * time.Second)
	r.temporal.err = nil
	r.temporal.reports["acme"] = reconcile.Report{At: time.Now()}
	shows(`gantry_guardian_findings{account="acme",kind="silence"} 0`)
}

// The kinds of findings are one list: in the code, the contract and the manual.
func TestFindingKindsAreDocumented(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(openapi.Document)
	if err != nil {
		t.Fatal(err)
	}
	manual, err := os.ReadFile("../docs/operations/reconcile.md")
	if err != nil {
		t.Fatal(err)
	}
	var want []any
	for _, kind := range reconcile.FindingKinds {
		want = append(want, string(kind))
		if !strings.Contains(string(manual), "| `"+string(kind)+"` |") {
			t.Errorf("docs/operations/reconcile.md does not mention %s", kind)
		}
	}
	if diff := cmp.Diff(want, doc.Components.Schemas["Finding"].Value.Properties["kind"].Value.Extensions["x-extensible-enum"]); diff != "" {
		t.Errorf("kinds in the contract (-code +contract):\n%s", diff)
	}
}

// delayingInbox delays the new runs of an account.
type delayingInbox struct {
	*inbox.Inbox
	delayed map[spacelift.Account]time.Time
}

func (i delayingInbox) Health() inbox.Health {
	h := i.Inbox.Health()
	h.Delayed = i.delayed
	return h
}

// Somebody who floods Gantry with signed notifications of made-up runs is a finding.
func TestDelayedRunsAreAFinding(t *testing.T) {
	r := newRig(t)
	since := time.Now().Add(-time.Minute).UTC().Truncate(time.Second)
	r.handler = r.serve(delayingInbox{r.inbox, map[spacelift.Account]time.Time{"acme": since}})
	found := r.accounts()[0].Findings
	if len(found) != 1 || found[0].Kind != "new-runs-delayed" || !found[0].Since.Equal(since) || !strings.Contains(found[0].Fix, "secret") {
		t.Errorf("the findings are %+v", found)
	}
}
