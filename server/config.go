package server

import (
	"context"
	"net/netip"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"github.com/gantryhq/gantry/audit"
	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/inbox"
	"github.com/gantryhq/gantry/inbox/archive"
	"github.com/gantryhq/gantry/spacelift"
)

// Inbox is the subset of *inbox.Inbox that the server uses.
type Inbox interface {
	Accept(context.Context, archive.Delivery, []byte) (archive.Delivery, error)
	AcceptAgain(context.Context, archive.Delivery, []byte) (archive.Delivery, error)
	Log(archive.Delivery) archive.Delivery
	LogUnreadable(archive.Delivery, []byte) archive.Delivery
	List(ctx context.Context, f archive.Filter, pageSize int, pageToken string) ([]archive.Delivery, string, error)
	Get(ctx context.Context, id string) (archive.Delivery, []byte, error)
	Redeliver(ctx context.Context, id string) (archive.Delivery, error)
	RedeliverDead(ctx context.Context, only func(spacelift.RunRef, string) bool) (int, error)
	Traffic(ctx context.Context, since time.Time) ([]archive.Traffic, error)
	Health() inbox.Health
	IDSuffix() string
}

// Temporal is the subset of a Temporal client that the server uses.
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

// Account is a Spacelift account whose notifications the server accepts.
type Account struct {
	Name spacelift.Account

	// Secrets returns the live webhook secrets, the current one first. It is
	// called for every request, so a secret can be rotated without a restart. Empty
	// secrets never match.
	Secrets func() []string

	// SecretHeader names a header that must come with every notification, as a
	// second factor; empty for none. SecretHeaderValue returns its value.
	SecretHeader      string
	SecretHeaderValue func() string

	// Stacks reads the account's stacks.
	Stacks Stacks
}

// Config holds the settings of the server.
type Config struct {
	// Accounts must not be empty, and each must have a live secret.
	Accounts []Account

	// Tokens may use the API under /v1; without any, all of it answers 401.
	Tokens []authority.Token

	// People lists people with several names: the bearer of a token with one of the
	// names counts as that person, however many tokens they have.
	People []decide.Person

	// Issuers are those whose tokens count.
	Issuers []authority.Issuer

	// PublicURL is the address of Gantry in browsers; signing in needs it.
	PublicURL string

	// SignIn lets people sign in with a browser; without an issuer, nobody can.
	// ClientSecret and SessionKey are its secrets.
	SignIn                   authority.SignIn
	ClientSecret, SessionKey string

	// Bindings give people, groups and tokens roles.
	Bindings []authority.Binding

	// Policies returns the rules, profiles and windows in effect, which may change between
	// requests. Nil means that there are none: labels alone count.
	Policies func() *policy.Definitions

	// TemporalUI is the address of the namespace in Temporal's UI; empty for no links.
	TemporalUI string

	// TaskQueue is the task queue of the workflows that requests start. TemporalAddress and
	// Namespace say where the client finds Temporal, for people who look for a fault.
	TaskQueue, TemporalAddress, Namespace string

	// Stopping ends streams when it is closed, so that none delays the server's
	// shutdown. Nil never ends any.
	Stopping <-chan struct{}

	// Leaving is closed when the process begins to stop: from then on it is not ready,
	// but serves requests. Nil never is.
	Leaving <-chan struct{}

	// TemporalProblem reports since when Temporal doesn't answer, and why; empty while it
	// does. It must not wait. Nil means that only failed events show it.
	TemporalProblem func() (since time.Time, problem string)

	// ConfigurationProblem reports since when the configuration file isn't in effect, why,
	// and what to do; empty if it is. Nil never reports one.
	ConfigurationProblem func() (since time.Time, problem, fix string)

	// Reconcile is the interval between comparisons of runs with Spacelift; 0 for none.
	Reconcile time.Duration

	// Replica names this replica in the delivery log; empty means the host's name.
	Replica string

	// Peers are the addresses of the other replicas, as ParsePeer reads them. One whose
	// host has several addresses means the replicas at all of them. This replica may be
	// among them.
	Peers []string

	// Version is the version that /healthz reports.
	Version string

	// TrustedProxies are the addresses whose X-Forwarded-For and Forwarded headers
	// name the source of a request.
	TrustedProxies []netip.Prefix

	// Audit is the log of changes and refused attempts. Nil records none.
	Audit *audit.Log

	// Refusals bounds what one source may spend on notifications that are not
	// authentic, and as much again on calls without a valid token. The zero value
	// means the defaults.
	Refusals RefusalLimit
}
