package managed

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// rulebook defines the names that the labels of these tests may use.
var rulebook = func() *policy.Definitions {
	rules, err := policy.Compile(policy.Config{Profiles: []policy.Profile{
		{Name: "small", Confirm: new(policy.ConfirmAuto), MaxDeleted: new(1)},
		{Name: "two", Confirm: new(policy.ConfirmManual), Approvals: new(2), ApprovalTimeout: new(policy.Duration(time.Hour))},
		{Name: "retried", Confirm: new(policy.ConfirmAuto), Retries: new(1)},
	}})
	if err != nil {
		panic(err)
	}
	return rules
}()

// in returns the situation of a tracked run in a state that the API showed, with
// everything known that a decision needs.
func in(state spacelift.RunState, change ...func(*Situation)) *Situation {
	s := about(at(state))
	s.followers = nil
	for _, c := range change {
		c(s)
	}
	s.Approvals = s.approvals()
	return s
}

func with(l ...string) func(*Situation) {
	return func(s *Situation) {
		slices.Sort(l)
		s.Labels, s.Managed, s.Policy = l, spacelift.Managed(l), rulebook.Resolve(policy.Labelled(l))
		s.rules = &Rules{Labels: l, Policy: s.Policy, Gate: policy.Gate{Open: true, At: t0}, Schedule: rulebook.Schedule(s.Policy, t0)}
		s.rulesFor, s.rulesRead = new(s.Key()), t0
	}
}

// needing lets Spacelift's own approval policies ask for somebody.
func needing(s *Situation) {
	s.needsApproval = true
	if s.Ask == nil {
		s.Ask = &pendingDecision{Key: s.Key(), Since: t0, Stage: stageAsked, Notified: true}
	}
}

func approvedBy(names ...string) func(*Situation) {
	return func(s *Situation) {
		for _, n := range names {
			s.approved = append(s.approved, decision{Decided: Decided{Verdict: Approve, By: n, State: s.State, StateVersion: s.StateVersion}})
		}
	}
}

func rejectedBy(name string) func(*Situation) {
	return func(s *Situation) { s.rejected = &decision{Decided: Decided{Verdict: Reject, By: name, Note: "no"}} }
}

func shut(until time.Time) func(*Situation) {
	return func(s *Situation) {
		s.Gate = &policy.Gate{At: t0, Until: until, Reason: "the window is closed", Window: "w"}
	}
}

func after(d time.Duration) func(*Situation) { return func(s *Situation) { s.Now = t0.Add(d) } }

func justRead(s *Situation) { s.readAt, s.rulesRead = s.Now, s.Now }

func failedBefore(do Action, d time.Duration) func(*Situation) {
	return func(s *Situation) {
		s.backoff = &backoff{Do: do, Key: s.Key(), Reason: "it is locked", Until: t0.Add(d), Tries: 1}
	}
}

