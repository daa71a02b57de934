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

	"github.com/gantryhq/gantry/spacelift/spaceliftapi"
)

// buckets of the SDK's latencies: from 2 ms, a quick call, to 2 minutes, more
// than a long poll.
var buckets = prometheus.ExponentialBuckets(0.002, 3, 11)

// temporalMetrics registers the metrics of Temporal's SDK under their documented
// names (https://docs.temporal.io/references/sdk-metrics), with the suffixes that
// Prometheus requires.
func temporalMetrics(r prometheus.Registerer, log *slog.Logger) (client.MetricsHandler, error) {
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(r), otelprometheus.WithoutScopeInfo(), otelprometheus.WithoutTargetInfo())
	if err != nil {
		return nil, fmt.Errorf("register Temporal's metrics: %w", err)
	}
	provider := metric.NewMeterProvider(metric.WithReader(exporter), metric.WithView(slim))
	return opentelemetry.NewMetricsHandler(opentelemetry.MetricsHandlerOptions{
		Meter: provider.Meter("go.temporal.io/sdk"), UseMonotonicCounters: true,
		OnError: func(err error) { log.Error("can't record one of Temporal's metrics", "error", err) },
	}), nil
}

// slim halves the size of a scrape. It drops the metrics of single attempts,
// because calls are counted already, and a label with only one value.
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

// bypassed counts plans that were confirmed or applied in Spacelift against the policy
// in effect.
func bypassed(r prometheus.Registerer) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "gantry_run_bypassed_total", Help: "Plans that were confirmed or applied in Spacelift against the policy in effect.",
	})
	r.MustRegister(c)
	return c
}

// checkToAct measures the age of Spacelift's answer when Gantry sends the action
// that depends on it.
func checkToAct(r prometheus.Registerer) func(spaceliftapi.Call) {
	ages := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "gantry_check_to_act_seconds", Help: "Time from an answer of Spacelift to the action that depends on it.",
		Buckets: []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1},
	}, []string{"operation"})
	r.MustRegister(ages)
	return func(c spaceliftapi.Call) {
		if c.CheckAge > 0 {
			ages.WithLabelValues(c.Operation).Observe(c.CheckAge.Seconds())
		}
	}
}

// confirmedUnseen counts confirmations that took effect on a newer plan than the
// one Gantry had checked. It must stay at 0.
func confirmedUnseen(r prometheus.Registerer) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "gantry_confirmed_unseen_total", Help: "Confirmations that took effect on a newer plan than the one Gantry had checked.",
	})
	r.MustRegister(c)
	return c
}
