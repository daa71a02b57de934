package server

import (
	"cmp"
	"context"
	"strconv"
	"strings"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/gen/api"
	genserver "github.com/gantryhq/gantry/gen/server"
	"github.com/gantryhq/gantry/spacelift"
)

// GetRun returns the status of a run.
func (h *handlers) GetRun(ctx context.Context, _ genserver.GetRunRequestObject) (genserver.GetRunResponseObject, error) {
	status, err := h.run(callOf(ctx).run).recentStatus(ctx)
	return genserver.GetRun200JSONResponse(h.toAPIRun(ctx, status)), err
}

// toAPIRun converts the status of a run for the caller.
func (h *handlers) toAPIRun(ctx context.Context, s managed.RunStatus) api.Run {
	r := toAPIRun(s)
	if s.Ballot != nil {
		// Without an answer of Spacelift's about the stack, the API takes no decision either.
		if v, err := h.view(ctx, false, s.Run.Account); err == nil {
			r.CanDecide = v.offers(s.Run, s.Ballot)
		}
	}
	return r
}

// run returns the execution that manages a run.
func (h *handlers) run(ref spacelift.RunRef) execution[managed.RunStatus] {
	return execution[managed.RunStatus]{
		h: h, id: managed.ManageRunID(ref), query: managed.StatusQuery, ended: "run-ended",
		end: func(s managed.RunStatus) (string, bool, string) {
			return s.Outcome, s.Phase == managed.PhaseDone, string(s.State)
		},
	}
}

func toAPIRun(s managed.RunStatus) api.Run {
	r := api.Run{
		Account: string(s.Run.Account), Stack: string(s.Run.Stack), Run: string(s.Run.Run),
		Type: string(s.Type), State: string(s.State), StateVersion: s.StateVersion, Phase: toAPIPhase(s.Phase),
		Managed: s.Managed, Labels: s.Labels, Policy: toAPIPolicy(s.Policy), Outcome: nonEmpty(s.Outcome),
		Branch: nonEmpty(s.Branch), TriggeredBy: nonEmpty(s.TriggeredBy), URL: nonEmpty(s.URL), StackName: nonEmpty(s.StackName),
		StartedAt: s.StartedAt, LastEventAt: nonZero(s.LastEventAt),
		Enforcement: optional(s.Enforcement, toAPIEnforcement), Bypass: optional(s.Bypass, toAPIBypass),
		WaitingFor: optional(s.WaitingFor, toAPIWaitingFor), Gate: optional(s.Gate, toAPIGate), Approvals: optional(s.Approvals, toAPIApprovals),
		Failure: optional(s.Failure, toAPIFailure), Retry: optional(s.Retry, toAPIRetryState), RetryOf: optional(s.RetryOf, toAPIRetryOf),
		States: toAPIList(s.States, toAPIStateEntry), Timeline: toAPIList(s.Timeline, toAPITimelineEntry),
	}
	if s.RulesUnread {
		r.Policy = []api.PolicyValue{}
	}
	if len(s.Decisions) > 0 {
		r.Decisions = toAPIList(s.Decisions, toAPIDecided)
	}
	r.Chains, r.Followers = toAPIChainRefs(s.Chains), followers(s.Followers)
	r.Commit, r.Delta = toAPICommit(s.Commit), optional(s.Delta, toAPIDelta)
	r.Resources = optional(s.Resources, toAPIPlannedResources)
	if s.DriftDetection {
		r.DriftDetection = new(true)
	}
	return r
}

func toAPICommit(c spacelift.Commit) *api.Commit {
	if c == (spacelift.Commit{}) {
		return nil
	}
	return &api.Commit{
		Hash: nonEmpty(c.Hash), Message: nonEmpty(c.Message), URL: nonEmpty(c.URL), AuthorLogin: nonEmpty(c.AuthorLogin), AuthorName: nonEmpty(c.AuthorName),
	}
}

