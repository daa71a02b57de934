package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/notify"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// target is a channel that receives webhooks.
type target struct {
	*httptest.Server
	mu       sync.Mutex
	received []string // types of the messages, with what they are about
	down     bool
}

func newTarget(t *testing.T) *target {
	t.Helper()
	to := &target{}
	to.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to.mu.Lock()
		defer to.mu.Unlock()
		if to.down {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		var body struct {
			Type string         `json:"type"`
			Data notify.Message `json:"data"`
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || r.Header.Get("webhook-signature") == "" {
			t.Errorf("a message can't be read, or is not signed: %v", err)
		}
		to.received = append(to.received, body.Type+" "+body.Data.State)
	}))
	t.Cleanup(to.Close)
	return to
}

// channel is the configuration of the target.
func (to *target) channel(name string) string {
	return fmt.Sprintf("  - {name: %s, kind: webhook, url: %q, secret: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw, allowPrivate: true}\n", name, to.URL)
}

// receives waits until a message of a type has arrived.
func (to *target) receives(w *world, message string) {
	w.t.Helper()
	w.eventually("the channel receives "+message, func(context.Context) error {
		to.mu.Lock()
		defer to.mu.Unlock()
		if slices.ContainsFunc(to.received, func(h string) bool { return strings.HasPrefix(h, message) }) {
			return nil
		}
		return fmt.Errorf("it received %v", to.received)
	})
}

var confirmedAlone = []string{"gantry:managed", "gantry:confirm=auto"}

// A freeze declared through the API holds a plan that Gantry would confirm
// automatically, and outlives the process; lifting it releases the run immediately.
func TestFreezeHoldsUntilItIsLifted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, simulator.Stack{ID: "network-prod", Labels: confirmedAlone})
	gantry := w.serve()
	declared, err := w.client.DeclareFreezeWithResponse(t.Context(), "acme", nil, api.FreezeRequest{Reason: "year-end audit"})
	w.must(err)
	if declared.JSON201 == nil {
		t.Fatalf("declare: %d %s", declared.StatusCode(), declared.Body)
	}
	run := w.push("network-prod", 1)
	held := w.phase("network-prod", run, api.PhaseHolding)
	if held.WaitingFor == nil || !strings.Contains(held.WaitingFor.Reason, "year-end audit") {
		t.Errorf("it waits for %+v", held.WaitingFor)
	}
	gantry.Kill()
	w.serve()
	w.phase("network-prod", run, api.PhaseHolding)
	if n := len(w.spacelift.Mutations("runConfirm")); n > 0 {
		t.Fatalf("%d confirmations in spite of a freeze", n)
	}

	before := time.Now()
	lifted, err := w.client.LiftFreezeWithResponse(t.Context(), "acme", declared.JSON201.ID, nil)
	w.must(err)
	if lifted.JSON200 == nil {
		t.Fatalf("lift: %d %s", lifted.StatusCode(), lifted.Body)
	}
	w.phase("network-prod", run, api.PhaseDone)
	// The second signal comes 30s after the lift; the first one must be enough.
	if took := time.Since(before); took > 20*time.Second {
		t.Errorf("the run went on %s after the freeze was lifted", took)
	}
	if n := len(w.spacelift.Mutations("runConfirm")); n != 1 {
		t.Errorf("%d confirmations", n)
	}
}

// A run that failed without a worker is retried by its policy, once, and the new run
// is managed as a retry.
func TestFailedRunIsTriedAgain(t *testing.T) {
	to := newTarget(t)
	w := newWorld(t, simulator.Stack{ID: "network-prod", Labels: []string{"gantry:profile=again"}})
	w.must(w.spacelift.SetLabels("network-prod", "gantry:managed", "gantry:confirm=auto", "gantry:profile=again", "gantry:notify=#deploys"))
	w.serveWith(withToken + "channels:\n" + to.channel("deploys") + "profiles:\n  - {name: again, retries: 1, retryBackoff: 1s}\n")
	first, err := w.spacelift.Push("network-prod", simulator.Commit{}, simulator.Plan{
		Delta: spacelift.Delta{Added: 1}, FailIn: spacelift.RunStatePlanning, FailNote: "no available workers",
	})
	w.must(err)
	failed := w.phase("network-prod", first, api.PhaseDone)
	if failed.Failure == nil || failed.Failure.Cause != "capacity" || failed.Failure.Evidence == nil || !strings.Contains(*failed.Failure.Evidence, "no available workers") {
		t.Errorf("it failed because of %+v", failed.Failure)
	}
	to.receives(w, notify.RunFailed)

	var again spacelift.RunID
	w.eventually("the run is tried again", func(context.Context) error {
		runs, err := w.spacelift.Runs("network-prod")
		if err != nil {
			return err
		}
		if len(runs) != 2 {
			return fmt.Errorf("there are %d runs", len(runs))
		}
		again = runs[1].Ref.Run
		return nil
	})
	w.phase("network-prod", again, api.PhaseDone)
	// It may have ended before Gantry could signal it.
	w.eventually("the second run finished as a retry of the first", func(ctx context.Context) error {
		run, err := w.run(ctx, "network-prod", again)
		if err == nil && (run.State != "FINISHED" || run.RetryOf == nil || run.RetryOf.Run != string(first)) {
			err = fmt.Errorf("it is in %s, a retry of %+v", run.State, run.RetryOf)
		}
		return err
	})
}

// The guardian reports a finding and its end to its channels; a channel that is down
// gets the message later.
func TestGuardianTellsPeople(t *testing.T) {
	to := newTarget(t)
	to.down = true
	w := newWorld(t)
	hook := simulator.NamedWebhook{ID: "gantry"}
	w.serveReconciling("channels:\n"+to.channel("oncall"), "guardian: {webhook: nowhere, notify: [oncall]}")
	w.account("the webhook is missing", func(a api.Account) bool { return finding(a, "webhook-missing") })
	to.mu.Lock()
	to.down = false
	to.mu.Unlock()
	to.receives(w, notify.AccountFinding+" webhook-missing")
	hook.ID, hook.Endpoint, hook.Secret = "nowhere", w.url()+"/webhook", secret
	w.must(w.spacelift.AddNamedWebhook(hook))
	w.account("the webhook is there", func(a api.Account) bool { return !finding(a, "webhook-missing") })
	w.eventually("people are notified that it is over", func(context.Context) error {
		to.mu.Lock()
		defer to.mu.Unlock()
		if len(to.received) < 2 {
			return errors.New(strings.Join(to.received, "; "))
		}
		return nil
	})
}
