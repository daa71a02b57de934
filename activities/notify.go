package activities

import (
	"context"
	"errors"
	"fmt"

	"go.temporal.io/sdk/temporal"

	"github.com/gantryhq/gantry/notify"
)

// NotifyInput asks to tell people through one channel.
type NotifyInput struct {
	Channel string         `json:"channel"`
	Message notify.Message `json:"message"`
}

// Notify sends a message to a channel. It is safe to repeat: receivers know a
// repeat by the message's id, and Slack, which doesn't, shows it twice at worst.
//
// What the other side refuses, and a channel that is not configured or leads to
// where it may not, ends it with ErrTypeNotTold. What is only unavailable is
// tried again, after the time it asked for.
func (a *Activities) Notify(ctx context.Context, in NotifyInput) error {
	if a.Notifier == nil {
		return notTold(&notify.UnknownChannelError{Channel: in.Channel})
	}
	err := a.Notifier.Send(ctx, in.Channel, in.Message)
	if err == nil {
		return nil
	}
	for _, final := range []bool{
		is[*notify.UnknownChannelError](err), is[*notify.InvalidMessageError](err),
		is[*notify.RefusedError](err), is[*notify.BlockedAddressError](err),
	} {
		if final {
			return notTold(err)
		}
	}
	err = fmt.Errorf("notify: %w", err)
	if away, ok := errors.AsType[*notify.UnavailableError](err); ok && away.RetryAfter > 0 {
		return temporal.NewApplicationErrorWithOptions(err.Error(), ErrTypeUnavailable,
			temporal.ApplicationErrorOptions{Cause: err, NextRetryDelay: away.RetryAfter})
	}
	return err
}

func notTold(err error) error {
	return temporal.NewNonRetryableApplicationError("notify: "+err.Error(), ErrTypeNotTold, err)
}
