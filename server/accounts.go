package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/reconcile"
	"github.com/gantryhq/gantry/gen/api"
	genserver "github.com/gantryhq/gantry/gen/server"
	"github.com/gantryhq/gantry/spacelift"
)

// Reconcile is overdue after overdueAfter intervals without a report, but not before
// overdueAtLeast has passed.
const (
	overdueAfter   = 3
	overdueAtLeast = time.Minute
)

// unknownAway names the members of an account that come from Temporal, and that only
// callers who may see the whole account get.
var unknownAway = []string{"lastReconcile", "webhook", "findings"}

// reportsTimeout bounds the wait for Temporal, so that callers don't give up before it.
const reportsTimeout = 5 * time.Second

// ListAccounts returns the latest report of Reconcile on each account, and what this
// replica noticed itself. While Temporal is away it returns only the latter, and a
// caller who may not see the whole account gets neither.
func (h *handlers) ListAccounts(ctx context.Context, _ genserver.ListAccountsRequestObject) (genserver.ListAccountsResponseObject, error) {
	ctx, cancel := context.WithTimeout(ctx, reportsTimeout)
	defer cancel()
	p := principalOf(ctx)
	names, err := h.accounts(ctx, nil)
	if err != nil {
		return nil, err
	}
	known, err := h.latestKnowledge(ctx)
	if err != nil {
		return nil, err
	}
	list, now := api.AccountList{Accounts: []api.Account{}}, time.Now()
	for _, name := range names {
		var account api.Account
		switch k, ok := known[name]; {
		case !p.Rules(authority.RoleViewer, string(name)): // findings are about the whole account
			account = toAPIAccount(name, nil, nil)
			account.Unknown = unknownAway
		case ok:
			account = toAPIAccount(name, k.report, h.findings(name, k, now))
		default:
			account = toAPIAccount(name, nil, h.noticed(name, now))
			account.Unknown = unknownAway
		}
		list.Accounts = append(list.Accounts, account)
	}
	return genserver.ListAccounts200JSONResponse(list), nil
}

// knowledge is the part of an account's health that Temporal shows.
type knowledge struct {
	report   *reconcile.Report // the latest; nil if there is none
	bypassed []reconcile.Finding
}

// latestKnowledge returns what Temporal shows of each account. It leaves out the accounts
// for which Temporal didn't answer.
func (h *handlers) latestKnowledge(ctx context.Context) (map[spacelift.Account]knowledge, error) {
	all := map[spacelift.Account]knowledge{}
	for _, a := range h.door.accounts {
		k, err := h.know(ctx, a.Name)
		if temporalAway(err) {
			return all, nil // the other accounts would fare the same
		}
		if err != nil {
			return nil, fmt.Errorf("read what Temporal knows of account %s: %w", a.Name, err)
		}
		all[a.Name] = k
	}
	return all, nil
}

func (h *handlers) know(ctx context.Context, account spacelift.Account) (k knowledge, err error) {
	if k.report, err = h.latestReport(ctx, account); err == nil {
		k.bypassed, err = h.bypassed(ctx, account)
	}
	return k, err
}

// maxBypassed bounds the bypassed runs that are counted.
const maxBypassed = 50

// bypassed returns the finding about the account's runs that were confirmed or applied
// against their policy and that are in progress or ended within a day.
func (h *handlers) bypassed(ctx context.Context, account spacelift.Account) ([]reconcile.Finding, error) {
	page, err := h.temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
		PageSize: maxBypassed,
		Query: fmt.Sprintf("WorkflowType = '%s' AND %s = '%s' AND %s = '%s' AND (ExecutionStatus = 'Running' OR CloseTime >= '%s')",
			managed.ManageRunType, managed.AttrAccount, account, managed.AttrBypassed, managed.AttrTrue,
			time.Now().UTC().Add(-reconcile.BypassedFor).Format(time.RFC3339)),
	})
	if err != nil {
		return nil, err
	}
	var runs []reconcile.BypassedRun
	for _, e := range page.GetExecutions() {
		run, err := managed.ParseRunID(e.GetExecution().GetWorkflowId())
		known := slices.ContainsFunc(runs, func(b reconcile.BypassedRun) bool { return b.Run == run })
		if err == nil && !known { // one that continued as new is listed again
			runs = append(runs, reconcile.BypassedRun{Run: run, Started: e.GetStartTime().AsTime()})
		}
	}
	if f, ok := reconcile.Bypassed(runs, len(page.GetNextPageToken()) > 0); ok {
		return []reconcile.Finding{f}, nil
	}
	return nil, nil
}

