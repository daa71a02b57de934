package workflows_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// Gantry acts by the rules in effect when it acts, not by those that it read when
// the run began.
func TestRetriesFollowTheRulesInEffect(t *testing.T) {
	for _, tc := range []struct {
		name   string
		labels []string
		script func(*rig)
		says   string // by the timeline
		rule   string // that forbids, by the explanation
	}{
		{
			name: "a label that can't be followed may have forbidden it", labels: append([]string{"gantry:retries=none"}, retried...),
			script: func(r *rig) { r.at(time.Minute, func() { r.fails("", timeout); r.notify() }) },
			says:   "gantry:retries=none can't be followed", rule: "labels",
		},
		{
			name: "the labels changed while the run planned", labels: retried,
			script: func(r *rig) {
				r.at(30*time.Second, func() { r.set(func() { r.truth.StackLabels = append([]string{"gantry:retries=0"}, retried...) }) })
				r.at(time.Minute, func() { r.fails("", timeout); r.notify() })
			},
			rule: "retries",
		},
		{
			name: "the labels changed while the retry waited", labels: retried,
			script: func(r *rig) {
				r.at(time.Minute, func() { r.fails("", timeout); r.notify() })
				r.at(90*time.Second, func() {
					r.wants(managed.PhaseRetrying, "attempt 2 of 3")
					r.set(func() { r.truth.StackLabels = append([]string{"gantry:retries=0"}, retried...) })
				})
			},
			says: "the run is not tried again after all: failed runs are not tried again (gantry:retries=0)", rule: "retries",
		},
		{
			name: "the configuration changed while the retry waited", labels: retried,
			script: func(r *rig) {
				r.at(time.Minute, func() { r.fails("", timeout); r.notify() })
				r.at(90*time.Second, func() {
					r.acts.Definitions = inEffect(policy.Config{Channels: []string{"deploys"}, Profiles: []policy.Profile{{
						Name: "retried", Confirm: new(policy.ConfirmAuto), Retries: new(2), RetryCauses: []policy.Cause{policy.CauseCapacity},
					}}})
				})
			},
			says: "the run is not tried again after all: the cause is transient, which is not among those that are tried again (profile retried)", rule: "retryCauses",
		},
		{
			name: "the run no longer is failed when the time comes", labels: retried,
			script: func(r *rig) {
				r.at(time.Minute, func() { r.fails("", timeout); r.notify() })
				r.at(90*time.Second, func() { r.set(func() { r.truth.StackLabels = []string{"env:prod"} }) })
			},
		},
		{
			name: "a person rejected it, whatever the note says", labels: retried,
			script: func(r *rig) {
				r.set(func() { r.truth.Type, r.truth.NeedsApproval = spacelift.RunTypeProposed, true })
				r.at(time.Minute, func() { r.moves(spacelift.RunStatePendingReview) })
				r.at(time.Hour, func() { r.says(ann, managed.Reject, "not today: the registry answers 503 Service Unavailable") })
				r.at(time.Hour+time.Minute, func() { r.notify() })
			},
			rule: "endedBy",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, tc.labels)
			started := r.retries(managed.RetryRunOutcome{New: again})
			r.at(0, func() { r.moves(queued, ready, preparing, initializing, planning) })
			tc.script(r)
			s := r.manage()
			if s.State != hasFailed || len(*started) != 0 {
				t.Errorf("ended in %s with %d retries", s.State, len(*started))
			}
			if tc.says != "" {
				r.mentions(s, managed.KindDecision, tc.says)
			}
			forbids := ""
			e := r.explains()
			for _, rule := range e.Rules {
				if forbids == "" && rule.Effect == managed.EffectForbids && rule.Name != "retry" && rule.Name != "managed" {
					forbids = rule.Name
				}
			}
			if forbids != tc.rule {
				t.Errorf("%q forbids, want %q: %+v", forbids, tc.rule, e.Rules)
			}
		})
	}
}

