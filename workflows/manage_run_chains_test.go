package workflows_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

var appFollows = spacelift.Stack{ID: "app-prod", Labels: []string{"gantry:managed", "gantry:after=network-prod"}}

// begunBy lets the rig's execution begin chains, and lists them.
func begunBy(r *rig) *[]chain.Input {
	var begun []chain.Input
	r.env.RegisterWorkflowWithOptions(func(_ workflow.Context, in chain.Input) (chain.Status, error) {
		begun = append(begun, in)
		return chain.Status{}, nil
	}, workflow.RegisterOptions{Name: chain.Type})
	return &begun
}

func TestWhatReleasesFollowers(t *testing.T) {
	for _, tc := range []struct {
		name   string
		story  func(*rig)
		labels []string
		begins bool
	}{
		{name: "a run that finished", story: func(r *rig) { r.others = []spacelift.Stack{appFollows} }, begins: true},
		{name: "nobody follows", story: func(*rig) {}},
		{name: "nobody could say at the start, and somebody follows", story: func(r *rig) {
			r.others, r.mute = []spacelift.Stack{appFollows}, true
			r.at(90*time.Second, func() { r.set(func() { r.mute = false }) })
		}, begins: true},
		{name: "it took long, and somebody follows now", story: func(r *rig) {
			r.at(3*time.Minute, func() { r.set(func() { r.others = []spacelift.Stack{appFollows} }) })
			r.at(time.Hour, func() { r.moves(finished) })
		}, begins: true},
		{name: "a repair of drift", story: func(r *rig) { r.others, r.truth.DriftDetection = []spacelift.Stack{appFollows}, true }},
		{name: "a task", story: func(r *rig) { r.others, r.truth.Type = []spacelift.Stack{appFollows}, spacelift.RunTypeTask }},
		{name: "a preview", story: func(r *rig) { r.others, r.truth.Type = []spacelift.Stack{appFollows}, spacelift.RunTypeProposed }},
		{name: "a run of a stack that is not managed", story: func(r *rig) { r.others = []spacelift.Stack{appFollows} }, labels: []string{"env:prod"}},
		{name: "a run that failed", story: func(r *rig) {
			r.others = []spacelift.Stack{appFollows}
			r.at(2*time.Minute, func() { r.moves(spacelift.RunStateFailed) })
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			labels := tc.labels
			if labels == nil {
				labels = auto
			}
			r := newRig(t, labels)
			begun := begunBy(r)
			r.at(time.Minute, func() { r.moves(queued, planning) })
			tc.story(r)
			r.at(2*time.Hour, func() {
				if !r.truth.State.Terminal() {
					r.moves(finished)
				}
			})
			if !strings.Contains(tc.name, "long") {
				r.at(2*time.Minute+time.Second, func() {
					if !r.truth.State.Terminal() {
						r.moves(finished)
					}
				})
			}
			s := r.manage()
			if (len(*begun) == 1) != tc.begins {
				t.Fatalf("began the chains %+v", *begun)
			}
			if !tc.begins {
				if len(s.Chains) > 0 {
					t.Errorf("is part of %+v", s.Chains)
				}
				return
			}
			if (*begun)[0].Root != run || s.Phase != managed.PhaseDone || s.Outcome == "" {
				t.Errorf("began %+v and ended as %s: %s", *begun, s.Phase, s.Outcome)
			}
			if diff := cmp.Diff([]managed.ChainRef{{Root: run}}, s.Chains); diff != "" {
				t.Errorf("chains (-want +got):\n%s", diff)
			}
			r.mentions(s, managed.KindAction, "Gantry releases the stacks that follow: chain/acme/"+string(run.Run))
		})
	}
}

