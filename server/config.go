package server

import (
	"context"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/inbox"
	"github.com/gantryhq/gantry/spacelift"
)

// Inbox is what the server needs of the inbox.
type Inbox interface {
	Accept(context.Context, inbox.Delivery, managed.RunEvent, []byte) (inbox.Delivery, error)
	Log(inbox.Delivery) inbox.Delivery
	List(ctx context.Context, f inbox.Filter, pageSize int, pageToken string) ([]inbox.Delivery, string, error)
	Get(ctx context.Context, id string) (inbox.Delivery, []byte, error)
	Redeliver(ctx context.Context, id string) (inbox.Delivery, error)
	RedeliverDead(ctx context.Context, only func(inbox.Delivery) bool) (int, error)
	Health() inbox.Health
}

// Temporal is what the server needs of a Temporal client.
type Temporal interface {
	QueryWorkflow(ctx context.Context, workflowID, runID, queryType string, args ...any) (converter.EncodedValue, error)
	ListWorkflow(context.Context, *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error)
	GetWorkflow(ctx context.Context, workflowID, runID string) client.WorkflowRun
	DescribeWorkflowExecution(ctx context.Context, workflowID, runID string) (*workflowservice.DescribeWorkflowExecutionResponse, error)
	ExecuteWorkflow(ctx context.Context, options client.StartWorkflowOptions, workflow any, args ...any) (client.WorkflowRun, error)
	UpdateWorkflow(context.Context, client.UpdateWorkflowOptions) (client.WorkflowUpdateHandle, error)
	UpdateWithStartWorkflow(context.Context, client.UpdateWithStartWorkflowOptions) (client.WorkflowUpdateHandle, error)
	NewWithStartWorkflowOperation(options client.StartWorkflowOptions, workflow any, args ...any) client.WithStartWorkflowOperation
}

// Account is a Spacelift account whose notifications the server takes.
type Account struct {
	Name spacelift.Account

	// Secrets returns the live webhook secrets, the current one first. It is
	// asked for each request, so that a rotated secret counts at once. Empty
	// secrets never match.
	Secrets func() []string

	// SecretHeader names a header that must come with every notification, as a
	// second factor; empty for none. SecretHeaderValue returns its value.
	SecretHeader      string
	SecretHeaderValue func() string

	// Stacks reads the account's stacks.
	Stacks Stacks
}

// Person is somebody who is known by more than one name.
type Person struct {
	Name    string
	Aliases []string // names of their tokens, and their logins at Spacelift and in version control
}

// Config is what a Server needs to know.
type Config struct {
	// Accounts must not be empty, and each must have a live secret.
	Accounts []Account

	// Tokens may use the API under /v1; without any, all of it answers 401.
	Tokens []Token

	// People says which names are the same person: who bears a token with one of
	// them counts as that person, however many tokens they have.
	People []Person

	// Rules says what labels come to. Nil is no profiles and no windows: labels
	// alone.
	Rules Rules

	// TaskQueue is where the workflows that requests start are worked on.
	TaskQueue string

	// Stopping ends streams when it is closed, so that none holds up a server
	// that shuts down. Nil never does.
	Stopping <-chan struct{}

	// Reconcile is how often runs are compared with Spacelift; 0 for never.
	Reconcile time.Duration

	// Version is what /healthz says.
	Version string

	// Refusals bounds what one source may spend on requests that are not
	// authentic. The zero value means the defaults.
	Refusals RefusalLimit
}
