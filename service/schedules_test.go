package service_test

import (
	"slices"
	"testing"
	"time"

	"go.temporal.io/api/enums/v1"
	schedulepb "go.temporal.io/api/schedule/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/converter"

	"github.com/gantryhq/gantry/config"
	"github.com/gantryhq/gantry/decide/reconcile"
)

// scheduling returns a rig of a worker with two accounts.
func scheduling(t *testing.T) *rig {
	t.Helper()
	r := newRig(t)
	r.config.Role = config.RoleWorker
	second := r.config.Accounts[0]
	second.Name = "globex"
	r.config.Accounts = append(r.config.Accounts, second)
	return r
}

// Each account has a schedule as the configuration says, and its first tick
// starts immediately.
func TestSchedules(t *testing.T) {
	t.Parallel()
	r := scheduling(t)
	r.config.Reconcile.Interval = time.Minute
	r.config.Guardian = config.Guardian{Webhook: "gantry-hook", Reenable: true, Notify: config.Names{"ops"}}
	r.config.Channels = []config.Channel{{Name: "ops", Kind: "slack", URL: "https://hooks.example.com/x"}}
	r.config.Temporal.TaskQueue = "reconciling"
	r.start()
	for _, account := range []string{"acme", "globex"} {
		s := r.temporal.awaitTrigger(t, "reconcile/"+account)
		interval := s.GetSpec().GetInterval()[0].GetInterval().AsDuration()
		if interval != time.Minute || s.GetSpec().GetJitter().AsDuration() != 6*time.Second {
			t.Errorf("%s: it ticks every %s with a jitter of %s, want 1m and 6s", account, interval, s.GetSpec().GetJitter().AsDuration())
		}
		if s.GetPolicies().GetOverlapPolicy() != enums.SCHEDULE_OVERLAP_POLICY_SKIP {
			t.Errorf("%s: ticks may overlap: %s", account, s.GetPolicies())
		}
		start := s.GetAction().GetStartWorkflow()
		if start.GetTaskQueue().GetName() != "reconciling" || start.GetWorkflowType().GetName() != reconcile.Type {
			t.Errorf("%s: it starts %s on %s", account, start.GetWorkflowType(), start.GetTaskQueue())
		}
		var in reconcile.Input
		r.must(converter.GetDefaultDataConverter().FromPayloads(start.GetInput(), &in))
		if string(in.Account) != account || in.Interval != time.Minute || in.Webhook != "gantry-hook" || !in.Reenable || !slices.Equal(in.Notify, []string{"ops"}) {
			t.Errorf("%s: Reconcile gets %+v", account, in)
		}
	}
}

// A schedule that exists follows the configuration, and ticks once as the worker
// starts.
func TestSchedulesAreUpdated(t *testing.T) {
	t.Parallel()
	r := scheduling(t)
	g := r.start()
	r.temporal.awaitTrigger(t, "reconcile/globex")
	g.stop()
	r.config.Reconcile.Interval = time.Hour
	g = r.start()
	for _, id := range []string{"reconcile/acme", "reconcile/globex"} {
		r.temporal.await(t, id+" ticks again", func() bool { return r.temporal.triggers[id] == 2 })
		if s := r.temporal.awaitTrigger(t, id); s.GetSpec().GetInterval()[0].GetInterval().AsDuration() != time.Hour {
			t.Errorf("%s has %s, want an interval of 1h", id, s.GetSpec())
		}
	}
	g.stop()
}

// A schedule that an operator paused stays paused.
func TestPausedSchedulesStayPaused(t *testing.T) {
	t.Parallel()
	r := scheduling(t)
	g := r.start()
	r.temporal.awaitTrigger(t, "reconcile/globex")
	g.stop()
	r.temporal.change(func() {
		r.temporal.schedules["reconcile/acme"].State = &schedulepb.ScheduleState{Paused: true}
	})
	g = r.start()
	// Accounts follow each other, so the first one is done.
	r.temporal.await(t, "the other one ticks again", func() bool { return r.temporal.triggers["reconcile/globex"] == 2 })
	g.stop()
	r.temporal.read(func() {
		if got := r.temporal.triggers["reconcile/acme"]; got != 1 {
			t.Errorf("it ticked %d times, want once, before it was paused", got)
		}
		if !r.temporal.schedules["reconcile/acme"].GetState().GetPaused() {
			t.Error("it isn't paused any more")
		}
	})
}

// An interval of 0 removes the schedules, and doesn't mind if there are none.
func TestSchedulesAreRemoved(t *testing.T) {
	t.Parallel()
	r := scheduling(t)
	g := r.start()
	r.temporal.awaitTrigger(t, "reconcile/globex")
	g.stop()
	r.config.Reconcile.Interval = 0
	for range 2 {
		before := r.temporal.called("DeleteSchedule")
		g = r.start()
		r.temporal.await(t, "both are removed", func() bool { return r.temporal.calls["DeleteSchedule"] == before+2 })
		g.stop()
		if got := r.temporal.scheduled(); len(got) != 0 {
			t.Errorf("schedules %v are left", got)
		}
	}
	if line := r.log.find("can't set the schedule", `"account":"acme"`); line != "" {
		t.Errorf("it complains: %s", line)
	}
}

// A schedule that Temporal refuses is tried again. The worker takes tasks
// meanwhile.
func TestSchedulesAreTriedAgain(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ method, says string }{
		{"CreateSchedule", "create schedule reconcile/acme: not you"},
		{"UpdateSchedule", "update schedule reconcile/acme: not you"},
		{"PatchSchedule", "trigger schedule reconcile/acme: not you"},
		{"DeleteSchedule", "delete schedule reconcile/acme: not you"},
	} {
		t.Run(tt.method, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.config.Role = config.RoleWorker
			if tt.method != "CreateSchedule" {
				g := r.start()
				r.temporal.awaitTrigger(t, "reconcile/acme")
				g.stop()
			}
			if tt.method == "DeleteSchedule" {
				r.config.Reconcile.Interval = 0
			}
			r.temporal.fail(tt.method, serviceerror.NewPermissionDenied("not you", ""))
			before := r.temporal.called(tt.method)
			g := r.start()
			r.awaitLog(`"account":"acme"`, `"in":"250ms"`, tt.says)
			g.awaitStatus("/readyz", 200)
			r.temporal.fail(tt.method, nil)
			r.temporal.await(t, "it is tried again", func() bool { return r.temporal.calls[tt.method] > before+1 })
		})
	}
}
