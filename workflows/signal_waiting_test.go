package workflows_test

import (
	"context"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/managed"
)

// The end of a run signals the runs that wait for it, once, whatever their number.
func TestTheEndOfARunSignalsThoseThatWait(t *testing.T) {
	for _, n := range []int{0, 1, 300} {
		r := newRig(t, auto)
		var waiting activities.Waiting
		for range n {
			waiting.Runs = append(waiting.Runs, "run/acme/app-prod/1")
		}
		var sent []activities.SignalInput
		r.env.OnActivity(r.acts.ReadEnd, anyArg, anyArg).Return(func(ctx context.Context, in activities.FindWaitingInput) (activities.End, error) {
			run, err := r.Run(ctx, in.Run)
			return activities.End{Run: run, Waiting: &waiting}, err
		})
		r.env.OnActivity(r.acts.SignalExecutions, anyArg, anyArg).Return(func(_ context.Context, in activities.SignalInput) (activities.SignalResult, error) {
			sent = append(sent, in)
			return activities.SignalResult{}, nil
		}).Maybe()
		r.at(0, func() { r.moves(queued, planning, unconfirmed) })
		r.at(time.Minute, func() { r.moves(applying, finished) })
		if s := r.manage(); s.State != finished {
			t.Fatalf("ended in %s", s.State)
		}
		if n == 0 && len(sent) > 0 || n > 0 && (len(sent) != 1 || len(sent[0].IDs) != n || sent[0].Signal != managed.RunEventsSignal) {
			t.Errorf("%d wait: signaled %+v", n, sent)
		}
	}
}

// A plan that waits for a stack that goes first reads it anew when a signal says that a
// run of it ended, and continues within the second.
func TestASignaledEndLetsAPlanContinue(t *testing.T) {
	r := newRig(t, followsAccount(auto))
	r.goesFirst(account, pushed, queued, planning, unconfirmed)
	r.at(time.Minute, func() { r.moves(queued, planning, unconfirmed) })
	end := func() { r.env.SignalWorkflow(managed.RunEventsSignal, managed.RunEvents{Ended: account}) }
	r.at(time.Hour, func() {
		r.wants(managed.PhaseHolding, "works on the same commit and has not ended")
		end() // a repeat, or too early: nothing follows
	})
	r.at(time.Hour+time.Minute, func() {
		if len(r.confirmed) != 0 {
			t.Errorf("confirmed %q before the end", r.confirmed)
		}
		r.goesFirst(account, pushed, finished)
		end()
		end()
	})
	r.at(time.Hour+time.Minute+time.Second, func() {
		if len(r.confirmed) != 1 {
			t.Errorf("confirmed %q a second after the end", r.confirmed)
		}
		r.moves(applying, finished)
	})
	if s := r.manage(); s.State != finished {
		t.Errorf("ended in %s", s.State)
	}
}

// The end of one run has a plan read what it waits for, and the next one ends at that
// moment: its signal misses the plan, which looks again soon.
func TestAnEndThatMissesAPlanIsFoundSoon(t *testing.T) {
	r := newRig(t, followsAccount(auto))
	r.goesFirst(account, pushed, queued, planning, unconfirmed)
	r.at(time.Minute, func() { r.moves(queued, planning, unconfirmed) })
	r.at(10*time.Hour, func() {
		r.env.SignalWorkflow(managed.RunEventsSignal, managed.RunEvents{Ended: account}) // of another run
	})
	r.at(10*time.Hour+time.Second, func() { r.goesFirst(account, pushed, finished) })
	r.at(10*time.Hour+30*time.Second, func() {
		if len(r.confirmed) != 1 {
			t.Errorf("confirmed %q half a minute after the end", r.confirmed)
		}
		r.moves(applying, finished)
	})
	if s := r.manage(); s.State != finished {
		t.Errorf("ended in %s", s.State)
	}
}

// The read that shows an end finds what waits for it too: an end that nothing waits for
// costs no event of its own.
func TestAnEndIsReadWithWhatWaitsForIt(t *testing.T) {
	r := newRig(t, auto)
	searched := 0
	r.env.SetOnLocalActivityStartedListener(func(info *activity.Info, _ context.Context, _ []any) {
		if info.ActivityType.Name == "FindWaiting" {
			searched++
		}
	})
	r.at(0, func() { r.moves(queued, planning, unconfirmed) })
	r.at(time.Minute, func() { r.moves(applying, finished) })
	if s := r.manage(); s.State != finished || searched > 0 {
		t.Errorf("ended in %s after %d searches", s.State, searched)
	}
}
