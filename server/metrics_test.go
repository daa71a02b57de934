package server_test

import (
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/gantryhq/gantry/openapi"
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

// Each reason that the contract knows is counted from the start on: an alert on a rise
// misses the first of a series that appears with it.
func TestReasonsAreCountedFromTheStart(t *testing.T) {
	r := newRig(t)
	counted := map[string]bool{"seen-before": true, "not-stored": true} // have counters of their own
	for _, name := range []string{"gantry_webhook_ignored_total", "gantry_webhook_refused_total"} {
		for label, n := range r.counter(name) {
			counted[strings.TrimPrefix(label, "reason=")] = true
			if n != 0 {
				t.Errorf("%s %s is %v", name, label, n)
			}
		}
	}
	doc, err := openapi3.NewLoader().LoadFromData(openapi.Document)
	if err != nil {
		t.Fatal(err)
	}
	for _, reason := range doc.Components.Schemas["Delivery"].Value.Properties["reason"].Value.Extensions["x-extensible-enum"].([]any) {
		if !counted[reason.(string)] {
			t.Errorf("%s is not counted", reason)
		}
		delete(counted, reason.(string))
	}
	if len(counted) > 0 {
		t.Errorf("the contract doesn't know %v", counted)
	}
}
