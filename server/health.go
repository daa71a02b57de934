package server

import (
	"context"
	"strings"
	"time"

	"github.com/prometheus/common/expfmt"

	"github.com/gantryhq/gantry/gen/api"
	genserver "github.com/gantryhq/gantry/gen/server"
	"github.com/gantryhq/gantry/inbox"
)

// GetHealth reports that the process serves requests.
func (h *handlers) GetHealth(context.Context, genserver.GetHealthRequestObject) (genserver.GetHealthResponseObject, error) {
	return genserver.GetHealth200JSONResponse{Status: api.HealthStatusOk, Version: h.version}, nil
}

// GetReadiness reports whether Gantry can accept events. It can while Temporal is
// unavailable: the inbox keeps them.
func (h *handlers) GetReadiness(context.Context, genserver.GetReadinessRequestObject) (genserver.GetReadinessResponseObject, error) {
	r := toAPIReadiness(h.inbox.Health(), time.Now())
	if r.Status == api.ReadinessStatusUnavailable {
		return genserver.GetReadiness503JSONResponse{
			Body:    r,
			Headers: genserver.GetReadiness503ResponseHeaders{RetryAfter: new(int(retryStore.Seconds()))},
		}, nil
	}
	return genserver.GetReadiness200JSONResponse(r), nil
}

// GetMetrics returns this process's metrics.
func (h *handlers) GetMetrics(ctx context.Context, _ genserver.GetMetricsRequestObject) (genserver.GetMetricsResponseObject, error) {
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
