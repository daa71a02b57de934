package simulator

import (
	"context"
	"fmt"
	"slices"

	"github.com/graph-gophers/graphql-go"
)

type namedWebhookOut struct {
	ID             graphql.ID
	Name           string
	Endpoint       string
	Enabled        bool
	Labels         []string
	Space          *spaceOut
	Secret         *string
	SecretHeaders  []string
	RetryOnFailure *bool
	CreatedAt      int32
}

// out shows the secret to admins only.
// Assumption: Spacelift has the field; its documentation doesn't say who may read it.
func (w *namedWebhook) out(s *Simulator, who actor) *namedWebhookOut {
	o := &namedWebhookOut{
		ID: graphql.ID(w.ID), Name: w.Name, Endpoint: w.Endpoint, Enabled: !w.Disabled, Labels: slices.Clone(w.Labels),
		Space: s.spaces[w.Space].out(s, who), SecretHeaders: sortedKeys(w.Headers), RetryOnFailure: new(w.RetryOnFailure),
		CreatedAt: seconds(w.CreatedAt),
	}
	if who.admin {
		o.Secret = new(w.Secret)
	}
	return o
}

// NamedWebhooksIntegration of a missing id is an error, not null.
func (resolver) NamedWebhooksIntegration(ctx context.Context, args idArgs) (*namedWebhookOut, error) {
	return answer(ctx, found(args.ID, (*Simulator).findWebhook, nil))
}

type namedWebhookInput struct {
	webhookInput

	Space  graphql.ID
	Name   string
	Labels lines
}

func (in namedWebhookInput) webhook() NamedWebhook {
	return NamedWebhook{
		Name: in.Name, Space: string(in.Space), Endpoint: in.Endpoint, Secret: deref(in.Secret),
		Labels: in.Labels, RetryOnFailure: bool(in.RetryOnFailure), Disabled: !in.Enabled,
	}
}

func (resolver) NamedWebhooksIntegrationCreate(ctx context.Context, args struct{ Input namedWebhookInput }) (*namedWebhookOut, error) {
	return answer(ctx, func(s *Simulator, _ actor) (*namedWebhook, error) { return s.addNamedWebhook(args.Input.webhook()) })
}

// NamedWebhooksIntegrationUpdate takes the whole input.
// Assumption: an omitted secret is lost, the harsher of the two readings;
// enabling it again forgets its failures.
func (resolver) NamedWebhooksIntegrationUpdate(ctx context.Context, args struct {
	ID    graphql.ID
	Input namedWebhookInput
}) (*namedWebhookOut, error) {
	return answer(ctx, found(args.ID, (*Simulator).findWebhook, func(s *Simulator, _ actor, w *namedWebhook) error {
		asked := args.Input.webhook()
		if _, err := s.findSpace(asked.Space); err != nil {
			return err
		}
		if w.Disabled && !asked.Disabled {
			w.failures = 0
		}
		asked.ID, asked.Headers = w.ID, w.Headers
		w.NamedWebhook = asked
		return nil
	}))
}

func (resolver) NamedWebhooksIntegrationDelete(ctx context.Context, args idArgs) (*namedWebhookOut, error) {
	return orNull(ctx, found(args.ID, (*Simulator).findWebhook, func(s *Simulator, _ actor, w *namedWebhook) error {
		w.Disabled = true // its queued deliveries are not sent
		s.webhooks = without(s.webhooks, w)
		return nil
	}))
}

func (resolver) NamedWebhooksIntegrationSetHeaders(ctx context.Context, args struct {
	ID    graphql.ID
	Input struct{ Entries []keyValue }
}) (*namedWebhookOut, error) {
	return answer(ctx, found(args.ID, (*Simulator).findWebhook, func(_ *Simulator, _ actor, w *namedWebhook) error {
		if w.Headers == nil {
			w.Headers = map[string]string{}
		}
		for _, e := range args.Input.Entries {
			w.Headers[e.Key] = e.Value
		}
		return nil
	}))
}

