package queue

import (
	"hash/maphash"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"github.com/gantryhq/gantry/spacelift"
)

// New runs of an account are started at this pace once a burst of them is used up. Anyone
// with the webhook secret can make up runs, and each costs an execution and several reads
// of Spacelift's API. The pace is far above that of real runs, and the burst is a push that
// starts a run of each of 2,000 stacks.
const (
	newRunsBurst     = 2000
	newRunsPerSecond = 10
)

// lane is the queue of an account's runs that have executions, or of its new ones, which
// are paced. No lane waits for another.
type lane struct {
	account spacelift.Account
	fresh   bool // of new runs
	runs    schedule
	bytes   int
	held    []*heldRun // in turn
	pace    *rate.Limiter
	delayed time.Time // since when new runs wait; zero if they don't
}

// lane returns the lane of a run, and makes it if necessary.
func (q *Queue) lane(ref spacelift.RunRef) *lane {
	fresh := !q.started.has(HashOf(ref))
	for _, l := range q.lanes {
		if l.account == ref.Account && l.fresh == fresh {
			return l
		}
	}
	l := &lane{account: ref.Account, fresh: fresh, pace: rate.NewLimiter(newRunsPerSecond, newRunsBurst)}
	q.lanes = append(q.lanes, l)
	return l
}

// laneOf returns the lane that a run is in, or that it would be in if it has no events in
// memory.
func (q *Queue) laneOf(ref spacelift.RunRef) *lane {
	if r := q.runs[ref]; r != nil {
		return r.lane
	}
	return q.lane(ref)
}

// leave has the runs that are next to have room in this lane wait in the one that they are
// in since they began, or ended.
func (l *lane) leave() {
	for len(l.held) > 0 {
		h := l.held[0]
		if h.turn > 0 || h.run == nil || h.run.lane == l {
			return
		}
		l.nextTurn()
		h.lane = h.run.lane
		h.lane.held = append(h.lane.held, h)
	}
}

// nextTurn ends the turn of the run that is first to have room.
func (l *lane) nextTurn() { l.held[0], l.held = nil, l.held[1:] }

// hasRoom reports whether a lane may have more events in memory.
func (q *Queue) hasRoom(l *lane) bool { return l.bytes <= maxQueueBytes/max(2, len(q.lanes)) }

// laneDue returns when the next run of a lane may be sent; zero without one.
func (q *Queue) laneDue(l *lane, now time.Time) (due time.Time) {
	if len(l.runs) == 0 {
		l.delayed = time.Time{}
		return due
	}
	due = q.when(l.runs[0].due)
	if lacks := 1 - l.pace.TokensAt(now); l.fresh && lacks > 0 && !due.After(now) {
		if l.delayed.IsZero() {
			l.delayed = now
		}
		due = now.Add(max(time.Millisecond, time.Duration(lacks/newRunsPerSecond*float64(time.Second))))
	}
	return due
}

// take removes the run that is due first.
func (l *lane) take(now time.Time) *Run {
	l.pace.AllowN(now, 1)
	return l.runs.take()
}

// Hash identifies a run. It has the process's own seed, so nobody can choose runs that
// share one.
type Hash uint64

var seed = maphash.MakeSeed()

// HashOf returns the hash of a run.
func HashOf(ref spacelift.RunRef) Hash { return Hash(maphash.Comparable(seed, ref)) }

// Started notes that a run has an execution.
func (q *Queue) Started(h Hash) { q.started.add(h) }

// startedRuns remembers the last runs whose executions took events, about 65,000.
type startedRuns [1 << 14][4]Hash // in each, the last one first

func (s *startedRuns) has(h Hash) bool { return slices.Contains(s[h%Hash(len(s))][:], h) }

func (s *startedRuns) add(h Hash) {
	some := &s[h%Hash(len(s))]
	i := slices.Index(some[:], h)
	if i < 0 {
		i = len(some) - 1
	}
	copy(some[1:i+1], some[:i])
	some[0] = h
}

func (s *startedRuns) remove(h Hash) {
	some := &s[h%Hash(len(s))]
	if i := slices.Index(some[:], h); i >= 0 {
		some[i] = 0
	}
}
