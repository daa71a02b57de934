package workflows_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

const (
	pushed    = "9f2c1d7e4b8a06f35c21de90ab7741f6c3e85d12" // the commit of the run
	account   = spacelift.StackID("account-prod")
	freshRun  = spacelift.RunID("01KDXFRESH000000000000000")
	ownerRoot = spacelift.RunID("01KDXROOT0000000000000000")
)

// followsAccount are the labels of a stack that follows account-prod.
func followsAccount(labels []string) []string {
	return append([]string{"gantry:after=" + string(account)}, labels...)
}

// placeOf returns the place of the run in a chain that account-prod began.
func placeOf(change func(*chain.Place)) chain.Place {
	p := chain.Place{
		Root: spacelift.RunRef{Account: "acme", Stack: account, Run: ownerRoot}, After: []spacelift.StackID{account}, In: true, Open: true,
	}
	change(&p)
	return p
}

// managesOthers lists the executions that the rig's own starts for other runs.
func managesOthers(r *rig) *[]managed.ManageRunInput {
	var begun []managed.ManageRunInput
	r.env.SetOnChildWorkflowStartedListener(func(_ *workflow.Info, _ workflow.Context, args converter.EncodedValues) {
		var in managed.ManageRunInput
		if err := args.Get(&in); err != nil {
			r.Error(err)
		}
		begun = append(begun, in)
	})
	return &begun
}

// A plan waits while a stack that goes first works on the same commit. Planning
// is not held up, nobody is asked meanwhile, and explain says who can act.
func TestAPlanWaitsForTheStacksThatGoFirst(t *testing.T) {
	r := newRig(t, followsAccount(auto))
	r.goesFirst(account, pushed, queued, planning, unconfirmed)
	r.at(time.Minute, func() { r.moves(queued, planning, unconfirmed) })
	r.at(time.Hour, func() {
		r.wants(managed.PhaseHolding, "works on the same commit and has not ended")
		e := r.explains()
		if e.WaitingFor.What != managed.WaitChain || e.WaitingFor.Until.IsZero() || len(e.Unblock) < 2 || !strings.Contains(e.Unblock[0].How, "remove the label") {
			t.Errorf("explains %+v, unblocked by %+v", e.WaitingFor, e.Unblock)
		}
		r.goesFirst(account, pushed, finished) // it applied nothing
	})
	r.at(3*time.Hour, func() {
		if len(r.confirmed) != 1 {
			t.Fatalf("confirmed %q", r.confirmed)
		}
		r.moves(applying, finished)
	})
	s := r.manage()
	r.mentions(s, managed.KindAction, "Gantry confirmed the plan")
}

// Somebody else who goes first may have ended otherwise, and a chain may not have
// reach the run: neither is confirmed, and people are notified of a failure.
func TestWhatAPlanWaitsFor(t *testing.T) {
	for _, tc := range []struct {
		name   string
		before func(*rig)
		says   string
		sent   bool
	}{
		{"a run that failed", func(r *rig) { r.goesFirst(account, pushed, queued, planning, spacelift.RunStateFailed) }, "ended in FAILED", true},
		{"a chain that is open", func(r *rig) {
			r.opens(placeOf(func(p *chain.Place) { p.Waits, p.Reason = true, "run 01A of dns-prod is in progress" }))
		}, "run 01A of dns-prod is in progress", true}, // after six hours
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, followsAccount(append([]string{"gantry:notify=deploys"}, auto...)))
			tc.before(r)
			r.at(time.Minute, func() { r.moves(queued, planning, unconfirmed) })
			r.at(24*time.Hour, func() {
				r.wants(managed.PhaseHolding, tc.says)
				if messages := r.world.messages(); len(messages) != 1 || !strings.Contains(messages[0], "run.held") {
					t.Errorf("signaled %q", messages)
				}
				r.person("jane", discarded, "")
				r.notify()
			})
			r.manage()
			if len(r.confirmed) > 0 {
				t.Errorf("confirmed %q", r.confirmed)
			}
		})
	}
}

