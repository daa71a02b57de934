package activities

import (
	"context"
	"fmt"

	"go.temporal.io/sdk/temporal"

	"github.com/gantryhq/gantry/spacelift"
)

// WebhookInput names a webhook of an account.
type WebhookInput struct {
	Account spacelift.Account `json:"account"`
	ID      string            `json:"id"`
}

// Webhook is a named webhook without its address and secret, which stay out of
// histories.
type Webhook struct {
	ID      string `json:"id"`
	Enabled bool   `json:"enabled"`
	Calls   int    `json:"calls"` // to Spacelift's API
}

// ReadWebhook reads a named webhook.
func (a *Activities) ReadWebhook(ctx context.Context, in WebhookInput) (Webhook, error) {
	api, err := a.account(in.Account)
	if err != nil {
		return Webhook{}, err
	}
	hook, err := api.NamedWebhook(ctx, in.ID)
	if err != nil {
		return Webhook{}, classify(ctx, err)
	}
	return Webhook{ID: hook.ID, Enabled: hook.Enabled, Calls: 1}, nil
}

// EnableWebhook switches a webhook on. It sends back everything that Spacelift shows
// of the webhook, with the secret from Gantry's configuration: an update replaces
// the whole, and Spacelift doesn't document what happens to a missing secret.
// Secret headers are not part of the update and stay.
func (a *Activities) EnableWebhook(ctx context.Context, in WebhookInput) (Webhook, error) {
	api, err := a.account(in.Account)
	if err != nil {
		return Webhook{}, err
	}
	var secret string
	if current := a.WebhookSecrets[in.Account]; current != nil {
		secret = current()
	}
	if secret == "" {
		return Webhook{}, temporal.NewNonRetryableApplicationError(
			fmt.Sprintf("Gantry knows no webhook secret of the account %s", in.Account), ErrTypeNoSecret, nil)
	}
	hook, err := api.NamedWebhook(ctx, in.ID)
	if err != nil {
		return Webhook{}, classify(ctx, err)
	}
	if hook.Enabled {
		return Webhook{ID: hook.ID, Enabled: true, Calls: 1}, nil
	}
	hook, err = api.UpdateNamedWebhook(ctx, in.ID, spacelift.NamedWebhookInput{
		Name: hook.Name, Endpoint: hook.Endpoint, Enabled: true, Labels: hook.Labels, Space: hook.Space,
		Secret: secret, RetryOnFailure: hook.RetryOnFailure,
	})
	if err != nil {
		return Webhook{}, classify(ctx, err)
	}
	return Webhook{ID: hook.ID, Enabled: hook.Enabled, Calls: 2}, nil
}