// Rules that change while a retry is on its way forbid it: they are read again, and decide.
func TestARetryThatItsPolicyForbidsIsJudgedAnew(t *testing.T) {
	for name, tt := range map[string]struct {
		now   []string
		tries int
		ends  string
	}{
		"it isn't allowed any more": {append([]string{"gantry:retries=0"}, retried...), 1, "Gantry did not retry it: failed runs are not tried again (gantry:retries=0)"},
		"another value changed":     {append([]string{"gantry:confirm=manual"}, retried...), 2, "attempt 2 of 3 follows as run " + string(again.Run)},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, retried)
			var tries []managed.RetryRunInput
			r.retriesWith(func(in managed.RetryRunInput) managed.RetryRunOutcome {
				if tries = append(tries, in); len(tries) > 1 {
					return managed.RetryRunOutcome{New: again}
				}
				r.set(func() { r.truth.StackLabels = tt.now })
				return managed.RetryRunOutcome{Forbidden: true, Reason: "the policy is not the one that the run was judged by"}
			})
			r.at(0, func() { r.moves(queued, ready, preparing, initializing, planning) })
			r.at(time.Minute, func() { r.fails("", timeout); r.notify() })
			s := r.manage()
			if len(tries) != tt.tries || !strings.HasSuffix(s.Outcome, tt.ends) {
				t.Errorf("%d retries, and the outcome is %q; want %d and %q", len(tries), s.Outcome, tt.tries, tt.ends)
			}
			r.mentions(s, managed.KindNote, "the retry waits: the policy is not the one")
			for i, in := range tries {
				if in.Judged == nil || (in.Judged.Policy.Confirm.Value == policy.ConfirmManual) != (i > 0) {
					t.Errorf("try %d rests on %+v", i+1, in.Judged)
				}
			}
		})
	}
}

// What explain says of a failed run is the reason that decided, and it offers
// what works.
func TestExplainNamesTheRuleThatForbidsARetry(t *testing.T) {
	r := newRig(t, append([]string{"gantry:confirm=auto"}, retried...))
	r.at(0, func() { r.moves(queued, planning, unconfirmed) })
	r.at(time.Minute, func() { r.moves(applying) })
	r.at(2*time.Minute, func() { r.fails("", "Error: 429 Too Many Requests\n"); r.notify() })
	s := r.manage()
	r.mentions(s, managed.KindDecision, "the run is not tried again: an apply phase had begun, or may have (default)")
	e := r.explains()
	for name, effect := range map[string]managed.Effect{
		"retries": managed.EffectAllows, "retryCauses": managed.EffectAllows, "retryAfterApply": managed.EffectForbids,
	} {
		if i := ruleOf(e, name); i < 0 || e.Rules[i].Effect != effect {
			t.Errorf("%s does not say %s: %+v", name, effect, e.Rules)
		}
	}
	if len(e.Unblock) != 1 || e.Unblock[0].How != "retry it: gantry runs retry "+run.String() {
		t.Errorf("it offers %+v", e.Unblock)
	}
}

func ruleOf(e managed.Explanation, name string) int {
	for i, r := range e.Rules {
		if r.Name == name {
			return i
		}
	}
	return -1
}

// A profile that changes reaches the runs that wait for people, and the people it
// names now are asked.
func TestAChangedProfileReachesWaitingRuns(t *testing.T) {
	r := newRig(t, production)
	r.at(0, func() { r.moves(queued, planning, unconfirmed) })
	r.at(time.Hour, func() {
		r.acts.Definitions = inEffect(policy.Config{
			Channels: []string{"deploys", "oncall"},
			Profiles: []policy.Profile{{Name: "production", Confirm: new(policy.ConfirmManual), Approvals: new(1), Approvers: new("interns"), Notify: []string{"oncall"}}},
		})
	})
	r.at(7*time.Hour, func() {
		r.wants(managed.PhaseWaiting, "0 of 1 approval")
		if got := r.world.messages(); got[len(got)-1] != "oncall run.decision_needed: network / prod: a plan waits for 1 approval" {
			t.Errorf("messages are %q", got)
		}
		r.says(eve, managed.Approve, "")
	})
	r.at(8*time.Hour, func() { r.notify(); r.moves(applying, finished) })
	s := r.manage()
	if s.State != finished || len(r.confirmed) != 1 {
		t.Errorf("ended in %s with %d confirmations", s.State, len(r.confirmed))
	}
	r.mentions(s, managed.KindRules, "approvers=interns (profile production)")
}

