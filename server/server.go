// Package server is Gantry's HTTP surface: thin handlers of the generated strict
// server, the webhook's signature, tokens, problem documents and Swagger UI.
//
// It turns each request into a call to the inbox (webhooks, deliveries) or to Temporal
// (runs, chains, freezes). Decisions about runs are made in decide.
package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gantryhq/gantry/audit"
	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/gen/api"
	genserver "github.com/gantryhq/gantry/gen/server"
)

// Server is the whole HTTP surface. It is itself the handler of the public listener.
type Server struct {
	http.Handler

	// Operations serves probes with every detail, and metrics. It asks for no token.
	Operations http.Handler

	keys *keyring
}

// Reload replaces the rules that say who the callers are and what they may do. Requests
// under way keep what they began with.
func (s *Server) Reload(rules *authority.Rules) { s.keys.reload(rules) }

// New returns the HTTP surface.
func New(cfg Config, box Inbox, temporal Temporal, registry *prometheus.Registry, log *slog.Logger) (*Server, error) {
	m := newMetrics(registry)
	door, err := newFrontDoor(cfg, box, m, log)
	if err != nil {
		return nil, err
	}
	routes := chi.NewRouter()
	contract, err := loadContract(unrouted(routes))
	if err != nil {
		return nil, err
	}
	docs, err := newDocs()
	if err != nil {
		return nil, err
	}
	keys, err := newKeyring(cfg, m, log)
	if err != nil {
		return nil, err
	}
	others, err := newPeers(cfg.Peers)
	if err != nil {
		return nil, err
	}
	keys.peers, keys.self = others, box.IDSuffix
	if cfg.Replica == "" {
		if cfg.Replica, err = os.Hostname(); err != nil {
			return nil, fmt.Errorf("name this replica: %w; set replica", err)
		}
	}

	if cfg.Policies == nil {
		cfg.Policies = func() *policy.Definitions { return nil }
	}
	h := &handlers{
		door: door, inbox: box, temporal: temporal, registry: registry, policies: cfg.Policies, taskQueue: cfg.TaskQueue, temporalPlace: toAPITemporalPlace(cfg), pages: decide.Pages(cfg.PublicURL), reconcile: cfg.Reconcile,
		replays: newReplayCache(), recent: newRecent(), runStreams: newOpenStreams(maxRunStreams, maxTokenStreams, maxTokenStreams), eventStreams: newOpenStreams(maxEventStreams, maxTokenStreams, maxPageStreams), stopping: cfg.Stopping, leaving: cfg.Leaving, temporalProblem: cfg.TemporalProblem, configurationProblem: cfg.ConfigurationProblem,
		replica: cfg.Replica, peers: others,
		started: time.Now(), version: cfg.Version, log: log, audit: cfg.Audit, keys: keys, contract: contract,
	}
	h.hub = newHub(h)
	pages, err := newPages(cfg, keys, contract, routes, log)
	if err != nil {
		return nil, err
	}
	routes.NotFound(notFoundOn(pages, unrouted(routes)))
	routes.MethodNotAllowed(unrouted(routes))
	docs.mount(routes)
	keys.signIn.mount(routes)
	answers := genserver.StrictHTTPServerOptions{RequestErrorHandlerFunc: h.unreadable, ResponseErrorHandlerFunc: h.failed}
	strict := genserver.NewStrictHandlerWithOptions(h, []genserver.StrictMiddlewareFunc{h.authorize(contract), h.begin, h.recorded}, answers)
	genserver.HandlerWithOptions(strict, genserver.ChiServerOptions{BaseRouter: routes, ErrorHandlerFunc: h.unbindable})

	// The webhook has no token and no parameters, so neither a router nor the API's
	// middlewares copy its request.
	webhook := onlyPost(door.admit(genserver.NewStrictHandlerWithOptions(h, nil, answers).ReceiveNotification), unrouted(routes))
	api := chi.Chain(placed, headAsGet(routes), keys.authenticate, limitBody, contract.validate, revalidated).Handler(routes)
	public := keys.withPages(pages, chi.Chain(placed, headAsGet(routes), keys.recognize).Handler(routes))
	operations := chi.Chain(placed, headAsGet(routes), forOperators).Handler(routes)
	all := chi.Chain(nameRequest, recoverPanics(log), securityHeaders)
	return &Server{Handler: all.Handler(split(webhook, api, public)), Operations: all.Handler(operations), keys: keys}, nil
}

// handlers implements the generated interface.
type handlers struct {
	door          *frontDoor
	inbox         Inbox
	temporal      Temporal
	registry      *prometheus.Registry
	policies      func() *policy.Definitions
	keys          *keyring
	taskQueue     string
	temporalPlace *api.TemporalPlace // nil: unknown
	reconcile     time.Duration      // between comparisons with Spacelift
	replays       *replayCache
	knowledge     knowledgeCache // of metrics and the status
	runStreams    *openStreams
	eventStreams  *openStreams
	hub           *hub
	recent        *recent
	stopping      <-chan struct{} // closed when streams must end
	leaving       <-chan struct{} // closed when the process begins to stop
	started       time.Time
	replica       string // its name
	peers         *peers // the other replicas
	pages         decide.Pages

	temporalProblem      func() (time.Time, string)                    // nil: unknown
	configurationProblem func() (since time.Time, problem, fix string) // nil: none

	version  string
	log      *slog.Logger
	audit    *audit.Log // nil for none
	verified verification
	contract *contract
}

var _ genserver.StrictServerInterface = (*handlers)(nil)

// unreadable answers a body that can't be decoded.
func (h *handlers) unreadable(w http.ResponseWriter, _ *http.Request, err error) {
	writeProblem(w, badRequest("the body can't be read: "+decodeProblem(err)))
}

// unbindable answers a parameter that can't be decoded.
func (h *handlers) unbindable(w http.ResponseWriter, _ *http.Request, err error) {
	p := badPlaces()
	if e, ok := errors.AsType[*genserver.InvalidParamFormatError](err); ok {
		p.Errors = append(p.Errors, parameterError(e.ParamName, "does not have the form that the contract requires"))
	}
	writeProblem(w, p)
}

// failed answers a handler's error.
func (h *handlers) failed(w http.ResponseWriter, r *http.Request, err error) {
	p, retryAfter := problemOf(err)
	if p.Status == http.StatusInternalServerError {
		h.log.ErrorContext(r.Context(), "request failed", "requestId", requestIDOf(w), "method", r.Method, "path", r.URL.Path, "error", err)
	}
	writeProblemAfter(w, p, retryAfter)
}
