package simulator_test

import (
	"errors"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/spacelift/spaceliftapi"
)

// Gantry's own client does its work against the simulator, and reads its faults
// as what they are.
func TestGantrysClient(t *testing.T) {
	r := newRig(t)
	r.stack(simulator.Stack{ID: "net", Labels: []string{"gantry:managed"}})
	srv := httptest.NewServer(r)
	t.Cleanup(srv.Close)
	client, err := spaceliftapi.NewClient(spaceliftapi.Config{
		Account: "acme", Endpoint: srv.URL, Credentials: spaceliftapi.APIKey{ID: "01KEY", Secret: "s3cret"},
	})
	r.ok(err)
	ref := spacelift.RunRef{Account: "acme", Stack: "net", Run: r.push("net", twoAdded)}

	seen, err := client.Run(t.Context(), ref)
	r.ok(err)
	want := r.get("net", ref.Run).Run
	trim := cmp.Transformer("seconds", func(tr spacelift.Transition) spacelift.Transition {
		tr.At = tr.At.UTC()
		return tr
	})
	if diff := cmp.Diff(want.History, seen.History, trim); diff != "" {
		t.Errorf("history (-simulator +client)\n%s", diff)
	}
	if seen.State != "UNCONFIRMED" || seen.StateVersion != 5 || *seen.Delta != *want.Delta || !seen.CanConfirm || seen.StackLabels[0] != "gantry:managed" {
		t.Errorf("run %+v", seen)
	}
	missing := ref
	missing.Run = "01NOPE"
	if _, err := client.Run(t.Context(), missing); !errors.Is(err, spacelift.ErrNotFound) {
		t.Errorf("a missing run: %v", err)
	}

	_, err = r.InjectAPI(simulator.APIFault{Kind: simulator.LostResponse, Field: "runConfirm", Times: 1})
	r.ok(err)
	if _, err := client.ConfirmRun(t.Context(), ref, ""); !errors.Is(err, spacelift.ErrAmbiguous) {
		t.Errorf("a lost answer: %v", err)
	}
	r.settle()
	_, err = client.ConfirmRun(t.Context(), ref, "")
	if _, illegal := errors.AsType[*spacelift.IllegalStateError](err); !illegal {
		t.Errorf("confirming a finished run: %v", err)
	}
	if n := len(r.Mutations("runConfirm")); n != 1 || r.state("net", ref.Run) != "FINISHED" {
		t.Errorf("%d confirmations, run %s", n, r.state("net", ref.Run))
	}
	r.RevokeTokens()
	if _, err := client.Run(t.Context(), ref); err != nil {
		t.Errorf("with a token revoked: %v", err)
	}
	r.RemoveAPIKey("01KEY")
	if _, err := client.Run(t.Context(), ref); !errors.Is(err, spacelift.ErrUnauthorized) {
		t.Errorf("with the key gone: %v", err)
	}
}
