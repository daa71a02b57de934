package inbox

import (
	"errors"
	"time"

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
		Name: "gantry_inbox_commit_seconds", Help: "Time to write one batch of accepted events to disk.",
		Buckets: prometheus.ExponentialBuckets(0.0001, 2, 15),
	})
	m.commitEvents = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "gantry_inbox_commit_events", Help: "Accepted events per flush to disk.",
		Buckets: prometheus.ExponentialBuckets(1, 2, 10),
	})
	m.commitErrors = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "gantry_inbox_commit_errors_total", Help: "Batches that could not be written.",
	})
	m.logDropped = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "gantry_inbox_log_dropped_total", Help: "Log entries of deliveries that were not accepted, dropped because too many arrived within a moment.",
	})
	m.deadExpired = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "gantry_inbox_dead_expired_total", Help: "Dead deliveries beyond their budget, which retention may now delete.",
	})
	m.forwardSeconds = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "gantry_forward_seconds", Help: "Time from the arrival of an event to its acceptance by Temporal, lingering included.",
		Buckets: prometheus.ExponentialBuckets(0.005, 2, 18),
	})
	m.forwardBatch = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "gantry_forward_batch_events", Help: "Events per signal.",
		Buckets: prometheus.ExponentialBuckets(1, 2, 9),
	})
	m.forwards = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gantry_forwards_total", Help: "Signals sent, by result: forwarded, late, refused, failed.",
	}, []string{"result"})
	for _, r := range []string{resultForwarded, resultLate, resultRefused, resultFailed} {
		m.forwards.WithLabelValues(r)
	}
	m.all = append(in.gauges(),
		m.commitSeconds, m.commitEvents, m.commitErrors, m.logDropped, m.deadExpired,
		m.forwardSeconds, m.forwardBatch, m.forwards)
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

// gauges returns the metrics that show the present state of the inbox.
func (in *Inbox) gauges() []prometheus.Collector {
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	return []prometheus.Collector{
		gauge("gantry_inbox_pending", "Accepted events that Temporal does not have yet.",
			in.locked(func() float64 { return float64(in.pending) })),
		gauge("gantry_inbox_oldest_pending_age_seconds", "Age of the oldest pending event; 0 without one.",
			func() float64 {
				at := in.oldestPending()
				if at.IsZero() {
					return 0
				}
				return max(0, time.Since(at).Seconds())
			}),
		gauge("gantry_inbox_dead", "Accepted events that Temporal refused permanently.",
			in.locked(func() float64 { return float64(in.dead) })),
		gauge("gantry_inbox_disk_bytes", "Size of the inbox's log and archive.", func() float64 { return float64(in.size()) }),
		gauge("gantry_inbox_writable", "1 while the inbox can store events, 0 while it answers them 503.",
			in.locked(func() float64 { return truth(in.unavailable() == nil) })),
		gauge("gantry_inbox_damage", "Damage found since the start; whatever was readable is kept.",
			in.locked(func() float64 { return float64(len(in.damage)) })),
		gauge("gantry_forwarder_up", "1 while Temporal accepts signals.",
			in.locked(func() float64 { return truth(!in.health.down(time.Now())) })),
	}
}

// size is the size of the inbox on disk.
func (in *Inbox) size() (n int64) {
	n = in.archive.size()
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, s := range in.records.segs {
		n += s.bytes
	}
	return n
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