// Every row of the design's state table, with every policy that matters to it.
func TestDecideWithPolicies(t *testing.T) {
	const (
		mng, manual, auto, careful = "gantry:managed", "gantry:confirm=manual", "gantry:confirm=auto", "gantry:confirm=no-deletes"
		two, small, retry, odd     = "gantry:profile=two", "gantry:profile=small", "gantry:profile=retried", "gantry:confirm=atuo"
	)
	harmless := func(s *Situation) { s.Delta = &spacelift.Delta{Added: 1} }
	unsized := func(s *Situation) { s.Delta = nil }
	unread := func(s *Situation) { s.rules, s.rulesFor = nil, nil }
	elsewhere := func(s *Situation) { s.rulesFor = nil }
	claimed := func(s *Situation) { s.whyRead = "a notification says that the run is FINISHED" }
	unanswered := func(s *Situation) { s.read, s.Trust = false, trust{Next: t0.Add(time.Minute), Reason: "no answer"} }
	for _, tc := range []struct {
		name   string
		s      *Situation
		do     Action
		phase  Phase
		reason string
	}{
		{"nothing known of the rules", in("QUEUED", unread), DoRules, PhaseQueued, "reads the rules"},
		{"QUEUED", in("QUEUED"), doWait, PhaseQueued, "queue"},
		{"QUEUED, an approval policy asks, observed", in("QUEUED", needing), doWait, PhaseWaiting, "reviews it in Spacelift"},
		{"QUEUED, an approval policy asks", in("QUEUED", with(mng, manual), needing), doWait, PhaseWaiting, "0 of 1 approval"},
		{"QUEUED, approved", in("QUEUED", with(mng, manual), needing, approvedBy("ann")), DoReview, PhaseHolding, "ann approved"},
		{"QUEUED, rejected", in("QUEUED", with(mng, manual), needing, rejectedBy("ann")), DoReview, PhaseHolding, "ann rejected the run: no"},
		{"QUEUED, unreadable label", in("QUEUED", with(mng, odd), needing), DoHold, PhaseHolding, odd},
		{"READY", in("READY"), doWait, PhaseQueued, "worker"},
		{"PLANNING", in("PLANNING"), doWait, PhasePlanning, "planning"},
		{"APPLYING", in("APPLYING"), doWait, PhaseApplying, "applying"},
		{"PENDING_REVIEW, observed", in("PENDING_REVIEW"), doWait, PhaseWaiting, "reviews it in Spacelift"},
		{"PENDING_REVIEW, unmanaged", in("PENDING_REVIEW", with(manual)), doWait, PhaseWaiting, "only watches"},
		{"PENDING_REVIEW", in("PENDING_REVIEW", with(mng, two)), doWait, PhaseWaiting, "0 of 2 approvals"},
		{"PENDING_REVIEW, one of two", in("PENDING_REVIEW", with(mng, two), approvedBy("ann")), doWait, PhaseWaiting, "1 of 2 approvals: ann"},
		{"PENDING_REVIEW, two of two", in("PENDING_REVIEW", with(mng, two), approvedBy("ann", "bob")), DoReview, PhaseHolding, "ann and bob approved"},
		{"PENDING_REVIEW, too late", in("PENDING_REVIEW", with(mng, two), func(s *Situation) { s.Ask.Stage, s.Ask.Why = stageExpired, "nobody approved within 1h" }), DoReview, PhaseHolding, "nobody approved within 1h"},

		{"observed", in("UNCONFIRMED"), doWait, PhaseWaiting, "in Spacelift"},
		{"unmanaged", in("UNCONFIRMED", with(auto)), doWait, PhaseWaiting, "no longer carries"},
		{"unreadable", in("UNCONFIRMED", with(mng, odd)), DoHold, PhaseHolding, odd},
		{"manual", in("UNCONFIRMED", with(mng, manual)), doWait, PhaseWaiting, "0 of 1 approval"},
		{"manual, not read before", in("UNCONFIRMED", with(mng, manual), func(s *Situation) { s.read = false }), DoRead, PhaseWaiting, ""},
		{"manual, Spacelift is away", in("UNCONFIRMED", with(mng, manual), unanswered), DoHold, PhaseHolding, "acts on no notification alone: no answer"},
		{"observed, Spacelift is away", in("UNCONFIRMED", unanswered), DoHold, PhaseHolding, "acts on no notification alone: no answer"},
		{"unreadable, Spacelift is away", in("UNCONFIRMED", with(mng, odd), unanswered), DoHold, PhaseHolding, odd},
		{"manual, approved, not read before", in("UNCONFIRMED", with(mng, manual), approvedBy("ann"), func(s *Situation) { s.read = false }), DoRead, PhaseWaiting, ""},
		{"manual, not asked yet", in("UNCONFIRMED", with(mng, manual), func(s *Situation) { s.Ask.Notified = false }), DoAsk, PhaseWaiting, ""},
		{"manual, clocks unknown", in("UNCONFIRMED", with(mng, manual), elsewhere), DoRules, PhaseHolding, ""},
		{"manual, labels changed", in("UNCONFIRMED", with(mng, manual), func(s *Situation) { s.Labels = []string{mng} }), DoRules, PhaseHolding, ""},
		{"manual, a freeze was declared", in("UNCONFIRMED", with(mng, manual), func(s *Situation) { s.rulesStale = true }), DoRules, PhaseHolding, ""},
		{"manual, approved", in("UNCONFIRMED", with(mng, manual), approvedBy("ann")), DoConfirm, PhaseConfirming, "ann approved it"},
		{"two, one approved", in("UNCONFIRMED", with(mng, two), approvedBy("ann")), doWait, PhaseWaiting, "1 of 2"},
		{"two, time over", in("UNCONFIRMED", with(mng, two), after(time.Hour), justRead), DoClock, PhaseWaiting, ""},
		{"two, time over, not read since", in("UNCONFIRMED", with(mng, two), after(time.Hour)), DoRead, PhaseWaiting, ""},
		{"two, time over, rules not read since", in("UNCONFIRMED", with(mng, two), after(time.Hour), justRead, func(s *Situation) { s.rulesRead = t0 }), DoRules, PhaseWaiting, ""},
		{"two, expired", in("UNCONFIRMED", with(mng, two), func(s *Situation) { s.Ask.Stage, s.Ask.Why = stageExpired, "nobody approved within 1h" }), DoDiscard, PhaseHolding, "nobody approved"},
		{"rejected", in("UNCONFIRMED", with(mng, two), rejectedBy("ann"), approvedBy("bob", "eve")), DoDiscard, PhaseHolding, "ann rejected the plan: no"},
		{"rejected, Spacelift refused before", in("UNCONFIRMED", with(mng, two), rejectedBy("ann"), failedBefore(DoDiscard, time.Minute)), DoHold, PhaseHolding, "locked"},
		{"rejected, confirming was refused before", in("UNCONFIRMED", with(mng, auto), rejectedBy("ann"), failedBefore(DoConfirm, time.Minute)), DoDiscard, PhaseHolding, "ann"},
		{"approved, gate shut", in("UNCONFIRMED", with(mng, manual), approvedBy("ann"), shut(t0.Add(time.Hour))), DoHold, PhaseHolding, "window is closed"},
		{"approved, gate time over", in("UNCONFIRMED", with(mng, manual), approvedBy("ann"), shut(t0.Add(time.Hour)), after(time.Hour)), DoRules, PhaseHolding, ""},
		{"approved, gate shut for ever", in("UNCONFIRMED", with(mng, manual), approvedBy("ann"), shut(time.Time{}), after(time.Hour)), DoHold, PhaseHolding, "window is closed"},
		{"asked, gate shut", in("UNCONFIRMED", with(mng, manual), shut(t0.Add(time.Hour))), doWait, PhaseWaiting, "0 of 1"},
		{"approved, an approval policy asks", in("UNCONFIRMED", with(mng, manual), needing, approvedBy("ann")), DoReview, PhaseConfirming, "ann"},
		{"approved and reviewed", in("UNCONFIRMED", with(mng, manual), needing, approvedBy("ann"), reviewedBy(t0, 1)), doWait, PhaseWaiting, "passed on"},

		{"auto", in("UNCONFIRMED", with(mng, auto), elsewhere), DoConfirm, PhaseConfirming, auto},
		{"auto, gate shut", in("UNCONFIRMED", with(mng, auto), shut(t0.Add(time.Hour))), DoHold, PhaseHolding, "window"},
		{"auto, refused before", in("UNCONFIRMED", with(mng, auto), failedBefore(DoConfirm, time.Minute)), DoHold, PhaseHolding, "locked"},
		{"auto, refused long before", in("UNCONFIRMED", with(mng, auto), failedBefore(DoConfirm, time.Minute), after(time.Minute)), DoConfirm, PhaseConfirming, auto},
		{"auto, an approval policy asks", in("UNCONFIRMED", with(mng, auto), needing), doWait, PhaseWaiting, "an approval policy in Spacelift"},
		{"auto, size unknown", in("UNCONFIRMED", with(mng, auto), unsized), DoConfirm, PhaseConfirming, "size unknown"},
		{"auto, a preview", in("UNCONFIRMED", with(mng, auto), func(s *Situation) { s.Type = "PROPOSED" }), doWait, PhaseWaiting, "people confirm runs of type PROPOSED"},
		{"small, beyond", in("UNCONFIRMED", with(mng, small)), doWait, PhaseWaiting, "more than 1"},
		{"small, within", in("UNCONFIRMED", with(mng, small), harmless), DoConfirm, PhaseConfirming, "profile small"},
		{"small, size unknown", in("UNCONFIRMED", with(mng, small), unsized), doWait, PhaseWaiting, "Gantry does not know"},
		{"no-deletes, deletes", in("UNCONFIRMED", with(mng, careful)), doWait, PhaseWaiting, "deletes 2 resources"},
		{"no-deletes, deletes nothing", in("UNCONFIRMED", with(mng, careful), harmless), DoConfirm, PhaseConfirming, careful},
		{"no-deletes, size unknown", in("UNCONFIRMED", with(mng, careful), unsized), doWait, PhaseWaiting, "Gantry does not know"},
		{"confirmed by us", in("UNCONFIRMED", with(mng, auto), acceptedAct(DoConfirm)), doWait, PhaseApplying, "confirmed"},
		{"discarded by us", in("UNCONFIRMED", with(mng, auto), acceptedAct(DoDiscard)), doWait, PhaseFollowing, "discarded"},
		{"keeps changing", in("UNCONFIRMED", with(mng, auto), func(s *Situation) { plan(5, PlanChanged, maxLooks)(s.RunStatus) }), DoHold, PhaseHolding, "contradicting each other"},
		{"stopped", in("UNCONFIRMED", with(mng, two), stoppedBy("ann")), DoStop, PhaseHolding, "ann wants the run stopped"},

		{"stopped, Spacelift has not shown it", in("UNCONFIRMED", with(mng, two), stoppedBy("ann"), func(s *Situation) { s.stopping.ask(s.Key()); s.stopping.accept(t0, s.Key(), "discard") }), doWait, PhaseFollowing, "asked to discard"},

		{"CONFIRMED elsewhere", in("CONFIRMED", func(s *Situation) { s.read, s.open = false, &pendingDecision{Key: StateKey{4, "UNCONFIRMED"}} }), DoRead, PhaseApplying, "who decided"},
		{"another plan elsewhere", in("UNCONFIRMED", func(s *Situation) { s.read, s.open = false, &pendingDecision{Key: StateKey{1, "UNCONFIRMED"}} }), DoRead, PhaseHolding, "who decided"},
		{"CONFIRMED by us", in("CONFIRMED", func(s *Situation) {
			s.read, s.open = false, &pendingDecision{Key: StateKey{4, "UNCONFIRMED"}, Act: request{State: requestAccepted, Do: DoConfirm}}
		}), doWait, PhaseApplying, "confirmed"},
		{"asked for another plan elsewhere", in("REPLAN_REQUESTED", func(s *Situation) { s.read, s.open = false, &pendingDecision{Key: StateKey{4, "UNCONFIRMED"}} }), DoRead, PhasePlanning, "who decided"},
		{"an end is only claimed", in("PLANNING", claimed), DoRead, PhasePlanning, ""},
		{"an end is only claimed, Spacelift is away", in("PLANNING", claimed, unanswered), doWait, PhasePlanning, "a notification says that the run is FINISHED, and Gantry has not been able to read the run to confirm that: no answer"},
		{"a plan waits, an end is only claimed, Spacelift is away", in("UNCONFIRMED", with(mng, manual), claimed, func(s *Situation) { s.Trust.Next = t0.Add(time.Minute) }), doWait, PhaseWaiting, "0 of 1"},
		{"a plan is approved, an end is only claimed", in("UNCONFIRMED", with(mng, manual), approvedBy("ann"), claimed), DoConfirm, PhaseConfirming, "ann approved it"},
		{"Spacelift does not know the run", in("PLANNING", unanswered, func(s *Situation) { s.Trust.MissingSince = t0 }), DoHold, PhaseHolding, "Spacelift does not know it"},
		{"DISCARDED", in("DISCARDED"), DoFinish, PhaseDone, "discarded"},
		{"FINISHED", in("FINISHED", func(s *Situation) { s.followers = new(Followers{At: t0}) }), DoFinish, PhaseDone, "applied"},
		{"SKIPPED", in("SKIPPED"), DoFinish, PhaseDone, "skipped"},
		{"FAILED", in("FAILED"), DoDiagnose, PhaseDone, "failed"},
		{"FAILED, unmanaged", in("FAILED", with()), DoFinish, PhaseDone, "failed"},
		{"FAILED, looked into", in("FAILED", func(s *Situation) { s.diagnosed, s.Failure = true, &Failure{Cause: policy.CauseCode} }), DoRules, PhaseDone, "failed"},
		{"FAILED, not to be tried again", in("FAILED", func(s *Situation) {
			s.diagnosed, s.retryJudged, s.Failure = true, true, &Failure{Cause: policy.CauseCode}
		}), DoFinish, PhaseDone, "failed"},
		{"FAILED, time to try again, not read since", in("FAILED", with(mng, retry), toRetry(time.Minute), after(time.Minute), func(s *Situation) { s.readAt = t0 }), DoRead, PhaseRetrying, ""},
		{"FAILED, time to try again, rules not read since", in("FAILED", with(mng, retry), toRetry(time.Minute), after(time.Minute), func(s *Situation) { s.rulesRead = t0 }), DoRules, PhaseRetrying, ""},
		{"FAILED, to be tried again", in("FAILED", with(mng, retry), toRetry(time.Minute)), doWait, PhaseRetrying, "attempt 2 of 2"},
		{"FAILED, time to try again", in("FAILED", with(mng, retry), toRetry(time.Minute), after(time.Minute)), DoRetry, PhaseRetrying, ""},
		{"FAILED, tried again", in("FAILED", with(mng, retry), toRetry(0), func(s *Situation) { s.Retry.start() }), DoFinish, PhaseDone, "attempt 2 of 2 follows"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := tc.s.Next()
			if n.Do != tc.do || n.Phase != tc.phase || !strings.Contains(n.Reason, tc.reason) {
				t.Errorf("decided %s in phase %s because %q, want %s, %s, %q", n.Do, n.Phase, n.Reason, tc.do, tc.phase, tc.reason)
			}
			if n.Do != DoFinish && (n.Who == "" || n.What == "") {
				t.Errorf("does not say what it waits for, or who can unblock it: %+v", n)
			}
			if e := tc.s.Explain(); e.Summary != n.Reason || e.Phase != n.Phase || n.Do != DoFinish && e.WaitingFor == nil {
				t.Errorf("explained as %+v", e)
			}
		})
	}
}