func toAPIDelta(d spacelift.Delta) api.Delta {
	return api.Delta{Added: d.Added, Changed: d.Changed, Deleted: d.Deleted, Resources: d.Resources}
}

func toAPIStateEntry(e managed.StateEntry) api.StateEntry {
	return api.StateEntry{State: string(e.State), StateVersion: e.StateVersion, At: e.At, Note: nonEmpty(e.Note)}
}

func toAPITimelineEntry(e managed.TimelineEntry) api.TimelineEntry {
	entry := api.TimelineEntry{At: e.At, Kind: string(e.Kind), Source: e.Source, Actor: nonEmpty(e.Actor), Summary: e.Summary}
	if e.State != "" {
		entry.State, entry.StateVersion = new(string(e.State)), new(e.StateVersion)
	}
	return entry
}

func toAPIFailure(f managed.Failure) api.Failure {
	return api.Failure{
		Cause: string(f.Cause), Phase: nonEmpty(string(f.Phase)), ApplyBegan: f.ApplyBegan, Evidence: nonEmpty(f.Evidence), Source: nonEmpty(f.Source),
	}
}

func toAPIRetryState(r managed.Retry) api.RetryState {
	return api.RetryState{Attempt: r.Attempt, Of: r.Of, At: r.At, By: nonEmpty(r.By), New: nonEmpty(string(r.As.Run)), Reason: cmp.Or(r.Reason, "Gantry retried it")}
}

func toAPIRetryOf(r managed.RetryOf) api.RetryOf {
	return api.RetryOf{Run: string(r.Run.Run), Attempt: r.Attempt, By: r.By}
}

func toAPIChainRefs(refs []managed.ChainRef) []api.ChainRef {
	var all []api.ChainRef
	for _, r := range refs {
		all = append(all, api.ChainRef{Run: string(r.Root.Run), Stack: string(r.Root.Stack), After: words(r.After)})
	}
	return all
}

// followers returns the ids of stacks that follow, or nil if there are none.
func followers(stacks []spacelift.StackID) []string {
	if len(stacks) == 0 {
		return nil
	}
	return words(stacks)
}

func toAPIEnforcement(e policy.Enforcement) api.Enforcement {
	return api.Enforcement{Level: string(e.Level), Reason: e.Reason}
}

func toAPIBypass(b managed.Bypass) api.Bypass {
	return api.Bypass{At: b.At, StateVersion: b.StateVersion, Actor: nonEmpty(b.Actor), Reason: b.Reason}
}

// toAPIPhase returns the phase of a run, which is queued until its execution reports
// another one.
func toAPIPhase(p managed.Phase) api.Phase { return api.Phase(cmp.Or(p, managed.PhaseQueued)) }

// ExplainRun returns why the run is where it is.
func (h *handlers) ExplainRun(ctx context.Context, _ genserver.ExplainRunRequestObject) (genserver.ExplainRunResponseObject, error) {
	id := managed.ManageRunID(callOf(ctx).run)
	e, err := recently(ctx, h, id+" "+managed.ExplainQuery, func(ctx context.Context) (managed.Explanation, error) {
		return ask[managed.Explanation](ctx, h, id, managed.ExplainQuery)
	})
	return genserver.ExplainRun200JSONResponse(toAPIExplanation(e)), err
}

func toAPIExplanation(e managed.Explanation) api.Explanation {
	return api.Explanation{
		Account: string(e.Run.Account), Stack: string(e.Run.Stack), Run: string(e.Run.Run), State: nonEmpty(string(e.State)),
		Phase: toAPIPhase(e.Phase), Summary: e.Summary, Chains: toAPIChainRefs(e.Chains), Followers: followers(e.Followers),
		Enforcement: optional(e.Enforcement, toAPIEnforcement), WaitingFor: optional(e.WaitingFor, toAPIWaitingFor), Approvals: optional(e.Approvals, toAPIApprovals), Resources: optional(e.Resources, toAPIPlannedResources), Unblock: toAPIUnblock(e.Unblock),
		Next: toAPIList(e.Next, func(n managed.NextStep) api.NextStep { return api.NextStep{At: nonZero(n.At), What: n.What} }),
		Rules: toAPIList(e.Rules, func(r managed.Rule) api.Rule {
			return api.Rule{Name: r.Name, Value: r.Value, Origin: r.Origin, Effect: string(r.Effect), Detail: nonEmpty(r.Detail), Overruled: toAPIOverruled(r.Overruled)}
		}),
	}
}

