package server

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/decide/reconcile"
	"github.com/gantryhq/gantry/gen/api"
	genserver "github.com/gantryhq/gantry/gen/server"
	"github.com/gantryhq/gantry/spacelift"
)

// trafficFor is the time for which the status counts requests to the webhook.
const trafficFor = 24 * time.Hour

// GetStatus returns whether all is well, by the accounts that the caller may see whole and
// by all replicas.
func (h *handlers) GetStatus(ctx context.Context, _ genserver.GetStatusRequestObject) (genserver.GetStatusResponseObject, error) {
	now := time.Now().UTC()
	traffic, err := h.traffic(ctx, now)
	if err != nil {
		return nil, err
	}
	findings, unknown := h.allFindings(ctx, h.whole(ctx), now)
	replicas := []api.ReplicaStatus{h.replicaStatus(ctx, now)}
	others := askPeers(ctx, h, func(s api.Status) []api.Replica { return toAPIList(s.Replicas, replicaOf) }, func(s api.Status) {
		traffic.add(s.Traffic...)
		findings.add(s.Findings...)
		replicas = append(replicas, s.Replicas...)
	})
	for _, r := range others {
		if r.Problem != nil {
			replicas = append(replicas, api.ReplicaStatus{Name: r.Name, Problem: r.Problem})
		}
	}
	slices.SortFunc(replicas[1:], func(a, b api.ReplicaStatus) int { return cmp.Compare(a.Name, b.Name) })
	status := genserver.GetStatus200JSONResponse{
		At: now, Findings: findings.sorted(), Unknown: unknown, Traffic: traffic.sorted(), Replicas: replicas, Accounts: []api.AccountStatus{},
	}
	level, summary := reconcile.Judge(toAPIList(replicas, fromAPIReplicaStatus), toAPIList(status.Findings, fromAPIFinding), unknown)
	status.Level, status.Summary = string(level), summary
	known := h.recentKnowledge(ctx)
	for _, name := range h.whole(ctx) {
		whole := toAPIAccount(name, known[name].report, nil)
		status.Accounts = append(status.Accounts, api.AccountStatus{
			Name: whole.Name, LastReconcile: whole.LastReconcile, Webhook: whole.Webhook, LastNotification: traffic.lastNotification(whole.Name),
		})
	}
	return status, nil
}

// ListFindings returns the findings of all replicas about the accounts that the caller may
// see whole.
func (h *handlers) ListFindings(ctx context.Context, req genserver.ListFindingsRequestObject) (genserver.ListFindingsResponseObject, error) {
	names := h.whole(ctx)
	if only := req.Params.Account; only != nil {
		if _, err := h.account(*only); err != nil {
			return nil, err
		}
		if p := principalOf(ctx); !p.Rules(authority.RoleViewer, *only) {
			return nil, lacks(p, authority.RoleViewer, "all of account "+*only)
		}
		names = []spacelift.Account{spacelift.Account(*only)}
	}
	findings, unknown := h.allFindings(ctx, names, time.Now())
	replicas := askPeers(ctx, h, func(l api.FindingList) []api.Replica { return l.Replicas }, func(l api.FindingList) { findings.add(l.Findings...) })
	return genserver.ListFindings200JSONResponse{Findings: findings.sorted(), Unknown: unknown, Replicas: replicas}, nil
}

// GetVersion returns the versions of all replicas.
func (h *handlers) GetVersion(ctx context.Context, _ genserver.GetVersionRequestObject) (genserver.GetVersionResponseObject, error) {
	self := h.self()
	replicas := []api.ReplicaVersion{{Name: self.Name, ID: self.ID, Version: &h.version, StartedAt: new(h.started.UTC())}}
	all := askPeers(ctx, h, func(v api.Version) []api.Replica {
		return toAPIList(v.Replicas, func(r api.ReplicaVersion) api.Replica { return api.Replica{Name: r.Name, ID: r.ID, Problem: r.Problem} })
	}, func(v api.Version) { replicas = append(replicas, v.Replicas...) })
	for _, r := range all {
		if r.Problem != nil {
			replicas = append(replicas, api.ReplicaVersion{Name: r.Name, Problem: r.Problem})
		}
	}
	slices.SortFunc(replicas[1:], func(a, b api.ReplicaVersion) int { return cmp.Compare(a.Name, b.Name) })
	return genserver.GetVersion200JSONResponse{Version: h.version, Contract: h.contract.version, Replicas: replicas}, nil
}

// whole returns the accounts that the caller may see whole.
func (h *handlers) whole(ctx context.Context) []spacelift.Account {
	p := principalOf(ctx)
	return slices.DeleteFunc(h.served(), func(a spacelift.Account) bool { return !p.Rules(authority.RoleViewer, string(a)) })
}

// findingSet holds findings; those of one kind about one account count once, with the
// earliest begin.
type findingSet struct {
	accounts []spacelift.Account // their order
	all      []api.AccountFinding
}

func (s *findingSet) add(findings ...api.AccountFinding) {
	for _, f := range findings {
		i := slices.IndexFunc(s.all, func(have api.AccountFinding) bool { return have.Account == f.Account && have.Kind == f.Kind })
		switch {
		case i < 0:
			s.all = append(s.all, f)
		case f.Since.Before(s.all[i].Since):
			s.all[i] = f
		}
	}
}

// sorted returns the critical findings first, then by account, the oldest first.
func (s *findingSet) sorted() []api.AccountFinding {
	slices.SortStableFunc(s.all, func(a, b api.AccountFinding) int {
		return cmp.Or(cmp.Compare(a.Severity, b.Severity), // critical is before warning
			cmp.Compare(slices.Index(s.accounts, spacelift.Account(a.Account)), slices.Index(s.accounts, spacelift.Account(b.Account))), a.Since.Compare(b.Since))
	})
	return append([]api.AccountFinding{}, s.all...)
}

