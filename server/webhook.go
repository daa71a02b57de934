package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/gantryhq/gantry/gen/api"
	genserver "github.com/gantryhq/gantry/gen/server"
	"github.com/gantryhq/gantry/inbox/archive"
)

// ReceiveNotification stores a run event durably and answers; the inbox takes
// it to the execution that manages the run.
func (h *handlers) ReceiveNotification(ctx context.Context, req genserver.ReceiveNotificationRequestObject) (genserver.ReceiveNotificationResponseObject, error) {
	r, ok := req.Body.(*request)
	if !ok {
		return nil, errors.New("the webhook's request did not pass the front door")
	}
	d, why, err := h.door.identify(r)
	if err != nil {
		return nil, h.door.refuseSigned(ctx, d, r.depth, err)
	}
	if why != nil {
		return toAPIReceipt(h.door.ignore(ctx, d, r.body, why)), nil
	}
	stored, failed := h.door.accept(ctx, d, r.body)
	if failed != nil {
		return nil, fmt.Errorf("accept %s: %w", d.Run, failed)
	}
	return toAPIReceipt(stored), nil
}

// identify reads what an authentic request is about. It is ignored for the
// reason in why, or refused if another account would have had to sign it.
func (f *frontDoor) identify(r *request) (d archive.Delivery, why *notForUs, err *refused) {
	d = r.delivery
	if len(r.body) == 0 {
		return d, &notForUs{reasonBodyEmpty, "the body is empty"}, nil
	}
	n, broken := readNotification(r.body)
	if broken != nil {
		return d, notJSON(broken), nil
	}
	n.describe(&d)
	why = n.unusable(r.body)
	if !n.account.known || why != nil && !why.mayBecomeReadable() {
		return d, why, nil
	}
	unknown, err := f.vouch(r, &d)
	if unknown != nil {
		why = unknown
	}
	return d, why, err
}

// notJSON says where a body is not JSON.
func notJSON(err error) *notForUs {
	detail := "the body is not one JSON value"
	if e, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		detail += fmt.Sprintf(": it breaks after %d bytes", e.ByteOffset)
	}
	return &notForUs{reasonNotJSON, detail}
}

// vouch makes sure that a secret of the account signed for it: an account's
// secret can't sign for another.
func (f *frontDoor) vouch(r *request, d *archive.Delivery) (*notForUs, *refused) {
	if i := slices.IndexFunc(r.signers, func(s signer) bool { return s.Name == d.Run.Account }); i >= 0 {
		d.Secret = r.signers[i].key.place
		return nil, nil
	}
	if f.account(d.Run.Account) == nil {
		return &notForUs{reasonUnknownAccount, fmt.Sprintf("account %s is not configured", logged(string(d.Run.Account)))}, nil
	}
	return nil, notAuthentic(reasonOtherAccount, fmt.Sprintf("a secret of account %s signed a notification of account %s", r.signers[0].Name, d.Run.Account))
}

func (f *frontDoor) accept(ctx context.Context, d archive.Delivery, body []byte) (archive.Delivery, error) {
	d.Latency = time.Since(d.ReceivedAt)
	stored, err := f.inbox.Accept(ctx, d, body)
	if err == nil {
		f.metrics.ackLatency.Observe(time.Since(d.ReceivedAt).Seconds())
	}
	return f.count(ctx, d, stored, err)
}

// count counts and logs a delivery that the inbox stored, or didn't.
func (f *frontDoor) count(ctx context.Context, d, stored archive.Delivery, err error) (archive.Delivery, error) {
	if err != nil {
		f.metrics.unavailable.Inc()
		d.Outcome, d.Reason, d.Detail = archive.OutcomeUnavailable, reasonNotStored, "the inbox can't be written"
		d = f.inbox.Log(d)
		f.deliveries.write(ctx, slog.LevelError, d, slog.Any("error", err))
		return d, err
	}
	if stored.Outcome == archive.OutcomeDuplicate {
		f.metrics.duplicate.Inc()
	} else {
		f.metrics.accepted.Inc()
	}
	f.deliveries.write(ctx, slog.LevelInfo, stored)
	return stored, nil
}

func (f *frontDoor) ignore(ctx context.Context, d archive.Delivery, body []byte, why *notForUs) archive.Delivery {
	f.metrics.ignored.add(why.reason)
	f.metrics.ackLatency.Observe(time.Since(d.ReceivedAt).Seconds())
	d.Outcome, d.Reason, d.Detail, d.Latency = archive.OutcomeIgnored, why.reason, why.detail, time.Since(d.ReceivedAt)
	if why.mayBecomeReadable() {
		d = f.inbox.LogUnreadable(d, body)
	} else {
		d = f.inbox.Log(d)
	}
	f.deliveries.write(ctx, slog.LevelInfo, d)
	return d
}

// refuseSigned refuses a request that some secret did sign.
func (f *frontDoor) refuseSigned(ctx context.Context, d archive.Delivery, depth int, why *refused) error {
	f.metrics.refused.add(why.reason)
	d.Outcome, d.Reason, d.Detail, d.Latency = archive.OutcomeRefused, why.reason, *why.problem.Detail, time.Since(d.ReceivedAt)
	d = f.inbox.Log(d)
	f.deliveries.write(ctx, slog.LevelWarn, d)
	p := why.problem
	p.Instance = new(relative(depth, "v1/deliveries/"+d.ID))
	return &refusal{p}
}

func toAPIReceipt(d archive.Delivery) genserver.ReceiveNotificationResponseObject {
	return genserver.ReceiveNotification202JSONResponse{
		Delivery: d.ID, Outcome: api.Outcome(d.Outcome), Reason: nonEmpty(d.Reason), Detail: nonEmpty(d.Detail),
	}
}

// readAgain accepts an unreadable delivery whose body was kept, as a new one.
// Otherwise the error is a *stillUnreadableError.
func (f *frontDoor) readAgain(ctx context.Context, d archive.Delivery, body []byte) (archive.Delivery, error) {
	signer := d.Run.Account
	n, err := readNotification(body)
	if err != nil {
		return d, &stillUnreadableError{notJSON(err).detail}
	}
	n.describe(&d)
	if why := n.unusable(body); why != nil {
		return d, &stillUnreadableError{why.detail}
	}
	if d.Run.Account != signer {
		return d, &stillUnreadableError{fmt.Sprintf("a secret of account %s signed a notification of account %s", signer, d.Run.Account)}
	}
	d.Reason, d.Detail = "", ""
	stored, err := f.inbox.AcceptAgain(ctx, d, body)
	return f.count(ctx, d, stored, err)
}

// stillUnreadableError says why a delivery can't be accepted now either.
type stillUnreadableError struct{ why string }

func (e *stillUnreadableError) Error() string {
	return "this Gantry can't accept the body either: " + e.why
}
