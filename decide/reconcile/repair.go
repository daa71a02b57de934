package reconcile

import (
	"slices"
	"time"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// Bounds on one execution of Reconcile.
const (
	MaxRunPages    = 400       // of 50 runs in progress, whatever their stack
	MaxExecutions  = 20_000    // open ones
	MaxRunsPerTick = 50        // compared closely: at most one call to Spacelift's API each
	MaxFailures    = 3         // of those in a row; then the others wait for the next tick
	MaxRepairs     = 1_000_000 // bytes of what is read of runs and sent to executions, as JSON
)

// Grace returns the age at which Reconcile repairs something: a notification of a
// younger event is probably on its way.
func Grace(interval time.Duration) time.Duration { return min(interval/2, 30*time.Second) }

// Candidate is a run to compare closely.
type Candidate struct {
	Run     spacelift.RunRef `json:"run"`
	Listed  bool             `json:"listed,omitempty"` // Spacelift lists it among those in progress
	Managed bool             `json:"managed,omitempty"`
	Whole   bool             `json:"whole,omitempty"` // compare its whole history, whatever the lists show
	Swept   bool             `json:"swept,omitempty"` // it is the turn of this run in the sweep

	State       spacelift.RunState `json:"state,omitempty"`       // as listed
	Fingerprint string             `json:"fingerprint,omitempty"` // of what is listed
}

// WorthReading reports whether a run must be read, given what its execution knows.
func (c Candidate) WorthReading(k Knowledge) bool {
	switch {
	case k.Ended():
		return c.Listed && c.Managed // it should not have, unless the list lags
	case !k.Exists || !c.Listed || c.Whole:
		return true
	}
	return k.State != c.State || k.otherThan(c.State, c.Fingerprint)
}

// Repair is the repair of one run.
type Repair struct {
	Run    spacelift.RunRef
	Do     Action
	Events []managed.RunEvent // to send to the execution
	Denied []managed.StateKey // that it knows, and Spacelift does not show
	Reason string             // to give up
	Ends   bool               // the run has ended
	Fresh  bool               // a notification of this should have arrived since the last tick
}

// Action is the kind of a repair.
type Action string

// The actions.
const (
	Nothing Action = ""
	Adopt   Action = "adopt"   // start an execution
	Notify  Action = "notify"  // send its execution the events that it missed
	Reopen  Action = "reopen"  // start another execution: the last one took the run for ended
	GiveUp  Action = "give-up" // make its execution stop
)

// RepairOf compares a run with what its execution knows. last is the time of the last
// comparison, zero for never.
//
// Once one event is older than the grace, an execution receives every event it
// misses. Younger events alone are left to notifications. Facts about the present
// state that no notification carries are sent immediately, and so is a correction
// if the execution takes a state for the newest though the API, which was read
// later, shows an earlier one.
func RepairOf(k Knowledge, run spacelift.Run, at time.Time, interval time.Duration, last time.Time) Repair {
	r := Repair{Run: run.Ref, Ends: run.State.Terminal()}
	since := secondOf(last.Add(-Grace(interval)))
	ours := spacelift.Managed(run.StackLabels)
	events := managed.FromRead(run, at)
	switch {
	case !k.Exists:
		if !r.Ends && ours {
			r.Do, r.Events = Adopt, newestOf(events)
			r.Fresh = !last.IsZero() && !run.CreatedAt.Before(since)
		}
		return r
	case k.Ended():
		// Its end was forged, or Spacelift took it up again under the same id.
		if now := events[len(events)-1]; !r.Ends && ours && !now.At.After(at.Add(-Grace(interval))) {
			r.Do, r.Events = Reopen, newestOf(events)
		}
		return r
	}
	r.Denied = denied(k, run)
	if !r.missed(k, run, events, at.Add(-Grace(interval)), since) {
		return Repair{Run: run.Ref}
	}
	r.Fresh = r.Fresh && ours && !last.IsZero()
	r.Do, r.Events = Notify, newestOf(r.Events)
	return r
}

// secondOf returns the second a time lies in: Spacelift's times are whole seconds,
// so what happened in it is not before it.
func secondOf(t time.Time) time.Time { return t.Truncate(time.Second) }

// missed collects the events that an execution does not know, and what it takes for
// the newest state wrongly. It reports whether anything is worth a repair: events
// that are younger than settled may still be on their way.
func (r *Repair) missed(k Knowledge, run spacelift.Run, events []managed.RunEvent, settled, since time.Time) (worth bool) {
	worth = len(r.Denied) > 0
	other := k.otherThan(run.State, factsOf(run).Fingerprint()) || len(r.Denied) > 0
	place := func(e managed.RunEvent) int {
		return slices.IndexFunc(k.States, func(s KnownState) bool { return s.StateVersion == e.StateVersion && s.State == e.State })
	}
	// unseen reports whether a plan continued by an event that the API has yet to show to the
	// execution: that and the one before show whether it went around Gantry.
	unseen := func(i int) bool {
		if i < 1 || i == len(events) || !events[i].State.Applies() || events[i-1].State.Applies() {
			return false
		}
		at := place(events[i])
		return at < 0 || k.States[at].notified()
	}
	for i, e := range events {
		newest := e.StateVersion == run.StateVersion && e.State == run.State
		known := place(e) >= 0
		switch {
		case known && newest && !r.Ends && other:
			r.Events, worth = append(r.Events, e), true
		case known && (unseen(i) || unseen(i+1)):
			r.Events = append(r.Events, e)
		case !known:
			r.Events = append(r.Events, e)
			if !e.At.After(settled) {
				worth = true
				r.Fresh = r.Fresh || !e.At.Before(since)
			}
		}
	}
	return worth
}

// factsOf returns the facts that the API shows of a run.
func factsOf(run spacelift.Run) policy.Facts {
	return policy.Facts{
		State: run.State, Labels: run.StackLabels, NeedsApproval: run.NeedsApproval, Block: run.Brakes.ConfirmBlock(run.Ref.Run),
	}
}

// denied returns the states that only notifications reported and that are beyond
// what the API shows, if the execution takes one of them for the run's state: as
// long as it does, it can't see the true one. An end that the API does not show is
// beyond everything.
func denied(k Knowledge, run spacelift.Run) []managed.StateKey {
	var all []managed.StateKey
	for _, s := range k.States {
		beyond := !run.State.Terminal() && (s.State.Terminal() || s.StateVersion > run.StateVersion)
		if beyond && s.notified() {
			all = append(all, s.StateKey)
		}
	}
	if !slices.Contains(all, managed.StateKey{StateVersion: k.StateVersion, State: k.State}) {
		return nil
	}
	return all
}

// newestOf returns the newest events, trimmed as an execution would do it.
func newestOf(events []managed.RunEvent) []managed.RunEvent {
	events = slices.Clone(events[max(0, len(events)-managed.MaxEvents):])
	for i := range events {
		events[i] = managed.Trim(events[i])
	}
	return events
}
