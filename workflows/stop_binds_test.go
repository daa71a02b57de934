package workflows_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// A stop binds until the run has ended, whatever states the run still passes: a
// worker may ignore the signal.
func TestAStopBindsUntilTheRunHasEnded(t *testing.T) {
	const note = "Stopped through Gantry by ann: do not apply this"
	ignored := func(r *rig) {
		r.set(func() { r.deafToStops = true })
		r.at(0, func() { r.moves(queued, ready, preparing, initializing, planning) })
		r.at(time.Minute, func() { r.stops(ann, "do not apply this", "") })
		r.at(2*time.Minute, func() { r.wants(managed.PhaseFollowing, "asked to stop the run") })
	}
	play(t, []story{
		{
			name: "the plan is discarded in place of being confirmed", labels: auto,
			script: func(r *rig) {
				ignored(r)
				r.at(3*time.Minute, func() { r.moves(unconfirmed) })
				r.at(4*time.Minute, func() { r.did("stop: "+note, "discard: "+note); r.notify() })
			},
			state: discarded, outcome: "discarded by Gantry: " + note,
		},
		{
			name: "a plan that people could approve is discarded as well", labels: asked,
			script: func(r *rig) {
				ignored(r)
				r.at(3*time.Minute, func() { r.moves(unconfirmed) })
				r.at(4*time.Minute, func() {
					r.denied(bob, managed.Approve, managed.ErrTypeTooLate, "ann has stopped the run")
					r.notify()
				})
			},
			state: discarded, outcome: note,
		},
		{
			name: "a run that waits for a review is rejected", labels: auto,
			script: func(r *rig) {
				r.set(func() { r.truth.Type = spacelift.RunTypeProposed })
				ignored(r)
				r.at(3*time.Minute, func() { r.moves(spacelift.RunStatePendingReview) })
				r.at(4*time.Minute, func() { r.did("stop: "+note, "reject: "+note); r.notify() })
			},
			state: spacelift.RunStateFailed, outcome: "the run failed",
		},
		{
			name: "a plan whose discarding is refused is held, and discarded later", labels: append([]string{"gantry:notify=deploys"}, auto...),
			script: func(r *rig) {
				ignored(r)
				r.at(3*time.Minute, func() {
					r.set(func() { r.refuses = illegal("you have no right to do that") })
					r.moves(unconfirmed)
				})
				r.at(4*time.Minute, func() { r.wants(managed.PhaseHolding, "you have no right to do that") })
				r.at(5*time.Minute, func() { r.denied(bob, managed.Approve, managed.ErrTypeTooLate, "ann has stopped the run") })
				r.at(6*time.Minute, func() { r.set(func() { r.refuses = nil }) })
				r.at(10*time.Minute, func() { r.did("stop: "+note, "discard: "+note); r.notify() })
			},
			state: discarded, outcome: note,
		},
		{
			name: "notifications were behind: nothing promises to confirm", labels: auto,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning) })
				r.at(time.Minute, func() {
					r.set(func() { r.deafToDiscards = true })
					r.goes(unconfirmed) // without a notification
					got := r.update(managed.StopUpdate, managed.StopRequest{By: ann})
					r.later(func() {
						if w := got.status.WaitingFor; w == nil || w.Reason != "Spacelift was asked to discard the run and has not reported yet that it did" {
							t.Errorf("answered that the run waits for %+v", w)
						}
					})
				})
				r.at(2*time.Minute, func() {
					r.wants(managed.PhaseFollowing, "asked to discard the run")
					r.person("api::gantry", discarded, "Stopped through Gantry by ann")
					r.notify()
				})
			},
			state: discarded, outcome: "Stopped through Gantry by ann",
		},
		{
			name: "a replan is discarded too", labels: auto,
			script: func(r *rig) {
				ignored(r)
				r.at(3*time.Minute, func() { r.set(func() { r.deafToDiscards = true }); r.moves(unconfirmed) })
				r.at(4*time.Minute, func() {
					r.set(func() { r.deafToDiscards = false })
					r.moves(replan, planning, unconfirmed)
				})
				r.at(5*time.Minute, func() { r.notify() })
			},
			state: discarded, outcome: note,
		},
		{
			name: "a run that applies all the same finishes too late", labels: auto,
			script: func(r *rig) {
				r.others = []spacelift.Stack{appFollows} // no chain begins: the rig knows none
				ignored(r)
				r.at(3*time.Minute, func() { r.moves(applying) }) // autodeploy
				r.at(4*time.Minute, func() {
					r.wants(managed.PhaseApplying, "ann wants the run stopped: do not apply this; Spacelift does not stop a run in APPLYING")
					r.moves(finished)
				})
			},
			state: finished, outcome: "ann wanted it stopped, which came too late",
		},
	})
}

// The policy does not try again what somebody stopped.
func TestAStoppedRunIsNotTriedAgain(t *testing.T) {
	r := newRig(t, retried)
	started := r.retries(managed.RetryRunOutcome{New: again})
	r.set(func() { r.deafToStops = true })
	r.at(0, func() { r.moves(queued, planning) })
	r.at(time.Minute, func() { r.stops(ann, "wrong branch", "") })
	r.at(2*time.Minute, func() { r.fails("", timeout); r.notify() })
	s := r.manage()
	if len(*started) > 0 || s.Retry != nil {
		t.Errorf("tried again: %+v", s.Retry)
	}
	r.mentions(s, managed.KindDecision, "the run is not tried again: ann ended the run")
}

// A chain learns of the stop before it reads the end of the run.
func TestAChainLearnsOfAStop(t *testing.T) {
	r := newRig(t, auto)
	root := spacelift.RunRef{Account: "acme", Stack: "net", Run: "01KDXROOT0000000000000000"}
	var news []chain.News
	r.env.OnSignalExternalWorkflow(anyArg, managed.ChainID(root), anyArg, chain.NewsSignal, anyArg).Return(
		func(_, _, _, _ string, arg any) error { news = append(news, arg.(chain.News)); return nil })
	r.set(func() { r.deafToStops = true })
	in := r.input()
	in.Chains = []managed.ChainRef{{Root: root, After: []spacelift.StackID{"net"}}}
	r.at(0, func() { r.moves(queued, planning) })
	r.at(time.Minute, func() { r.stops(ann, "", "") })
	r.at(2*time.Minute, func() {
		if want := []chain.News{{Run: run, State: planning, StoppedBy: "ann"}}; !reflect.DeepEqual(news, want) {
			t.Errorf("the chain received %+v, want %+v", news, want)
		}
		r.moves(applying, finished)
	})
	s := r.manageFrom(in)
	if n := len(news); n != 2 || news[1].StoppedBy != "ann" || news[1].State != finished {
		t.Errorf("the chain received %+v", news)
	}
	if !strings.Contains(s.Outcome, "so Gantry releases nothing that follows it") {
		t.Errorf("outcome %q", s.Outcome)
	}
}
