package service

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/opentelemetry"
)

// buckets of the SDK's latencies: from 2 ms, a quick call, to 2 minutes, more
// than a long poll.
var buckets = prometheus.ExponentialBuckets(0.002, 3, 11)

// temporalMetrics shows what Temporal's SDK measures in the registry, under the
// names of its documentation
// (https://docs.temporal.io/references/sdk-metrics) with the endings that
// Prometheus asks for.
func temporalMetrics(r prometheus.Registerer, log *slog.Logger) (client.MetricsHandler, error) {
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(r), otelprometheus.WithoutScopeInfo(), otelprometheus.WithoutTargetInfo())
	if err != nil {
		return nil, fmt.Errorf("show Temporal's metrics: %w", err)
	}
	provider := metric.NewMeterProvider(metric.WithReader(exporter), metric.WithView(slim))
	return opentelemetry.NewMetricsHandler(opentelemetry.MetricsHandlerOptions{
		Meter: provider.Meter("go.temporal.io/sdk"), UseMonotonicCounters: true,
		OnError: func(err error) { log.Error("one of Temporal's metrics can't be measured", "error", err) },
	}), nil
}

// slim halves what a scrape carries: single attempts of calls are left out,
// since the calls are counted, and so is a label that has one value.
func slim(i metric.Instrument) (metric.Stream, bool) {
	s := metric.Stream{Name: i.Name, Description: i.Description, Unit: i.Unit, AttributeFilter: attribute.NewDenyKeysFilter("client_name")}
	if i.Kind == metric.InstrumentKindHistogram {
		s.Aggregation = metric.AggregationExplicitBucketHistogram{Boundaries: buckets, NoMinMax: true}
	}
	if strings.HasSuffix(i.Name, "_attempt") {
		s.Aggregation = metric.AggregationDrop{}
	}
	return s, true
}
