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

// Grace is how old something must be before Reconcile sees to it: what happened
// just now is probably on its way as a notification.
func Grace(interval time.Duration) time.Duration { return min(interval/2, 30*time.Second) }

// Candidate is a run to compare closely: activities.Candidate.
type Candidate struct {
	Run                           spacelift.RunRef
	Listed, Managed, Whole, Swept bool
	State                         spacelift.RunState
	Fingerprint                   string
}

// Knowledge is what an execution said that it knows of its run.
type Knowledge struct {
	Exists, Ended bool
	state         spacelift.RunState
	version       int // of state
	states        []managed.StateKey
	notified      []managed.StateKey // the states that only notifications told of
	fingerprint   string             // of the facts that no notification carries
}

// Shown reports whether the API showed the run to its execution before.
func (k Knowledge) Shown() bool { return len(k.notified) < len(k.states) }

// otherThan reports whether the run is known in its state, but with other facts
// that no notification carries.
func (k Knowledge) otherThan(state spacelift.RunState, fingerprint string) bool {
	return k.state == state && k.fingerprint != fingerprint
}

// WorthReading reports whether a run must be read, given what its execution
// knows.
func WorthReading(c Candidate, k Knowledge) bool {
	switch {
	case k.Ended:
		return c.Listed && c.Managed // it should not have, unless the list lags
	case !k.Exists || !c.Listed || c.Whole:
		return true
	}
	return k.state != c.State || k.otherThan(c.State, c.Fingerprint)
}

// Repair is what to do for one run.
type Repair struct {
	Run    spacelift.RunRef
	Do     Action
	Events []managed.RunEvent // to tell the execution
	Denied []managed.StateKey // that it knows, and Spacelift does not show
	Reason string             // to give up
	Ends   bool               // the run has ended
	Fresh  bool               // a notification of this should have come since the last tick
}

// Action is how a run is repaired.
type Action string

const (
	Nothing Action = ""
	Adopt   Action = "adopt"   // start an execution
	Notify  Action = "tell"    // tell its execution what it missed
	Reopen  Action = "reopen"  // start another execution: the one there was took the run for ended
	GiveUp  Action = "give-up" // tell its execution to stop
)