// toAPIWaitingFor converts the reason why a run waits. A run that waits for nothing
// outside waits for Gantry itself.
func toAPIWaitingFor(w managed.WaitingFor) api.WaitingFor {
	return api.WaitingFor{
		What: string(cmp.Or(w.What, managed.WaitGantry)), Reason: w.Reason, Since: w.Since, Until: nonZero(w.Until), Who: nonEmpty(w.Who), Next: nonEmpty(w.Next),
	}
}

// toAPIUnblock returns the people who can unblock a run. It leaves out entries without any.
func toAPIUnblock(all []managed.Unblock) []api.Unblock {
	list := []api.Unblock{}
	for _, u := range all {
		if u.Who != "" {
			list = append(list, api.Unblock{Who: u.Who, How: cmp.Or(u.How, "wait")})
		}
	}
	return list
}

// ListTimeline returns a page of the run's timeline.
func (h *handlers) ListTimeline(ctx context.Context, req genserver.ListTimelineRequestObject) (genserver.ListTimelineResponseObject, error) {
	c := callOf(ctx)
	status, err := h.run(c.run).status(ctx)
	if err != nil {
		return nil, err
	}
	page, err := pageOfTimeline(c.run, status.Timeline, deref(req.Params.Kind), pageSize(req.Params.PageSize), req.Params.PageToken)
	return genserver.ListTimeline200JSONResponse(page), err
}

// pageOfTimeline returns a page of a timeline. A page token names the last entry of the
// page before by index and digest, so it is found even after entries were inserted or
// dropped before it.
func pageOfTimeline(run spacelift.RunRef, all []managed.TimelineEntry, kind string, size int, token *string) (api.Timeline, error) {
	listing := listingOf("timeline", run.String(), kind)
	place, err := listing.place(token)
	if err != nil {
		return api.Timeline{}, err
	}
	from, err := afterEntry(all, place)
	if err != nil {
		return api.Timeline{}, err
	}
	page := api.Timeline{Entries: []api.TimelineEntry{}}
	last := -1
	for i := from; i < len(all); i++ {
		if kind != "" && string(all[i].Kind) != kind {
			continue
		}
		if len(page.Entries) == size {
			page.NextPageToken = listing.token(strconv.Itoa(last) + "." + entryDigest(all[last]))
			break
		}
		page.Entries = append(page.Entries, toAPITimelineEntry(all[i]))
		last = i
	}
	return page, nil
}

// afterEntry returns the index after the entry that a page token names.
func afterEntry(all []managed.TimelineEntry, place string) (int, error) {
	if place == "" {
		return 0, nil
	}
	index, entry, ok := strings.Cut(place, ".")
	at, err := strconv.Atoi(index)
	if err != nil || !ok || at < 0 {
		return 0, badPageToken("was not issued by this API; leave it out to start from the first page")
	}
	// Entries may have been inserted or dropped; the nearest match is the one that was shown.
	for distance := range max(len(all), at+1) {
		for _, i := range []int{at - distance, at + distance} {
			if i >= 0 && i < len(all) && entryDigest(all[i]) == entry {
				return i + 1, nil
			}
		}
	}
	return 0, nil // the oldest are dropped first, so no entry that remains was shown
}

func entryDigest(e managed.TimelineEntry) string {
	return digest([]byte(e.At.String()), []byte(e.Kind), []byte(e.Summary))
}
