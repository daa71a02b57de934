package workflows_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/workflows"
)

// Whether Spacelift retries under a new id is not documented. Under the same one
// the execution that saw the run fail makes room for the one of the new attempt,
// in any order: that is managed to its end, and what failed is past.
func TestARetryUnderTheSameIDIsManaged(t *testing.T) {
	root := spacelift.RunRef{Account: "acme", Stack: "account-prod", Run: "01KDXROOT0000000000000000"}
	chains := []managed.ChainRef{{Root: root, After: []spacelift.StackID{"account-prod"}}}
	planFails := func(r *rig) {
		r.at(0, func() { r.moves(queued, ready, preparing, initializing, planning) })
		r.at(time.Minute, func() { r.fails("", timeout); r.notify() })
	}
	byAnn := managed.RetryOf{Run: run, Attempt: 2, By: "ann", After: 5}
	for _, tc := range []struct {
		name  string
		story func(*rig)
		want  managed.RetryOf
	}{
		{
			name: "by the policy, while its execution waits for the retry",
			story: func(r *rig) {
				r.retriesItself()
				planFails(r)
			},
			want: managed.RetryOf{Run: run, Attempt: 2, By: "gantry", After: 5, TriggeredBy: []string{"bob"}},
		},
		{
			name: "by a person, while the policy's own waits for its time",
			story: func(r *rig) {
				planFails(r)
				r.at(90*time.Second, func() {
					r.goes(queued)
					r.notify() // faster than the retry's own word
					r.env.SignalWorkflow(managed.RunEventsSignal, managed.RunEvents{RetryOf: &byAnn, Chains: chains})
				})
			},
			want: byAnn,
		},
		{
			name: "by a person, who is faster than the news of the failure",
			story: func(r *rig) {
				r.at(0, func() { r.moves(queued, ready, preparing, initializing, planning) })
				r.at(time.Minute, func() {
					r.fails("", timeout)
					r.goes(queued)
					r.env.SignalWorkflow(managed.RunEventsSignal, managed.RunEvents{RetryOf: &byAnn, Chains: chains})
				})
				r.at(2*time.Minute, func() { r.notifyOf(6, 5) })
			},
			want: byAnn,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, retried)
			r.truth.TriggeredBy = "bob"
			var asked *[]managed.RetryRunInput
			if tc.want.By == "ann" {
				asked = r.retries(managed.RetryRunOutcome{})
			}
			r.env.OnSignalExternalWorkflow(anyArg, managed.ChainID(root), anyArg, chain.NewsSignal, anyArg).Return(nil).Maybe()
			tc.story(r)
			in := r.continued()
			if diff := cmp.Diff(&tc.want, in.RetryOf); diff != "" || in.Known != nil || in.Run != run {
				t.Errorf("continues with %+v; retry of (-want +got):\n%s", in, diff)
			}
			if of := tc.want.By == "ann"; of != (len(in.Chains) == 1) {
				t.Errorf("the new attempt is part of %+v", in.Chains)
			}
			if asked != nil && len(*asked) > 0 {
				t.Errorf("the policy retried it as well: %+v", *asked)
			}

			second := r.next()
			if in.Chains != nil {
				second.env.OnSignalExternalWorkflow(anyArg, managed.ChainID(root), anyArg, chain.NewsSignal, anyArg).Return(nil).Once()
			}
			second.at(time.Second, func() { // the same again
				second.env.SignalWorkflow(managed.RunEventsSignal, managed.RunEvents{RetryOf: in.RetryOf})
				second.notifyOf(5)
			})
			second.at(time.Minute, func() { second.moves(planning, unconfirmed) })
			second.at(2*time.Minute, func() { second.notify(); second.moves(applying, finished) })
			s := second.manageFrom(in)
			if s.State != finished || len(second.confirmed) != 1 || s.Failure != nil {
				t.Errorf("the new attempt ended in %s with %d confirmations: %s", s.State, len(second.confirmed), s.Outcome)
			}
			if slices.ContainsFunc(s.States, func(e managed.StateEntry) bool { return e.StateVersion <= 5 }) {
				t.Errorf("the new attempt passed %+v", s.States)
			}
		})
	}
}

// retriesItself lets Spacelift retry the run under its own id, and RetryRun ask
// for it.
func (r *rig) retriesItself() {
	r.truth.CanRetry = true
	r.env.SetStartWorkflowOptions(client.StartWorkflowOptions{ID: managed.ManageRunID(run), TaskQueue: "gantry"})
	r.env.RegisterActivityWithOptions(&activities.Activities{
		Accounts:    map[spacelift.Account]activities.Spacelift{"acme": &sameID{r}},
		Definitions: theConfiguration, Temporal: temporalOf{world: &r.world}, Notifier: &r.world, Now: r.env.Now,
	}, activity.RegisterOptions{DisableAlreadyRegisteredCheck: true})
	r.env.RegisterWorkflow(workflows.ManageRun)
	r.env.RegisterWorkflow(workflows.RetryRun)
}

// sameID is the rig's account, which retries the run under its own id.
type sameID struct{ *rig }

func (s *sameID) RunsOfStack(context.Context, spacelift.StackID, spacelift.RunType, int) (spacelift.Listing[spacelift.RunLine], error) {
	return spacelift.Listing[spacelift.RunLine]{Items: []spacelift.RunLine{{Ref: run, Type: s.truth.Type}}, Complete: true}, nil
}

func (s *sameID) Viewer(context.Context) (spacelift.Viewer, error) {
	return spacelift.Viewer{ID: "api::gantry"}, nil
}

func (s *sameID) RetryRun(context.Context, spacelift.RunRef) (spacelift.RunOutcome, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.truth.State != hasFailed {
		return spacelift.RunOutcome{}, errors.New("the run has not failed")
	}
	s.enter(queued, "api::gantry", "")
	return spacelift.RunOutcome{Ref: run}, nil
}
