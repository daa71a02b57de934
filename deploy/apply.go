package deploy

import (
	"context"
	"errors"
	"fmt"

	"github.com/gantryhq/gantry/spacelift"
)

// ErrForeign is the error for a plan that would overwrite something that isn't
// Gantry's.
var ErrForeign = errors.New("not written by Gantry, and not replaced without being asked to")

// maxAttempts limits the plans that follow a change that may or may not have
// happened.
const maxAttempts = 3

// Apply carries out a plan and calls done after each change. You may repeat it:
// the next [Inspect] finds the changes made before.
//
// After a change that may or may not have happened, Apply inspects the account
// again instead of repeating it blindly. If Spacelift shows a change differently
// from what was sent, Apply returns an error; all changes before it were made. It
// returns ErrForeign, and changes nothing, if the plan would overwrite something that
// isn't Gantry's and Wanted.Replace doesn't allow that.
func Apply(ctx context.Context, api Spacelift, p Plan, done func(what string)) error {
	if foreign := p.Foreign(); len(foreign) > 0 && !p.wanted.Replace {
		return fmt.Errorf("%w: %s", ErrForeign, list(foreign))
	}
	for attempt := 1; ; attempt++ {
		err := p.apply(ctx, api, done)
		if !errors.Is(err, spacelift.ErrAmbiguous) || attempt == maxAttempts {
			return err
		}
		found, inspectErr := Inspect(ctx, api, *p.wanted)
		if inspectErr != nil {
			return errors.Join(err, inspectErr)
		}
		if p, err = Compare(*p.wanted, found); err != nil {
			return err
		}
	}
}

// apply makes the changes in an order in which Spacelift sends no notification that
// Gantry would refuse: the header before the webhook is on, and the webhook before
// the policy.
func (p Plan) apply(ctx context.Context, api Spacelift, done func(string)) error {
	steps := []func(context.Context, Spacelift, func(string)) error{p.sendHeader, p.updateWebhook, p.setPolicies}
	if p.webhook != nil && p.webhook.id == "" {
		steps = []func(context.Context, Spacelift, func(string)) error{p.createWebhook, p.setPolicies}
	}
	for _, step := range steps {
		if err := step(ctx, api, done); err != nil {
			return err
		}
	}
	return nil
}

// createWebhook sets the header too, because that needs the id.
func (p Plan) createWebhook(ctx context.Context, api Spacelift, done func(string)) error {
	in := p.send()
	if in.Endpoint == "" {
		return fmt.Errorf("create webhook %q: it needs an address", in.Name)
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

func (p Plan) setPolicies(ctx context.Context, api Spacelift, done func(string)) error {
	for _, step := range p.policies {
		if err := step.apply(ctx, api, done); err != nil {
			return err
		}
	}
	return nil
}

func (s policyStep) apply(ctx context.Context, api Spacelift, done func(string)) (err error) {
	in, now := s.input, spacelift.Policy{}
	var what string
	switch {
	case s.remove:
		what = "deleted"
		err = api.DeletePolicy(ctx, s.id)
	case s.id == "":
		what = "created"
		now, err = api.CreatePolicy(ctx, in)
	default:
		what = "updated"
		now, err = api.UpdatePolicy(ctx, s.id, in)
	}
	if err != nil {
		return explainIn(err, in.Space)
	}
	done(what + " policy " + in.Name)
	if s.remove {
		return nil
	}
	return stuck(func(again *Plan) { again.comparePolicy(ownPolicy{input: in}, &now) })
}

// send returns the webhook's input with the secret, which every update needs.
func (p Plan) send() spacelift.NamedWebhookInput {
	in := p.webhook.input
	in.Secret = string(p.wanted.Secret)
	return in
}

// shown returns the expected answer to this input, which has no secret.
func shown(in spacelift.NamedWebhookInput) Wanted {
	return Wanted{Webhook: in.Name, Space: in.Space, Endpoint: in.Endpoint}
}

// stuck returns an error if Spacelift's answer to a change still shows a difference.
func stuck(compare func(again *Plan)) error {
	var again Plan
	compare(&again)
	for _, c := range again.Changes {
		return fmt.Errorf("spacelift took the change of %s, but shows %s as %q where %q was sent", c.Name, c.Item, c.Now, c.Wanted)
	}
	return nil
}

// explainIn adds the remedy to an error of changing webhooks or policies in a
// space.
func explainIn(err error, space string) error {
	if errors.Is(err, spacelift.ErrNotFound) {
		return fmt.Errorf("%w; check that space %s exists and that the key has access to it", err, space)
	}
	return explain(err, "changing webhooks and policies takes an API key with the space admin role in space "+space)
}
