// Package activities holds Gantry's calls to the outside: each activity is one
// piece of work that is safe to repeat.
//
// Activities hold no retry loops; the workflow's policy retries them. They hold no
// decisions either: those are in the packages below decide. An error says whether
// trying again may help: see classify.
package activities

import (
	"context"
	"fmt"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/notify"
	"github.com/gantryhq/gantry/spacelift"
)

// Activities are registered with a worker as one value.
type Activities struct {
	// Accounts holds a client for each Spacelift account that Gantry serves.
	Accounts map[spacelift.Account]Spacelift

	// WebhookSecrets holds, for each account, the secret that its webhook signs
	// with. Secrets may change while Gantry runs.
	WebhookSecrets map[spacelift.Account]func() string

	// Definitions returns the profiles, windows and rules of the configuration in effect,
	// which may change while Gantry runs; nil is a configuration without any.
	Definitions func() *policy.Definitions

	// Temporal lists, queries and signals executions.
	Temporal Temporal

	// Notifier sends messages to people, which link to Gantry's Pages.
	Notifier Notifier
	Pages    decide.Pages

	// Alarms are the channels that receive every alarm about a run, beside those of its
	// stack.
	Alarms []string

	// OnConfirmedUnseen is called when a confirmation took effect on a plan that
	// Gantry had not judged; nil calls nothing.
	OnConfirmedUnseen func()

	// OnBypassed is called when a plan was confirmed or applied against the policy in
	// effect; nil calls nothing.
	OnBypassed func(context.Context, ReportBypassInput)

	// Now is the clock for windows and freezes; nil is the machine's.
	Now func() time.Time

	graphs  graphCache
	known   knownStacks
	viewers viewers
}

// Spacelift is the subset of *spaceliftapi.Client that the activities use.
type Spacelift interface {
	// Run reads a run with its history and the stack's current labels and brakes.
	Run(ctx context.Context, ref spacelift.RunRef) (spacelift.Run, error)

	// RunURL returns the address of a run in Spacelift's user interface, without a
	// call.
	RunURL(ref spacelift.RunRef) string

	// PlannedResources reads the resources that a run's plan changes.
	PlannedResources(ctx context.Context, ref spacelift.RunRef) (spacelift.PlannedResources, error)

	// The verbs change a run, and are sent once: see spaceliftapi.WithCheck. An
	// error that is not ErrAmbiguous means that nothing happened. StopRun only asks;
	// RetryRun returns the retry, which may be the same run.
	ConfirmRun(ctx context.Context, ref spacelift.RunRef, note string) (spacelift.RunOutcome, error)
	DiscardRun(ctx context.Context, ref spacelift.RunRef, note string) (spacelift.RunOutcome, error)
	CancelRun(ctx context.Context, ref spacelift.RunRef, note string) (spacelift.RunOutcome, error)
	StopRun(ctx context.Context, ref spacelift.RunRef, note string) (spacelift.RunOutcome, error)
	ReviewRun(ctx context.Context, ref spacelift.RunRef, decision spacelift.ReviewDecision, note string) error
	RetryRun(ctx context.Context, ref spacelift.RunRef) (spacelift.RunOutcome, error)

	// RunLogs reads the end of a run's log of one state.
	RunLogs(ctx context.Context, ref spacelift.RunRef, in spacelift.Transition, maxBytes int) (spacelift.LogTail, error)

	// RunsOfStack lists a stack's runs of one type, newest first.
	RunsOfStack(ctx context.Context, stack spacelift.StackID, of spacelift.RunType, limit int) (spacelift.Listing[spacelift.RunLine], error)

	// TriggerRun starts a run of a stack.
	TriggerRun(ctx context.Context, stack spacelift.StackID, how spacelift.Trigger) (spacelift.RunOutcome, error)

	// Stack reads a stack, and LabelsOfStacks lists the labels of all in one call.
	Stack(ctx context.Context, id spacelift.StackID) (spacelift.Stack, error)
	LabelsOfStacks(ctx context.Context) ([]spacelift.LabelledStack, error)

	// Spaces lists the spaces of the account.
	Spaces(ctx context.Context) ([]spacelift.Space, error)
	// HoldsOfStacks lists what LabelsOfStacks does, and the settings that hold plans
	// back. Policies lists policies with their texts.
	HoldsOfStacks(ctx context.Context) ([]spacelift.HeldStack, error)
	Policies(ctx context.Context, ofTypes ...string) (spacelift.Listing[spacelift.Policy], error)

	// Viewer returns the identity of Gantry's API key.
	Viewer(ctx context.Context) (spacelift.Viewer, error)

	// RunsInProgress finds the account's runs that have not ended.
	RunsInProgress(ctx context.Context, pages int, states ...spacelift.RunState) (spacelift.Listing[spacelift.RunLine], error)

	// NamedWebhook reads a webhook; UpdateNamedWebhook replaces its settings.
	NamedWebhook(ctx context.Context, id string) (spacelift.NamedWebhook, error)
	UpdateNamedWebhook(ctx context.Context, id string, in spacelift.NamedWebhookInput) (spacelift.NamedWebhook, error)
}

// Notifier sends a message to one channel; *channels.Sender is one.
type Notifier interface {
	Send(ctx context.Context, channel string, m notify.Message) error
}

// Temporal is the subset of a Temporal client that the activities use.
type Temporal interface {
	ListWorkflow(context.Context, *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error)
	QueryWorkflow(ctx context.Context, workflowID, runID, queryType string, args ...any) (converter.EncodedValue, error)
	SignalWorkflow(ctx context.Context, workflowID, runID, signal string, arg any) error
}

// definitions returns the configuration in effect. An activity takes it once, so that its
// answer is of one configuration.
func (a *Activities) definitions() *policy.Definitions {
	if a.Definitions == nil {
		return nil
	}
	return a.Definitions()
}

// account returns the client of an account. The error for an account that is not
// configured is final: the configuration is read at start.
func (a *Activities) account(name spacelift.Account) (Spacelift, error) {
	if api, ok := a.Accounts[name]; ok {
		return api, nil
	}
	return nil, temporal.NewNonRetryableApplicationError(
		fmt.Sprintf("Gantry has no API key for the account %s", name), ErrTypeUnknownAccount, nil)
}
