package activities

import (
	"strings"
	"testing"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

func TestCheck(t *testing.T) {
	ref := spacelift.RunRef{Account: "acme", Stack: "network-prod", Run: "01KDX3V4T8Q2M5N7P9R1S3T5V7"}
	in := managed.ConfirmRunInput{
		Run:  ref,
		Note: "Confirmed by Gantry.",
		Expect: managed.Expect{
			Type: spacelift.RunTypeTracked, State: spacelift.RunStateUnconfirmed, StateVersion: 5,
			CommitHash: "9f2c", Delta: &spacelift.Delta{Added: 3, Resources: 42},
		},
	}
	past := []spacelift.Transition{
		{State: spacelift.RunStateQueued, StateVersion: 0}, {State: spacelift.RunStateReady, StateVersion: 1},
		{State: spacelift.RunStatePreparing, StateVersion: 2}, {State: spacelift.RunStateInitializing, StateVersion: 3},
		{State: spacelift.RunStatePlanning, StateVersion: 4}, {State: spacelift.RunStateUnconfirmed, StateVersion: 5},
	}
	// then is the run some states after UNCONFIRMED, who and why in the first.
	then := func(who, note string, states ...spacelift.RunState) func(*spacelift.Run) {
		return func(r *spacelift.Run) {
			for i, s := range states {
				t := spacelift.Transition{State: s, StateVersion: 6 + i}
				if i == 0 {
					t.Username, t.Note = who, note
				}
				r.History = append(r.History, t)
				r.State, r.StateVersion = s, t.StateVersion
			}
		}
	}
	// confirmedAnew is a replan, and a confirmation of what came of it.
	confirmedAnew := func(note string) func(*spacelift.Run) {
		return func(r *spacelift.Run) {
			then("jane", "", "REPLAN_REQUESTED", "PLANNING", "UNCONFIRMED", "CONFIRMED")(r)
			r.History[len(r.History)-1].Username, r.History[len(r.History)-1].Note = "api::key", note
		}
	}
	for _, tc := range []struct {
		name   string
		change func(*spacelift.Run)
		expect func(*managed.Expect)
		want   managed.ConfirmOutcome // empty: go ahead
		reason string
		byUs   bool
	}{
		{name: "as judged"},
		{name: "what was not known is not compared", expect: func(e *managed.Expect) { e.CommitHash, e.Delta = "", nil }},

		{name: "confirmed by a person", change: then("jane", "go", "CONFIRMED"), want: managed.AlreadyConfirmed, reason: "jane confirmed"},
		{name: "confirmed by nobody we know", change: then("", "", "CONFIRMED"), want: managed.AlreadyConfirmed, reason: "somebody confirmed the plan in Spacelift"},
		{name: "confirmed by an earlier attempt", change: then("api::key", "Confirmed by Gantry. [gantry: confirm 5]", "CONFIRMED"), want: managed.AlreadyConfirmed, reason: "an earlier attempt", byUs: true},
		{name: "confirmed by a person who copied Gantry's note", change: then("jane", "Confirmed by Gantry. [gantry: confirm 5]", "CONFIRMED"), want: managed.AlreadyConfirmed, reason: "jane confirmed"},
		{name: "confirmed and applying", change: then("jane", "", "CONFIRMED", "PREPARING_APPLY", "APPLYING"), want: managed.AlreadyConfirmed, reason: "jane"},
		{name: "confirmed and finished", change: then("jane", "", "CONFIRMED", "PREPARING_APPLY", "APPLYING", "FINISHED"), want: managed.AlreadyConfirmed, reason: "jane"},
		{name: "confirmed, as far as the state shows", change: func(r *spacelift.Run) { r.History, r.State, r.StateVersion = nil, "APPLYING", 8 }, want: managed.AlreadyConfirmed},

		{name: "discarded", change: then("jane", "", "DISCARDED"), want: managed.AnotherPlan, reason: "DISCARDED (6)"},
		{name: "failed by a review", change: then("", "", "FAILED"), want: managed.AnotherPlan, reason: "FAILED (6)"},
		{name: "replan asked for", change: then("jane", "", "REPLAN_REQUESTED"), want: managed.AnotherPlan, reason: "REPLAN_REQUESTED (6)"},
		{name: "another plan", change: then("jane", "", "REPLAN_REQUESTED", "PLANNING", "UNCONFIRMED"), want: managed.AnotherPlan, reason: "UNCONFIRMED (8), not in UNCONFIRMED (5)"},
		{name: "another plan, confirmed", change: then("jane", "", "REPLAN_REQUESTED", "PLANNING", "UNCONFIRMED", "CONFIRMED"), want: managed.AnotherPlan, reason: "CONFIRMED (9)"},
		{name: "another plan, confirmed by us", change: confirmedAnew("[gantry: confirm 8]"), want: managed.AnotherPlan, reason: "CONFIRMED (9)"},
		{name: "another plan, confirmed by us for this one", change: confirmedAnew("[gantry: confirm 5]"), want: managed.ConfirmedUnseen, reason: "state version 5 took effect on the plan of state version 8", byUs: true},
		{name: "an older plan, confirmed by us for another, in an attempt before", change: func(r *spacelift.Run) {
			r.History = append(r.History[:0:0], spacelift.Transition{State: "UNCONFIRMED", StateVersion: 1},
				spacelift.Transition{State: "CONFIRMED", StateVersion: 2, Note: "[gantry: confirm 0]"}, spacelift.Transition{State: "UNCONFIRMED", StateVersion: 5})
		}},
		{name: "finished, nobody knows how", change: func(r *spacelift.Run) { r.History, r.State, r.StateVersion = nil, "FINISHED", 9 }, want: managed.AnotherPlan, reason: "FINISHED (9)"},
		{name: "older than judged", change: func(r *spacelift.Run) {
			r.History, r.State, r.StateVersion = past[:5], "PLANNING", 4
		}, want: managed.AnotherPlan, reason: "PLANNING (4)"},
		{name: "another state of that version", change: func(r *spacelift.Run) { r.State = "PENDING_REVIEW" }, want: managed.AnotherPlan, reason: "PENDING_REVIEW (5)"},
		{name: "another type", change: func(r *spacelift.Run) { r.Type = "DESTROY" }, want: managed.AnotherPlan, reason: "DESTROY"},
		{name: "another commit", change: func(r *spacelift.Run) { r.Commit.Hash = "0000" }, want: managed.AnotherPlan, reason: "commit 0000, not on 9f2c"},
		{name: "no commit", change: func(r *spacelift.Run) { r.Commit.Hash = "" }, want: managed.AnotherPlan, reason: "commit"},
		{name: "another delta", change: func(r *spacelift.Run) { r.Delta.Deleted = 7 }, want: managed.AnotherPlan, reason: "+3 ~0 -7 of 42, not +3 ~0 -0 of 42"},
		{name: "no delta", change: func(r *spacelift.Run) { r.Delta = nil }, want: managed.AnotherPlan, reason: "unknown size"},

		{name: "needs a review first", change: func(r *spacelift.Run) { r.NeedsApproval = true }, want: managed.ConfirmRefused, reason: "approval policy"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			run := spacelift.Run{
				Ref: ref, Type: spacelift.RunTypeTracked, State: spacelift.RunStateUnconfirmed, StateVersion: 5,
				Commit: spacelift.Commit{Hash: "9f2c"}, Delta: &spacelift.Delta{Added: 3, Resources: 42},
				StackLabels: []string{"gantry:confirm=auto", "gantry:managed"},
				History:     append([]spacelift.Transition{}, past...),
			}
			if tc.change != nil {
				tc.change(&run)
			}
			asked := in
			if tc.expect != nil {
				tc.expect(&asked.Expect)
			}
			got := checkPlan(asked, run)
			if got.Outcome != tc.want || got.ByUs != tc.byUs {
				t.Errorf("outcome %q (by us %t), want %q (%t)", got.Outcome, got.ByUs, tc.want, tc.byUs)
			}
			if !strings.Contains(got.Reason, tc.reason) || (tc.want != "") != (got.Reason != "") {
				t.Errorf("reason %q, want one with %q", got.Reason, tc.reason)
			}
		})
	}
}
