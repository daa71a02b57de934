package activities

import (
	"context"
	"errors"
	"fmt"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"

	"github.com/gantryhq/gantry/spacelift"
)

// Activities are registered with a worker as one value.
type Activities struct {
	// Accounts holds a client for each Spacelift account that Gantry serves.
	Accounts map[spacelift.Account]Spacelift

	// WebhookSecrets holds, for each account, what its webhook is to sign with.
	// The secrets may change while Gantry runs.
	WebhookSecrets map[spacelift.Account]func() string

	// Temporal is where the executions are.
	Temporal Temporal
}

// Spacelift is what the activities call; *spacelift.Client is one.
type Spacelift interface {
	// Run reads a run with its history and the stack's current labels.
	Run(ctx context.Context, ref spacelift.RunRef) (spacelift.Run, error)

	// ConfirmRun confirms a run's plan. An error that is not ErrAmbiguous means
	// that it did not happen.
	ConfirmRun(ctx context.Context, ref spacelift.RunRef, note string) (spacelift.RunOutcome, error)

	// RunsInProgress finds the account's runs that have not ended.
	RunsInProgress(ctx context.Context, pages int, states ...spacelift.RunState) (spacelift.Listing[spacelift.RunLine], error)

	// NamedWebhook reads a webhook; UpdateNamedWebhook replaces its settings.
	NamedWebhook(ctx context.Context, id string) (spacelift.NamedWebhook, error)
	UpdateNamedWebhook(ctx context.Context, id string, in spacelift.NamedWebhookInput) (spacelift.NamedWebhook, error)
}

// Temporal is what the activities call of a Temporal client.
type Temporal interface {
	ListWorkflow(context.Context, *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error)
	QueryWorkflow(ctx context.Context, workflowID, runID, queryType string, args ...any) (converter.EncodedValue, error)
}

// The types of application errors that end an activity for good.
const (
	ErrTypeUnknownAccount = "UnknownAccount"
	ErrTypeNotFound       = "NotFound"
	ErrTypeUnauthorized   = "Unauthorized"
	ErrTypeSchemaMismatch = "SchemaMismatch"
)

// ErrTypeRateLimited is the type of the error when Spacelift wants to be left
// alone, for NextRetryDelay where it named a time. It does not end an activity.
const ErrTypeRateLimited = "RateLimited"

// account returns the client of an account. The error for one that is not
// configured is final: configuration is read at start.
func (a *Activities) account(name spacelift.Account) (Spacelift, error) {
	if api, ok := a.Accounts[name]; ok {
		return api, nil
	}
	return nil, temporal.NewNonRetryableApplicationError(
		fmt.Sprintf("Gantry has no API key for the account %s", name), ErrTypeUnknownAccount, nil)
}

// classify marks errors that trying again cannot mend, and passes on how long
// Spacelift wants to be left alone. All others are retried by the policy,
// ErrAmbiguous among them, since each attempt looks before it acts.
func classify(err error) error {
	for _, final := range []struct {
		is   error
		kind string
	}{
		{spacelift.ErrNotFound, ErrTypeNotFound},
		{spacelift.ErrUnauthorized, ErrTypeUnauthorized},
		{spacelift.ErrSchemaMismatch, ErrTypeSchemaMismatch},
	} {
		if errors.Is(err, final.is) {
			return temporal.NewNonRetryableApplicationError(err.Error(), final.kind, err)
		}
	}
	if limited, ok := errors.AsType[*spacelift.RateLimitedError](err); ok {
		return temporal.NewApplicationErrorWithOptions(err.Error(), ErrTypeRateLimited,
			temporal.ApplicationErrorOptions{Cause: err, NextRetryDelay: limited.RetryAfter})
	}
	return err
}