// A rule that holds nothing says so, as the policy does.
func TestRulesSayWhatTheyHold(t *testing.T) {
	s := in("UNCONFIRMED", with("gantry:managed", "gantry:confirm=auto"), func(s *Situation) { s.Gate = new(s.rules.Gate) })
	rules := s.Explain().Rules
	if i := slices.IndexFunc(rules, func(r Rule) bool { return r.Name == "windows" }); i < 0 || rules[i].Value != "none" {
		t.Errorf("the windows are not none: %+v", rules)
	}
	for _, r := range rules {
		if r.Value == "" {
			t.Errorf("%s holds nothing", r.Name)
		}
	}
}

// A rule names the labels that it overrules.
func TestRulesNameWhatTheyOverrule(t *testing.T) {
	want := policy.Overruled{Setting: "confirm", Value: "auto", Origin: "gantry:confirm=auto", Reason: "it is locked"}
	s := in("UNCONFIRMED", with("gantry:managed", "gantry:confirm=manual"), func(s *Situation) {
		s.Policy.Overruled = []policy.Overruled{want, {Setting: "nothing", Value: "x", Origin: "y", Reason: "z"}}
	})
	for _, r := range s.Explain().Rules {
		if named := slices.Contains(r.Overruled, want); named != (r.Name == "confirm") || len(r.Overruled) > 1 {
			t.Errorf("%s overrules %v", r.Name, r.Overruled)
		}
	}
}

