package managed

import (
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// at is the facts of a tracked run of a managed stack that is in a state.
func at(state spacelift.RunState, change ...func(*RunStatus)) *RunStatus {
	s := &RunStatus{
		Run: testRun, Type: spacelift.RunTypeTracked, State: state, StateVersion: 5,
		Delta: &spacelift.Delta{Added: 3, Changed: 1, Deleted: 2, Resources: 42},
	}
	labels("gantry:managed")(s)
	for _, c := range change {
		c(s)
	}
	s.States = []StateEntry{{State: s.State, StateVersion: s.StateVersion, At: t0}}
	return s
}

func labels(l ...string) func(*RunStatus) {
	return func(s *RunStatus) {
		s.Labels, s.Managed, s.Policy = l, spacelift.Managed(l), rulebook.Resolve(policy.Labelled(l))
	}
}

// about is the situation of a run with these facts, which the API has shown, with
// everything known that a decision needs.
func about(facts *RunStatus) *Situation {
	s := &Situation{RunStatus: facts, Now: t0, read: true}
	s.readAt, s.shown = t0, s.Key()
	s.Entered = entrance{Key: s.Key(), At: t0}
	if s.State.NeedsDecision(false) {
		s.Ask = &pendingDecision{Key: s.Key(), Since: t0, Stage: stageAsked, Notified: true}
	}
	s.excluded = []string{"jane"}
	s.followers, s.waitersKnow = &Followers{At: t0}, new(s.Key())
	with(s.Labels...)(s)
	s.Approvals = s.approvals()
	return s
}

func runType(t spacelift.RunType) func(*RunStatus) { return func(s *RunStatus) { s.Type = t } }

func plan(version int, result PlanResult, looks int) func(*RunStatus) {
	return func(s *RunStatus) {
		s.Plans = append(s.Plans, Plan{StateVersion: version, Result: result, Reason: "because of that", Looks: looks})
	}
}

func drift(s *RunStatus) { s.DriftDetection = true }

func TestDecide(t *testing.T) {
	auto := labels("gantry:managed", "gantry:confirm=auto")
	for _, tc := range []struct {
		name   string
		facts  *RunStatus
		do     Action
		phase  Phase
		what   Wait
		reason string // a part of the reason
		then   string // a part of what comes next
	}{
		{name: "no news", facts: &RunStatus{Run: testRun}, do: doWait, phase: PhaseQueued, what: WaitSpacelift, reason: "no notification"},

		// Every state, with the policy to confirm by hand.
		{name: "PENDING", facts: at("PENDING"), do: doWait, phase: PhaseQueued, what: WaitSpacelift, reason: "worker", then: "waits for somebody"},
		{name: "QUEUED", facts: at("QUEUED"), do: doWait, phase: PhaseQueued, what: WaitSpacelift, reason: "queue", then: "waits for somebody"},
		{name: "READY", facts: at("READY"), do: doWait, phase: PhaseQueued, what: WaitSpacelift, reason: "worker", then: "waits for somebody"},
		{name: "PREPARING", facts: at("PREPARING"), do: doWait, phase: PhaseQueued, what: WaitSpacelift, reason: "set up", then: "waits for somebody"},
		{name: "INITIALIZING", facts: at("INITIALIZING"), do: doWait, phase: PhaseQueued, what: WaitSpacelift, reason: "set up", then: "waits for somebody"},
		{name: "PLANNING", facts: at("PLANNING"), do: doWait, phase: PhasePlanning, what: WaitSpacelift, reason: "planning", then: "waits for somebody"},
		{name: "PENDING_REVIEW", facts: at("PENDING_REVIEW", runType("PROPOSED")), do: doWait, phase: PhaseWaiting, what: WaitPerson, reason: "review"},
		{name: "UNCONFIRMED", facts: at("UNCONFIRMED"), do: doWait, phase: PhaseWaiting, what: WaitPerson, reason: "3 to add, 1 to change, 2 to delete"},
		{name: "REPLAN_REQUESTED", facts: at("REPLAN_REQUESTED"), do: doWait, phase: PhasePlanning, what: WaitSpacelift, reason: "another plan", then: "waits for somebody"},
		{name: "PREPARING_REPLAN", facts: at("PREPARING_REPLAN"), do: doWait, phase: PhasePlanning, what: WaitSpacelift, reason: "another plan", then: "waits for somebody"},
		{name: "CONFIRMED", facts: at("CONFIRMED"), do: doWait, phase: PhaseApplying, what: WaitSpacelift, reason: "confirmed", then: "how it ends"},
		{name: "PREPARING_APPLY", facts: at("PREPARING_APPLY"), do: doWait, phase: PhaseApplying, what: WaitSpacelift, reason: "confirmed", then: "how it ends"},
		{name: "APPLYING", facts: at("APPLYING"), do: doWait, phase: PhaseApplying, what: WaitSpacelift, reason: "applying", then: "how it ends"},
		{name: "PERFORMING", facts: at("PERFORMING", runType("TASK")), do: doWait, phase: PhaseApplying, what: WaitSpacelift, reason: "task"},
		{name: "DESTROYING", facts: at("DESTROYING", runType("DESTROY")), do: doWait, phase: PhaseApplying, what: WaitSpacelift, reason: "destroying"},
		{name: "FINISHED", facts: at("FINISHED"), do: DoFinish, phase: PhaseDone, reason: "3 added, 1 changed, 2 deleted"},
		{name: "FAILED", facts: at("FAILED", labels()), do: DoFinish, phase: PhaseDone, reason: "failed"},
		{name: "DISCARDED", facts: at("DISCARDED"), do: DoFinish, phase: PhaseDone, reason: "discarded"},
		{name: "CANCELED", facts: at("CANCELED"), do: DoFinish, phase: PhaseDone, reason: "cancelled"},
		{name: "STOPPED", facts: at("STOPPED"), do: DoFinish, phase: PhaseDone, reason: "stopped"},
		{name: "SKIPPED", facts: at("SKIPPED"), do: DoFinish, phase: PhaseDone, reason: "skipped"},

		// How runs of each type end well.
		{name: "no changes", facts: at("FINISHED", func(s *RunStatus) { s.Delta = &spacelift.Delta{Resources: 42} }), do: DoFinish, phase: PhaseDone, reason: "no changes"},
		{name: "size unknown", facts: at("FINISHED", func(s *RunStatus) { s.Delta = nil }), do: DoFinish, phase: PhaseDone, reason: "the run finished"},
		{name: "preview", facts: at("FINISHED", runType("PROPOSED")), do: DoFinish, phase: PhaseDone, reason: "preview"},
		{name: "task", facts: at("FINISHED", runType("TASK")), do: DoFinish, phase: PhaseDone, reason: "task"},
		{name: "module test", facts: at("FINISHED", runType("TESTING")), do: DoFinish, phase: PhaseDone, reason: "test"},
		{name: "destroyed", facts: at("FINISHED", runType("DESTROY")), do: DoFinish, phase: PhaseDone, reason: "destroyed"},
		{name: "unknown type ends", facts: at("FINISHED", runType("REFRESH")), do: DoFinish, phase: PhaseDone, reason: "finished"},

		// Confirming automatically: tracked runs, and they alone.
		{name: "auto", facts: at("UNCONFIRMED", auto), do: DoConfirm, phase: PhaseConfirming, what: WaitAnswer, reason: "gantry:confirm=auto"},
		{name: "auto, drift repair", facts: at("UNCONFIRMED", auto, drift), do: DoConfirm, phase: PhaseConfirming, what: WaitAnswer, reason: "to repair drift"},
		{name: "auto, size unknown", facts: at("UNCONFIRMED", auto, func(s *RunStatus) { s.Delta = nil }), do: DoConfirm, phase: PhaseConfirming, what: WaitAnswer, reason: "size unknown"},
		{name: "auto announces itself", facts: at("PLANNING", auto), do: doWait, phase: PhasePlanning, what: WaitSpacelift, reason: "planning", then: "Gantry confirms"},
		{name: "auto, preview", facts: at("UNCONFIRMED", auto, runType("PROPOSED")), do: doWait, phase: PhaseWaiting, what: WaitPerson, reason: "PROPOSED"},
		{name: "auto, task", facts: at("UNCONFIRMED", auto, runType("TASK")), do: doWait, phase: PhaseWaiting, what: WaitPerson, reason: "TASK"},
		{name: "auto, module test", facts: at("UNCONFIRMED", auto, runType("TESTING")), do: doWait, phase: PhaseWaiting, what: WaitPerson, reason: "TESTING"},
		{name: "auto, destruction", facts: at("UNCONFIRMED", auto, runType("DESTROY")), do: doWait, phase: PhaseWaiting, what: WaitPerson, reason: "DESTROY"},
		{name: "auto, unknown type", facts: at("UNCONFIRMED", auto, runType("REFRESH")), do: doWait, phase: PhaseFollowing, what: WaitSpacelift, reason: "REFRESH"},
		{name: "auto, no type", facts: at("UNCONFIRMED", auto, runType("")), do: doWait, phase: PhaseFollowing, what: WaitSpacelift, reason: "does not know"},
		{name: "auto, unknown state", facts: at("SOAKING", auto), do: doWait, phase: PhaseFollowing, what: WaitSpacelift, reason: "SOAKING"},
		{name: "auto, PENDING_REVIEW", facts: at("PENDING_REVIEW", auto), do: doWait, phase: PhaseWaiting, what: WaitPerson, reason: "review"},
		{name: "auto without managed", facts: at("UNCONFIRMED", labels("gantry:confirm=auto")), do: doWait, phase: PhaseWaiting, what: WaitPerson, reason: "no longer carries gantry:managed"},
		{name: "no labels", facts: at("PLANNING", labels()), do: doWait, phase: PhasePlanning, what: WaitSpacelift, reason: "planning", then: "only watches"},
		{name: "manual by label", facts: at("UNCONFIRMED", labels("gantry:managed", "gantry:confirm=manual")), do: doWait, phase: PhaseWaiting, what: WaitPerson, reason: "gantry:confirm=manual"},

		// Labels that cannot be followed.
		{name: "unreadable label", facts: at("UNCONFIRMED", labels("gantry:managed", "gantry:confirm=auto", "gantry:approvals=2")), do: DoHold, phase: PhaseHolding, what: WaitLabels, reason: "gantry:approvals=2"},
		{name: "unreadable label alone", facts: at("UNCONFIRMED", labels("gantry:managed", "gantry:confirm=atuo")), do: DoHold, phase: PhaseHolding, what: WaitLabels, reason: "gantry:confirm=atuo"},
		{name: "unreadable label is announced", facts: at("QUEUED", labels("gantry:managed", "gantry:window=nights")), do: doWait, phase: PhaseQueued, what: WaitSpacelift, reason: "queue", then: "gantry:window=nights"},

		// Each plan once.
		{name: "changed under our eyes", facts: at("UNCONFIRMED", auto, plan(5, PlanChanged, 1)), do: DoConfirm, phase: PhaseConfirming, what: WaitAnswer, reason: "gantry:confirm=auto"},
		{name: "keeps changing", facts: at("UNCONFIRMED", auto, plan(5, PlanChanged, maxLooks)), do: DoHold, phase: PhaseHolding, what: WaitPerson, reason: "contradicting each other"},
		{name: "another plan after a confirmed one", facts: at("UNCONFIRMED", auto, plan(1, PlanConfirmed, 1)), do: DoConfirm, phase: PhaseConfirming, what: WaitAnswer, reason: "gantry:confirm=auto"},
		{name: "another plan after a refused one", facts: at("UNCONFIRMED", auto, plan(1, PlanRefused, 1)), do: DoConfirm, phase: PhaseConfirming, what: WaitAnswer, reason: "gantry:confirm=auto"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := about(tc.facts).Next()
			if n.Do != tc.do || n.Phase != tc.phase || n.What != tc.what {
				t.Errorf("decided %s in phase %s waiting for %q, want %s, %s, %q", n.Do, n.Phase, n.What, tc.do, tc.phase, tc.what)
			}
			if !strings.Contains(n.Reason, tc.reason) {
				t.Errorf("reason %q does not say %q", n.Reason, tc.reason)
			}
			if !strings.Contains(n.Then, tc.then) {
				t.Errorf("next %q does not say %q", n.Then, tc.then)
			}
			if n.Do != DoFinish && n.Who == "" {
				t.Error("does not say who can unblock it")
			}
		})
	}
}

