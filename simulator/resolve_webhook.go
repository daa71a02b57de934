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
// Assumption: Spacelift has the field; who may read it is not documented.
func (w *namedWebhook) out(s *Simulator, who actor) *namedWebhookOut {
	o := &namedWebhookOut{
		ID: graphql.ID(w.ID), Name: w.Name, Endpoint: w.Endpoint, Enabled: !w.Disabled, Labels: orEmpty(slices.Clone(w.Labels)),
		Space: s.spaces[w.Space].out(), SecretHeaders: orEmpty(sortedKeys(w.Headers)), RetryOnFailure: new(w.RetryOnFailure),
		CreatedAt: seconds(w.createdAt),
	}
	if who.admin {
		o.Secret = new(w.Secret)
	}
	return o
}

// NamedWebhooksIntegration of a missing id is an error, not null.
func (resolver) NamedWebhooksIntegration(ctx context.Context, args idArgs) (*namedWebhookOut, error) {
	return onWebhook(ctx, args.ID, func(*Simulator, *namedWebhook) error { return nil })
}

func onWebhook(ctx context.Context, id graphql.ID, do func(*Simulator, *namedWebhook) error) (*namedWebhookOut, error) {
	return with(ctx, func(s *Simulator, who actor) (*namedWebhookOut, error) {
		w := s.findWebhook(string(id))
		if w == nil {
			return nil, fmt.Errorf("named webhook %s: %w", id, ErrNotFound)
		}
		if err := do(s, w); err != nil {
			return nil, err
		}
		return w.out(s, who), nil
	})
}

type namedWebhookInput struct {
	Enabled        bool
	Endpoint       string
	Space          graphql.ID
	Name           string
	Secret         *string
	Labels         *[]string
	RetryOnFailure *bool
}

func (resolver) NamedWebhooksIntegrationCreate(ctx context.Context, args struct{ Input namedWebhookInput }) (*namedWebhookOut, error) {
	return with(ctx, func(s *Simulator, who actor) (*namedWebhookOut, error) {
		in := args.Input
		w, err := s.addNamedWebhook(NamedWebhook{
			Name: in.Name, Space: string(in.Space), Endpoint: in.Endpoint, Secret: deref(in.Secret),
			Labels: deref(in.Labels), RetryOnFailure: truth(in.RetryOnFailure), Disabled: !in.Enabled,
		})
		if err != nil {
			return nil, err
		}
		return w.out(s, who), nil
	})
}

// NamedWebhooksIntegrationUpdate takes the whole input.
// Assumption: an omitted secret is lost, the harsher of the two readings;
// enabling it again forgets its failures.
func (resolver) NamedWebhooksIntegrationUpdate(ctx context.Context, args struct {
	ID    graphql.ID
	Input namedWebhookInput
}) (*namedWebhookOut, error) {
	return onWebhook(ctx, args.ID, func(s *Simulator, w *namedWebhook) error {
		in := args.Input
		if s.spaces[string(in.Space)] == nil {
			return fmt.Errorf("space %s: %w", in.Space, ErrNotFound)
		}
		if in.Enabled && w.Disabled {
			w.failures = 0
		}
		w.Name, w.Space, w.Endpoint, w.Disabled = in.Name, string(in.Space), in.Endpoint, !in.Enabled
		w.Secret, w.Labels, w.RetryOnFailure = deref(in.Secret), deref(in.Labels), truth(in.RetryOnFailure)
		return nil
	})
}

func (resolver) NamedWebhooksIntegrationDelete(ctx context.Context, args idArgs) (*namedWebhookOut, error) {
	return unlessGone(onWebhook(ctx, args.ID, func(s *Simulator, w *namedWebhook) error {
		w.Disabled = true // what is under way is not sent any more
		s.webhooks = slices.DeleteFunc(s.webhooks, func(o *namedWebhook) bool { return o == w })
		return nil
	}))
}

