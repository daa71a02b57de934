package deploy

import (
	"context"
	"errors"
	"fmt"

	"github.com/gantryhq/gantry/spacelift"
)

// maxAttempts bounds how often a plan is made anew after a change of which
// nobody knows whether it happened.
const maxAttempts = 3

// Apply carries a plan out and reports to done each change that happened, as it
// happens. It may be repeated: the next [Look] finds what was done before.
//
// A change that may or may not have happened is looked for, not repeated
// blindly. An error that Spacelift took a change and shows it differently means
// that everything before was done.
func Apply(ctx context.Context, api Spacelift, p Plan, done func(what string)) error {
	for attempt := 1; ; attempt++ {
		err := p.apply(ctx, api, done)
		if !errors.Is(err, spacelift.ErrAmbiguous) || attempt == maxAttempts {
			return err
		}
		found, lookErr := Look(ctx, api, *p.wanted)
		if lookErr != nil {
			return errors.Join(err, lookErr)
		}
		if p, err = Compare(*p.wanted, found); err != nil {
			return err
		}
	}
}

// apply works in an order in which no notification is sent that Gantry would
// refuse: what it asks for is there before the webhook is on, and the webhook
// before the policy.
func (p Plan) apply(ctx context.Context, api Spacelift, done func(string)) error {
	steps := []func(context.Context, Spacelift, func(string)) error{p.sendHeader, p.updateWebhook, p.setPolicy}
	if p.webhook != nil && p.webhook.id == "" {
		steps = []func(context.Context, Spacelift, func(string)) error{p.createWebhook, p.setPolicy}
	}
	for _, step := range steps {
		if err := step(ctx, api, done); err != nil {
			return err
		}
	}
	return nil
}

// createWebhook sets the header as well: that needs the id.
func (p Plan) createWebhook(ctx context.Context, api Spacelift, done func(string)) error {
	in := p.send()
	if in.Endpoint == "" {
		return fmt.Errorf("create webhook %q: no address is given", in.Name)
	}
	made, err := api.CreateNamedWebhook(ctx, in)
	if err != nil {
		return explainIn(err, in.Space)
	}
	done("created webhook " + made.Name)
	if err := stuck(func(again *Plan) { again.compareWebhook(shown(in), &made, SecretNotShown, SecretNotShown) }); err != nil {
		return err
	}
	p.webhookID = made.ID
	return p.sendHeader(ctx, api, done)
}

func (p Plan) updateWebhook(ctx context.Context, api Spacelift, done func(string)) error {
	if p.webhook == nil {
		return nil
	}
	in := p.send()
	now, err := api.UpdateNamedWebhook(ctx, p.webhook.id, in)
	if err != nil {
		return explainIn(err, in.Space)
	}
	done("updated webhook " + now.Name)
	return stuck(func(again *Plan) { again.compareWebhook(shown(in), &now, SecretNotShown, SecretNotShown) })
}

func (p Plan) sendHeader(ctx context.Context, api Spacelift, done func(string)) error {
	if !p.setHeader {
		return nil
	}
	name := p.wanted.Header
	if err := api.SetNamedWebhookHeaders(ctx, p.webhookID, map[string]string{name: string(p.wanted.HeaderValue)}); err != nil {
		return explain(err, "setting secret headers takes an API key with the space admin role in the webhook's space")
	}
	done("set secret header " + name + " of webhook " + p.wanted.Webhook)
	return nil
}

func (p Plan) setPolicy(ctx context.Context, api Spacelift, done func(string)) error {
	if p.policy == nil {
		return nil
	}
	in := p.policy.input
	var now spacelift.Policy
	var err error
	if p.policy.id == "" {
		now, err = api.CreatePolicy(ctx, in)
	} else {
		now, err = api.UpdatePolicy(ctx, p.policy.id, in)
	}
	if err != nil {
		return explainIn(err, in.Space)
	}
	if p.policy.id == "" {
		done("created policy " + now.Name)
	} else {
		done("updated policy " + now.Name)
	}
	return stuck(func(again *Plan) { again.comparePolicy(Wanted{Policy: in.Name, Space: in.Space}, &now) })
}

// send is the webhook's input with the secret, which every update must carry.
func (p Plan) send() spacelift.NamedWebhookInput {
	in := p.webhook.input
	in.Secret = string(p.wanted.Secret)
	return in
}

// shown returns the expected answer to this input: without its secret.
func shown(in spacelift.NamedWebhookInput) Wanted {
	return Wanted{Webhook: in.Name, Space: in.Space, Endpoint: in.Endpoint}
}

// stuck reports what Spacelift's answer to a change still shows to differ.
func stuck(compare func(again *Plan)) error {
	var again Plan
	compare(&again)
	for _, c := range again.Changes {
		return fmt.Errorf("spacelift took the change of %s, but shows %s as %q where %q was sent", c.Name, c.Item, c.Now, c.Wanted)
	}
	return nil
}

// explainIn adds what an unauthorized or not found is about: a change of
// webhooks or policies in a space.
func explainIn(err error, space string) error {
	if errors.Is(err, spacelift.ErrNotFound) {
		return fmt.Errorf("%w; is there a space %s, and may the key see it?", err, space)
	}
	return explain(err, "changing webhooks and policies takes an API key with the space admin role in space "+space)
}