// The table above names every state, so that a new one is decided about and
// not merely fallen through to.
func TestDecideKnowsEveryState(t *testing.T) {
	for _, state := range spacelift.RunStates {
		n := about(at(state, labels())).Next()
		if n.Phase == PhaseFollowing {
			t.Errorf("%s is only followed", state)
		}
		if (n.Do == DoFinish) != state.Terminal() {
			t.Errorf("%s: decided %s", state, n.Do)
		}
	}
}

func TestOutcomeSaysWhoAndWhy(t *testing.T) {
	s := at(spacelift.RunStateDiscarded)
	s.States = []StateEntry{
		{State: spacelift.RunStateUnconfirmed, StateVersion: 4},
		{State: spacelift.RunStateDiscarded, StateVersion: 5, Actor: "jane", Note: "not on a Friday"},
	}
	if got, want := about(s).Next().Reason, "the plan was discarded by jane: not on a Friday"; got != want {
		t.Errorf("outcome is %q, want %q", got, want)
	}
}

var (
	testRun = spacelift.RunRef{Account: "acme", Stack: "network-prod", Run: "01KDX3V4T8Q2M5N7P9R1S3T5V7"}
	t0      = time.Date(2026, 1, 1, 10, 0, 0, 0, time.UTC)
)

// What an approval policy wrote is said once, although the failure's evidence has it too.
func TestAnOutcomeSaysItsNoteOnce(t *testing.T) {
	const note = "rejected by an approval policy"
	s := &RunStatus{
		State: spacelift.RunStateFailed, StateVersion: 6,
		States:  []StateEntry{{State: spacelift.RunStateFailed, StateVersion: 6, Note: note}},
		Failure: &Failure{Cause: policy.CausePolicy, Source: "history", Evidence: "UNCONFIRMED (5), then FAILED (6): " + note},
	}
	if got, want := outcome(s), "the run failed, and the cause is policy (UNCONFIRMED (5), then FAILED (6): rejected by an approval policy)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
