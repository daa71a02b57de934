package inbox

import (
	"errors"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
)

// Results of a signal, as the metric's label has them.
const (
	resultForwarded = "forwarded"
	resultLate      = "late"
	resultRefused   = "refused"
	resultFailed    = "failed"
)

type metrics struct {
	registry prometheus.Registerer
	all      []prometheus.Collector

	commitSeconds prometheus.Histogram
	commitEvents  prometheus.Histogram
	commitErrors  prometheus.Counter
	logDropped    prometheus.Counter
	deadExpired   prometheus.Counter

	forwardSeconds prometheus.Histogram
	forwardBatch   prometheus.Histogram
	forwards       *prometheus.CounterVec
}

func newMetrics(in *Inbox, registry prometheus.Registerer) (*metrics, error) {
	m := &metrics{registry: registry}
	m.commitSeconds = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "gantry_inbox_commit_seconds", Help: "Time to put one batch of accepted events on disk.",
		Buckets: prometheus.ExponentialBuckets(0.0001, 2, 15),
	})
	m.commitEvents = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "gantry_inbox_commit_events", Help: "Accepted events that went to disk with one flush.",
		Buckets: prometheus.ExponentialBuckets(1, 2, 10),
	})
	m.commitErrors = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "gantry_inbox_commit_errors_total", Help: "Batches that could not be written.",
	})
	m.logDropped = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "gantry_inbox_log_dropped_total", Help: "Deliveries that were not accepted and whose log entry was given up because too many came at once.",
	})
	m.deadExpired = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "gantry_inbox_dead_expired_total", Help: "Dead deliveries beyond their budget, which retention may now forget.",
	})
	m.forwardSeconds = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "gantry_forward_seconds", Help: "Time from the arrival of an event until Temporal had it, lingering included.",
		Buckets: prometheus.ExponentialBuckets(0.005, 2, 18),
	})
	m.forwardBatch = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "gantry_forward_batch_events", Help: "Events that one signal carried.",
		Buckets: prometheus.ExponentialBuckets(1, 2, 9),
	})
	m.forwards = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gantry_forwards_total", Help: "Signals sent, by result: forwarded, late, refused, failed.",
	}, []string{"result"})
	for _, r := range []string{resultForwarded, resultLate, resultRefused, resultFailed} {
		m.forwards.WithLabelValues(r)
	}
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	m.all = []prometheus.Collector{
		m.commitSeconds, m.commitEvents, m.commitErrors, m.logDropped, m.deadExpired,
		m.forwardSeconds, m.forwardBatch, m.forwards,
		gauge("gantry_inbox_pending", "Accepted events that Temporal does not have yet.",
			in.locked(func() float64 { return float64(in.index.pending) })),
		gauge("gantry_inbox_oldest_pending_age_seconds", "Age of the oldest of them; 0 when there is none.",
			in.locked(func() float64 {
				e := in.index.oldestPending()
				if e == nil {
					return 0
				}
				return max(0, time.Since(ulid.Time(e.id.Time())).Seconds())
			})),
		gauge("gantry_inbox_dead", "Accepted events that Temporal refused for good.",
			in.locked(func() float64 { return float64(in.index.deads) })),
		gauge("gantry_inbox_disk_bytes", "Size of the inbox's database and its log.", func() float64 { return float64(in.store.size()) }),
		gauge("gantry_inbox_writable", "1 when events can be stored, 0 when they are answered 503.",
			in.locked(func() float64 { return truth(in.problem == nil) })),
		gauge("gantry_inbox_damage", "Damage found since the start; what could be read was kept.",
			in.locked(func() float64 { return float64(len(in.damage)) })),
		gauge("gantry_forwarder_up", "1 when Temporal takes signals.",
			in.locked(func() float64 { return truth(!in.gate.down) })),
	}
	if registry == nil {
		return m, nil
	}
	for i, c := range m.all {
		if err := registry.Register(c); err != nil {
			m.all = m.all[:i]
			m.unregister()
			return nil, errors.Join(errors.New("register metrics"), err)
		}
	}
	return m, nil
}

func (in *Inbox) locked(f func() float64) func() float64 {
	return func() float64 {
		in.mu.Lock()
		defer in.mu.Unlock()
		return f()
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (m *metrics) unregister() {
	if m.registry == nil {
		return
	}
	for _, c := range m.all {
		m.registry.Unregister(c)
	}
}

func (m *metrics) commit(took time.Duration, events int, err error) {
	if err != nil {
		m.commitErrors.Inc()
		return
	}
	m.commitSeconds.Observe(took.Seconds())
	if events > 0 {
		m.commitEvents.Observe(float64(events))
	}
}
