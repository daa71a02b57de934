package server_test

import (
	"net/http"
	"testing"

	"github.com/gantryhq/gantry/gen/api"
)

func TestDeliveriesAreListedShownAndRedelivered(t *testing.T) {
	r := newRig(t)
	body := example(t, "run_tracked_unconfirmed")
	accepted := r.receipt(body)
	ignored := r.receipt(example(t, "internal_error"))
	r.receipt(body)

	all := r.deliveries("")
	if len(all) != 3 {
		t.Fatalf("%d deliveries, want 3", len(all))
	}
	for i, outcome := range []api.Outcome{"duplicate", "ignored", "accepted"} {
		if all[i].Outcome != outcome {
			t.Errorf("delivery %d is %s, want %s: newest first", i, all[i].Outcome, outcome)
		}
	}
	if *all[0].DuplicateOf != accepted.Delivery {
		t.Errorf("the duplicate does not name its original: %s", show(all[0]))
	}
	if one := r.deliveries("?stack=network-prod&outcome=accepted"); len(one) != 1 || one[0].ID != accepted.Delivery || one[0].Size != len(body) || *one[0].Secret != 1 {
		t.Errorf("by stack and outcome: %s", show(one))
	}

	path := "/v1/deliveries/" + accepted.Delivery + "/redeliveries"
	wantProblem(t, r.send(http.MethodPost, path, "", "Authorization", "Bearer "+viewerToken), http.StatusForbidden, "forbidden")
	w := r.send(http.MethodPost, path, "", "Authorization", "Bearer "+operatorToken, "Idempotency-Key", "once")
	if w.Code != http.StatusAccepted || decode[api.Delivery](t, w).ID != accepted.Delivery {
		t.Errorf("redeliver: %d %s", w.Code, w.Body)
	}
	wantProblem(t, r.send(http.MethodPost, "/v1/deliveries/"+ignored.Delivery+"/redeliveries", "", "Authorization", "Bearer "+operatorToken), http.StatusConflict, "not-redeliverable")
	if w := r.send(http.MethodPost, "/v1/redeliveries", "", "Authorization", "Bearer "+operatorToken); w.Code != http.StatusAccepted || decode[api.RedeliveryCount](t, w).Redelivered != 0 {
		t.Errorf("redeliver all dead: %d %s", w.Code, w.Body)
	}
	if lines := r.log.entries(t, "change"); len(lines) != 2 || lines[0]["by"] != "otto" || lines[0]["delivery"] != accepted.Delivery || lines[1]["count"] != 0.0 {
		t.Errorf("the log does not say who redelivered: %v", lines)
	}
}

// A redelivery with a key is done once, and its repeat is answered like it.
func TestRedeliveriesUnderOneKey(t *testing.T) {
	r := newRig(t)
	first, second := r.receipt(example(t, "run_tracked_unconfirmed")), r.receipt(example(t, "run_tracked_finished"))
	path := func(d api.Receipt) string { return "/v1/deliveries/" + d.Delivery + "/redeliveries" }
	for range 2 {
		if w := r.post(operatorToken, path(first), ``, keyed("k")...); w.Code != http.StatusAccepted || decode[api.Delivery](t, w).ID != first.Delivery {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
	for _, other := range []string{path(second), "/v1/redeliveries"} {
		wantProblem(t, r.post(operatorToken, other, ``, keyed("k")...), http.StatusUnprocessableEntity, "idempotency-key-reused")
	}
	for range 2 {
		if w := r.post(operatorToken, "/v1/redeliveries", ``, keyed("dead")...); w.Code != http.StatusAccepted {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
	// What failed is not remembered: the same request may be sent again.
	for range 2 {
		wantProblem(t, r.post(operatorToken, path(api.Receipt{Delivery: "01KDX4A7B3C5D7E9F1G3H5J7K9"}), ``, keyed("gone")...), http.StatusNotFound, "not-found")
	}
}
