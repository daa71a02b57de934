package managed

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// Status is all that can be said of the run at a time.
func (r *Record) Status(at time.Time) RunStatus {
	now := r.Situation(at)
	n := Decide(now)
	s := now.RunStatus
	s.Phase, s.Timeline = n.Phase, r.timeline(s.States)
	if r.Fault != nil {
		s.Phase, s.WaitingFor = PhaseHolding, r.Fault.waitingFor()
		return s
	}
	if n.Do == DoFinish {
		s.Outcome = n.Reason
	} else {
		s.WaitingFor = n.waitingFor(s)
	}
	return s
}

// Facts is what the events add up to, before anything is decided. The state is
// that of the newest event. Of every other particular, the last reading of the
// run counts; as long as the run was not read, the newest notification does.
func (r *Record) Facts() RunStatus {
	s := RunStatus{
		Run: r.Run, StartedAt: r.StartedAt, Plans: slices.Clone(r.Plans), GivenUp: r.GivenUp, RetryOf: r.RetryOf,
		Chains: slices.Clone(r.Chains), Behind: slices.Clone(r.Behind),
	}
	if r.Stopping != nil {
		s.Stop = new(r.Stopping.Stop)
	}
	if r.Followers != nil {
		s.Followers = slices.Clone(r.Followers.Stacks)
	}
	for _, d := range r.Decisions {
		s.Decisions = append(s.Decisions, d.Decided)
	}
	events := slices.SortedFunc(slices.Values(r.believed()), func(a, b RunEvent) int { return byAuthority(b, a) })
	if len(events) > 0 {
		now := events[0]
		s.State, s.StateVersion, s.Labels = now.State, now.StateVersion, slices.Clone(now.Labels)
		s.NeedsApproval, s.Block = r.needsApproval(keyOfState(now)), r.block(keyOfState(now))
	}
	read, ok := r.lastRead()
	if ok {
		s.Labels = slices.Clone(read.Labels)
		s.particulars(read)
	}
	for _, e := range events {
		if !ok {
			s.particulars(e)
		}
	}
	for _, e := range r.Events {
		if e.ReceivedAt.After(s.LastEventAt) {
			s.LastEventAt = e.ReceivedAt
		}
	}
	s.Delta = delta(events, ok)
	if r.Rules != nil {
		s.URL = r.Rules.URL
	}
	s.Managed, s.Policy = spacelift.Managed(s.Labels), r.policy(s.Labels)
	s.States = states(events)
	if s.State == spacelift.RunStateFailed {
		s.Failure, s.Retry = r.Failure, r.Retry
	}
	return s
}

// policy is what the run is managed by: what was read, or as long as nothing
// was, what labels alone say.
func (r *Record) policy(labels []string) policy.Policy {
	if r.Rules == nil {
		return (*policy.Definitions)(nil).Resolve(labels).Of(r.Run.Stack)
	}
	return r.Rules.Policy
}

// shownFacts is what the readings of the run add up to, without anything that
// only a notification said: what Gantry says to people.
func (r *Record) shownFacts() RunStatus {
	read := *r
	read.Events = slices.DeleteFunc(slices.Clone(r.Events), func(e RunEvent) bool { return e.Source != SourceReconcile })
	return read.Facts()
}

// particulars adds what an event says of the run, as far as nothing was said yet.
func (s *RunStatus) particulars(e RunEvent) {
	s.Type = cmp.Or(s.Type, e.Type)
	s.Branch = cmp.Or(s.Branch, e.Branch)
	s.TriggeredBy = cmp.Or(s.TriggeredBy, e.TriggeredBy)
	s.StackName = cmp.Or(s.StackName, e.StackName)
	s.Commit = fill(s.Commit, e.Commit)
	s.DriftDetection = s.DriftDetection || e.DriftDetection
}

// delta is what the plan of the run would do, given its events with the newest
// first. Once the run was read, a notification is asked for nothing but the size
// of a newer plan, which Gantry compares before it acts.
func delta(events []RunEvent, read bool) *spacelift.Delta {
	for _, e := range events {
		switch {
		case e.Whole:
		case e.Delta == nil, e.Source == SourceReconcile, read && !asks(e.State, false):
			continue
		}
		if e.Delta == nil {
			return nil
		}
		return new(*e.Delta)
	}
	return nil
}

// fill completes a commit from another event of the same commit.
func fill(c, from spacelift.Commit) spacelift.Commit {
	if c.Hash != "" && c.Hash != from.Hash {
		return c
	}
	return spacelift.Commit{
		Hash:        cmp.Or(c.Hash, from.Hash),
		Message:     cmp.Or(c.Message, from.Message),
		AuthorLogin: cmp.Or(c.AuthorLogin, from.AuthorLogin),
		AuthorName:  cmp.Or(c.AuthorName, from.AuthorName),
		URL:         cmp.Or(c.URL, from.URL),
	}
}

// states lists the states that the events tell of, the end last. A state that
// both a notification and the API tell of has the finer time of the first and
// the actor of the second.
func states(events []RunEvent) []StateEntry {
	sorted := slices.SortedFunc(slices.Values(events), byPlace)
	var list []StateEntry
	for _, e := range sorted {
		if n := len(list); n > 0 && list[n-1].State == e.State && list[n-1].StateVersion == e.StateVersion {
			list[n-1].Actor, list[n-1].Note = e.Actor, cmp.Or(e.Note, list[n-1].Note)
			continue
		}
		list = append(list, StateEntry{
			State: e.State, StateVersion: e.StateVersion, At: e.At, Source: e.Source, Actor: e.Actor, Note: e.Note,
		})
	}
	return list
}

// timeline weaves the states and the journal into one: see TimelineEntry.
func (r *Record) timeline(states []StateEntry) []TimelineEntry {
	var all []TimelineEntry
	if r.Dropped || r.Forgot > 0 {
		all = append(all, TimelineEntry{
			At: r.StartedAt, Kind: KindNote, Source: SourceGantry,
			Summary: fmt.Sprintf("this run has a longer past than Gantry keeps: the oldest %sare left out", forgotten(r)),
		})
	}
	for _, s := range states {
		e := TimelineEntry{
			At: s.At, Kind: KindEvent, Source: string(s.Source), Actor: s.Actor,
			Summary: "the run is " + string(s.State), State: s.State, StateVersion: s.StateVersion,
		}
		if s.Note != "" {
			e.Summary += ": " + s.Note
		}
		all = append(all, e)
	}
	all = append(all, r.Journal...)
	slices.SortStableFunc(all, func(a, b TimelineEntry) int {
		return cmp.Or(
			cmp.Compare(Rank(a.State != ""), Rank(b.State != "")),
			cmp.Compare(Rank(a.State.Terminal()), Rank(b.State.Terminal())),
			cmp.Compare(a.StateVersion, b.StateVersion),
		)
	})
	return all
}

func forgotten(r *Record) string {
	switch {
	case r.Dropped && r.Forgot > 0:
		return fmt.Sprintf("states and %d notes ", r.Forgot)
	case r.Dropped:
		return "states "
	}
	return fmt.Sprintf("%d notes ", r.Forgot)
}
