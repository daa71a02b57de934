package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/gen/api"
	genserver "github.com/gantryhq/gantry/gen/server"
	"github.com/gantryhq/gantry/inbox"
	"github.com/gantryhq/gantry/spacelift"
)

// ReceiveNotification stores a run event durably and answers; the inbox takes
// it to the execution that manages the run.
func (h *handlers) ReceiveNotification(ctx context.Context, req genserver.ReceiveNotificationRequestObject) (genserver.ReceiveNotificationResponseObject, error) {
	r := admitted(ctx)
	event, err := fromAPINotification(*req.Body, r.delivery.ReceivedAt)
	d := describe(r.delivery, event)
	if err == nil {
		err = h.gate.vouch(r, &d, event.Run.Account)
	}
	if notForUs, ok := errors.AsType[*notForUs](err); ok {
		return toAPIReceipt(h.gate.ignore(ctx, d, notForUs)), nil
	}
	if refused, ok := errors.AsType[*refused](err); ok {
		return nil, h.gate.refuseSigned(ctx, d, refused)
	}
	if d, err = h.gate.accept(ctx, d, event, r.body); err != nil {
		return nil, fmt.Errorf("accept %s: %w", event.Run, err)
	}
	return toAPIReceipt(d), nil
}

// receiveUnreadable answers an authentic body that is not a notification. It
// is a 202 as well: Spacelift counts everything else as a failure of ours.
func (h *handlers) receiveUnreadable(w http.ResponseWriter, r *http.Request, req *request, err error) {
	why := &notForUs{reasonUnreadable, decodeProblem(err)}
	switch {
	case len(req.body) == 0:
		why = &notForUs{reasonBodyEmpty, "the body is empty"}
	case !looksLikeJSON(req.body):
		why.reason = reasonNotJSON
	}
	d := h.gate.ignore(r.Context(), req.delivery, why)
	writeJSON(w, "application/json", http.StatusAccepted, receiptOf(d))
}

// vouch makes sure that a secret of the account signed for it: an account's
// secret can't sign for another.
func (g *gate) vouch(r *request, d *inbox.Delivery, account spacelift.Account) error {
	if i := slices.IndexFunc(r.signers, func(s signer) bool { return s.account == account }); i >= 0 {
		d.Secret = r.signers[i].secret
		return nil
	}
	if g.account(account) == nil {
		return &notForUs{reasonUnknownAccount, fmt.Sprintf("account %s is not configured", account)}
	}
	return notAuthentic(reasonOtherAccount, fmt.Sprintf("a secret of account %s signed a notification of account %s", r.signers[0].account, account))
}

func (g *gate) accept(ctx context.Context, d inbox.Delivery, event managed.RunEvent, body []byte) (inbox.Delivery, error) {
	d.Latency = time.Since(d.ReceivedAt)
	stored, err := g.inbox.Accept(ctx, d, event, body)
	if err != nil {
		g.metrics.unavailable.Inc()
		d.Outcome, d.Reason, d.Detail = inbox.OutcomeUnavailable, reasonNotStored, "the inbox can't be written"
		d = g.inbox.Log(d)
		g.log.ErrorContext(ctx, "notification", append(logAttrs(d), "error", err)...)
		return d, err
	}
	if stored.Outcome == inbox.OutcomeDuplicate {
		g.metrics.duplicate.Inc()
	} else {
		g.metrics.accepted.Inc()
	}
	g.metrics.ackLatency.Observe(time.Since(d.ReceivedAt).Seconds())
	g.log.InfoContext(ctx, "notification", logAttrs(stored)...)
	return stored, nil
}

func (g *gate) ignore(ctx context.Context, d inbox.Delivery, why *notForUs) inbox.Delivery {
	g.metrics.ignored.WithLabelValues(why.reason).Inc()
	g.metrics.ackLatency.Observe(time.Since(d.ReceivedAt).Seconds())
	d.Outcome, d.Reason, d.Detail, d.Latency = inbox.OutcomeIgnored, why.reason, why.detail, time.Since(d.ReceivedAt)
	d = g.inbox.Log(d)
	g.log.InfoContext(ctx, "notification", logAttrs(d)...)
	return d
}

// refuseSigned refuses a request that some secret did sign.
func (g *gate) refuseSigned(ctx context.Context, d inbox.Delivery, why *refused) error {
	g.metrics.refused.WithLabelValues(why.reason).Inc()
	d.Outcome, d.Reason, d.Detail, d.Latency = inbox.OutcomeRefused, why.reason, *why.problem.Detail, time.Since(d.ReceivedAt)
	d = g.inbox.Log(d)
	g.log.WarnContext(ctx, "notification", logAttrs(d)...)
	p := why.problem
	p.Instance = new(relative(ctx, "v1/deliveries/"+d.ID))
	return &refusal{p}
}

// describe adds what the event says to the delivery.
func describe(d inbox.Delivery, e managed.RunEvent) inbox.Delivery {
	if e.Run.Account == "" {
		e.Run.Account = d.Run.Account
	}
	d.Run, d.Type, d.State, d.StateVersion = e.Run, e.Type, e.State, e.StateVersion
	return d
}

// logAttrs is what every notification's log line says.
func logAttrs(d inbox.Delivery) []any {
	attrs := []any{
		slog.String("delivery", d.ID), slog.String("outcome", string(d.Outcome)), slog.String("source", d.Source),
		slog.String("account", string(d.Run.Account)), slog.String("stack", string(d.Run.Stack)), slog.String("run", string(d.Run.Run)),
		slog.String("type", string(d.Type)), slog.String("state", string(d.State)), slog.Int("stateVersion", d.StateVersion),
		slog.Int("secret", d.Secret), slog.Int("size", d.Size),
	}
	if d.Reason != "" {
		attrs = append(attrs, slog.String("reason", d.Reason), slog.String("detail", d.Detail))
	}
	return attrs
}

func toAPIReceipt(d inbox.Delivery) genserver.ReceiveNotificationResponseObject {
	return genserver.ReceiveNotification202JSONResponse(receiptOf(d))
}

func receiptOf(d inbox.Delivery) api.Receipt {
	return api.Receipt{Delivery: d.ID, Outcome: api.Outcome(d.Outcome), Reason: nonEmpty(d.Reason), Detail: nonEmpty(d.Detail)}
}
