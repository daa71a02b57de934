package spaceliftapi

import (
	"context"
	"crypto/hmac"
	"errors"
	"fmt"
	"strings"

	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/spacelift/spaceliftapi/internal/operations"
)

// NamedWebhookSecretIs compares the secret that a webhook signs with. shown is
// false, and same has no meaning, when Spacelift doesn't show the secret to this
// key. The shown secret never leaves this method. It returns ErrNotFound when the
// webhook doesn't exist.
//
// Assumption: Spacelift doesn't document which keys can read the secret, or
// whether it masks it. An empty secret or one of asterisks or dots counts as not
// shown.
func (c *Client) NamedWebhookSecretIs(ctx context.Context, id, secret string) (same, shown bool, err error) {
	data, err := operations.NamedWebhookSecret(ctx, c.api, id)
	switch {
	case errors.Is(err, spacelift.ErrForbidden), errors.Is(err, spacelift.ErrSchemaMismatch):
		return false, false, nil
	case err != nil:
		return false, false, fmt.Errorf("read secret of webhook %s: %w", id, err)
	case data.NamedWebhooksIntegration == nil:
		return false, false, fmt.Errorf("read secret of webhook %s: %w", id, spacelift.ErrNotFound)
	}
	theirs := orZero(data.NamedWebhooksIntegration.Secret)
	if strings.Trim(theirs, "*•.") == "" {
		return false, false, nil
	}
	return hmac.Equal([]byte(theirs), []byte(secret)), true, nil
}