// latestReport returns the result of the last Reconcile that completed, or
// nil if there is none. It needs Temporal, but no worker.
func (h *handlers) latestReport(ctx context.Context, account spacelift.Account) (*reconcile.Report, error) {
	if h.reconcile == 0 {
		return nil, nil
	}
	// The newest comes first. A configured account's name holds no quote.
	page, err := h.temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
		PageSize: 1,
		Query: fmt.Sprintf("WorkflowType = '%s' AND %s = '%s' AND ExecutionStatus = 'Completed'",
			reconcile.Type, managed.AttrAccount, account),
	})
	if err != nil || len(page.GetExecutions()) == 0 {
		return nil, err
	}
	latest := page.GetExecutions()[0].GetExecution()
	var report reconcile.Report
	err = h.temporal.GetWorkflow(ctx, latest.GetWorkflowId(), latest.GetRunId()).Get(ctx, &report)
	if _, gone := errors.AsType[*serviceerror.NotFound](err); gone {
		return nil, nil // Temporal's retention has passed
	}
	if err != nil {
		return nil, err
	}
	return &report, nil
}

// noticedKinds are the findings that need no report of Reconcile.
var noticedKinds = []reconcile.FindingKind{reconcile.FindingSecretMismatch, reconcile.FindingUntrustedProxy, reconcile.FindingUnreadableEvents, reconcile.FindingInboxDamaged, reconcile.FindingNewRunsDelayed, reconcile.FindingConfiguration}

// noticed returns what this replica noticed itself, without Temporal.
func (h *handlers) noticed(account spacelift.Account, now time.Time) (all []reconcile.Finding) {
	if f, ok := h.door.mismatches.finding(account, now); ok {
		all = append(all, f)
	}
	if f, ok := h.door.proxied.finding(account, now); ok {
		all = append(all, f)
	}
	health := h.inbox.Health()
	if u := health.Unreadable[account]; u.Count > 0 && now.Sub(u.Newest.ReceivedAt) < unreadableStays {
		all = append(all, unreadableEvents(account, u))
	}
	if len(health.Damage) > 0 {
		all = append(all, inboxDamaged(h.replica, account, health.Damage))
	}
	if since := health.Delayed[account]; !since.IsZero() {
		all = append(all, delayedRuns(account, since))
	}
	if h.configurationProblem != nil {
		if since, problem, fix := h.configurationProblem(); problem != "" {
			all = append(all, reconcile.Finding{Kind: reconcile.FindingConfiguration, Since: since, Summary: problem, Fix: fix})
		}
	}
	return all
}

func delayedRuns(account spacelift.Account, since time.Time) reconcile.Finding {
	return reconcile.Finding{
		Kind: reconcile.FindingNewRunsDelayed, Since: since,
		Summary: fmt.Sprintf("so many new runs of account %s arrive at this replica that they wait; runs that it follows already don't", account),
		Fix:     "see whether the runs exist (gantry deliveries list); if not, somebody knows the webhook secret: replace it, see \"Rotate the webhook's secret\" in docs/how-to/set-up-spacelift.md",
	}
}

// findings adds what this replica noticed to what Temporal shows.
func (h *handlers) findings(account spacelift.Account, k knowledge, now time.Time) []reconcile.Finding {
	var all []reconcile.Finding
	last := h.started
	if k.report != nil {
		all, last = k.report.Findings, k.report.At
	}
	all = slices.Concat(all, k.bypassed, h.noticed(account, now))
	if h.reconcile > 0 && now.Sub(last) > max(overdueAfter*h.reconcile, overdueAtLeast) {
		all = append(all, reconcile.Finding{
			Kind: reconcile.FindingReconcileOverdue, Since: last,
			Summary: fmt.Sprintf("the runs of account %s have not been compared with Spacelift since %s", account, last.UTC().Format(time.RFC3339)),
			Fix: fmt.Sprintf("check whether a worker runs (gantry doctor) and whether the schedule is paused (temporal schedule describe --schedule-id %s)",
				reconcile.ID(account)),
		})
	}
	return all
}

func toAPIAccount(name spacelift.Account, r *reconcile.Report, findings []reconcile.Finding) api.Account {
	a := api.Account{Name: string(name), Findings: make([]api.Finding, len(findings))}
	for i, f := range findings {
		a.Findings[i] = api.Finding{Kind: string(f.Kind), Since: f.Since, Summary: f.Summary, Fix: f.Fix}
	}
	if r == nil {
		return a
	}
	a.LastReconcile = &api.Reconciliation{
		At: r.At, Outcome: string(r.Outcome), Reason: nonEmpty(r.Reason), InProgress: r.InProgress, Open: r.Open,
		Adopted: r.Adopted, Repaired: r.Repaired, Finished: r.Finished, Postponed: r.Postponed, APICalls: r.APICalls,
	}
	if w := r.Webhook; w != nil {
		a.Webhook = &api.AccountWebhook{ID: w.ID, Enabled: w.Enabled}
	}
	return a
}
