package workflows_test

import (
	"slices"
	"testing"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/reconcile"
	"github.com/gantryhq/gantry/simulator"
)

// No notification says that labels were repaired. The list shows it, and while
// they stay as they are that costs nothing.
func TestReconcileSignalsRepairedLabels(t *testing.T) {
	for _, phase := range []managed.Phase{managed.PhaseHolding, managed.PhaseWaiting} {
		t.Run(string(phase), func(t *testing.T) {
			r := newAccountRig(t, networkProd)
			r.must(r.sim.SetLabels("network-prod", "gantry:managed", "gantry:aprovals=2"))
			ref := r.push("network-prod")
			r.follows(ref)
			r.waits(ref, phase)
			r.ticks(did{done, 0, 0, 0, 1})
			r.ticks(did{done, 0, 0, 0, 1})
			if r.asked != 0 {
				t.Errorf("with nothing new the execution was asked %d times", r.asked)
			}

			r.must(r.sim.SetLabels("network-prod", "gantry:managed", "gantry:approvals=2", "env:prod"))
			r.finds(r.ticks(did{done, 0, 1, 0, 2}))
			sent := r.sent[managed.ManageRunID(ref)]
			if len(sent) != 1 || len(sent[0].Events) != 1 {
				t.Fatalf("signaled %+v, want the newest state alone", sent)
			}
			if e := sent[0].Events[0]; e.State != unconfirmed || e.StateVersion != 5 || e.Delta == nil || !slices.Equal(e.Labels, []string{"gantry:approvals=2", "gantry:managed"}) {
				t.Errorf("signaled %+v", e)
			}
			r.ticks(did{done, 0, 0, 0, 1})
			if sent = r.sent[managed.ManageRunID(ref)]; len(sent) != 1 || r.asked != 1 {
				t.Errorf("signaled %d times, asked %d times", len(sent), r.asked)
			}

			r.must(r.sim.SetLabels("network-prod", "gantry:managed", "gantry:aprovals=2"))
			r.ticks(did{done, 0, 1, 0, 2}) // what was seen long ago is no news that is known
		})
	}
}

// No notification says that an approval policy keeps a run in the queue, or
// that it no longer does. The list shows both.
func TestReconcileSignalsReviews(t *testing.T) {
	r := newAccountRig(t, simulator.Stack{ID: "network-prod", Labels: auto, Approvals: 1, ApproveQueued: true})
	ref := r.push("network-prod")
	r.follows(ref)
	r.set(ref, func(s *managed.RunStatus) { s.NeedsApproval = false }) // all it had was a notification
	r.ticks(did{done, 0, 1, 0, 2})
	if sent := r.sent[managed.ManageRunID(ref)]; len(sent) != 1 || len(sent[0].Events) != 1 || !sent[0].Events[0].NeedsApproval {
		t.Fatalf("signaled %+v, want that an approval policy asks", sent)
	}
	r.waits(ref, managed.PhaseWaiting)
	r.ticks(did{done, 0, 0, 0, 1})
	asked := r.asked
	r.ticks(did{done, 0, 0, 0, 1})
	if r.asked != asked {
		t.Error("with nothing new the execution was asked")
	}

	// Somebody approves, and the stack is locked: the run stays in the queue.
	r.must(r.sim.Lock("jane", "network-prod", ""))
	r.must(r.sim.Review("jane", "network-prod", ref.Run, "APPROVE", ""))
	r.ticks(did{done, 0, 1, 0, 2})
	if sent := r.sent[managed.ManageRunID(ref)]; len(sent) != 2 || sent[1].Events[0].State != queued || sent[1].Events[0].NeedsApproval {
		t.Errorf("signaled %+v, want that nobody asks any more", sent)
	}
}

// The next tick sends what could not be sent.
func TestReconcileSignalsRepairedLabelsUntilTheyAreKnown(t *testing.T) {
	r := newAccountRig(t, networkProd)
	ref := r.push("network-prod")
	r.follows(ref)
	r.waits(ref, managed.PhaseHolding)
	r.ticks(did{done, 0, 0, 0, 1})
	r.must(r.sim.SetLabels("network-prod", "gantry:managed"))
	r.mute[managed.ManageRunID(ref)] = true
	r.finds(r.ticks(did{done, 0, 0, 0, 1}), reconcile.FindingExecutionStuck)
	delete(r.mute, managed.ManageRunID(ref))
	r.ticks(did{done, 0, 1, 0, 2})
	r.set(ref, func(s *managed.RunStatus) { s.Labels = auto }) // as if that had been lost
	r.ticks(did{done, 0, 1, 0, 2})
	r.ticks(did{done, 0, 0, 0, 1})
}

// No notification says that somebody locked the stack of a run that waits, or
// unlocked it. The list shows both.
func TestReconcileSignalsLocks(t *testing.T) {
	r := newAccountRig(t, networkProd)
	ref := r.push("network-prod")
	r.follows(ref)
	r.waits(ref, managed.PhaseHolding)
	r.ticks(did{done, 0, 0, 0, 1})
	r.must(r.sim.Lock("jane", "network-prod", "hands off"))
	r.ticks(did{done, 0, 1, 0, 2})
	sent := r.sent[managed.ManageRunID(ref)]
	if len(sent) != 1 || len(sent[0].Events) != 1 || sent[0].Events[0].Block == nil || sent[0].Events[0].Block.By != "jane" {
		t.Fatalf("signaled %+v, want that jane locked the stack", sent)
	}
	asked := r.asked
	r.ticks(did{done, 0, 0, 0, 1})
	if r.asked != asked {
		t.Error("with nothing new the execution was asked")
	}
	r.must(r.sim.Unlock("jane", "network-prod"))
	r.ticks(did{done, 0, 1, 0, 2})
	if sent := r.sent[managed.ManageRunID(ref)]; len(sent) != 2 || sent[1].Events[0].Block != nil {
		t.Errorf("signaled %+v, want that nothing blocks the stack", sent)
	}
}
