package simulator_test

import (
	"testing"

	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

var twoAdded = simulator.Plan{Delta: spacelift.Delta{Added: 2}}

func TestSequences(t *testing.T) {
	const stack = spacelift.StackID("net")
	type story struct {
		name  string
		shape simulator.Stack
		play  func(r *rig) spacelift.RunID
		want  string
	}
	pushed := func(p simulator.Plan, then ...func(*rig, spacelift.RunID)) func(*rig) spacelift.RunID {
		return func(r *rig) spacelift.RunID {
			id := r.push(stack, p)
			for _, f := range then {
				f(r, id)
				r.settle()
			}
			return id
		}
	}
	confirm := func(r *rig, id spacelift.RunID) { r.ok(r.Confirm("jane", stack, id, "")) }
	const start = "QUEUED0 READY1 PREPARING2 INITIALIZING3 "
	for _, s := range []story{
		{
			name: "tracked without changes",
			play: pushed(simulator.Plan{}),
			want: start + "PLANNING4 FINISHED5",
		}, {
			name: "tracked, confirmed",
			play: pushed(twoAdded, confirm),
			want: start + "PLANNING4 UNCONFIRMED5 CONFIRMED6 PREPARING_APPLY7 APPLYING8 FINISHED9",
		}, {
			name:  "tracked, autodeploy",
			shape: simulator.Stack{Autodeploy: true},
			play:  pushed(twoAdded),
			want:  start + "PLANNING4 APPLYING5 FINISHED6",
		}, {
			name:  "tracked, autodeploy with a warning",
			shape: simulator.Stack{Autodeploy: true},
			play:  pushed(simulator.Plan{Delta: twoAdded.Delta, Verdict: simulator.Warn}),
			want:  start + "PLANNING4 UNCONFIRMED5",
		}, {
			name: "tracked, discarded",
			play: pushed(twoAdded, func(r *rig, id spacelift.RunID) { r.ok(r.Discard("jane", stack, id, "no")) }),
			want: start + "PLANNING4 UNCONFIRMED5 DISCARDED6",
		}, {
			name: "tracked, replanned",
			play: pushed(twoAdded, func(r *rig, id spacelift.RunID) { r.ok(r.Replan("jane", stack, id)) }),
			want: start + "PLANNING4 UNCONFIRMED5 REPLAN_REQUESTED6 PREPARING_REPLAN7 PLANNING8 UNCONFIRMED9",
		}, {
			name: "tracked, denied",
			play: pushed(simulator.Plan{Delta: twoAdded.Delta, Verdict: simulator.Deny}),
			want: start + "PLANNING4 FAILED5",
		}, {
			name: "tracked, fails while applying",
			play: pushed(simulator.Plan{Delta: twoAdded.Delta, FailIn: spacelift.RunStateApplying}, confirm),
			want: start + "PLANNING4 UNCONFIRMED5 CONFIRMED6 PREPARING_APPLY7 APPLYING8 FAILED9",
		}, {
			name: "tracked, hand-over fails",
			play: pushed(simulator.Plan{Delta: twoAdded.Delta, FailIn: spacelift.RunStatePreparingApply}, confirm),
			want: start + "PLANNING4 UNCONFIRMED5 CONFIRMED6 PREPARING_APPLY7 FAILED8",
		}, {
			name: "forced to apply an empty plan",
			play: func(r *rig) spacelift.RunID {
				id, err := r.Trigger("jane", simulator.Trigger{Stack: stack, ForceApply: "SINGLE"})
				r.ok(err)
				r.settle()
				confirm(r, id)
				r.settle()
				return id
			},
			want: start + "PLANNING4 UNCONFIRMED5 CONFIRMED6 PREPARING_APPLY7 APPLYING8 FINISHED9",
		}, {
			name: "proposed",
			play: func(r *rig) spacelift.RunID {
				id, err := r.Push(stack, simulator.Commit{Branch: "feature"}, twoAdded)
				r.ok(err)
				r.settle()
				return id
			},
			want: start + "PLANNING4 FINISHED5",
		}, {
			name:  "proposed, reviewed",
			shape: simulator.Stack{Approvals: 1},
			play: func(r *rig) spacelift.RunID {
				id, err := r.Push(stack, simulator.Commit{Branch: "feature"}, simulator.Plan{Delta: twoAdded.Delta, Verdict: simulator.Warn})
				r.ok(err)
				r.settle()
				r.ok(r.Review("ann", stack, id, "APPROVE", ""))
				r.settle()
				return id
			},
			want: start + "PLANNING4 PENDING_REVIEW5 FINISHED6",
		}, {
			name:  "proposed, rejected",
			shape: simulator.Stack{Approvals: 1},
			play: func(r *rig) spacelift.RunID {
				id, err := r.Push(stack, simulator.Commit{Branch: "feature"}, simulator.Plan{Delta: twoAdded.Delta, Verdict: simulator.Warn})
				r.ok(err)
				r.settle()
				r.ok(r.Review("ann", stack, id, "REJECT", ""))
				r.settle()
				return id
			},
			want: start + "PLANNING4 PENDING_REVIEW5 FAILED6",
		}, {
			name: "task",
			play: func(r *rig) spacelift.RunID {
				id, err := r.CreateTask("jane", stack, "terraform state list", false)
				r.ok(err)
				r.settle()
				return id
			},
			want: start + "PERFORMING4 FINISHED5",
		}, {
			name: "task without initialization",
			play: func(r *rig) spacelift.RunID {
				id, err := r.CreateTask("jane", stack, "ls", true)
				r.ok(err)
				r.settle()
				return id
			},
			want: "QUEUED0 READY1 PREPARING2 PERFORMING3 FINISHED4",
		}, {
			name:  "module test",
			shape: simulator.Stack{Module: true},
			play: func(r *rig) spacelift.RunID {
				id, err := r.TestModule(stack, simulator.Commit{}, twoAdded)
				r.ok(err)
				r.settle()
				return id
			},
			want: start + "PLANNING4 APPLYING5 DESTROYING6 FINISHED7",
		}, {
			name:  "module test that cleans up after a failed apply",
			shape: simulator.Stack{Module: true},
			play: func(r *rig) spacelift.RunID {
				id, err := r.TestModule(stack, simulator.Commit{}, simulator.Plan{FailIn: spacelift.RunStateApplying})
				r.ok(err)
				r.settle()
				return id
			},
			want: start + "PLANNING4 APPLYING5 DESTROYING6 FAILED7",
		}, {
			name: "cancelled while queued",
			play: func(r *rig) spacelift.RunID {
				id, err := r.Push(stack, simulator.Commit{}, twoAdded)
				r.ok(err)
				r.ok(r.Cancel("jane", stack, id, ""))
				r.settle()
				return id
			},
			want: "QUEUED0 CANCELED1",
		},
	} {
		t.Run(s.name, func(t *testing.T) {
			r := newRig(t)
			s.shape.ID = stack
			r.stack(s.shape)
			if got := r.path(stack, s.play(r)); got != s.want {
				t.Errorf("history\n got %s\nwant %s", got, s.want)
			}
		})
	}
}
