package spaceliftapi

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/spacelift/spaceliftapi/internal/operations"
)

func toNamedWebhookInput(in spacelift.NamedWebhookInput) (operations.NamedWebhooksIntegrationInput, error) {
	if in.Secret == "" {
		return operations.NamedWebhooksIntegrationInput{}, errors.New("a secret is required")
	}
	labels := in.Labels
	if labels == nil {
		labels = []string{}
	}
	return operations.NamedWebhooksIntegrationInput{
		Name:           in.Name,
		Endpoint:       in.Endpoint,
		Enabled:        in.Enabled,
		Labels:         labels,
		Space:          in.Space,
		Secret:         &in.Secret,
		RetryOnFailure: &in.RetryOnFailure,
	}, nil
}

// NamedWebhook reads a webhook. It returns ErrNotFound when the webhook doesn't
// exist.
func (c *Client) NamedWebhook(ctx context.Context, id string) (spacelift.NamedWebhook, error) {
	data, err := operations.NamedWebhook(ctx, c.api, id)
	if err == nil && data.NamedWebhooksIntegration == nil {
		err = spacelift.ErrNotFound
	}
	if err != nil {
		return spacelift.NamedWebhook{}, fmt.Errorf("read webhook %s: %w", id, err)
	}
	return fromNamedWebhookDetails(*data.NamedWebhooksIntegration), nil
}

// NamedWebhooks lists every named webhook that the key can see.
func (c *Client) NamedWebhooks(ctx context.Context) (spacelift.Listing[spacelift.NamedWebhook], error) {
	found, err := searchPages(maxPages, nil, nil, func(input operations.SearchInput) ([]spacelift.NamedWebhook, operations.PageInfo, error) {
		data, err := operations.SearchNamedWebhooks(ctx, c.api, input)
		if err != nil {
			return nil, operations.PageInfo{}, err
		}
		page := data.SearchNamedWebhooksIntegrations
		var hooks []spacelift.NamedWebhook
		for _, edge := range page.Edges {
			hooks = append(hooks, fromNamedWebhookDetails(edge.Node))
		}
		return hooks, page.PageInfo, nil
	})
	if err != nil {
		return found, fmt.Errorf("list webhooks: %w", err)
	}
	return found, nil
}

// CreateNamedWebhook creates a webhook. After ErrAmbiguous, search for it by name.
func (c *Client) CreateNamedWebhook(ctx context.Context, in spacelift.NamedWebhookInput) (spacelift.NamedWebhook, error) {
	input, err := toNamedWebhookInput(in)
	if err != nil {
		return spacelift.NamedWebhook{}, fmt.Errorf("create webhook %q: %w", in.Name, err)
	}
	data, err := operations.NamedWebhookCreate(ctx, c.api, input)
	if err == nil && data.NamedWebhooksIntegrationCreate == nil {
		err = errNoObject
	}
	if err != nil {
		return spacelift.NamedWebhook{}, fmt.Errorf("create webhook %q: %w", in.Name, err)
	}
	return fromNamedWebhookDetails(*data.NamedWebhooksIntegrationCreate), nil
}

// UpdateNamedWebhook replaces a webhook's settings; its secret headers remain.
// You may repeat it after ErrAmbiguous.
func (c *Client) UpdateNamedWebhook(ctx context.Context, id string, in spacelift.NamedWebhookInput) (spacelift.NamedWebhook, error) {
	input, err := toNamedWebhookInput(in)
	if err != nil {
		return spacelift.NamedWebhook{}, fmt.Errorf("update webhook %s: %w", id, err)
	}
	data, err := operations.NamedWebhookUpdate(ctx, c.api, id, input)
	if err == nil && data.NamedWebhooksIntegrationUpdate == nil {
		err = errNoObject
	}
	if err != nil {
		return spacelift.NamedWebhook{}, fmt.Errorf("update webhook %s: %w", id, err)
	}
	return fromNamedWebhookDetails(*data.NamedWebhooksIntegrationUpdate), nil
}

// SetNamedWebhookHeaders adds or replaces secret headers, by name. You may repeat
// it after ErrAmbiguous.
func (c *Client) SetNamedWebhookHeaders(ctx context.Context, id string, headers map[string]string) error {
	var input operations.NamedWebhookHeaderInput
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		input.Entries = append(input.Entries, operations.KeyValuePair{Key: name, Value: headers[name]})
	}
	data, err := operations.NamedWebhookSetHeaders(ctx, c.api, id, input)
	if err == nil && data.NamedWebhooksIntegrationSetHeaders == nil {
		err = errNoObject
	}
	if err != nil {
		return fmt.Errorf("set headers of webhook %s: %w", id, err)
	}
	return nil
}

func fromNamedWebhookDetails(w operations.NamedWebhookDetails) spacelift.NamedWebhook {
	return spacelift.NamedWebhook{
		ID:             w.Id,
		Name:           w.Name,
		Endpoint:       w.Endpoint,
		Enabled:        w.Enabled,
		Labels:         w.Labels,
		Space:          w.Space.Id,
		RetryOnFailure: orZero(w.RetryOnFailure),
		SecretHeaders:  w.SecretHeaders,
	}
}
