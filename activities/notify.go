package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.temporal.io/sdk/temporal"

	"github.com/gantryhq/gantry/notify"
	"github.com/gantryhq/gantry/spacelift"
)

// NotifyInput is a message for one channel.
type NotifyInput struct {
	Channel string         `json:"channel"`
	Message notify.Message `json:"message"`
}

// Notify sends a message to a channel. It is safe to repeat: receivers recognize a
// repeat by the message's id, and Slack, which doesn't, shows it twice at worst.
//
// A refusal, and a channel that is not configured or has a forbidden address, end
// it with ErrTypeUndeliverable. A channel that is unavailable is tried again, after
// the delay it asked for.
func (a *Activities) Notify(ctx context.Context, in NotifyInput) error {
	if a.Notifier == nil {
		return undeliverable(&notify.UnknownChannelError{Channel: in.Channel})
	}
	err := a.Notifier.Send(ctx, in.Channel, a.linked(in.Message))
	if err == nil {
		return nil
	}
	for _, final := range []bool{
		is[*notify.UnknownChannelError](err), is[*notify.InvalidMessageError](err),
		is[*notify.RefusedError](err), is[*notify.BlockedAddressError](err),
	} {
		if final {
			return undeliverable(err)
		}
	}
	err = fmt.Errorf("notify: %w", err)
	if away, ok := errors.AsType[*notify.UnavailableError](err); ok && away.RetryAfter > 0 {
		return temporal.NewApplicationErrorWithOptions(err.Error(), ErrTypeUnavailable,
			temporal.ApplicationErrorOptions{Cause: err, NextRetryDelay: away.RetryAfter})
	}
	return err
}

// linked returns a message with a link to Gantry's page of its subject, where the reader can
// act or learn more.
func (a *Activities) linked(m notify.Message) notify.Message {
	run := spacelift.RunRef{Account: spacelift.Account(m.Account), Stack: spacelift.StackID(m.Stack), Run: spacelift.RunID(m.Run)}
	page, text := a.Pages.Run(run), "Open in Gantry"
	switch {
	case m.Run == "":
		page = a.Pages.Health()
	case slices.Contains([]string{notify.ChainHeld, notify.ChainResumed, notify.ChainEnded}, m.Type):
		page = a.Pages.Chain(run)
	case slices.Contains([]string{notify.RunDecisionNeeded, notify.RunReminder, notify.RunEscalated}, m.Type):
		text = "Approve or reject"
	}
	if page != "" {
		m.Links = append([]notify.Link{{Text: text, URL: page}}, m.Links...)
	}
	return m
}

func undeliverable(err error) error {
	return temporal.NewNonRetryableApplicationError("notify: "+err.Error(), ErrTypeUndeliverable, err)
}
