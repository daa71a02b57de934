package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/gen/api"
	genserver "github.com/gantryhq/gantry/gen/server"
	"github.com/gantryhq/gantry/inbox"
	"github.com/gantryhq/gantry/inbox/archive"
	"github.com/gantryhq/gantry/spacelift"
)

// ListDeliveries lists requests to the webhook.
func (h *handlers) ListDeliveries(ctx context.Context, req genserver.ListDeliveriesRequestObject) (genserver.ListDeliveriesResponseObject, error) {
	p := req.Params
	accounts, err := h.accounts(ctx, p.Account)
	if err != nil {
		return nil, err
	}
	sees, stacks, err := h.sees(ctx, authority.RoleViewer)
	if err != nil {
		return nil, err
	}
	if p.Account == nil && principalOf(ctx).HasEverywhere(authority.RoleViewer) {
		accounts = nil // deliveries of no account as well
	}
	if p.Stack != nil {
		stacks = []spacelift.StackID{spacelift.StackID(*p.Stack)}
	}
	filter := archive.Filter{
		Outcome: archive.Outcome(deref(p.Outcome)), Forwarding: archive.Forwarding(deref(p.Forwarding)), Reason: deref(p.Reason),
		Accounts: accounts, Stacks: stacks, Run: spacelift.RunID(deref(p.Run)),
		Since: deref(p.Since), Until: deref(p.Until), Only: sees,
	}
	listing := listingOf("deliveries", string(filter.Outcome), string(filter.Forwarding), filter.Reason,
		deref(p.Account), deref(p.Stack), string(filter.Run), filter.Since.UTC().String(), filter.Until.UTC().String())
	place, err := listing.place(p.PageToken)
	if err != nil {
		return nil, err
	}
	found, next, err := h.inbox.List(ctx, filter, pageSize(p.PageSize), place)
	if errors.Is(err, inbox.ErrBadPageToken) {
		return nil, badPageToken("was not issued by this API; leave it out to start from the first page")
	}
	if err != nil {
		return nil, fmt.Errorf("list deliveries: %w", err)
	}
	page := newestDeliveries{size: pageSize(p.PageSize), more: next != "", all: toAPIList(found, h.toAPIDelivery)}
	replicas := askPeers(ctx, h, func(l api.DeliveryList) []api.Replica { return l.Replicas }, page.add)
	newest, next := page.cut()
	return genserver.ListDeliveries200JSONResponse{Deliveries: newest, Replicas: replicas, NextPageToken: listing.token(next)}, nil
}

// newestDeliveries is a page of the deliveries of several replicas. The order of their ids
// is that of time, and each replica continues after any id.
type newestDeliveries struct {
	size int
	more bool // some replica has more
	all  []api.Delivery
}

func (n *newestDeliveries) add(l api.DeliveryList) {
	n.all, n.more = append(n.all, l.Deliveries...), n.more || l.NextPageToken != nil
}

// cut returns the page, and the place of the next one, which is empty if there is none.
func (n *newestDeliveries) cut() (page []api.Delivery, next string) {
	slices.SortFunc(n.all, func(a, b api.Delivery) int { return strings.Compare(b.ID, a.ID) })
	if len(n.all) > n.size {
		n.all, n.more = n.all[:n.size], true
	}
	if !n.more || len(n.all) == 0 {
		return n.all, ""
	}
	return n.all, n.all[len(n.all)-1].ID
}

// GetDelivery returns a delivery and its body, if that was kept.
func (h *handlers) GetDelivery(ctx context.Context, req genserver.GetDeliveryRequestObject) (genserver.GetDeliveryResponseObject, error) {
	d, body, err := h.delivery(ctx, authority.RoleViewer, req.Delivery)
	if errors.Is(err, inbox.ErrNotFound) {
		detail, err := passOn(ctx, h, req.Delivery, func(d api.DeliveryDetail) string { return d.Delivery.ID }, err)
		return genserver.GetDelivery200JSONResponse(detail), err
	}
	if err != nil {
		return nil, err
	}
	return genserver.GetDelivery200JSONResponse{Delivery: h.toAPIDelivery(d), Body: nonEmpty(string(body))}, nil
}

