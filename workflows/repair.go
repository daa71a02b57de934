package workflows

import (
	"slices"
	"time"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// Bounds on one execution of Reconcile.
const (
	maxRunPages    = 400       // of 50 runs in progress, whatever their stack
	maxExecutions  = 20_000    // open ones
	maxRunsPerTick = 50        // compared closely: at most one call to Spacelift's API each
	maxFailures    = 3         // of those in a row; then the others wait for the next tick
	maxRepairs     = 1_000_000 // bytes of what is read of runs and sent to executions, as JSON
)

// grace is how old something must be before Reconcile sees to it: what happened
// just now is probably on its way as a notification.
func grace(interval time.Duration) time.Duration { return min(interval/2, 30*time.Second) }

// candidate is a run to compare closely: activities.Candidate.
type candidate struct {
	Run                           spacelift.RunRef
	Listed, Managed, Whole, Swept bool
	State                         spacelift.RunState
	Fingerprint                   string
}

// knowledge is what an execution said that it knows of its run.
type knowledge struct {
	exists, ended bool
	state         spacelift.RunState
	version       int // of state
	states        []managed.StateKey
	notified      []managed.StateKey // the states that only notifications told of
	fingerprint   string             // of the facts that no notification carries
}

// shown reports whether the API showed the run to its execution before.
func (k knowledge) shown() bool { return len(k.notified) < len(k.states) }

// otherThan reports whether the run is known in its state, but with other facts
// that no notification carries.
func (k knowledge) otherThan(state spacelift.RunState, fingerprint string) bool {
	return k.state == state && k.fingerprint != fingerprint
}

// worthReading reports whether a run must be read, given what its execution
// knows.
func worthReading(c candidate, k knowledge) bool {
	switch {
	case k.ended:
		return c.Listed && c.Managed // it should not have, unless the list lags
	case !k.exists || !c.Listed || c.Whole:
		return true
	}
	return k.state != c.State || k.otherThan(c.State, c.Fingerprint)
}

// repair is what to do for one run.
type repair struct {
	Run    spacelift.RunRef
	Do     mending
	Events []managed.RunEvent // to tell the execution
	Denied []managed.StateKey // that it knows, and Spacelift does not show
	Reason string             // to give up
	Ends   bool               // the run has ended
	Fresh  bool               // a notification of this should have come since the last tick
}

// mending is how a run is repaired.
type mending string

const (
	mendNothing mending = ""
	mendAdopt   mending = "adopt"   // start an execution
	mendTell    mending = "tell"    // tell its execution what it missed
	mendReopen  mending = "reopen"  // start another execution: the one there was took the run for ended
	mendGiveUp  mending = "give-up" // tell its execution to stop
)

// mend compares a run with what its execution knows. last is when this was
// done before, zero for never.
//
// An execution is told everything it misses as soon as one part of that is
// older than the grace. Newer parts alone are left to notifications. What those
// don't tell of the state that the run is in is told at once, and so is what the
// execution takes for the run's newest state though the API, which was asked
// later, shows an earlier one.
func mend(k knowledge, run spacelift.Run, at time.Time, interval time.Duration, last time.Time) repair {
	r := repair{Run: run.Ref, Ends: run.State.Terminal()}
	since := last.Add(-grace(interval))
	ours := spacelift.Managed(run.StackLabels)
	events := managed.FromRead(run, at)
	switch {
	case !k.exists:
		if !r.Ends && ours {
			r.Do, r.Events = mendAdopt, newestOf(events)
			r.Fresh = !last.IsZero() && run.CreatedAt.After(since)
		}
		return r
	case k.ended:
		// Somebody forged its end, or Spacelift took it up again under the same id.
		if now := events[len(events)-1]; !r.Ends && ours && !now.At.After(at.Add(-grace(interval))) {
			r.Do, r.Events = mendReopen, newestOf(events)
		}
		return r
	}
	r.Denied = denied(k, run)
	settled := len(r.Denied) > 0
	for _, e := range events {
		if slices.Contains(k.states, managed.StateKey{StateVersion: e.StateVersion, State: e.State}) {
			newest := e.StateVersion == run.StateVersion && e.State == run.State
			other := k.otherThan(run.State, factsOf(run).Fingerprint())
			if newest && !r.Ends && (other || len(r.Denied) > 0) {
				r.Events, settled = append(r.Events, e), true
			}
			continue
		}
		r.Events = append(r.Events, e)
		if e.At.After(at.Add(-grace(interval))) {
			continue
		}
		settled = true
		r.Fresh = r.Fresh || ours && !last.IsZero() && e.At.After(since)
	}
	if !settled {
		return repair{Run: run.Ref}
	}
	r.Do, r.Events = mendTell, newestOf(r.Events)
	return r
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
func denied(k knowledge, run spacelift.Run) []managed.StateKey {
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

// missingRun is a run that Spacelift did not know when it was read.
type missingRun struct {
	Run   runKey    `json:"run"`
	Since time.Time `json:"since"`
	Next  time.Time `json:"next"`            // when to read it again
	Looks int       `json:"looks"`           // that did not find it
	Shown bool      `json:"shown,omitempty"` // the API showed it to its execution before
}

// due reports whether it is time to read the run again.
func (m missingRun) due(at time.Time) bool { return !at.Before(m.Next) }

// missed notes that Spacelift did not know the run once more, and reports
// whether that is enough to give it up.
func (m *missingRun) missed(at time.Time, interval time.Duration) (enough bool) {
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