// A plan is not discarded by a deadline that the stack's labels no longer name.
func TestADeadlineThatWasLiftedDiscardsNothing(t *testing.T) {
	r := newRig(t, append([]string{"gantry:approval-timeout=2h"}, asked...))
	r.at(0, func() { r.moves(queued, planning, unconfirmed) })
	r.at(time.Hour, func() { r.set(func() { r.truth.StackLabels = asked }) })
	r.at(3*time.Hour, func() {
		r.wants(managed.PhaseWaiting, "0 of 1 approval")
		r.did()
		r.says(ann, managed.Approve, "")
	})
	r.at(4*time.Hour, func() { r.notify(); r.moves(applying, finished) })
	if s := r.manage(); s.State != finished || len(r.confirmed) != 1 {
		t.Errorf("ended in %s with %d confirmations", s.State, len(r.confirmed))
	}
}

// An approval that stops counting is shown with the reason, and people are asked
// again.
func TestAnApprovalThatStopsCountingSaysWhy(t *testing.T) {
	r := newRig(t, asked)
	r.at(0, func() { r.moves(queued, planning) })
	r.at(time.Minute, func() {
		r.set(func() { r.away = true })
		r.goes(unconfirmed)
		e := r.notification(-1)
		e.Delta = nil
		r.signal(e)
	})
	r.at(2*time.Minute, func() { r.says(ann, managed.Approve, "") })
	r.at(time.Hour, func() { r.set(func() { r.away = false }) })
	r.at(3*time.Hour, func() {
		const why = "it was given for another plan (size unknown)"
		r.wants(managed.PhaseWaiting, "ann's approval does not count: "+why)
		s := r.status()
		if s.Approvals.Given != 0 || len(s.Approvals.Decided) != 1 || s.Approvals.Decided[0].Discounted != why {
			t.Errorf("approvals are %+v", s.Approvals)
		}
		r.mentions(s, managed.KindRules, "ann's approval no longer counts: "+why)
		asked := 0
		for _, m := range r.world.messages() {
			if strings.Contains(m, "run.decision_needed") {
				asked++
			}
		}
		if asked != 1 { // the API showed the plan only after ann had approved what a notification named
			t.Errorf("people were asked %d times: %q", asked, r.world.messages())
		}
		r.says(ann, managed.Approve, "")
	})
	r.at(4*time.Hour, func() { r.notify(); r.moves(applying, finished) })
	if s := r.manage(); s.State != finished || len(r.confirmed) != 1 {
		t.Errorf("ended in %s with %d confirmations", s.State, len(r.confirmed))
	}
}

// A run that ended before Gantry has read the rules in effect doesn't claim that the
// configuration lacks what a label names.
func TestLabelsAreNotJudgedWithoutTheConfiguration(t *testing.T) {
	r := newRig(t, []string{"gantry:managed", "gantry:profile=production", "gantry:notify=deploys", "gantry:approvals=none"})
	r.at(0, func() {
		r.goes(queued, planning, unconfirmed)
		r.person("jane", spacelift.RunStateDiscarded, "")
		r.notify()
	})
	s := r.manage()
	if len(s.Policy.Problems) != 1 || s.Policy.Problems[0].Label != "gantry:approvals=none" || !s.RulesUnread {
		t.Errorf("the rules are unread: %t; problems %+v", s.RulesUnread, s.Policy.Problems)
	}
}
