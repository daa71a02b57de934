package server

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts webhook requests, refused tokens, decisions and the findings of accounts.
// docs/reference/metrics.md lists them for operators.
type metrics struct {
	received    prometheus.Counter
	accepted    prometheus.Counter
	duplicate   prometheus.Counter
	unavailable prometheus.Counter
	ignored     reasonCounters
	refused     reasonCounters
	secrets     *prometheus.CounterVec
	ackLatency  prometheus.Histogram
	findings    *prometheus.GaugeVec
	decisions   *prometheus.CounterVec

	refusedTokens reasonCounters
}

// The reasons that the counters show from the start, so that the first of a kind is a
// rise from 0, which alerts need.
var (
	ignoredReasons = []string{
		reasonUnmanaged, reasonInternalError, reasonAudit, reasonBodyEmpty, reasonNotJSON, reasonUnreadable, reasonNotARunEvent,
		reasonRunMissing, reasonStackMissing, reasonInvalidID, reasonInvalidState, reasonInvalidStateVersion, reasonUnknownAccount,
	}
	refusedReasons = []string{
		reasonSignatureMissing, reasonSHA1Only, reasonSignatureMalformed, reasonSignatureMismatch, reasonOtherAccount, reasonSecretHeader,
		reasonBodyTooLarge, reasonBodyUnreadable, reasonLargeBodies, reasonTooMany,
	}
	refusedTokenReasons = []string{reasonNoToken, reasonUnknownToken, reasonExpiredToken, reasonRevokedToken, reasonInvalidJWT, reasonSessionEnded, reasonCrossSite, reasonInsecure, reasonTooMany}
)

// reasonCounters holds a counter for each reason.
type reasonCounters struct {
	*prometheus.CounterVec
	byReason map[string]prometheus.Counter
}

func countReasons(vector *prometheus.CounterVec, reasons []string) reasonCounters {
	c := reasonCounters{vector, make(map[string]prometheus.Counter, len(reasons))}
	for _, reason := range reasons {
		c.byReason[reason] = vector.WithLabelValues(reason)
	}
	return c
}

func (c reasonCounters) add(reason string) {
	if counter, ok := c.byReason[reason]; ok {
		counter.Inc()
		return
	}
	c.WithLabelValues(reason).Inc()
}

func newMetrics(r prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	vector := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &metrics{
		received:    counter("gantry_webhook_received_total", "Requests to the webhook."),
		accepted:    counter("gantry_webhook_accepted_total", "Notifications stored for forwarding."),
		duplicate:   counter("gantry_webhook_duplicate_total", "Notifications that Gantry had already stored."),
		unavailable: counter("gantry_webhook_unavailable_total", "Notifications answered 503 because they could not be stored."),
		ignored:     countReasons(vector("gantry_webhook_ignored_total", "Authentic notifications that start no work, by reason.", "reason"), ignoredReasons),
		refused:     countReasons(vector("gantry_webhook_refused_total", "Refused requests, by reason.", "reason"), refusedReasons),
		secrets:     vector("gantry_webhook_secret_used_total", "Authentic notifications, by account and the position of the secret that signed them, from 1.", "account", "secret"),
		ackLatency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "gantry_webhook_ack_seconds", Help: "Time from an authentic request to its answer.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 16),
		}),
		findings: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gantry_guardian_findings", Help: "1 while an account has a finding of this kind; GET /v1/accounts has the details.",
		}, []string{"account", "kind"}),
		decisions: vector("gantry_decisions_total", "Decisions of people, by verdict and result.", "verdict", "result"),

		refusedTokens: countReasons(vector("gantry_api_refused_total", "Requests to the API without a valid token, by reason.", "reason"), refusedTokenReasons),
	}
	r.MustRegister(m.received, m.accepted, m.duplicate, m.unavailable, m.ignored, m.refused, m.secrets, m.ackLatency, m.findings, m.decisions, m.refusedTokens)
	return m
}
