// Package repeats recognises events that come again, among the last ones.
package repeats

import (
	"hash/maphash"

	"github.com/gantryhq/gantry/spacelift"
)

// Key identifies an event: Spacelift numbers a run's states, but sends no
// delivery id. It is a hash with the process's own seed, so nobody can choose
// events that share one.
type Key uint64

var seed = maphash.MakeSeed()

// KeyOf returns the key of an event.
func KeyOf(run spacelift.RunRef, state spacelift.RunState, version int) Key {
	return Key(maphash.Comparable(seed, struct {
		run     spacelift.RunRef
		state   spacelift.RunState
		version int
	}{run, state, version}))
}

// Window recognises repeats of the last events. Each takes about 30 bytes, where a map
// would take twice that. It is not safe for concurrent use.
type Window struct {
	ring  []place // the oldest at next, once it is full
	next  int
	max   int
	slots []uint32 // a hash table with linear probing, of indexes in ring from 1; 0 is free
}

type place struct {
	key Key
	n   int64
}

// New returns a window of so many events.
func New(max int) Window { return Window{max: max, slots: make([]uint32, 16)} }

// Number returns the number of the last event with a key.
func (w *Window) Number(k Key) (n int64, ok bool) {
	if i := w.slots[w.find(k)]; i > 0 {
		return w.ring[i-1].n, true
	}
	return 0, false
}

// Add adds an event by its key and number, in place of the oldest if the window is full.
func (w *Window) Add(k Key, n int64) {
	if known, ok := w.Number(k); ok && known == n {
		return
	}
	at := len(w.ring)
	if at < w.max {
		w.ring = append(w.ring, place{k, n})
		if 2*len(w.ring) > len(w.slots) {
			w.grow()
		}
	} else {
		at = w.next
		if s := w.find(w.ring[at].key); w.slots[s] == uint32(at+1) {
			w.free(s)
		}
		w.ring[at] = place{k, n}
		w.next = (at + 1) % w.max
	}
	w.slots[w.find(k)] = uint32(at + 1)
}

// Forget makes a repeat of an event new: it is dead or was not stored.
func (w *Window) Forget(k Key, n int64) {
	if s := w.find(k); w.slots[s] > 0 && w.ring[w.slots[s]-1].n == n {
		w.free(s)
	}
}

// find returns the slot of a key, or the free one that it would have.
func (w *Window) find(k Key) int {
	mask := len(w.slots) - 1
	s := int(k) & mask
	for w.slots[s] > 0 && w.ring[w.slots[s]-1].key != k {
		s = (s + 1) & mask
	}
	return s
}

// free frees a slot, and moves those behind it that would no longer be found.
func (w *Window) free(s int) {
	mask := len(w.slots) - 1
	for next := (s + 1) & mask; w.slots[next] > 0; next = (next + 1) & mask {
		home := int(w.ring[w.slots[next]-1].key) & mask
		if (next-home)&mask >= (next-s)&mask {
			w.slots[s], s = w.slots[next], next
		}
	}
	w.slots[s] = 0
}

// grow doubles the slots.
func (w *Window) grow() {
	old := w.slots
	w.slots = make([]uint32, 2*len(old))
	for _, i := range old {
		if i > 0 {
			w.slots[w.find(w.ring[i-1].key)] = i
		}
	}
}
