package histories

import (
	"context"
	"fmt"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

var (
	auto    = []string{"env:prod", "gantry:managed", "gantry:confirm=auto"}
	manual  = []string{"env:prod", "gantry:managed"}
	odd     = []string{"env:prod", "gantry:managed", "gantry:confirm=auto", "gantry:aprovals=2"}
	changes = spacelift.Delta{Added: 3, Changed: 1}
)

const (
	unconfirmed = spacelift.RunStateUnconfirmed
	finished    = spacelift.RunStateFinished
	discarded   = spacelift.RunStateDiscarded
)

// unattended are the stories of runs without a person's decision through Gantry. A
// history is replayed under the name of its story: never rename one.
var unattended = []story{
	{name: "auto-nine-notifications", labels: auto, plan: changes, script: func(ctx context.Context, t *player) error {
		return steps(
			func() error { return t.oneByOne(ctx, unconfirmed) },
			func() error { return t.oneByOne(ctx, finished, spacelift.RunStatePreparingApply) }, // the lost one
			t.confirmedOnce,
		)
	}},
	{name: "auto-every-notification", labels: auto, plan: changes, script: func(ctx context.Context, t *player) error {
		return steps(
			func() error { return t.oneByOne(ctx, unconfirmed) },
			func() error { return t.oneByOne(ctx, finished) },
			t.confirmedOnce,
		)
	}},
	{name: "auto-coalesced", labels: auto, plan: changes, script: func(ctx context.Context, t *player) error {
		return steps(
			func() error { return t.notify(ctx, 0) },
			func() error { return t.until(unconfirmed) },
			func() error { return t.notify(ctx, 1, 2, 3, 4, 5) },
			func() error { return t.until(finished) },
			func() error { return t.notify(ctx, 6, 7, 8, 9) },
			t.confirmedOnce,
		)
	}},
	{name: "auto-reordered", labels: auto, plan: changes, script: func(ctx context.Context, t *player) error {
		return steps(
			func() error { return t.until(unconfirmed) },
			func() error { return t.notify(ctx, 5, 3, 5, 4) },
			func() error { return t.notify(ctx, 0, 1, 2) },
			func() error { return t.until(finished) },
			func() error { return t.notify(ctx, 8, 6) },
			func() error { return t.notify(ctx, 9, 7) },
			t.confirmedOnce,
		)
	}},
	{name: "no-changes", labels: auto, script: func(ctx context.Context, t *player) error {
		return t.oneByOne(ctx, finished)
	}},
	{name: "manual-discarded", labels: manual, plan: changes, script: func(ctx context.Context, t *player) error {
		return steps(
			func() error { return t.oneByOne(ctx, unconfirmed) },
			func() error { return t.phase(ctx, managed.PhaseWaiting) },
			func() error { return t.sim.Discard("jane", stack, t.ref.Run, "not today") },
			func() error { return t.oneByOne(ctx, discarded) },
		)
	}},
	{name: "unreadable-label", labels: odd, plan: changes, script: func(ctx context.Context, t *player) error {
		return steps(
			func() error { return t.oneByOne(ctx, unconfirmed) },
			func() error { return t.phase(ctx, managed.PhaseHolding) },
			func() error { return t.sim.Confirm("jane", stack, t.ref.Run, "checked by hand") },
			func() error { return t.oneByOne(ctx, finished) },
		)
	}},
	{name: "person-confirmed-first", labels: auto, plan: changes, script: func(ctx context.Context, t *player) error {
		return steps(
			func() error { return t.oneByOne(ctx, spacelift.RunStatePlanning) },
			func() error { return t.until(unconfirmed) },
			func() error { return t.sim.Confirm("jane", stack, t.ref.Run, "") },
			func() error { return t.notify(ctx, 5) },
			func() error { return t.oneByOne(ctx, finished) },
		)
	}},
	{name: "label-removed", labels: auto, plan: changes, script: func(ctx context.Context, t *player) error {
		return steps(
			func() error { return t.oneByOne(ctx, spacelift.RunStatePlanning) },
			func() error { return t.until(unconfirmed) },
			func() error {
				return t.notifyBefore(ctx, []int{5}, func() error { return t.sim.SetLabels(stack, manual...) })
			},
			func() error { return t.phase(ctx, managed.PhaseWaiting) },
			func() error { return t.sim.Discard("jane", stack, t.ref.Run, "") },
			func() error { return t.oneByOne(ctx, discarded) },
		)
	}},
	{name: "replanned", labels: odd, plan: changes, script: func(ctx context.Context, t *player) error {
		return steps(
			func() error { return t.oneByOne(ctx, unconfirmed) },
			func() error { return t.phase(ctx, managed.PhaseHolding) },
			func() error { return t.sim.SetLabels(stack, auto...) },
			func() error { return t.sim.Replan("jane", stack, t.ref.Run) },
			func() error { return t.oneByOne(ctx, spacelift.RunStatePlanning) },
			func() error { return t.oneByOne(ctx, unconfirmed) },
			func() error { return t.oneByOne(ctx, finished) },
			t.confirmedOnce,
		)
	}},
	{name: "spacelift-away", labels: auto, plan: changes, script: func(ctx context.Context, t *player) error {
		return steps(
			func() error { return t.oneByOne(ctx, spacelift.RunStatePlanning) },
			t.away,
			func() error { return t.oneByOne(ctx, unconfirmed) },
			func() error { return t.phase(ctx, managed.PhaseConfirming) },
			t.back,
			func() error { return t.phase(ctx, managed.PhaseApplying) },
			func() error { return t.oneByOne(ctx, finished) },
			t.confirmedOnce,
		)
	}},
	{name: "spacelift-away-discarded", labels: auto, plan: changes, script: func(ctx context.Context, t *player) error {
		return steps(
			func() error { return t.oneByOne(ctx, spacelift.RunStatePlanning) },
			t.away,
			func() error { return t.oneByOne(ctx, unconfirmed) },
			func() error { return t.phase(ctx, managed.PhaseConfirming) },
			func() error { return t.sim.Discard("jane", stack, t.ref.Run, "") },
			func() error { return t.oneByOne(ctx, discarded) },
			t.back,
		)
	}},
	{name: "answer-lost", labels: auto, plan: changes, script: func(ctx context.Context, t *player) error {
		return steps(
			func() error { return t.oneByOne(ctx, spacelift.RunStatePlanning) },
			func() error {
				_, err := t.sim.InjectAPI(simulator.APIFault{Kind: simulator.LostResponse, Field: "runConfirm", Times: 1})
				return err
			},
			func() error { return t.oneByOne(ctx, unconfirmed) },
			func() error { return t.oneByOne(ctx, finished) },
			t.confirmedOnce,
		)
	}},
	{name: "adopted", labels: auto, plan: changes, script: adopted},
	{name: "reconcile-adopts", labels: auto, plan: changes, tick: 1, script: adopted},
	{name: "reconcile-finishes", labels: auto, plan: changes, tick: 2, script: adopted},
	{name: "reconcile-quiet", labels: manual, plan: changes, tick: 1, script: func(ctx context.Context, t *player) error {
		return steps(
			t.webhook,
			func() error { return t.oneByOne(ctx, spacelift.RunStatePlanning) },
			func() error { return t.listed(ctx) },
			func() error { return t.reconcile(ctx) },
			func() error { return t.oneByOne(ctx, unconfirmed) },
			func() error { return t.sim.Discard("jane", stack, t.ref.Run, "") },
			func() error { return t.oneByOne(ctx, discarded) },
		)
	}},
	{name: "reconcile-webhook-off", labels: manual, plan: changes, tick: 1, script: func(ctx context.Context, t *player) error {
		return steps(
			t.webhookOff,
			func() error { return t.oneByOne(ctx, unconfirmed, spacelift.RunStatePlanning) },
			func() error { return t.listed(ctx) },
			func() error { return t.reconcile(ctx) },
			func() error { return t.sim.Discard("jane", stack, t.ref.Run, "") },
			func() error { return t.oneByOne(ctx, discarded) },
		)
	}},
}

// adopted is the story of a run without any notification.
func adopted(ctx context.Context, t *player) error {
	return steps(
		t.webhook,
		func() error { return t.until(unconfirmed) },
		func() error { return t.reconcile(ctx) },
		func() error { return t.phase(ctx, managed.PhaseApplying) },
		func() error { return t.listed(ctx) },
		func() error { return t.until(finished) },
		func() error { return t.reconcile(ctx) },
		t.confirmedOnce,
	)
}

func steps(all ...func() error) error {
	for i, step := range all {
		if err := step(); err != nil {
			return fmt.Errorf("step %d: %w", i+1, err)
		}
	}
	return nil
}

// away makes the API fail for every call, until back.
func (t *player) away() error {
	_, err := t.sim.InjectAPI(simulator.APIFault{Kind: simulator.ServerError})
	return err
}

func (t *player) back() error {
	t.sim.ClearFaults()
	return nil
}

func (t *player) phase(ctx context.Context, p managed.Phase) error {
	return t.shows(ctx, "phase "+string(p), func(s managed.RunStatus) bool { return s.Phase == p })
}

func (t *player) confirmedOnce() error {
	if n := len(t.sim.Mutations("runConfirm")); n != 1 {
		return fmt.Errorf("the plan was confirmed %d times", n)
	}
	return nil
}
