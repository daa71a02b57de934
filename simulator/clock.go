package simulator

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// Clock is the source of a simulator's time. The real one is the default and
// works inside testing/synctest; a ManualClock moves only when Advance is called.
type Clock interface {
	Now() time.Time
	// AfterFunc calls f, never on the caller's stack, once d has passed. f is
	// not called when the returned stop function was called before.
	AfterFunc(d time.Duration, f func()) (stop func())
}

type realClock struct{}

func (realClock) Now() time.Time { return time.Now() }

func (realClock) AfterFunc(d time.Duration, f func()) func() {
	t := time.AfterFunc(d, f)
	return func() { t.Stop() }
}

// ManualClock moves only when Advance is called. It is safe for concurrent
// use.
type ManualClock struct {
	advancing sync.Mutex // one Advance at a time

	mu     sync.Mutex
	now    time.Time
	next   int // breaks ties, so that equal deadlines fire in the order they were set
	timers []manualTimer
}

type manualTimer struct {
	at  time.Time
	seq int
	f   func()
}

// NewManualClock returns a clock that shows start.
func NewManualClock(start time.Time) *ManualClock { return &ManualClock{now: start} }

// Now returns the time the clock shows.
func (c *ManualClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// AfterFunc implements Clock. Even with d = 0, f waits for the next Advance.
func (c *ManualClock) AfterFunc(d time.Duration, f func()) func() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next++
	t := manualTimer{at: c.now.Add(max(d, 0)), seq: c.next, f: f}
	at, _ := slices.BinarySearchFunc(c.timers, t, func(a, b manualTimer) int {
		return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.seq, b.seq))
	})
	c.timers = slices.Insert(c.timers, at, t)
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.timers = slices.DeleteFunc(c.timers, func(o manualTimer) bool { return o.seq == t.seq })
	}
}

// Advance moves the clock by d. It runs the timers that fire within d in order,
// each at its own instant, including those that are set meanwhile. Advance(0) runs
// the timers that are due now. A timer's function must not call it.
func (c *ManualClock) Advance(d time.Duration) {
	c.advancing.Lock()
	defer c.advancing.Unlock()
	target := c.Now().Add(d)
	for f := c.due(target); f != nil; f = c.due(target) {
		f()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = target
}

// due removes and returns the first timer up to target, and moves the clock to it.
func (c *ManualClock) due(target time.Time) func() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.timers) == 0 || c.timers[0].at.After(target) {
		return nil
	}
	t := c.timers[0]
	c.timers = slices.Delete(c.timers, 0, 1)
	c.now = t.at
	return t.f
}