// A plan from before a stack that goes first applied changes is never confirmed,
// though people had approved it: another run of the same commit takes its place,
// once, and is managed as part of the same chains by the same people.
func TestAnOldPlanIsReplaced(t *testing.T) {
	root := spacelift.RunRef{Account: "acme", Stack: account, Run: ownerRoot}
	for _, tc := range []struct {
		name   string
		labels []string
		story  func(*rig)
	}{
		{"before Gantry confirms it", auto, func(r *rig) {
			r.goesFirst(account, pushed, queued, planning, unconfirmed)
			r.at(time.Hour, func() { r.goesFirst(account, pushed, applying, finished) })
		}},
		{"while people decide", asked, func(r *rig) {
			r.at(time.Hour, func() { r.goesFirst(account, "another", queued, planning, applying, finished) })
			r.at(2*time.Hour, func() { r.says(bob, managed.Approve, "") })
		}},
		{"while Gantry keeps asking for the confirmation", auto, func(r *rig) {
			r.refuses = errors.New("dial tcp: i/o timeout")
			r.at(time.Minute+20*time.Second, func() {
				r.goesFirst(account, "another", queued, planning, applying, finished)
				r.set(func() { r.refuses = nil })
			})
		}},
		{"though the answer gets lost, and lists show the new run seconds later", auto, func(r *rig) {
			r.listLag = 10 * time.Second
			r.goesFirst(account, pushed, queued, planning, unconfirmed)
			r.at(time.Hour, func() { r.goesFirst(account, pushed, applying, finished) })
		}},
		{"once the chain reaches it", asked, func(r *rig) {
			r.at(time.Hour, func() {
				r.goesFirst(account, "another", queued, planning, applying, finished)
				r.env.SignalWorkflow(managed.RunEventsSignal, managed.RunEvents{Chains: []managed.ChainRef{{Root: root, TriggeredBy: []string{"ann"}}}})
			})
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, followsAccount(tc.labels))
			r.truth.TriggeredBy = "jane"
			begun := managesOthers(r)
			var news []chain.News
			r.env.OnSignalExternalWorkflow(anyArg, managed.ChainID(root), anyArg, chain.NewsSignal, anyArg).Return(
				func(_, _, _, _ string, arg any) error { news = append(news, arg.(chain.News)); return nil }).Maybe()
			r.at(time.Minute, func() { r.moves(queued, planning, unconfirmed) })
			tc.story(r)
			r.at(6*time.Hour, func() {
				if r.truth.State != discarded {
					t.Fatalf("the run is %s: %+v", r.truth.State, r.status().WaitingFor)
				}
				r.notify()
			})
			in := r.input()
			in.Chains = []managed.ChainRef{{Root: root, After: []spacelift.StackID{account}}}
			s := r.manageFrom(in)
			if len(r.confirmed) > 0 || len(r.queued) != 1 || r.queued[0].CommitHash != pushed {
				t.Fatalf("confirmed %q, triggered %+v", r.confirmed, r.queued)
			}
			if note := s.States[len(s.States)-1].Note; !strings.HasPrefix(note, "Discarded by Gantry: the plan is old") || !strings.Contains(note, string(freshRun)) {
				t.Errorf("discarded with %q", note)
			}
			if len(*begun) != 1 || (*begun)[0].Run.Run != freshRun || len((*begun)[0].Chains) != 1 || !slices.Contains((*begun)[0].Behind, "jane") {
				t.Errorf("managed %+v", *begun)
			}
			if len(news) != 2 || news[0].Run.Run != freshRun || news[1].Run != run || news[1].State != discarded {
				t.Errorf("the chain learned %+v", news)
			}
			r.mentions(s, managed.KindAction, "takes the place of this one, whose plan is old")
		})
	}
}

// Where no other run can be triggered the old plan is kept from being confirmed,
// and tried again.
func TestAnOldPlanThatCannotBeReplaced(t *testing.T) {
	r := newRig(t, followsAccount(append([]string{"gantry:notify=deploys"}, auto...)))
	r.at(time.Minute, func() { r.moves(queued, planning, unconfirmed) })
	r.goesFirst(account, pushed, queued, planning, unconfirmed)
	managesOthers(r)
	r.at(time.Hour, func() {
		r.set(func() { r.refuses = illegal("the worker pool is gone") })
		r.goesFirst(account, pushed, applying, finished)
	})
	r.at(4*time.Hour, func() {
		r.wants(managed.PhaseHolding, "the worker pool is gone")
		if messages := r.world.messages(); len(messages) != 1 || !strings.Contains(messages[0], "run.held") {
			t.Errorf("signaled %q", messages)
		}
		r.set(func() { r.refuses = nil })
	})
	r.at(8*time.Hour, func() { r.notify() })
	s := r.manage()
	if s.State != discarded || len(r.queued) != 1 || len(r.confirmed) > 0 {
		t.Errorf("ended in %s, triggered %+v, confirmed %q", s.State, r.queued, r.confirmed)
	}
}

// A profile may keep old plans.
func TestAnOldPlanIsKept(t *testing.T) {
	r := newRig(t, followsAccount([]string{"gantry:managed", "gantry:profile=patient"}))
	r.goesFirst(account, pushed, queued, planning, unconfirmed)
	r.at(time.Minute, func() { r.moves(queued, planning, unconfirmed) })
	r.at(time.Hour, func() { r.goesFirst(account, pushed, applying, finished) })
	r.at(3*time.Hour, func() { r.moves(applying, finished) })
	r.manage()
	if len(r.confirmed) != 1 || len(r.queued) > 0 {
		t.Errorf("confirmed %q, triggered %+v", r.confirmed, r.queued)
	}
}

