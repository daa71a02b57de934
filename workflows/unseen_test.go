package workflows_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// A replan between the check and the confirmation: Gantry's confirmation strikes
// a plan that nobody had judged. That is an alarm, and no "did not confirm".
func TestAConfirmationThatStrikesAnotherPlan(t *testing.T) {
	r := newRig(t, append([]string{"gantry:notify=deploys"}, auto...))
	r.onConfirm = func(plan int) {
		if plan == 2 {
			r.onConfirm = nil
			r.enter(replan, "jane", "")
			r.enter(planning, "", "")
			r.enter(unconfirmed, "", "")
		}
	}
	r.at(0, func() { r.moves(queued, planning, unconfirmed) })
	r.at(time.Minute, func() {
		r.notifyOf(3, 4, 5)
		r.notify()
	})
	r.at(90*time.Second, func() {
		r.received("deploys run.confirmed_unseen: network / prod: a plan was confirmed that nobody had judged")
		r.moves(applying, finished)
	})
	s := r.manage()
	r.mentions(s, managed.KindAlarm, "Gantry's confirmation of the plan of state version 2 took effect on the plan of state version 5, which nobody had judged")
	if i := slices.IndexFunc(s.Plans, func(p managed.Plan) bool { return p.StateVersion == 5 }); i < 0 || s.Plans[i].Result != managed.PlanUnseen {
		t.Errorf("plans: %+v", s.Plans)
	}
	for _, e := range s.Timeline {
		if strings.Contains(e.Summary, "did not confirm") {
			t.Errorf("the timeline says %q", e.Summary)
		}
	}
	alarms := slices.DeleteFunc(r.world.messages(), func(m string) bool { return !strings.Contains(m, "confirmed_unseen") })
	if len(alarms) != 1 || r.asked != 1 {
		t.Errorf("alarms: %q; asked %d times to confirm", alarms, r.asked)
	}
}

// What an act of Gantry's left in Spacelift proves whose it was, even where the
// execution knows nothing of it any more: its workflow task was lost.
func TestAnActIsRecognizedByItsMark(t *testing.T) {
	for _, tc := range []struct {
		name, who, note string
		to              spacelift.RunState
		says            string // in the timeline, or the messages
		result          managed.PlanResult
	}{
		{"a confirmation", "api::gantry", "Confirmed by Gantry: approved by ann. [gantry: confirm 2]", confirmed, "the answer got lost", managed.PlanConfirmed},
		{"a person who copies the mark", "jane", "[gantry: confirm 2]", confirmed, "jane confirmed the plan in Spacelift", ""},
		{"another key without a mark", "api::other", "looks fine", confirmed, "api::other confirmed the plan in Spacelift", ""},
		{"a confirmation of another plan", "api::gantry", "[gantry: confirm 1]", confirmed, "which nobody had judged", managed.PlanUnseen},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, asked)
			r.at(0, func() { r.moves(queued, planning, unconfirmed) })
			r.at(time.Minute, func() { r.person(tc.who, tc.to, tc.note); r.notify() })
			r.at(2*time.Minute, func() { r.moves(applying, finished) })
			s := r.manage()
			if all := strings.Join(timeline(s, managed.KindAction, managed.KindAlarm, managed.KindNote), "\n"); !strings.Contains(all, tc.says) {
				t.Errorf("the timeline does not say %q:\n%s", tc.says, all)
			}
			var result managed.PlanResult
			for _, p := range s.Plans {
				result = p.Result
			}
			if result != tc.result {
				t.Errorf("the plan is %q, want %q", result, tc.result)
			}
		})
	}
}
