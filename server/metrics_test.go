package server_test

import (
	"strings"
	"testing"
)

func TestMetricsDistinguishOutcomes(t *testing.T) {
	r := newRig(t)
	body := example(t, "run_tracked_unconfirmed")
	r.receipt(body)
	r.receipt(body)
	r.receipt(example(t, "internal_error"))
	r.deliver("guess", body)
	text := r.metrics()
	for _, line := range []string{
		"gantry_webhook_received_total 4", "gantry_webhook_accepted_total 1", "gantry_webhook_duplicate_total 1",
		`gantry_webhook_ignored_total{reason="internal-error"} 1`, `gantry_webhook_refused_total{reason="signature-mismatch"} 1`,
		`gantry_webhook_secret_used_total{account="acme",secret="1"} 3`, "gantry_webhook_ack_seconds_count 3",
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no %q in\n%s", line, text)
		}
	}
}