// Who triggered the run that began the chain does not approve what follows.
func TestWhoTriggeredTheRootDoesNotApproveWhatFollows(t *testing.T) {
	root := spacelift.RunRef{Account: "acme", Stack: account, Run: ownerRoot}
	r := newRig(t, followsAccount(asked))
	r.truth.TriggeredBy = "api::gantry"
	in := r.input()
	in.Chains = []managed.ChainRef{{Root: root, After: []spacelift.StackID{account}, TriggeredBy: []string{"ann"}}}
	r.env.OnSignalExternalWorkflow(anyArg, managed.ChainID(root), anyArg, chain.NewsSignal, anyArg).Return(nil).Maybe()
	r.at(0, func() { r.moves(queued, planning, unconfirmed) })
	r.at(time.Minute, func() {
		r.decides(managed.Decision{Verdict: managed.Approve, By: ann}, managed.ErrTypeSelfApproval)
	})
	r.at(2*time.Minute, func() { r.says(bob, managed.Approve, "") })
	r.at(3*time.Minute, func() { r.moves(applying, finished) })
	r.manageFrom(in)
	if len(r.confirmed) != 1 {
		t.Errorf("confirmed %q", r.confirmed)
	}
}

// A run that has finished begins no chain while its stack's turn has not come, or
// where an open chain takes it up; that one learns of it.
func TestWhoReleasesWhatFollows(t *testing.T) {
	for _, tc := range []struct {
		name   string
		before func(*rig)
		begins bool
		joins  bool
		says   string
	}{
		{"nothing goes first", func(*rig) {}, true, false, ""},
		{"a stack that goes first works on the same commit", func(r *rig) { r.goesFirst(account, pushed, queued, planning) }, false, false, "its stack's turn has not come"},
		{"it failed", func(r *rig) { r.goesFirst(account, pushed, spacelift.RunStateFailed) }, false, false, "ended in FAILED"},
		{"an open chain waits for others before the stack", func(r *rig) {
			r.opens(placeOf(func(p *chain.Place) { p.Waits, p.Reason = true, "run 01A of dns-prod is in progress" }))
		}, false, false, "run 01A of dns-prod is in progress"},
		{"an open chain is held at the stack", func(r *rig) { r.opens(placeOf(func(*chain.Place) {})) }, false, true, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, followsAccount(auto))
			r.others = []spacelift.Stack{appFollows}
			begun := begunBy(r)
			tc.before(r)
			var news []chain.News
			r.env.OnSignalExternalWorkflow(anyArg, anyArg, anyArg, chain.NewsSignal, anyArg).Return(
				func(_, _, _, _ string, arg any) error { news = append(news, arg.(chain.News)); return nil }).Maybe()
			r.at(time.Minute, func() { r.moves(queued, planning, finished) }) // without changes
			s := r.manage()
			if (len(*begun) == 1) != tc.begins || (len(news) > 0) != tc.joins || (len(s.Chains) > 0) != (tc.begins || tc.joins) {
				t.Errorf("began %+v, signaled %+v, is part of %+v", *begun, news, s.Chains)
			}
			if tc.says != "" {
				r.mentions(s, managed.KindDecision, tc.says)
			}
		})
	}
}

// A run says on its timeline which stacks it can't release.
func TestARunSaysWhatItCannotRelease(t *testing.T) {
	r := newRig(t, auto)
	follows := func(id spacelift.StackID, labels ...string) spacelift.Stack {
		return spacelift.Stack{ID: id, Labels: append([]string{"gantry:managed"}, labels...)}
	}
	r.others = []spacelift.Stack{appFollows, follows("x", "gantry:after=network-prod", "gantry:after=y"), follows("y", "gantry:after=x")}
	begunBy(r)
	r.at(time.Minute, func() { r.moves(queued, planning, finished) })
	s := r.manage()
	r.mentions(s, managed.KindAction, "Gantry releases the stacks that follow")
	r.mentions(s, managed.KindDecision, "x and y are not released: the labels lead in a circle: x → y → x")
}

// Neither do the people behind a run whose place another one took.
func TestWhoTriggeredAnOldPlanDoesNotApproveTheNewOne(t *testing.T) {
	r := newRig(t, followsAccount(asked))
	r.truth.TriggeredBy = "api::gantry"
	in := r.input()
	in.Behind = []string{"ann"}
	r.at(0, func() { r.moves(queued, planning, unconfirmed) })
	r.at(time.Minute, func() {
		r.decides(managed.Decision{Verdict: managed.Approve, By: ann}, managed.ErrTypeSelfApproval)
	})
	r.at(2*time.Minute, func() {
		r.env.SignalWorkflow(managed.RunEventsSignal, managed.RunEvents{Behind: []string{"bob"}})
	})
	r.at(3*time.Minute, func() {
		r.decides(managed.Decision{Verdict: managed.Approve, By: bob}, managed.ErrTypeSelfApproval)
	})
	r.at(4*time.Minute, func() {
		r.person("joe", discarded, "")
		r.notify()
	})
	if s := r.manageFrom(in); !slices.Equal(s.Behind, []string{"ann", "bob"}) {
		t.Errorf("behind it are %q", s.Behind)
	}
}
