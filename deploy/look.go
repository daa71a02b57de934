package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/gantryhq/gantry/spacelift"
)

// Spacelift is what setting up asks of an account; *spacelift.Client is one.
type Spacelift interface {
	NamedWebhooks(ctx context.Context) (spacelift.Listing[spacelift.NamedWebhook], error)
	NamedWebhookSecretIs(ctx context.Context, id, secret string) (same, shown bool, err error)
	CreateNamedWebhook(ctx context.Context, in spacelift.NamedWebhookInput) (spacelift.NamedWebhook, error)
	UpdateNamedWebhook(ctx context.Context, id string, in spacelift.NamedWebhookInput) (spacelift.NamedWebhook, error)
	SetNamedWebhookHeaders(ctx context.Context, id string, headers map[string]string) error
	Policies(ctx context.Context, ofType string) (spacelift.Listing[spacelift.Policy], error)
	Policy(ctx context.Context, id string) (spacelift.Policy, error)
	CreatePolicy(ctx context.Context, in spacelift.PolicyInput) (spacelift.Policy, error)
	UpdatePolicy(ctx context.Context, id string, in spacelift.PolicyInput) (spacelift.Policy, error)
}

// Secret is a string that no form of printing shows.
type Secret string

// String hides the secret.
func (s Secret) String() string {
	if s == "" {
		return "(none)"
	}
	return "(set)"
}

// GoString hides the secret from %#v.
func (s Secret) GoString() string { return s.String() }

// MarshalText hides the secret from JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Wanted is how an account should be set up. Empty fields are not compared,
// unless they say otherwise.
type Wanted struct {
	Webhook  string // name of the named webhook; required
	Policy   string // name of the notification policy; required
	Space    string // id of the space of both; empty leaves them where they are, root when they are new
	Endpoint string // where notifications go; a webhook can't be created without
	Secret   Secret // signs the notifications

	// Header is the secret header that comes with every notification, with its
	// value; empty when Gantry asks for none.
	Header      string
	HeaderValue Secret

	// SendSecrets sends secret and header value even if nothing is seen to
	// differ: Spacelift may not show what it has.
	SendSecrets bool
}

// Found is what an account has, of what concerns us.
type Found struct {
	Webhooks []spacelift.NamedWebhook
	Policies []spacelift.Policy // those of type NOTIFICATION
	Complete bool               // false when the account has more than was listed

	Secret SecretMatch       // of the webhook that is wanted
	Taken  *spacelift.Policy // a policy of another type has the name we want
}

// SecretMatch says how a webhook's secret compares with ours.
type SecretMatch string

// The ways secrets compare.
const (
	SecretNotShown SecretMatch = ""      // Spacelift doesn't show it to this key
	SecretSame     SecretMatch = "same"  //
	SecretOther    SecretMatch = "other" // notifications would be refused
)

// Look reads what is there. It needs a key that may read webhooks and policies.
func Look(ctx context.Context, api Spacelift, w Wanted) (Found, error) {
	hooks, err := api.NamedWebhooks(ctx)
	if err != nil {
		return Found{}, explain(err, "reading webhooks takes read access to their space")
	}
	policies, err := api.Policies(ctx, spacelift.PolicyTypeNotification)
	if err != nil {
		return Found{}, explain(err, "reading policies takes read access to their space")
	}
	found := Found{Webhooks: hooks.Items, Policies: policies.Items, Complete: hooks.Complete && policies.Complete}
	if hook := found.Webhook(w.Webhook); hook != nil && w.Secret != "" {
		same, shown, err := api.NamedWebhookSecretIs(ctx, hook.ID, string(w.Secret))
		switch {
		case err != nil:
			return Found{}, err
		case shown && same:
			found.Secret = SecretSame
		case shown:
			found.Secret = SecretOther
		}
	}
	if found.Policy(w.Policy) == nil {
		// Ids are slugs of names. The name may belong to a policy that the listing
		// leaves out because it is of another type.
		taken, err := api.Policy(ctx, w.Policy)
		switch {
		case err == nil && taken.Type == spacelift.PolicyTypeNotification:
			found.Policies = append(found.Policies, taken)
		case err == nil:
			found.Taken = &taken
		case !errors.Is(err, spacelift.ErrNotFound) && !errors.Is(err, spacelift.ErrForbidden):
			return Found{}, err
		}
	}
	return found, nil
}

// Webhook returns the webhook with a name, or with an id of that spelling; nil
// if there is none.
func (f Found) Webhook(name string) *spacelift.NamedWebhook {
	i := slices.IndexFunc(f.Webhooks, func(w spacelift.NamedWebhook) bool { return w.Name == name })
	if i < 0 {
		i = slices.IndexFunc(f.Webhooks, func(w spacelift.NamedWebhook) bool { return w.ID == name })
	}
	if i < 0 {
		return nil
	}
	return &f.Webhooks[i]
}

// Policy returns the notification policy with a name, or with an id of that
// spelling; nil if there is none.
func (f Found) Policy(name string) *spacelift.Policy {
	i := slices.IndexFunc(f.Policies, func(p spacelift.Policy) bool { return p.Name == name })
	if i < 0 {
		i = slices.IndexFunc(f.Policies, func(p spacelift.Policy) bool { return p.ID == name })
	}
	if i < 0 {
		return nil
	}
	return &f.Policies[i]
}

// explain says which right is missing where Spacelift only says unauthorized.
func explain(err error, right string) error {
	if errors.Is(err, spacelift.ErrForbidden) {
		return fmt.Errorf("%w; %s", err, right)
	}
	return err
}
