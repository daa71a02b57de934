package server

import (
	"context"
	"strings"
	"time"

	"github.com/prometheus/common/expfmt"

	"github.com/gantryhq/gantry/gen/api"
	genserver "github.com/gantryhq/gantry/gen/server"
)

// GetHealth says that the process serves requests.
func (h *handlers) GetHealth(context.Context, genserver.GetHealthRequestObject) (genserver.GetHealthResponseObject, error) {
	return genserver.GetHealth200JSONResponse{Status: api.HealthStatusOk, Version: h.version}, nil
}

// GetReadiness says whether events can be accepted. Temporal being away only
// degrades that: the inbox keeps everything until it is back.
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

// GetMetrics shows this process's metrics.
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