func (resolver) NamedWebhooksIntegrationSetHeaders(ctx context.Context, args struct {
	ID    graphql.ID
	Input struct{ Entries []keyValue }
}) (*namedWebhookOut, error) {
	return onWebhook(ctx, args.ID, func(_ *Simulator, w *namedWebhook) error {
		if w.Headers == nil {
			w.Headers = map[string]string{}
		}
		for _, e := range args.Input.Entries {
			w.Headers[e.Key] = e.Value
		}
		return nil
	})
}

func (resolver) NamedWebhooksIntegrationDeleteHeaders(ctx context.Context, args struct {
	ID         graphql.ID
	HeaderKeys []string
}) (*namedWebhookOut, error) {
	return unlessGone(onWebhook(ctx, args.ID, func(_ *Simulator, w *namedWebhook) error {
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

func (w *stackWebhook) out() *webhookOut {
	return &webhookOut{
		ID: graphql.ID(w.ID), Endpoint: w.Endpoint, Enabled: !w.Disabled, Secret: w.Secret, RetryOnFailure: new(w.RetryOnFailure),
	}
}

type webhookInput struct {
	Enabled        bool
	Endpoint       string
	Secret         *string
	RetryOnFailure *bool
}

func (resolver) WebhooksIntegrationCreate(ctx context.Context, args struct {
	Stack graphql.ID
	Input webhookInput
}) (*webhookOut, error) {
	return with(ctx, func(s *Simulator, _ actor) (*webhookOut, error) {
		w, err := s.addStackWebhook(StackWebhook{
			Stack: stackID(args.Stack), Endpoint: args.Input.Endpoint, Secret: deref(args.Input.Secret),
			RetryOnFailure: truth(args.Input.RetryOnFailure), Disabled: !args.Input.Enabled,
		})
		if err != nil {
			return nil, err
		}
		return w.out(), nil
	})
}

func onStackWebhook(ctx context.Context, of, id graphql.ID, do func(*stack, *stackWebhook)) (*webhookOut, error) {
	return with(ctx, func(s *Simulator, _ actor) (*webhookOut, error) {
		st, err := s.findStack(stackID(of))
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(st.webhooks, func(w *stackWebhook) bool { return w.ID == string(id) })
		if i < 0 {
			return nil, fmt.Errorf("webhook %s of stack %s: %w", id, of, ErrNotFound)
		}
		w := st.webhooks[i]
		do(st, w)
		return w.out(), nil
	})
}

// WebhooksIntegrationUpdate takes the whole input, as its named sister does.
func (resolver) WebhooksIntegrationUpdate(ctx context.Context, args struct {
	Stack, ID graphql.ID
	Input     webhookInput
}) (*webhookOut, error) {
	return onStackWebhook(ctx, args.Stack, args.ID, func(_ *stack, w *stackWebhook) {
		if args.Input.Enabled && w.Disabled {
			w.failures = 0
		}
		w.Endpoint, w.Disabled = args.Input.Endpoint, !args.Input.Enabled
		w.Secret, w.RetryOnFailure = deref(args.Input.Secret), truth(args.Input.RetryOnFailure)
	})
}

func (resolver) WebhooksIntegrationDelete(ctx context.Context, args struct{ Stack, ID graphql.ID }) (*webhookOut, error) {
	return unlessGone(onStackWebhook(ctx, args.Stack, args.ID, func(st *stack, w *stackWebhook) {
		w.Disabled = true
		st.webhooks = slices.DeleteFunc(st.webhooks, func(o *stackWebhook) bool { return o == w })
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

func (st *stack) integrationsOut() *integrationsOut {
	o := &integrationsOut{GCP: gcpOut{TokenScopes: []string{}}, Webhooks: []*webhookOut{}}
	if !st.Drift.none() {
		o.DriftDetection = st.Drift.out()
	}
	for _, w := range st.webhooks {
		o.Webhooks = append(o.Webhooks, w.out())
	}
	return o
}
