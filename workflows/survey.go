package workflows

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/gantryhq/gantry/policy"
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
	Phase Phase              // the same
}

// candidate is a run to look at closely.
type candidate struct {
	Run    spacelift.RunRef
	Listed bool               // Spacelift lists it among those in progress
	State  spacelift.RunState // as listed
	Whole  bool               // compare the whole history, whatever the state

	NeedsApproval bool     // as listed
	Block         string   // the same: why Gantry does not confirm
	Labels        []string // as listed
}

// candidates picks the runs to look at closely: first those that waited, then
// by name. At most limit are for now; the others wait, so that each has its
// turn however many there are.
//
// The states that lists show of executions lag and leave out short ones (see
// restsIn), so a difference is only a reason to look.
//
// No notification tells that labels were mended, or that an approval policy
// asks for a review or no longer does. So a run that waits, or is to, is looked
// at as well when the list shows something else of it than its execution was
// seen to know.
func (s survey) candidates(c carried, limit int) (now []candidate, waiting []runKey) {
	var all []candidate
	shown, listed := s.executions(), map[spacelift.RunRef]bool{}
	seen := map[sighting]bool{}
	for _, known := range c.Seen {
		seen[known] = true
	}
	for _, line := range s.lines {
		listed[line.Ref] = true
		execution, open := shown[line.Ref]
		whole := open && slices.Contains(c.Owed, keyOf(line.Ref))
		switch {
		case !open && !spacelift.Managed(line.StackLabels):
		case !open && line.CreatedAt.After(s.at.Add(-grace(s.interval))):
		case open && execution.State == line.State && !whole && (!execution.waits(line) || seen[sightingOf(line)]):
		default:
			all = append(all, candidate{
				Run: line.Ref, Listed: true, State: line.State, Whole: whole, NeedsApproval: line.NeedsApproval, Labels: line.StackLabels,
				Block: blockReason(line.Brakes.ConfirmBlock(line.Ref.Run)),
			})
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

// executions are the open ones by their run.
func (s survey) executions() map[spacelift.RunRef]openRun {
	all := map[spacelift.RunRef]openRun{}
	for _, o := range s.open {
		all[o.Run] = o
	}
	return all
}

// waits reports whether a run waits for people or for what holds it, or would
// if its execution knew what the list shows.
func (o openRun) waits(line spacelift.RunLine) bool {
	return o.Phase == PhaseWaiting || o.Phase == PhaseHolding || line.NeedsApproval
}

// sightingOf is what the list shows of a run besides its state.
func sightingOf(line spacelift.RunLine) sighting {
	sum := sha256.Sum256([]byte(fmt.Sprintf("%t %q %q", line.NeedsApproval, line.StackLabels, blockReason(line.Brakes.ConfirmBlock(line.Ref.Run)))))
	return sighting{Run: keyOf(line.Ref), Shown: hex.EncodeToString(sum[:8])}
}

// seen returns what the next tick need not look at again: what the list shows
// of runs that wait, where that was so before, or their executions were found to
// know it. There is one for each such run, so some hundred KB at the very most.
func (s survey) seen(before []sighting, knowing map[spacelift.RunRef]bool) (now []sighting) {
	shown, known := s.executions(), map[sighting]bool{}
	for _, b := range before {
		known[b] = true
	}
	for _, line := range s.lines {
		o, open := shown[line.Ref]
		if this := sightingOf(line); open && o.waits(line) && (known[this] || knowing[line.Ref]) {
			now = append(now, this)
		}
	}
	return now
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
	needsApproval bool
	labels        []string
	block         string
}

// otherThan reports whether the run is known in its state, but not with the
// particulars that Spacelift shows.
//
// A block counts in states that ask for a decision: nothing else waits for it.
func (k knowledge) otherThan(state spacelift.RunState, needsApproval bool, labels []string, block string) bool {
	return k.state == state && (k.needsApproval != needsApproval || !slices.Equal(k.labels, policy.TrimLabels(labels)) ||
		asks(state, needsApproval) && k.block != block)
}

// worthReading reports whether a run must be read, given what its execution
// knows.
func worthReading(c candidate, k knowledge) bool {
	switch {
	case k.ended:
		return c.Listed && spacelift.Managed(c.Labels) // it should not have, unless the list lags
	case !k.exists || !c.Listed || c.Whole:
		return true
	}
	return k.state != c.State || k.otherThan(c.State, c.NeedsApproval, c.Labels, c.Block)
}

// repair is what to do for one run.
type repair struct {
	Run    spacelift.RunRef
	Do     mending
	Events []RunEvent // to tell the execution
	Reason string     // to give up
	Ends   bool       // the run has ended
	Fresh  bool       // a notification of this should have come since the last tick
	Knows  bool       // its execution knows all that the list shows
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
// don't tell of the state that the run is in is told at once.
func mend(k knowledge, run spacelift.Run, at time.Time, interval time.Duration, last time.Time) repair {
	r := repair{Run: run.Ref, Ends: run.State.Terminal()}
	since := last.Add(-grace(interval))
	managed := spacelift.Managed(run.StackLabels)
	events := fromRead(run, at)
	switch {
	case !k.exists:
		if !r.Ends && managed {
			r.Do, r.Events = mendAdopt, events
			r.Fresh = !last.IsZero() && run.CreatedAt.After(since)
		}
		return r
	case k.ended:
		// Somebody forged its end, or Spacelift took it up again under the same id.
		if now := events[len(events)-1]; !r.Ends && managed && !now.At.After(at.Add(-grace(interval))) {
			r.Do, r.Events = mendReopen, events
		}
		return r
	}
	settled := false
	for _, e := range events {
		if slices.Contains(k.states, stateKey{e.StateVersion, e.State}) {
			if newest := e.StateVersion == run.StateVersion && e.State == run.State; newest && !r.Ends && k.otherThan(run.State, run.NeedsApproval, run.StackLabels, blockReason(run.Brakes.ConfirmBlock(run.Ref.Run))) {
				r.Events, settled = append(r.Events, e), true
			}
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
