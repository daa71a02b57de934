package workflows_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/decide/reconcile"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// switchOff does what Spacelift does after ten failures, and lets time pass until
// Gantry reads the webhook again.
func (r *accountRig) switchOff() {
	r.Helper()
	r.clock.Advance(10 * time.Minute)
	hook, err := r.client.NamedWebhook(r.Context(), "gantry")
	r.must(err)
	_, err = r.client.UpdateNamedWebhook(r.Context(), "gantry", spacelift.NamedWebhookInput{
		Name: hook.Name, Endpoint: hook.Endpoint, Labels: hook.Labels, Space: hook.Space, Secret: webhookSecret, RetryOnFailure: hook.RetryOnFailure,
	})
	r.must(err)
}

// A webhook that was switched off is switched on with all its settings and its
// secret, and everything followed is compared, even where states agree.
func TestGuardianSwitchesTheWebhookOnAndCatchesUp(t *testing.T) {
	r := newAccountRig(t, networkProd, simulator.Stack{ID: "app-prod", Labels: manual})
	before, err := r.client.NamedWebhook(t.Context(), "gantry")
	r.must(err)
	known := r.push("app-prod")
	r.follows(known, planning) // a hole that no list shows
	r.switchOff()
	missed := r.push("network-prod")

	report := r.ticks(did{done, 1, 1, 0, 1 + 2})
	r.finds(report, reconcile.FindingWebhookDisabled)
	if report.Webhook == nil || !report.Webhook.Enabled || !strings.Contains(report.Findings[0].Summary, "switched it on again") {
		t.Errorf("report says %+v, %s", report.Webhook, report.Findings[0].Summary)
	}
	if r.adopted[0].Run != missed || r.signaledStates(known) != "PLANNING" {
		t.Errorf("adopted %+v, signaled %s", r.adopted, r.signaledStates(known))
	}
	after, err := r.client.NamedWebhook(t.Context(), "gantry")
	r.must(err)
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("the webhook (-before +after):\n%s", diff)
	}
	if same, _, err := r.client.NamedWebhookSecretIs(t.Context(), "gantry", webhookSecret); !same || err != nil {
		t.Errorf("its secret is another one now (%v)", err)
	}

	// It stays known for an hour, for operators who look.
	report = r.ticks(did{done, 0, 0, 0, 1})
	r.finds(report, reconcile.FindingWebhookDisabled)
	since := report.Findings[0].Since
	r.clock.Advance(50 * time.Minute)
	report = r.tick()
	r.finds(report, reconcile.FindingWebhookDisabled)
	if !report.Findings[0].Since.Equal(since) {
		t.Errorf("it began at %s, then at %s", since, report.Findings[0].Since)
	}
	r.clock.Advance(10 * time.Minute)
	r.finds(r.tick())
}

// With more to compare than one tick does, the next ones continue.
func TestGuardianComparesEverythingInTurns(t *testing.T) {
	r := newAccountRig(t)
	refs := r.pushes(60, auto...)
	for _, ref := range refs {
		r.follows(ref, planning)
	}
	r.switchOff()
	r.ticks(did{partial, 0, 50, 0, 2 + 50})
	r.ticks(did{done, 0, 10, 0, 2 + 10})
	r.ticks(did{done, 0, 0, 0, 2})
}

func TestGuardianMayBeConfiguredToOnlyReport(t *testing.T) {
	r := newAccountRig(t, networkProd)
	r.in.Reenable = false
	r.switchOff()
	updates := len(r.sim.Mutations("namedWebhooksIntegrationUpdate"))
	for range 2 {
		report := r.tick()
		r.finds(report, reconcile.FindingWebhookDisabled)
		if report.Webhook.Enabled || !strings.Contains(report.Findings[0].Summary, "guardian.reenable is off") {
			t.Errorf("report says %+v, %s", report.Webhook, report.Findings[0].Summary)
		}
	}
	if n := len(r.sim.Mutations("namedWebhooksIntegrationUpdate")); n != updates {
		t.Errorf("the webhook was updated %d times", n-updates)
	}
	// A person switches it on: nothing is left to say.
	r.must(r.sim.EnableNamedWebhook("gantry"))
	r.finds(r.tick())
}

