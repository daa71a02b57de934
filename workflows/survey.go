package workflows

import (
	"cmp"
	"slices"
	"time"

	"github.com/gantryhq/gantry/spacelift"
)

// Bounds on one execution of Reconcile.
const (
	maxRunPages    = 60   // of 50 runs in progress, whatever their stack
	maxExecutions  = 5000 // open ones
	maxRunsPerTick = 50   // looked at closely: at most one call to Spacelift's API each
	maxFailures    = 3    // of those; then the rest waits for the next tick
)

// grace is how old something must be before Reconcile sees to it: what happened
// just now is probably on its way as a notification.
func grace(interval time.Duration) time.Duration { return min(interval/2, 30*time.Second) }

// survey is what an execution of Reconcile sees at first: two lists, each a
// moment old, that say where to look closely.
type survey struct {
	at       time.Time
	interval time.Duration
	lines    []spacelift.RunLine // runs in progress
	open     []openRun
}

// openRun is a run with an open execution.
type openRun struct {
	Run   spacelift.RunRef
	State spacelift.RunState // that lists show of the execution
}

// candidate is a run to look at closely.
type candidate struct {
	Run    spacelift.RunRef
	Listed bool               // Spacelift lists it among those in progress
	State  spacelift.RunState // as listed
	Whole  bool               // compare the whole history, whatever the state
}

// candidates picks the runs to look at closely: first those that waited, then
// by name. At most limit are for now; the others wait, so that each has its
// turn however many there are.
//
// The states that lists show of executions lag and leave out short ones (see
// restsIn), so a difference is only a reason to look.
func (s survey) candidates(c carried, limit int) (now []candidate, waiting []runKey) {
	var all []candidate
	shown, listed := map[spacelift.RunRef]spacelift.RunState{}, map[spacelift.RunRef]bool{}
	for _, o := range s.open {
		shown[o.Run] = o.State
	}
	for _, line := range s.lines {
		listed[line.Ref] = true
		state, open := shown[line.Ref]
		whole := open && slices.Contains(c.Owed, keyOf(line.Ref))
		switch {
		case !open && !spacelift.Managed(line.StackLabels):
		case !open && line.CreatedAt.After(s.at.Add(-grace(s.interval))):
		case open && state == line.State && !whole:
		default:
			all = append(all, candidate{Run: line.Ref, Listed: true, State: line.State, Whole: whole})
		}
	}
	for _, o := range s.open {
		if !listed[o.Run] {
			all = append(all, candidate{Run: o.Run})
		}
	}
	turn := map[runKey]int{}
	for i, key := range c.Waiting {
		turn[key] = i - len(c.Waiting)
	}
	slices.SortFunc(all, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(turn[keyOf(a.Run)], turn[keyOf(b.Run)]), cmp.Compare(keyOf(a.Run), keyOf(b.Run)))
	})
	split := min(limit, len(all))
	for _, c := range all[split:] {
		waiting = append(waiting, keyOf(c.Run))
	}
	return all[:split], waiting
}

// owed returns the runs to compare whole: all that are followed when the
// webhook was off, and else those still left from when it was.
func (s survey) owed(before []runKey, gap bool) []runKey {
	var keys []runKey
	for _, o := range s.open {
		if key := keyOf(o.Run); gap || slices.Contains(before, key) {
			keys = append(keys, key)
		}
	}
	return keys
}

// managed counts the managed runs in progress.
func (s survey) managed() (n int) {
	for _, line := range s.lines {
		if spacelift.Managed(line.StackLabels) {
			n++
		}
	}
	return n
}

// knowledge is what an execution said that it knows of its run.
type knowledge struct {
	exists, ended bool
	state         spacelift.RunState
	states        []stateKey
}

// worthReading reports whether a run must be read, given what its execution
// knows.
func worthReading(c candidate, k knowledge) bool {
	switch {
	case k.ended:
		return false // whatever it missed, it follows no longer
	case !k.exists || !c.Listed || c.Whole:
		return true
	}
	return k.state != c.State
}

// repair is what to do for one run.
type repair struct {
	Run    spacelift.RunRef
	Do     mending
	Events []RunEvent // to tell the execution
	Reason string     // to give up
	Ends   bool       // the run has ended
	Fresh  bool       // a notification of this should have come since the last tick
}

// mending is how a run is repaired.
type mending string

const (
	mendNothing mending = ""
	mendAdopt   mending = "adopt"   // start an execution
	mendTell    mending = "tell"    // tell its execution what it missed
	mendGiveUp  mending = "give-up" // tell its execution to stop
)

// mend compares a run with what its execution knows. last is when this was
// done before, zero for never.
//
// An execution is told everything it misses as soon as one part of that is
// older than the grace. Newer parts alone are left to notifications.
func mend(k knowledge, run spacelift.Run, at time.Time, interval time.Duration, last time.Time) repair {
	r := repair{Run: run.Ref, Ends: run.State.Terminal()}
	since := last.Add(-grace(interval))
	managed := spacelift.Managed(run.StackLabels)
	events := fromRead(run, at)
	if !k.exists {
		if !r.Ends && managed {
			r.Do, r.Events = mendAdopt, events
			r.Fresh = !last.IsZero() && run.CreatedAt.After(since)
		}
		return r
	}
	settled := false
	for _, e := range events {
		if slices.Contains(k.states, stateKey{e.StateVersion, e.State}) {
			continue
		}
		r.Events = append(r.Events, e)
		if e.At.After(at.Add(-grace(interval))) {
			continue
		}
		settled = true
		r.Fresh = r.Fresh || managed && !last.IsZero() && e.At.After(since)
	}
	if !settled {
		return repair{Run: run.Ref}
	}
	r.Do = mendTell
	return r
}

// mendUnknown is for a run that Spacelift does not know. It takes two ticks to
// be believed: an answer may be wrong once.
func mendUnknown(run spacelift.RunRef, k knowledge, c carried) (r repair, unknown bool) {
	switch {
	case !k.exists:
		return repair{Run: run}, false
	case !slices.Contains(c.Unknown, keyOf(run)):
		return repair{Run: run}, true
	}
	return repair{Run: run, Do: mendGiveUp, Reason: reasonUnknown, Ends: true}, false
}
