package activities

import (
	"context"
	"errors"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"

	"github.com/gantryhq/gantry/spacelift"
)

// CalledOffDetails travel in the canceled error of an activity that its workflow
// called off.
type CalledOffDetails struct {
	// Sent says that an act had been sent, and nobody knows whether it happened.
	Sent   bool   `json:"sent,omitempty"`
	Reason string `json:"reason"` // the error that the activity met
}

// endedBy returns the canceled error of an activity that its workflow called off
// while it met an error; nil if it was not. A process that stops, and a time-out,
// call nothing off: the activity is tried again.
func endedBy(ctx context.Context, err error) error {
	if ctx.Err() == nil || !temporal.IsCanceledError(context.Cause(ctx)) {
		return nil
	}
	return temporal.NewCanceledError(CalledOffDetails{Sent: errors.Is(err, spacelift.ErrAmbiguous), Reason: err.Error()})
}

// CalledOff reports whether an activity's error means that its workflow called
// the activity off, so that the error says nothing about what it was asked for.
// An attempt that did not notice, because it does not heartbeat, ends with its own
// error. Temporal then does not try it again, and says why.
func CalledOff(err error) bool {
	if temporal.IsCanceledError(err) {
		return true
	}
	ended, ok := errors.AsType[*temporal.ActivityError](err)
	return ok && ended.RetryState() == enums.RETRY_STATE_CANCEL_REQUESTED
}