func stoppedBy(name string) func(*Situation) {
	return func(s *Situation) { s.stopping = &Stopping{Stop: Stop{By: name}} }
}

func acceptedAct(do Action) func(*Situation) {
	return func(s *Situation) { s.Ask.Act = request{State: requestAccepted, Do: do, At: t0, Tries: 1} }
}

// reviewedBy lets Spacelift have accepted an approval, some times.
func reviewedBy(at time.Time, tries int) func(*Situation) {
	return func(s *Situation) {
		s.Ask.Review = request{State: requestAccepted, Do: DoReview, Review: spacelift.ReviewApprove, At: at, Tries: tries}
	}
}

func lockedBy(name string) func(*Situation) {
	return func(s *Situation) {
		s.Block = &spacelift.Block{What: spacelift.BlockLock, By: name, Since: t0, Reason: name + " locked the stack in Spacelift"}
		s.blockRead = s.Now
	}
}

func anyRequest(t *rapid.T, name string, do ...Action) request {
	q := request{State: rapid.SampledFrom(requestStates).Draw(t, name), Do: rapid.SampledFrom(do).Draw(t, name+" does"), At: t0, Tries: 1}
	if q.State == requestIdle {
		return request{}
	}
	if q.Do == DoReview {
		q.Review = spacelift.ReviewApprove
	}
	return q
}

