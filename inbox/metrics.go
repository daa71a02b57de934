package inbox

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/inbox/queue"
)

// Results of a signal, as the metric's label has them.
const (
	resultForwarded = "forwarded"
	resultLate      = "late"
	resultRefused   = "refused"
	resultFailed    = "failed"
)

type metrics struct {
	all *prometheus.Registry

	commitSeconds, commitEvents           prometheus.Histogram
	commitErrors, logDropped, deadExpired prometheus.Counter
	forwardSeconds, forwardBatch          prometheus.Histogram
	forwards                              *prometheus.CounterVec
}

func newMetrics(in *Inbox, registry prometheus.Registerer) (*metrics, error) {
	m := &metrics{all: prometheus.NewRegistry()}
	register := promauto.With(m.all)
	histogram := func(name, help string, start float64, count int) prometheus.Histogram {
		return register.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: prometheus.ExponentialBuckets(start, 2, count)})
	}
	counter := func(name, help string) prometheus.Counter {
		return register.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	gauge := func(name, help string, value func(Health) float64) {
		register.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return value(in.Health()) })
	}
	m.commitSeconds = histogram("gantry_inbox_commit_seconds", "Time to write one batch of accepted events to disk.", 0.0001, 15)
	m.commitEvents = histogram("gantry_inbox_commit_events", "Accepted events per flush to disk.", 1, 10)
	m.commitErrors = counter("gantry_inbox_commit_errors_total", "Batches that could not be written.")
	m.logDropped = counter("gantry_inbox_log_dropped_total", "Log entries of deliveries that were not accepted, dropped because too many arrived within a moment.")
	m.deadExpired = counter("gantry_inbox_dead_expired_total", "Dead deliveries beyond their budget, which retention may now delete.")
	m.forwardSeconds = histogram("gantry_forward_seconds", "Time from the arrival of an event to its acceptance by Temporal, lingering included.", 0.005, 18)
	m.forwardBatch = histogram("gantry_forward_batch_events", "Events per signal.", 1, 9)
	m.forwards = register.NewCounterVec(prometheus.CounterOpts{
		Name: "gantry_forwards_total", Help: "Signals sent, by result: forwarded, late, refused, failed.",
	}, []string{"result"})
	for _, r := range []string{resultForwarded, resultLate, resultRefused, resultFailed} {
		m.forwards.WithLabelValues(r)
	}
	gauge("gantry_inbox_pending", "Accepted events that Temporal does not have yet.", func(h Health) float64 { return float64(h.Pending) })
	gauge("gantry_inbox_oldest_pending_age_seconds", "Age of the oldest pending event; 0 without one.", func(h Health) float64 {
		if h.OldestPending.IsZero() {
			return 0
		}
		return max(0, time.Since(h.OldestPending).Seconds())
	})
	gauge("gantry_inbox_dead", "Accepted events that Temporal refused permanently.", func(h Health) float64 { return float64(h.Dead) })
	gauge("gantry_inbox_unreadable", "Authentic events that Gantry could not read, and whose bodies are kept.", func(h Health) (sum float64) {
		for _, u := range h.Unreadable {
			sum += float64(u.Count)
		}
		return sum
	})
	gauge("gantry_inbox_disk_bytes", "Size of the inbox's log and archive.", func(Health) float64 { return float64(in.archive.Size() + in.records.Stats().Bytes) })
	gauge("gantry_inbox_writable", "1 while the inbox can store events, 0 while it answers them 503.", func(h Health) float64 { return truth(h.Writable) })
	gauge("gantry_inbox_damage", "Damaged files that were put aside, until they are deleted; whatever was readable is kept.", func(h Health) float64 { return float64(len(h.Damage)) })
	gauge("gantry_forwarder_up", "1 while Temporal accepts signals.", func(h Health) float64 { return truth(!h.ForwarderDown) })
	if registry == nil {
		return m, nil
	}
	return m, registry.Register(m.all)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (m *metrics) signal(result string) { m.forwards.WithLabelValues(result).Inc() }

func (m *metrics) forwarded(events []managed.RunEvent, queued []queue.Pending) {
	m.signal(resultForwarded)
	m.forwardBatch.Observe(float64(len(events)))
	for i, e := range events {
		if !queued[i].Again {
			m.forwardSeconds.Observe(time.Since(e.ReceivedAt).Seconds())
		}
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