// allFindings returns the findings about some accounts, as this replica knows them, and
// the accounts that Temporal doesn't answer for.
func (h *handlers) allFindings(ctx context.Context, names []spacelift.Account, now time.Time) (findings *findingSet, unknown []string) {
	findings = &findingSet{accounts: h.served()}
	accounts := h.recentKnowledge(ctx)
	for _, name := range names {
		k, known := accounts[name]
		found := h.noticed(name, now)
		if known {
			found = h.findings(name, k, now)
		} else {
			unknown = append(unknown, string(name))
		}
		for _, f := range found {
			findings.add(api.AccountFinding{
				Account: string(name), Kind: string(f.Kind), Severity: api.Severity(f.Kind.Severity()), Since: f.Since, Summary: f.Summary, Fix: f.Fix,
			})
		}
	}
	return findings, unknown
}

// trafficSet counts requests to the webhook by account, outcome and reason.
type trafficSet struct{ all []api.Traffic }

func (s *trafficSet) add(traffic ...api.Traffic) {
	for _, t := range traffic {
		i := slices.IndexFunc(s.all, func(have api.Traffic) bool {
			return deref(have.Account) == deref(t.Account) && have.Outcome == t.Outcome && deref(have.Reason) == deref(t.Reason)
		})
		if i < 0 {
			s.all = append(s.all, t)
			continue
		}
		s.all[i].Count += t.Count
		if t.Last.After(s.all[i].Last) {
			s.all[i].Last = t.Last
		}
	}
}

func (s *trafficSet) sorted() []api.Traffic {
	slices.SortFunc(s.all, func(a, b api.Traffic) int {
		return cmp.Or(cmp.Compare(deref(a.Account), deref(b.Account)), cmp.Compare(a.Outcome, b.Outcome), cmp.Compare(b.Count, a.Count), cmp.Compare(deref(a.Reason), deref(b.Reason)))
	})
	return append([]api.Traffic{}, s.all...)
}

// lastNotification returns when the account's last authentic notification arrived.
func (s *trafficSet) lastNotification(account string) (last *time.Time) {
	for _, t := range s.all {
		authentic := t.Outcome == api.OutcomeAccepted || t.Outcome == api.OutcomeDuplicate || t.Outcome == api.OutcomeIgnored
		if deref(t.Account) == account && authentic && (last == nil || t.Last.After(*last)) {
			last = new(t.Last)
		}
	}
	return last
}

// traffic counts this replica's requests to the webhook, as far as the caller may see them.
// Those of no account that is served are for callers whose role holds everywhere.
func (h *handlers) traffic(ctx context.Context, now time.Time) (*trafficSet, error) {
	found, err := h.inbox.Traffic(ctx, now.Add(-trafficFor))
	if err != nil {
		return nil, fmt.Errorf("count requests to the webhook: %w", err)
	}
	p, all := principalOf(ctx), &trafficSet{}
	for _, t := range found {
		if !h.shows(spacelift.RunRef{Account: t.Account}, t.Reason) {
			continue
		}
		if h.door.account(t.Account) == nil {
			t.Account = "" // one that a sender made up
		}
		if t.Account == "" && p.HasEverywhere(authority.RoleViewer) || t.Account != "" && p.Rules(authority.RoleViewer, string(t.Account)) {
			all.add(api.Traffic{Account: nonEmpty(string(t.Account)), Outcome: api.Outcome(t.Outcome), Reason: nonEmpty(t.Reason), Count: t.Count, Last: t.Last})
		}
	}
	return all, nil
}

// replicaStatus returns this replica's work. Causes name addresses and folders, so only
// callers whose role holds everywhere get them.
func (h *handlers) replicaStatus(ctx context.Context, now time.Time) api.ReplicaStatus {
	self, health := h.self(), h.health()
	r := toAPIReadiness(health, now)
	status := api.ReplicaStatus{
		Name: self.Name, ID: self.ID, Version: &h.version, StartedAt: new(h.started.UTC()), Inbox: &r.Inbox, Forwarding: &r.Forwarding, Dead: &health.Dead,
	}
	if principalOf(ctx).HasEverywhere(authority.RoleViewer) {
		status.Temporal = h.temporalPlace
	} else {
		r.Inbox.Problem, r.Forwarding.Problem = nil, nil
	}
	return status
}

// toAPITemporalPlace returns where the client finds Temporal; nil where that isn't known.
func toAPITemporalPlace(cfg Config) *api.TemporalPlace {
	if cfg.TemporalAddress == "" {
		return nil
	}
	return &api.TemporalPlace{Address: cfg.TemporalAddress, Namespace: cfg.Namespace, TaskQueue: cfg.TaskQueue}
}

func replicaOf(r api.ReplicaStatus) api.Replica {
	return api.Replica{Name: r.Name, ID: r.ID, Problem: r.Problem}
}

func fromAPIReplicaStatus(r api.ReplicaStatus) reconcile.Replica {
	in, forwarding := deref(r.Inbox), deref(r.Forwarding)
	return reconcile.Replica{
		Name: r.Name, Problem: deref(r.Problem), Writable: in.Writable, Pending: in.Pending, Dead: deref(r.Dead),
		Down: forwarding.Down, Since: deref(forwarding.DownSince),
	}
}

func fromAPIFinding(f api.AccountFinding) reconcile.Finding {
	return reconcile.Finding{Kind: reconcile.FindingKind(f.Kind), Since: f.Since, Summary: f.Summary, Fix: f.Fix}
}
