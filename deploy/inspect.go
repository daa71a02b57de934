package deploy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/gantryhq/gantry/spacelift"
)

// Spacelift is the part of an account's API that this package uses;
// *spaceliftapi.Client is one.
type Spacelift interface {
	Simulator
	Spaces(ctx context.Context) ([]spacelift.Space, error)
	StacksByLabel(ctx context.Context, label string) (spacelift.Listing[spacelift.Stack], error)
	NamedWebhooks(ctx context.Context) (spacelift.Listing[spacelift.NamedWebhook], error)
	NamedWebhookSecretIs(ctx context.Context, id, secret string) (same, shown bool, err error)
	CreateNamedWebhook(ctx context.Context, in spacelift.NamedWebhookInput) (spacelift.NamedWebhook, error)
	UpdateNamedWebhook(ctx context.Context, id string, in spacelift.NamedWebhookInput) (spacelift.NamedWebhook, error)
	SetNamedWebhookHeaders(ctx context.Context, id string, headers map[string]string) error
	Policies(ctx context.Context, ofTypes ...string) (spacelift.Listing[spacelift.Policy], error)
	Policy(ctx context.Context, id string) (spacelift.Policy, error)
	CreatePolicy(ctx context.Context, in spacelift.PolicyInput) (spacelift.Policy, error)
	UpdatePolicy(ctx context.Context, id string, in spacelift.PolicyInput) (spacelift.Policy, error)
	DeletePolicy(ctx context.Context, id string) error
	Viewer(ctx context.Context) (spacelift.Viewer, error)
}

// Secret is a string that fmt, JSON and YAML don't show.
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

// Wanted is the desired setup of an account. Empty fields aren't compared, unless
// noted.
type Wanted struct {
	Webhook  string // name of the named webhook; required
	Policy   string // name of the notification policy; required
	Space    string // id of the space of both; empty means no change, and root for new ones
	Endpoint string // address of Gantry's webhook; required to create one
	Secret   Secret // signs the notifications

	// Header is the secret header of every notification; empty if Gantry requires
	// none.
	Header      string
	HeaderValue Secret

	// SendSecrets sends the secret and the header's value even without a visible
	// difference: Spacelift may not show its own.
	SendSecrets bool

	// Enforce says what becomes of the policies that make Gantry's decisions binding.
	Enforce Enforce

	// Reviewers are the API keys whose reviews approve, as Spacelift names them; empty
	// means the key that Inspect uses.
	Reviewers []string

	// Replace allows Apply to overwrite a webhook or policy that has the wanted name
	// and isn't Gantry's.
	Replace bool
}

// Enforce is a decision about the policies that make Gantry's decisions binding.
type Enforce string

// The decisions.
const (
	EnforceKeep Enforce = ""    // compare them where they exist
	EnforceOn   Enforce = "on"  // create them
	EnforceOff  Enforce = "off" // delete them
)

// Found is the part of an account that concerns Gantry.
type Found struct {
	Webhooks []spacelift.NamedWebhook
	Policies []spacelift.Policy // those of type NOTIFICATION
	Holds    []spacelift.Policy // those of types APPROVAL and PLAN
	Viewer   string             // the key that read all this
	Complete bool               // false if the account has more than the lists hold

	Secret SecretMatch       // of the wanted webhook
	Header SecretMatch       // of its secret header, which Spacelift never shows
	Taken  *spacelift.Policy // a policy of another type that has the wanted name

	// Effects holds the effect of each policy, by id. Our own unmodified policy is
	// left out, and so are policies that can't send events to the webhook.
	Effects map[string]Effect
}

// SecretMatch is the result of comparing a webhook's secret with ours.
type SecretMatch string

// The results of comparing secrets.
const (
	SecretNotShown SecretMatch = ""        // Spacelift hides it from this key, or there is none
	SecretSame     SecretMatch = "same"    //
	SecretOther    SecretMatch = "other"   // Gantry would refuse notifications
	SecretRefused  SecretMatch = "refused" // a running Gantry refuses notifications
)

// Inspect reads the webhooks and policies of an account. It needs a key that may
// read them.
func Inspect(ctx context.Context, api Spacelift, w Wanted) (Found, error) {
	hooks, err := api.NamedWebhooks(ctx)
	if err != nil {
		return Found{}, explain(err, "reading webhooks takes read access to their space")
	}
	policies, err := api.Policies(ctx, spacelift.PolicyTypeNotification, spacelift.PolicyTypeApproval, spacelift.PolicyTypePlan)
	if err != nil {
		return Found{}, explain(err, "reading policies takes read access to their space")
	}
	viewer, err := api.Viewer(ctx)
	if err != nil {
		return Found{}, err
	}
	found := Found{Webhooks: hooks.Items, Viewer: viewer.ID, Complete: hooks.Complete && policies.Complete}
	for _, p := range policies.Items {
		if p.Type == spacelift.PolicyTypeNotification {
			found.Policies = append(found.Policies, p)
		} else {
			found.Holds = append(found.Holds, p)
		}
	}
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
		// Ids are slugs of names. The name may belong to a policy of another type, which
		// the list leaves out.
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
	found.simulatePolicies(ctx, api, w)
	return found, nil
}

// simulatePolicies sets the effects of the policies in reach. If spaces or stacks
// can't be read, the sampled events only resemble the account less.
func (f *Found) simulatePolicies(ctx context.Context, api Spacelift, w Wanted) {
	ours, target := f.Policy(w.Policy), f.target(w)
	others := slices.DeleteFunc(slices.Clone(f.Policies), func(p spacelift.Policy) bool {
		return ours != nil && p.ID == ours.ID && firstDifference(p.Body, Policy) == 0
	})
	if len(others) == 0 {
		return
	}
	if spaces, err := api.Spaces(ctx); err == nil {
		others = slices.DeleteFunc(others, func(p spacelift.Policy) bool {
			return !Reaches(spaces, p.Space, target.Space) && !Reaches(spaces, target.Space, p.Space)
		})
	}
	var managed []spacelift.Stack
	if found, err := api.StacksByLabel(ctx, spacelift.LabelManaged); err == nil {
		managed = found.Items
	}
	hooks := append(slices.DeleteFunc(slices.Clone(f.Webhooks), func(h spacelift.NamedWebhook) bool { return h.ID == target.ID || !h.Enabled }), target)
	events := samples(managed, hooks, len(others))
	f.Effects = map[string]Effect{}
	for _, p := range others {
		f.Effects[p.ID] = effectOf(ctx, api, p, events)
	}
}

// target returns the webhook as the plan will leave it.
func (f *Found) target(w Wanted) spacelift.NamedWebhook {
	have := f.Webhook(w.Webhook)
	if have == nil {
		return spacelift.NamedWebhook{
			ID: w.Webhook, Name: w.Webhook, Endpoint: w.Endpoint, Enabled: true, Labels: []string{WebhookLabel}, Space: cmp.Or(w.Space, rootSpace),
		}
	}
	will := *have
	will.Endpoint, will.Space, will.Enabled = cmp.Or(w.Endpoint, have.Endpoint), cmp.Or(w.Space, have.Space), true
	if !slices.Contains(will.Labels, WebhookLabel) {
		will.Labels = append(slices.Clone(will.Labels), WebhookLabel)
	}
	return will
}

// Webhook returns the webhook with this name or id, or nil.
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

// Policy returns the notification policy with this name or id, or nil.
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

// explain adds the missing right where Spacelift only answers "unauthorized".
func explain(err error, right string) error {
	if errors.Is(err, spacelift.ErrForbidden) {
		return fmt.Errorf("%w; %s", err, right)
	}
	return err
}