// delivery reads a delivery that the caller has a role for.
func (h *handlers) delivery(ctx context.Context, role authority.Role, id string) (archive.Delivery, []byte, error) {
	sees, _, err := h.sees(ctx, role)
	if err != nil {
		return archive.Delivery{}, nil, err
	}
	d, body, err := h.inbox.Get(ctx, id)
	if err == nil && !sees(d.Run, d.Reason) {
		err = inbox.ErrNotFound
	}
	if err != nil {
		return d, nil, fmt.Errorf("delivery %s: %w", id, err)
	}
	return d, body, nil
}

// shows reports whether a delivery is shown and may be forwarded again. Deliveries of
// accounts that Gantry no longer serves stay in the inbox, but are not shown. Requests
// that named no account, or one that is not configured, are shown, because they reached
// no other Gantry.
func (h *handlers) shows(run spacelift.RunRef, reason string) bool {
	return run.Account == "" || reason == reasonUnknownAccount || h.door.account(run.Account) != nil
}

// Redeliver forwards one delivery again. One that could not be read is read again
// first: a newer Gantry may be able to.
func (h *handlers) Redeliver(ctx context.Context, req genserver.RedeliverRequestObject) (genserver.RedeliverResponseObject, error) {
	d, err := doOnce(ctx, h.replays, callOf(ctx).change, func() (archive.Delivery, error) {
		d, body, err := h.delivery(ctx, authority.RoleOperator, req.Delivery)
		if err != nil {
			return d, err
		}
		if d.Outcome == archive.OutcomeIgnored && len(body) > 0 {
			return h.door.readAgain(ctx, d, body)
		}
		return h.inbox.Redeliver(ctx, req.Delivery)
	})
	if errors.Is(err, inbox.ErrNotFound) {
		passed, err := passOn(ctx, h, req.Delivery, func(d api.Delivery) string { return d.ID }, err)
		return genserver.Redeliver202JSONResponse(passed), err
	}
	return genserver.Redeliver202JSONResponse(h.toAPIDelivery(d)), err
}

// RedeliverDead forwards every dead delivery again.
func (h *handlers) RedeliverDead(ctx context.Context, _ genserver.RedeliverDeadRequestObject) (genserver.RedeliverDeadResponseObject, error) {
	c := callOf(ctx)
	sees, _, err := h.sees(ctx, authority.RoleOperator)
	if err != nil {
		return nil, err
	}
	n, err := doOnce(ctx, h.replays, c.change, func() (int, error) { return h.inbox.RedeliverDead(ctx, sees) })
	if err != nil {
		return nil, err
	}
	c.note = []any{"count", n} // of this replica
	replicas := askPeers(ctx, h, func(r api.RedeliveryCount) []api.Replica { return r.Replicas },
		func(r api.RedeliveryCount) { n += r.Redelivered })
	return genserver.RedeliverDead202JSONResponse{Redelivered: n, Replicas: replicas}, nil
}

func (h *handlers) toAPIDelivery(d archive.Delivery) api.Delivery {
	a := api.Delivery{
		ID: d.ID, ReceivedAt: d.ReceivedAt, Source: d.Source, Replica: h.replica, Outcome: api.Outcome(d.Outcome),
		Reason: nonEmpty(d.Reason), Detail: nonEmpty(d.Detail),
		Account: nonEmpty(string(d.Run.Account)), Stack: nonEmpty(string(d.Run.Stack)), Run: nonEmpty(string(d.Run.Run)),
		Type: nonEmpty(string(d.Type)), State: nonEmpty(string(d.State)),
		Size: d.Size, LatencyMs: float32(d.Latency.Seconds() * 1000), DuplicateOf: nonEmpty(d.DuplicateOf),
		ForwardError: nonEmpty(d.ForwardError), HasBody: d.HasBody,
	}
	if d.State != "" {
		a.StateVersion = new(d.StateVersion)
	}
	if d.Secret > 0 {
		a.Secret = new(d.Secret)
	}
	if d.Forwarding != "" {
		a.Forwarding, a.Attempts = new(api.Forwarding(d.Forwarding)), new(d.Attempts)
	}
	if !d.ForwardedAt.IsZero() {
		a.ForwardedAt = new(d.ForwardedAt)
	}
	return a
}
