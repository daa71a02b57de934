package server

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/expfmt"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/decide/reconcile"
	"github.com/gantryhq/gantry/gen/api"
	genserver "github.com/gantryhq/gantry/gen/server"
	"github.com/gantryhq/gantry/inbox"
	"github.com/gantryhq/gantry/spacelift"
)

// GetHealth reports that the process serves requests.
func (h *handlers) GetHealth(context.Context, genserver.GetHealthRequestObject) (genserver.GetHealthResponseObject, error) {
	return genserver.GetHealth200JSONResponse{Status: api.HealthStatusOk, Version: h.version}, nil
}

// GetReadiness reports whether Gantry can accept events. It can while Temporal is
// unavailable: the inbox keeps them. Causes name addresses and folders, so strangers
// don't get them.
func (h *handlers) GetReadiness(ctx context.Context, _ genserver.GetReadinessRequestObject) (genserver.GetReadinessResponseObject, error) {
	r := toAPIReadiness(h.health(), time.Now())
	select {
	case <-h.leaving:
		r.Status = api.ReadinessStatusUnavailable
	default:
	}
	if !fromOperator(ctx) && !principalOf(ctx).HasEverywhere(authority.RoleViewer) {
		r.Inbox.Problem, r.Forwarding.Problem = nil, nil
	}
	if r.Status == api.ReadinessStatusUnavailable {
		return genserver.GetReadiness503JSONResponse{
			Body:    r,
			Headers: genserver.GetReadiness503ResponseHeaders{RetryAfter: new(int(retryStore.Seconds()))},
		}, nil
	}
	return genserver.GetReadiness200JSONResponse(r), nil
}

// health returns the inbox's health, with what is known of Temporal: it may be away before
// the first event fails.
func (h *handlers) health() inbox.Health {
	health := h.inbox.Health()
	if h.temporalProblem == nil {
		return health
	}
	since, problem := h.temporalProblem()
	switch {
	case problem != "" && !health.ForwarderDown:
		health.ForwarderDown, health.ForwarderSince, health.LastForwardError = true, since, problem
	case problem != "" && since.Before(health.ForwarderSince):
		health.ForwarderSince = since
	}
	return health
}

// GetMetrics returns this process's metrics to operators. They name accounts.
func (h *handlers) GetMetrics(ctx context.Context, _ genserver.GetMetricsRequestObject) (genserver.GetMetricsResponseObject, error) {
	if !fromOperator(ctx) {
		return nil, &refusal{notFound("metrics are on the operations listener; the setting opsListen is its address")}
	}
	h.measureFindings(ctx)
	families, err := h.registry.Gather()
	if err != nil {
		return nil, err
	}
	var text strings.Builder
	encoder := expfmt.NewEncoder(&text, expfmt.NewFormat(expfmt.TypeTextPlain))
	for _, f := range families {
		if err := encoder.Encode(f); err != nil {
			return nil, err
		}
	}
	return genserver.GetMetrics200TextResponse(text.String()), nil
}

type operatorKey struct{}

// fromOperator reports whether the request came through the operations listener.
func fromOperator(ctx context.Context) bool { return ctx.Value(operatorKey{}) != nil }

// operatorPaths are those of the operations listener.
var operatorPaths = []string{"/healthz", "/readyz", "/metrics"}

// forOperators passes on the requests of operators, and no others.
func forOperators(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !slices.Contains(operatorPaths, r.URL.Path) {
			writeProblem(w, notFound("the operations listener serves "+strings.Join(operatorPaths, ", ")+" and /debug/pprof/"))
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), operatorKey{}, true)))
	})
}

// metricsTimeout bounds the time that calls to Temporal add to a scrape.
const metricsTimeout = 2 * time.Second

// knowledgeAge bounds the age of what Temporal shows of accounts, in metrics and in the
// status. Requests share it, so that each doesn't ask Temporal.
const knowledgeAge = 15 * time.Second

// knowledgeCache keeps what Temporal shows of each account.
type knowledgeCache struct {
	mu       sync.Mutex
	read     time.Time
	accounts map[spacelift.Account]knowledge // without those that Temporal didn't answer for
}

// measureFindings updates the gauges of findings. While Temporal doesn't answer, those
// from it keep their last value.
func (h *handlers) measureFindings(ctx context.Context) {
	accounts := h.recentKnowledge(ctx)
	for _, a := range h.door.accounts {
		k, known := accounts[a.Name]
		found := map[reconcile.FindingKind]float64{}
		for _, f := range h.findings(a.Name, k, time.Now()) {
			found[f.Kind] = 1
		}
		for _, kind := range reconcile.FindingKinds {
			if known || slices.Contains(noticedKinds, kind) {
				h.door.metrics.findings.WithLabelValues(string(a.Name), string(kind)).Set(found[kind])
			}
		}
	}
}

// recentKnowledge returns what Temporal shows of each account, or showed within
// knowledgeAge. It leaves out the accounts for which Temporal didn't answer.
func (h *handlers) recentKnowledge(ctx context.Context) map[spacelift.Account]knowledge {
	return h.knowledge.latest(time.Now(), func(accounts map[spacelift.Account]knowledge) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), metricsTimeout) // the next requests use it too
		defer cancel()
		for _, a := range h.door.accounts {
			if k, err := h.know(ctx, a.Name); err == nil {
				accounts[a.Name] = k
			}
		}
	})
}

// latest returns what is known of each account, and lets read fill it if it is too old.
func (c *knowledgeCache) latest(now time.Time, read func(map[spacelift.Account]knowledge)) map[spacelift.Account]knowledge {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.accounts == nil || now.Sub(c.read) >= knowledgeAge {
		c.accounts, c.read = map[spacelift.Account]knowledge{}, now
		read(c.accounts)
	}
	return c.accounts
}

func toAPIReadiness(h inbox.Health, now time.Time) api.Readiness {
	r := api.Readiness{
		Status:     api.ReadinessStatusReady,
		Inbox:      api.InboxHealth{Writable: h.Writable, Pending: h.Pending, Problem: nonEmpty(h.Problem)},
		Forwarding: api.ForwardingHealth{Down: h.ForwarderDown},
	}
	if h.ForwarderDown {
		r.Status, r.Forwarding.DownSince, r.Forwarding.Problem = api.ReadinessStatusDegraded, new(h.ForwarderSince), nonEmpty(h.LastForwardError)
	}
	if !h.OldestPending.IsZero() {
		r.Forwarding.LagSeconds = new(float32(now.Sub(h.OldestPending).Seconds()))
	}
	if !h.Writable {
		r.Status = api.ReadinessStatusUnavailable
	}
	return r
}