func TestGuardianSaysWhyItCouldNotSwitchTheWebhookOn(t *testing.T) {
	r := newAccountRig(t)
	r.switchOff()
	_, err := r.sim.InjectAPI(simulator.APIFault{Kind: simulator.NotExecutable, Field: "namedWebhooksIntegrationUpdate", Message: "space is read-only"})
	r.must(err)
	report := r.tick()
	r.finds(report, reconcile.FindingWebhookDisabled)
	if report.Webhook.Enabled || !strings.Contains(report.Findings[0].Summary, "space is read-only") {
		t.Errorf("report says %+v, %s", report.Webhook, report.Findings[0].Summary)
	}
}

func TestGuardianMissesTheWebhook(t *testing.T) {
	for name, tc := range map[string]struct{ id, says string }{
		"none is configured": {"", "set guardian.webhook"},
		"it does not exist":  {"gantry-old", "gantry setup"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newAccountRig(t, networkProd)
			r.in.Webhook = tc.id
			r.push("network-prod")
			report := r.tick()
			r.finds(report, reconcile.FindingWebhookMissing)
			if !strings.Contains(report.Findings[0].Fix, tc.says) || report.Webhook != nil {
				t.Errorf("webhook %+v, fix: %s", report.Webhook, report.Findings[0].Fix)
			}
			if report.Adopted != 1 {
				t.Error("without a webhook nothing was reconciled")
			}
		})
	}
}

// What Reconcile has to find out itself tick after tick, notifications should
// have reported.
func TestGuardianNoticesSilence(t *testing.T) {
	r := newAccountRig(t, networkProd)
	ref := r.push("network-prod")
	r.finds(r.tick()) // the first tick knows nothing of what should have been
	next := func() {
		r.discard(ref)
		ref = r.push("network-prod")
	}
	next()
	r.finds(r.tick()) // once may happen
	next()
	report := r.tick()
	r.finds(report, reconcile.FindingSilence)
	if want := report.At.Add(-4 * time.Minute); !report.Findings[0].Since.Equal(want) {
		t.Errorf("silent since %s, want %s", report.Findings[0].Since, want)
	}
	// The run waits for somebody and nothing happens that could be missed.
	r.finds(r.tick())
}

// A backlog that takes several ticks is not silence: it is old.
func TestGuardianDoesNotTakeABacklogForSilence(t *testing.T) {
	r := newAccountRig(t)
	r.tick()
	r.clock.Advance(time.Hour)
	r.pushes(150, auto...)
	for range 3 {
		r.clock.Advance(interval)
		report := r.tick()
		if report.Adopted == 0 {
			t.Fatal("nothing was adopted")
		}
		for _, f := range report.Findings {
			if report.Adopted > 0 && f.Kind == reconcile.FindingSilence {
				t.Errorf("silence, after %d adoptions", report.Adopted)
			}
		}
	}
}

// While Spacelift does not answer, what was found stays found.
func TestGuardianKeepsWhatItKnows(t *testing.T) {
	inBubble(t, func(_ *testing.T, r *accountRig) {
		r.in.Reenable = false
		r.switchOff()
		r.finds(r.tick(), reconcile.FindingWebhookDisabled)
		_, err := r.sim.InjectAPI(simulator.APIFault{Kind: simulator.RateLimited, RetryAfter: simulator.Duration(3 * time.Minute)})
		r.must(err)
		r.finds(r.tick(), reconcile.FindingWebhookDisabled)
		r.finds(r.tick(), reconcile.FindingWebhookDisabled)
		r.sim.ClearFaults()
		_, err = r.sim.InjectAPI(simulator.APIFault{Kind: simulator.NotExecutable, Message: "internal error"})
		r.must(err)
		r.finds(r.tick(), reconcile.FindingWebhookDisabled)
	})
}