func (resolver) NamedWebhooksIntegrationDeleteHeaders(ctx context.Context, args struct {
	ID         graphql.ID
	HeaderKeys []string
}) (*namedWebhookOut, error) {
	return orNull(ctx, found(args.ID, (*Simulator).findWebhook, func(_ *Simulator, _ actor, w *namedWebhook) error {
		for _, key := range args.HeaderKeys {
			delete(w.Headers, key)
		}
		return nil
	}))
}

type webhookOut struct {
	ID             graphql.ID
	Endpoint       string
	Enabled        bool
	Deleted        bool
	Secret         string
	RetryOnFailure *bool
}

func (w *stackWebhook) out(*Simulator, actor) *webhookOut {
	return &webhookOut{
		ID: graphql.ID(w.ID), Endpoint: w.Endpoint, Enabled: !w.Disabled, Secret: w.Secret, RetryOnFailure: new(w.RetryOnFailure),
	}
}

type webhookInput struct {
	Enabled        bool
	Endpoint       string
	Secret         *string
	RetryOnFailure flag
}

func (in webhookInput) webhook(stack graphql.ID) StackWebhook {
	return StackWebhook{
		Stack: stackID(stack), Endpoint: in.Endpoint, Secret: deref(in.Secret), RetryOnFailure: bool(in.RetryOnFailure), Disabled: !in.Enabled,
	}
}

func (resolver) WebhooksIntegrationCreate(ctx context.Context, args struct {
	Stack graphql.ID
	Input webhookInput
}) (*webhookOut, error) {
	return answer(ctx, func(s *Simulator, _ actor) (*stackWebhook, error) {
		return s.addStackWebhook(args.Input.webhook(args.Stack))
	})
}

// stackHook returns a function for answer that finds a stack's webhook and changes it.
func stackHook(of, id graphql.ID, change func(*stack, *stackWebhook)) func(*Simulator, actor) (*stackWebhook, error) {
	return func(s *Simulator, _ actor) (*stackWebhook, error) {
		st, err := s.findStack(stackID(of))
		if err != nil {
			return nil, err
		}
		w, err := find(st.webhooks, "webhook", string(id), func(w *stackWebhook) string { return w.ID })
		if err != nil {
			return nil, fmt.Errorf("stack %s: %w", of, err)
		}
		change(st, w)
		return w, nil
	}
}

// WebhooksIntegrationUpdate takes the whole input, as NamedWebhooksIntegrationUpdate does.
func (resolver) WebhooksIntegrationUpdate(ctx context.Context, args struct {
	Stack, ID graphql.ID
	Input     webhookInput
}) (*webhookOut, error) {
	return answer(ctx, stackHook(args.Stack, args.ID, func(_ *stack, w *stackWebhook) {
		asked := args.Input.webhook(args.Stack)
		if w.Disabled && !asked.Disabled {
			w.failures = 0
		}
		asked.ID = w.ID
		w.StackWebhook = asked
	}))
}

func (resolver) WebhooksIntegrationDelete(ctx context.Context, args struct{ Stack, ID graphql.ID }) (*webhookOut, error) {
	return orNull(ctx, stackHook(args.Stack, args.ID, func(st *stack, w *stackWebhook) {
		w.Disabled = true
		st.webhooks = without(st.webhooks, w)
	}))
}

type integrationsOut struct {
	AWS            awsOut
	DriftDetection *driftOut
	GCP            gcpOut
	Webhooks       []*webhookOut
}

// Cloud integrations are not simulated.
type awsOut struct {
	AssumedRoleArn              *string
	AssumeRolePolicyStatement   string
	ExternalID                  *string
	GenerateCredentialsInWorker bool
	DurationSeconds             *int32
	Region                      *string
}

type gcpOut struct {
	ServiceAccountEmail *string
	TokenScopes         []string
}

func (st *stack) integrationsOut(s *Simulator, who actor) *integrationsOut {
	o := &integrationsOut{Webhooks: outs(st.webhooks, s, who)}
	if !st.Drift.none() {
		o.DriftDetection = st.Drift.out(s, who)
	}
	return o
}