// A chain may say late that a run is its own: then the run begins none. One that
// no chain claims begins one a minute later.
func TestARunThatAChainMayHaveTriggered(t *testing.T) {
	root := spacelift.RunRef{Account: "acme", Stack: "account-prod", Run: "01KDXROOT0000000000000000"}
	for _, tc := range []struct {
		name, by string
		sent     bool
		after    time.Duration // it begins a chain so long after it finished; 0: it begins none
	}{
		{"a chain's", "api::01KEY", true, 0},
		{"Spacelift made it, and a chain adopted it", "account-prod", true, 0},
		{"somebody else's key's", "api::01KEY", false, time.Minute},
		{"a person's", "jane", false, time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, append([]string{"gantry:after=account-prod"}, auto...))
			r.others, r.truth.TriggeredBy = []spacelift.Stack{appFollows}, tc.by
			var began time.Time
			r.env.RegisterWorkflowWithOptions(func(ctx workflow.Context, _ chain.Input) (chain.Status, error) {
				began = workflow.Now(ctx)
				return chain.Status{}, nil
			}, workflow.RegisterOptions{Name: chain.Type})
			sent := 0
			r.env.OnSignalExternalWorkflow(anyArg, managed.ChainID(root), anyArg, chain.NewsSignal, anyArg).Return(
				func(_, _, _, _ string, _ any) error { sent++; return nil }).Maybe()
			var ended time.Time
			r.at(time.Minute, func() {
				r.moves(queued, planning, finished)
				ended = r.env.Now()
			})
			r.at(80*time.Second, func() {
				if tc.sent {
					r.env.SignalWorkflow(managed.RunEventsSignal, managed.RunEvents{Chains: []managed.ChainRef{{Root: root}}})
				}
			})
			s := r.manage()
			if tc.after == 0 && (!began.IsZero() || sent != 1) {
				t.Errorf("began a chain %s after it finished, and signaled its own %d times", began.Sub(ended), sent)
			}
			if after := began.Sub(ended); tc.after > 0 && (after < tc.after-time.Second || after > tc.after+time.Second) {
				t.Errorf("began a chain %s after it finished, want %s", after, tc.after)
			}
			if s.Outcome == "" {
				t.Errorf("ended as %+v", s)
			}
		})
	}
}

// A run that a chain released knows it, says so, and signals its end to the chain; it
// begins none of its own.
func TestARunOfAChain(t *testing.T) {
	root := spacelift.RunRef{Account: "acme", Stack: "account-prod", Run: "01KDXROOT0000000000000000"}
	ref := managed.ChainRef{Root: root, After: []spacelift.StackID{"account-prod"}}
	for _, tc := range []struct {
		name  string
		early bool // it knows from the start
		ends  spacelift.RunState
	}{{"finishes", true, finished}, {"is notified later, and is discarded", false, discarded}} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, manual)
			r.others = []spacelift.Stack{appFollows}
			begun := begunBy(r)
			in := r.input()
			if tc.early {
				in.Chains = []managed.ChainRef{ref}
			} else {
				r.at(90*time.Second, func() {
					for range 2 {
						r.env.SignalWorkflow(managed.RunEventsSignal, managed.RunEvents{Chains: []managed.ChainRef{ref}})
					}
				})
			}
			var sent []chain.News
			r.env.OnSignalExternalWorkflow(anyArg, managed.ChainID(root), anyArg, chain.NewsSignal, anyArg).Return(
				func(_, _, _, _ string, arg any) error {
					sent = append(sent, arg.(chain.News))
					return nil
				}).Maybe()
			r.at(time.Minute, func() { r.moves(queued, planning, unconfirmed) })
			r.at(2*time.Minute, func() {
				answer, err := r.env.QueryWorkflow(managed.ExplainQuery)
				if err != nil {
					t.Fatal(err)
				}
				var e managed.Explanation
				if err := answer.Get(&e); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff([]managed.ChainRef{ref}, e.Chains); diff != "" {
					t.Errorf("explained chains (-want +got):\n%s", diff)
				}
				if last := e.Next[len(e.Next)-1].What; !strings.Contains(last, "released: app-prod") {
					t.Errorf("explains %+v, want who follows", e.Next)
				}
				r.person("jane", tc.ends, "")
				r.notify()
			})
			s := r.manageFrom(in)
			if len(sent) != 1 || sent[0].Run != run || sent[0].State != tc.ends || sent[0].Outcome == "" {
				t.Errorf("the chain was signaled %+v", sent)
			}
			if len(*begun) > 0 || len(s.Chains) != 1 {
				t.Errorf("began %+v, and is part of %+v", *begun, s.Chains)
			}
		})
	}
}
