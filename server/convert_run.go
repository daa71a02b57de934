package server

import (
	"cmp"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/spacelift"
)

// toAPIWaitingFor converts the reason why a run waits. A run that waits for nothing
// outside waits for Gantry itself.
func toAPIWaitingFor(w managed.WaitingFor) *api.WaitingFor {
	return &api.WaitingFor{
		What: string(cmp.Or(w.What, managed.WaitGantry)), Reason: w.Reason, Since: w.Since, Until: nonZero(w.Until), Who: nonEmpty(w.Who), Next: nonEmpty(w.Next),
	}
}

// toAPIPhase returns the phase of a run, which is queued until its execution says
// something else.
func toAPIPhase(p managed.Phase) api.Phase { return api.Phase(cmp.Or(p, managed.PhaseQueued)) }

// toAPIUnblock lists the people who can move a run on. It leaves out entries without any.
func toAPIUnblock(all []managed.Unblock) []api.Unblock {
	list := []api.Unblock{}
	for _, u := range all {
		if u.Who != "" {
			list = append(list, api.Unblock{Who: u.Who, How: cmp.Or(u.How, "wait")})
		}
	}
	return list
}

func toAPIApprovals(a managed.Approvals) *api.Approvals {
	return &api.Approvals{Needed: a.Needed, Given: a.Given, Group: nonEmpty(a.Group), Excluded: a.Excluded, Decided: toAPIDecisions(a.Decided)}
}

func toAPIDecisions(decided []managed.Decided) []api.Decided {
	all := make([]api.Decided, len(decided))
	for i, d := range decided {
		all[i] = api.Decided{
			Verdict: api.Verdict(d.Verdict), By: d.By, Note: nonEmpty(d.Note), At: d.At, State: string(d.State), StateVersion: d.StateVersion,
			Discounted: nonEmpty(d.Discounted),
		}
		if d.Revoked {
			all[i].Revoked = new(true)
		}
	}
	return all
}

func toAPIFailure(f *managed.Failure) *api.Failure {
	if f == nil {
		return nil
	}
	return &api.Failure{
		Cause: string(f.Cause), Phase: nonEmpty(string(f.Phase)), ApplyBegan: f.ApplyBegan, Evidence: nonEmpty(f.Evidence), Source: nonEmpty(f.Source),
	}
}

func toAPIRetryState(r *managed.Retry) *api.RetryState {
	if r == nil {
		return nil
	}
	return &api.RetryState{Attempt: r.Attempt, Of: r.Of, At: r.At, By: nonEmpty(r.By), New: nonEmpty(string(r.As.Run)), Reason: cmp.Or(r.Reason, "Gantry retried it")}
}

func toAPIRetryOf(r *managed.RetryOf) *api.RetryOf {
	if r == nil {
		return nil
	}
	return &api.RetryOf{Run: string(r.Run.Run), Attempt: r.Attempt, By: r.By}
}

// toAPIRetry says what came of a retry; outcome is empty while nobody knows.
func toAPIRetry(ref spacelift.RunRef, outcome managed.RetryRunOutcome) api.Retry {
	return api.Retry{Account: string(ref.Account), Stack: string(ref.Stack), Run: string(ref.Run), New: nonEmpty(string(outcome.New.Run))}
}

func toAPIExplanation(e managed.Explanation) api.Explanation {
	a := api.Explanation{
		Account: string(e.Run.Account), Stack: string(e.Run.Stack), Run: string(e.Run.Run), State: nonEmpty(string(e.State)),
		Phase: toAPIPhase(e.Phase), Summary: e.Summary, Chains: toAPIChainRefs(e.Chains), Followers: followers(e.Followers),
		Unblock: toAPIUnblock(e.Unblock), Next: make([]api.NextStep, len(e.Next)), Rules: make([]api.Rule, len(e.Rules)),
	}
	if e.WaitingFor != nil {
		a.WaitingFor = toAPIWaitingFor(*e.WaitingFor)
	}
	if e.Approvals != nil {
		a.Approvals = toAPIApprovals(*e.Approvals)
	}
	for i, n := range e.Next {
		a.Next[i] = api.NextStep{At: nonZero(n.At), What: n.What}
	}
	for i, r := range e.Rules {
		a.Rules[i] = api.Rule{Name: r.Name, Value: r.Value, Origin: r.Origin, Effect: string(r.Effect), Detail: nonEmpty(r.Detail)}
	}
	return a
}
