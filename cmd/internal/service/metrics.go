package service

import (
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/opentelemetry"
)

// buckets of the SDK's latencies, in seconds: from a quick local call to a long
// poll's minute.
var buckets = prometheus.ExponentialBuckets(0.002, 2, 16)

// temporalMetrics shows what Temporal's SDK measures in the registry, under the
// names of its documentation
// (https://docs.temporal.io/references/sdk-metrics) with the endings that
// Prometheus asks for.
func temporalMetrics(r prometheus.Registerer, log *slog.Logger) (client.MetricsHandler, error) {
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(r), otelprometheus.WithoutScopeInfo(), otelprometheus.WithoutTargetInfo())
	if err != nil {
		return nil, fmt.Errorf("show Temporal's metrics: %w", err)
	}
	provider := metric.NewMeterProvider(metric.WithReader(exporter), metric.WithView(metric.NewView(
		metric.Instrument{Kind: metric.InstrumentKindHistogram},
		metric.Stream{Aggregation: metric.AggregationExplicitBucketHistogram{Boundaries: buckets, NoMinMax: true}})))
	return opentelemetry.NewMetricsHandler(opentelemetry.MetricsHandlerOptions{
		Meter: provider.Meter("go.temporal.io/sdk"), UseMonotonicCounters: true,
		OnError: func(err error) { log.Error("one of Temporal's metrics can't be measured", "error", err) },
	}), nil
}
