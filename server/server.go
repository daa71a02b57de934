// Package server is Gantry's HTTP surface: thin handlers of the generated strict
// server, the webhook's signature, tokens, problem documents and Swagger UI.
//
// A request enters here and leaves as a call to the inbox (webhooks,
// deliveries) or to Temporal (runs). No decision about a run is taken in this
// package.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	genserver "github.com/gantryhq/gantry/gen/server"
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

// New returns the handler of the whole HTTP surface.
func New(cfg Config, box Inbox, temporal Temporal, registry *prometheus.Registry, log *slog.Logger) (http.Handler, error) {
	gate, err := newGate(cfg.Accounts, cfg.Refusals, box, newMetrics(registry), log)
	if err != nil {
		return nil, err
	}
	r := chi.NewRouter()
	contract, err := loadContract(unrouted(r))
	if err != nil {
		return nil, err
	}
	docs, err := newDocs()
	if err != nil {
		return nil, err
	}
	keys, err := newKeyring(cfg.Tokens, cfg.People)
	if err != nil {
		return nil, err
	}

	if cfg.Rules == nil {
		cfg.Rules = (*policy.Rules)(nil)
	}
	h := &handlers{
		gate: gate, inbox: box, temporal: temporal, registry: registry, rules: cfg.Rules, taskQueue: cfg.TaskQueue, reconcile: cfg.Reconcile,
		repeats: newRepeats(), streams: make(chan struct{}, maxStreams), stopping: cfg.Stopping,
		started: time.Now(), version: cfg.Version, log: log, approvers: Approvers(cfg.Tokens, cfg.People),
	}
	r.NotFound(unrouted(r))
	r.MethodNotAllowed(unrouted(r))
	r.Use(recoverPanics(log), securityHeaders, placed, headAsGet(r), on("/webhook", gate.admit), on("/v1/", keys.authenticate), on("/v1/", limitBody), on("/v1/", contract.validate))
	docs.mount(r)

	strict := genserver.NewStrictHandlerWithOptions(h,
		[]genserver.StrictMiddlewareFunc{contract.authorize},
		genserver.StrictHTTPServerOptions{RequestErrorHandlerFunc: h.unreadable, ResponseErrorHandlerFunc: h.failed})
	genserver.HandlerWithOptions(strict, genserver.ChiServerOptions{BaseRouter: r, ErrorHandlerFunc: h.unbindable})
	return r, nil
}

// handlers implements the generated interface.
type handlers struct {
	gate      *gate
	inbox     Inbox
	temporal  Temporal
	registry  *prometheus.Registry
	rules     Rules
	approvers []policy.Approver // whose tokens may approve
	taskQueue string
	reconcile time.Duration // between comparisons with Spacelift
	repeats   *repeats
	streams   chan struct{}   // one place for each stream that is open
	stopping  <-chan struct{} // closed when streams are to end
	started   time.Time
	version   string
	log       *slog.Logger
}

var _ genserver.StrictServerInterface = (*handlers)(nil)

// on applies a middleware to the paths under a prefix. It runs ahead of
// parameter binding, where the generated code's own middlewares would come too
// late to answer 401 before 400.
func on(prefix string, mw func(http.Handler) http.Handler) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		guarded := mw(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == prefix || (strings.HasSuffix(prefix, "/") && strings.HasPrefix(r.URL.Path, prefix)) {
				guarded.ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// maxAPIBody bounds the body of a request to the API: the longest notes and lists
// that the contract allows fit in it.
const maxAPIBody = 128 << 10

// limitBody keeps the validator, which reads all of a body, from reading an
// endless one.
func limitBody(next http.Handler) http.Handler { return http.MaxBytesHandler(next, maxAPIBody) }

func securityHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}

// recoverPanics turns a panic into a 500 problem, so that one bad request
// never takes the process and the events of others with it.
func recoverPanics(log *slog.Logger) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() {
				p := recover()
				if p == nil {
					return
				}
				log.ErrorContext(r.Context(), "request panicked", "method", r.Method, "path", r.URL.Path, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
				writeProblem(w, internalProblem())
			}()
			next.ServeHTTP(w, r)
		})
	}
}

// unrouted answers what no operation matches: 405 with the methods that are
// allowed, or 404.
func unrouted(routes chi.Routes) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var allowed []string
		for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
			if !routes.Match(chi.NewRouteContext(), m, r.URL.Path) {
				continue
			}
			if allowed = append(allowed, m); m == http.MethodGet {
				allowed = append(allowed, http.MethodHead)
			}
		}
		if len(allowed) == 0 {
			writeProblem(w, notFound("there is nothing at "+r.URL.Path+"; /docs shows what there is"))
			return
		}
		methods := strings.Join(allowed, ", ")
		w.Header().Set("Allow", methods)
		writeProblem(w, problem(http.StatusMethodNotAllowed, "method-not-allowed", "Method not allowed",
			r.URL.Path+" takes "+methods))
	}
}

// unreadable answers a body that could not be decoded.
func (h *handlers) unreadable(w http.ResponseWriter, r *http.Request, err error) {
	if req := admitted(r.Context()); req != nil {
		h.receiveUnreadable(w, r, req, err)
		return
	}
	writeProblem(w, badRequest("the body can't be read: "+decodeProblem(err)))
}

// unbindable answers a parameter that could not be decoded.
func (h *handlers) unbindable(w http.ResponseWriter, _ *http.Request, err error) {
	p := badRequest(namesPlaces)
	if e, ok := errors.AsType[*genserver.InvalidParamFormatError](err); ok {
		p.Errors = append(p.Errors, parameterError(e.ParamName, "does not have the form the contract asks for"))
	}
	writeProblem(w, p)
}

// failed answers a handler's error.
func (h *handlers) failed(w http.ResponseWriter, r *http.Request, err error) {
	p, retryAfter := problemOf(err)
	if p.Status == http.StatusInternalServerError {
		h.log.ErrorContext(r.Context(), "request failed", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	writeProblemAfter(w, p, retryAfter)
}