// RepairOf compares a run with what its execution knows. last is when this was
// done before, zero for never.
//
// An execution is told everything it misses as soon as one part of that is
// older than the grace. Newer parts alone are left to notifications. What those
// don't tell of the state that the run is in is told at once, and so is what the
// execution takes for the run's newest state though the API, which was asked
// later, shows an earlier one.
func RepairOf(k Knowledge, run spacelift.Run, at time.Time, interval time.Duration, last time.Time) Repair {
	r := Repair{Run: run.Ref, Ends: run.State.Terminal()}
	since := last.Add(-Grace(interval))
	ours := spacelift.Managed(run.StackLabels)
	events := managed.FromRead(run, at)
	switch {
	case !k.Exists:
		if !r.Ends && ours {
			r.Do, r.Events = Adopt, newestOf(events)
			r.Fresh = !last.IsZero() && run.CreatedAt.After(since)
		}
		return r
	case k.Ended:
		// Somebody forged its end, or Spacelift took it up again under the same id.
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

// missed collects the events that an execution does not know, and what it takes for
// the newest state wrongly. It reports whether anything is worth a repair: events
// that are younger than settled may still be on their way.
func (r *Repair) missed(k Knowledge, run spacelift.Run, events []managed.RunEvent, settled, since time.Time) (worth bool) {
	worth = len(r.Denied) > 0
	other := k.otherThan(run.State, factsOf(run).Fingerprint()) || len(r.Denied) > 0
	for _, e := range events {
		newest := e.StateVersion == run.StateVersion && e.State == run.State
		known := slices.Contains(k.states, managed.StateKey{StateVersion: e.StateVersion, State: e.State})
		switch {
		case known && newest && !r.Ends && other:
			r.Events, worth = append(r.Events, e), true
		case !known:
			r.Events = append(r.Events, e)
			if !e.At.After(settled) {
				worth = true
				r.Fresh = r.Fresh || e.At.After(since)
			}
		}
	}
	return worth
}

// factsOf are the facts that the API shows of a run.
func factsOf(run spacelift.Run) policy.Facts {
	return policy.Facts{
		State: run.State, Labels: run.StackLabels, NeedsApproval: run.NeedsApproval, Block: run.Brakes.ConfirmBlock(run.Ref.Run),
	}
}

// denied returns the states that only notifications told of and that are beyond
// what the API shows, if the execution takes one of them for the run's state: it
// can't see what is so as long as it does. An end that the API does not show is
// beyond everything.
func denied(k Knowledge, run spacelift.Run) []managed.StateKey {
	beyond := func(s managed.StateKey) bool {
		return !run.State.Terminal() && (s.State.Terminal() || s.StateVersion > run.StateVersion)
	}
	if now := (managed.StateKey{StateVersion: k.version, State: k.state}); !beyond(now) || !slices.Contains(k.notified, now) {
		return nil
	}
	var all []managed.StateKey
	for _, s := range k.notified {
		if beyond(s) {
			all = append(all, s)
		}
	}
	return all
}

// newestOf keeps the newest events, trimmed as an execution would do it.
func newestOf(events []managed.RunEvent) []managed.RunEvent {
	events = slices.Clone(events[max(0, len(events)-managed.MaxEvents):])
	for i := range events {
		events[i] = managed.Trim(events[i])
	}
	return events
}

// How long Spacelift must not know a run before Reconcile gives it up. A run that
// it never showed is probably a forgery. One that it showed before was deleted,
// or Gantry's API key lost access, and that may be repaired.
const (
	neverShown   = 5 // intervals
	noLonger     = 24 * time.Hour
	missingLooks = 3         // at least
	missingLater = time.Hour // between two looks, at most
	maxMissing   = 32_000    // bytes of all missing runs, as JSON
)

// MissingRun is a run that Spacelift did not know when it was read.
type MissingRun struct {
	Run   runKey    `json:"run"`
	Since time.Time `json:"since"`
	Next  time.Time `json:"next"`            // when to read it again
	Looks int       `json:"looks"`           // that did not find it
	Shown bool      `json:"shown,omitempty"` // the API showed it to its execution before
}

// Due reports whether it is time to read the run again.
func (m MissingRun) Due(at time.Time) bool { return !at.Before(m.Next) }

// Missed notes that Spacelift did not know the run once more, and reports
// whether that is enough to give it up.
func (m *MissingRun) Missed(at time.Time, interval time.Duration) (enough bool) {
	patience := neverShown * interval
	if m.Shown {
		patience = noLonger
	}
	if m.Looks++; m.Looks == 1 {
		m.Since = at
	}
	early := interval / 2 // ticks are not exactly on time
	end := m.Since.Add(patience - early)
	if m.Looks >= missingLooks && !at.Before(end) {
		return true
	}
	m.Next = at.Add(min(interval<<min(m.Looks-1, 10), max(missingLater, interval)) - early)
	if m.Looks >= missingLooks && end.Before(m.Next) {
		m.Next = end
	}
	return false
}

func KnowledgeOf(told Known) Knowledge {
	k := Knowledge{
		Exists: told.Exists, Ended: told.Phase == string(managed.PhaseDone), state: told.State, version: told.StateVersion,
		fingerprint: policy.Facts{State: told.State, Labels: told.Labels, NeedsApproval: told.NeedsApproval, Block: told.Block}.Fingerprint(),
	}
	for _, s := range told.States {
		key := managed.StateKey{StateVersion: s.StateVersion, State: s.State}
		k.states = append(k.states, key)
		if s.Source != string(managed.SourceReconcile) {
			k.notified = append(k.notified, key)
		}
	}
	return k
}
