package workflows_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

const hasFailed = spacelift.RunStateFailed

var (
	retried = []string{"gantry:managed", "gantry:profile=retried"}
	again   = spacelift.RunRef{Account: "acme", Stack: "network-prod", Run: "01KDX3V4T8Q2M5N7P9R1S3AGAIN"}
)

// timeout is a log that ends in a cause that may pass.
const timeout = "Error: Get \"https://sts.amazonaws.com/\": dial tcp: i/o timeout\n"

func TestFailures(t *testing.T) {
	t.Run("a cause that may pass is tried again, later", func(t *testing.T) {
		r := newRig(t, retried)
		started := r.retries(managed.RetryRunOutcome{New: again})
		r.at(0, func() { r.moves(queued, ready, preparing, initializing, planning) })
		r.at(time.Minute, func() { r.fails("", timeout); r.notify() })
		r.at(90*time.Second, func() {
			r.wants(managed.PhaseRetrying, "tried again, attempt 2 of 3")
			if len(*started) != 0 {
				t.Error("tried again before the time")
			}
			r.received("deploys run.failed: network / prod: the run failed")
		})
		s := r.manage()
		if s.State != hasFailed || s.Failure == nil || s.Failure.Cause != policy.CauseTransient || s.Failure.Source != "log" {
			t.Errorf("ended in %s because of %+v", s.State, s.Failure)
		}
		if len(*started) != 1 || (*started)[0].Attempt != 2 || (*started)[0].Run != run || (*started)[0].By != "gantry" {
			t.Errorf("retries started: %+v", *started)
		}
		if s.Retry == nil || s.Retry.As != again || s.Retry.State != managed.RetryMade || s.Retry.Of != 3 {
			t.Errorf("retry is %+v", s.Retry)
		}
		r.mentions(s, managed.KindAction, "Gantry retries the run: the cause is transient")
		if want := "attempt 2 of 3 follows as run " + string(again.Run); !strings.Contains(s.Outcome, want) {
			t.Errorf("the outcome is %q, want %q", s.Outcome, want)
		}
		if e := r.explains(); !someRule(e, "retries", "profile retried", managed.EffectAllows) {
			t.Errorf("explained by %+v", e.Rules)
		}
	})
	for _, tc := range []struct {
		name    string
		labels  []string
		states  []spacelift.RunState
		note    string
		log     string
		retryOf *managed.RetryOf
		cause   policy.Cause
		says    string
	}{
		{
			name: "what the configuration causes is not", labels: retried, states: []spacelift.RunState{queued, ready, preparing, initializing, planning},
			log: "Error: Unsupported argument\n", cause: policy.CauseCode, says: "the run is not tried again: the cause is code",
		},
		{
			name: "what had begun to apply is not", labels: retried, states: []spacelift.RunState{queued, ready, preparing, initializing, planning, unconfirmed, confirmed, applying},
			log: timeout, cause: policy.CauseTransient, says: "the run is not tried again: an apply phase had begun",
		},
		{
			name: "the last attempt is not", labels: retried, states: []spacelift.RunState{queued, ready, preparing, initializing, planning},
			log: timeout, retryOf: &managed.RetryOf{Run: again, Attempt: 3, By: "gantry"}, cause: policy.CauseTransient, says: "it was attempt 3 of 3 (profile retried)",
		},
		{
			name: "without the wish for it nothing is", labels: auto, states: []spacelift.RunState{queued, ready, preparing, initializing, planning},
			log: timeout, cause: policy.CauseUnknown, says: "",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, tc.labels)
			started := r.retries(managed.RetryRunOutcome{New: again})
			r.goes(tc.states...)
			r.at(0, func() { r.notifyOf(len(tc.states) - 2) })
			r.at(time.Minute, func() { r.fails(tc.note, tc.log); r.notify() })
			r.retryOf = tc.retryOf
			s := r.manage()
			if s.State != hasFailed || s.Failure == nil || s.Failure.Cause != tc.cause || s.Retry != nil || len(*started) != 0 {
				t.Errorf("ended in %s because of %+v, retry %+v, started %d", s.State, s.Failure, s.Retry, len(*started))
			}
			if tc.says != "" {
				r.mentions(s, managed.KindDecision, tc.says)
			}
		})
	}
	t.Run("somebody stops the retry", func(t *testing.T) {
		r := newRig(t, retried)
		started := r.retries(managed.RetryRunOutcome{New: again})
		r.at(0, func() { r.moves(queued, ready, preparing, initializing, planning) })
		r.at(time.Minute, func() { r.fails("", timeout); r.notify() })
		r.at(90*time.Second, func() { r.stops(ann, "I know why", "") })
		s := r.manage()
		if len(*started) != 0 || s.Retry == nil || s.Retry.State != managed.RetryCalledOff || s.Retry.Reason != "ann stopped it: I know why" || !strings.HasSuffix(s.Outcome, "Gantry did not retry it: "+s.Retry.Reason) {
			t.Errorf("%d retries started, retry is %+v: %s", len(*started), s.Retry, s.Outcome)
		}
	})
	t.Run("who triggered the run is still who triggered its retry", func(t *testing.T) {
		r := newRig(t, retried)
		r.truth.TriggeredBy = "api::gantry"
		got := r.retries(managed.RetryRunOutcome{New: again})
		r.at(0, func() { r.moves(queued, ready, preparing, initializing, planning) })
		r.at(time.Minute, func() { r.fails("", timeout); r.notify() })
		r.retryOf = &managed.RetryOf{Run: again, Attempt: 2, By: "ann", TriggeredBy: []string{"eve", "API::gantry"}}
		r.manage()
		if want := []string{"api::gantry", "eve", "ann"}; len(*got) != 1 || !slices.Equal((*got)[0].TriggeredBy, want) {
			t.Errorf("the retry was started with %+v, want it to carry %v", *got, want)
		}
	})
	t.Run("Spacelift refuses the retry", func(t *testing.T) {
		r := newRig(t, retried)
		r.retries(managed.RetryRunOutcome{Reason: "the stack is locked by bob"})
		r.at(0, func() { r.moves(queued, ready, preparing, initializing, planning) })
		r.at(time.Minute, func() { r.fails("", timeout); r.notify() })
		s := r.manage()
		if strings.Contains(s.Outcome, "follows") || !strings.HasSuffix(s.Outcome, "; Gantry did not retry it: the stack is locked by bob") {
			t.Errorf("the outcome is %q", s.Outcome)
		}
		e := r.explains()
		if !someRule(e, "retry", "Gantry", managed.EffectForbids) || e.Rules[len(e.Rules)-1].Detail != "the stack is locked by bob" {
			t.Errorf("explained by %+v", e.Rules)
		}
		r.mentions(s, managed.KindNote, "the run was not retried: the stack is locked by bob")
	})
	t.Run("a forged failure is not believed, and nothing is tried again", func(t *testing.T) {
		r := newRig(t, retried)
		started := r.retries(managed.RetryRunOutcome{New: again})
		r.at(0, func() { r.moves(queued, planning) })
		r.at(time.Minute, func() {
			forged := r.notification(1)
			forged.State, forged.StateVersion = hasFailed, 2
			r.signal(forged)
		})
		r.at(time.Hour, func() { r.moves(unconfirmed) })
		r.at(61*time.Minute, func() { r.notify(); r.moves(applying, finished) })
		s := r.manage()
		if s.State != finished || len(*started) != 0 || s.Failure != nil || len(r.confirmed) != 1 {
			t.Errorf("ended in %s with %d retries and %d confirmations, failure %+v", s.State, len(*started), len(r.confirmed), s.Failure)
		}
		r.mentions(s, managed.KindRepair, "is not believed")
	})
	t.Run("Spacelift does not say why", func(t *testing.T) {
		r := newRig(t, retried)
		r.at(0, func() { r.moves(queued, ready, preparing, initializing, planning) })
		r.at(time.Minute, func() { r.fails("", timeout); r.set(func() { r.leaves = 1 }); r.notify() })
		s := r.manage()
		if s.State != hasFailed || s.Failure == nil || s.Failure.Cause != policy.CauseUnknown || s.Retry != nil {
			t.Errorf("ended in %s because of %+v", s.State, s.Failure)
		}
		r.mentions(s, managed.KindNote, "Gantry could not find out why the run failed")
	})
}
