package activities

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/gantryhq/gantry/spacelift"
)

func TestClassify(t *testing.T) {
	for _, tc := range []struct {
		name  string
		err   error
		final string        // type of the final error; empty: worth another attempt
		again string        // type of an error that is worth another attempt; empty: as it is
		delay time.Duration // until the next attempt; 0: as the policy says
	}{
		{name: "not found", err: spacelift.ErrNotFound, final: ErrTypeNotFound},
		{name: "unauthorized", err: spacelift.ErrUnauthorized, final: ErrTypeUnauthorized},
		{name: "forbidden", err: spacelift.ErrForbidden, final: ErrTypeUnauthorized},
		{name: "another schema", err: spacelift.ErrSchemaMismatch, final: ErrTypeSchemaMismatch},
		{name: "ambiguous", err: spacelift.ErrAmbiguous},
		{name: "rate limited", err: &spacelift.RateLimitedError{}, again: ErrTypeRateLimited},
		{name: "rate limited for a time", err: &spacelift.RateLimitedError{RetryAfter: 40 * time.Second}, again: ErrTypeRateLimited, delay: 40 * time.Second},
		{name: "network", err: errors.New("connection refused")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			wrapped := fmt.Errorf("read run acme/network-prod/01: %w", tc.err)
			got := classify(t.Context(), wrapped)
			app, _ := errors.AsType[*temporal.ApplicationError](got)
			switch {
			case tc.final != "":
				if app == nil || !app.NonRetryable() || app.Type() != tc.final || app.Message() != wrapped.Error() {
					t.Errorf("%v, want a final %s that says what happened", got, tc.final)
				}
			case tc.again != "":
				if app == nil || app.NonRetryable() || app.Type() != tc.again || app.NextRetryDelay() != tc.delay {
					t.Errorf("%v, want another attempt after %s because of %s", got, tc.delay, tc.again)
				}
			case !errors.Is(got, tc.err) || app != nil:
				t.Errorf("%v, want %v as it is", got, wrapped)
			}
		})
	}
}