func toRetry(wait time.Duration) func(*Situation) {
	return func(s *Situation) {
		s.diagnosed, s.retryJudged = true, true
		s.Failure = &Failure{Cause: policy.CauseTransient}
		s.Retry = new(s.nextRetry(t0))
		s.Retry.At = t0.Add(wait)
		s.rulesRead, s.readAt = s.Retry.At, s.Retry.At
	}
}

// Whatever the situation, Gantry confirms only a plan that the API showed, of a
// managed stack without unreadable labels, within its limits or approved by
// enough people, that nobody rejected, through an open gate, once.
func TestGantryNeverConfirmsAgainstPolicy(t *testing.T) {
	vocabulary := []string{
		"gantry:managed", "gantry:confirm=auto", "gantry:confirm=manual", "gantry:confirm=no-deletes", "gantry:approvals=2",
		"gantry:profile=small", "gantry:profile=two", "gantry:window=nights", "Gantry:managed", "gantry:whatever", "env:prod",
	}
	rapid.Check(t, func(t *rapid.T) {
		flip := func(name string) bool { return rapid.Bool().Draw(t, name) }
		s := in(rapid.SampledFrom(append(slices.Clone(spacelift.RunStates), "SOAKING", "")).Draw(t, "state"),
			with(spacelift.OurLabels(append(rapid.SliceOf(rapid.SampledFrom(vocabulary)).Draw(t, "labels"), "gantry:managed"))...),
			approvedBy(rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"ann", "bob", "eve"}), 0, 3, rapid.ID).Draw(t, "approved")...),
			after(rapid.SampledFrom([]time.Duration{0, time.Minute, 2 * time.Hour}).Draw(t, "now")),
		)
		s.Delta = rapid.SampledFrom([]*spacelift.Delta{nil, {}, {Added: 1}, {Deleted: 1}, {Deleted: 2}}).Draw(t, "delta")
		s.Type = rapid.SampledFrom(append(slices.Clone(spacelift.RunTypes), "ROLLBACK", "")).Draw(t, "type")
		if flip("rejected") {
			rejectedBy("ann")(s)
		}
		if flip("objected") {
			s.objection = &decision{Decided: Decided{Verdict: Reject, By: "ann", State: "UNCONFIRMED", StateVersion: 4}}
		}
		if flip("locked") {
			lockedBy("jane")(s)
		}
		if flip("shut") {
			shut(t0.Add(time.Hour))(s)
		}
		if flip("needs approval") {
			needing(s)
		}
		if s.Ask != nil {
			s.Ask.Stage = rapid.SampledFrom(decisionStages).Draw(t, "stage")
			s.Ask.Act = anyRequest(t, "act", DoConfirm, DoDiscard)
			s.Ask.Review = anyRequest(t, "review", DoReview)
		}
		s.read, s.rulesStale = flip("read"), flip("stale")
		if flip("stopping") {
			s.stopping = &Stopping{Stop: Stop{By: "ann"}, Key: s.Key(), Request: anyRequest(t, "stop", DoStop)}
		}
		if flip("settled") {
			plan(5, rapid.SampledFrom([]PlanResult{PlanConfirmed, PlanAlready, PlanChanged, PlanRefused, PlanPostponed}).Draw(t, "result"),
				rapid.IntRange(1, maxLooks).Draw(t, "looks"))(s.RunStatus)
		}
		s.Approvals = s.approvals()
		if s.Next().Do != DoConfirm {
			return
		}
		alone, _ := s.Policy.AutoConfirms(s.plan())
		needed := s.Policy.Approvals.Value
		if s.objection != nil {
			needed = max(needed, 1)
		}
		approved := needed > 0 && len(s.approved) >= needed && s.read
		switch {
		case s.State != spacelift.RunStateUnconfirmed || !s.Managed || len(s.Policy.Problems) > 0:
			t.Errorf("confirms a run in %s with the labels %q", s.State, s.Labels)
		case (!alone || s.needsApproval) && !approved:
			t.Errorf("confirms what is for people, approved by %s of %d", s.approvers(), s.Policy.Approvals.Value)
		case s.rejected != nil || s.Ask.Stage == stageExpired || s.Ask.Act.is(requestAccepted) || s.Ask.Act.is(requestIneffective):
			t.Error("confirms what was decided otherwise")
		case s.stopping != nil:
			t.Error("confirms what somebody wants stopped")
		case s.objection != nil && !approved:
			t.Error("confirms alone what somebody objected to before")
		case s.Block != nil:
			t.Errorf("confirms though %s", s.Block.Reason)
		case s.Gate != nil && !s.Gate.Open:
			t.Error("confirms through a closed gate")
		case s.rulesStale:
			t.Error("confirms by rules that may have changed")
		}
	})
}
