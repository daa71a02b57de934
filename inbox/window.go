package inbox

import (
	"hash/maphash"

	"github.com/gantryhq/gantry/spacelift"
)

// key identifies an event: Spacelift numbers a run's states, but sends no
// delivery id. It is a hash with the process's own seed, so nobody can choose
// events that share one.
type key uint64

var seed = maphash.MakeSeed()

func keyOf(run spacelift.RunRef, state spacelift.RunState, version int) key {
	return key(maphash.Comparable(seed, struct {
		run     spacelift.RunRef
		state   spacelift.RunState
		version int
	}{run, state, version}))
}

// window recognises repeats of the last events. Each takes about 50 bytes. Guarded
// by Inbox.mu.
type window struct {
	seen map[key]int64 // numbers
	ring []place       // the oldest at next, once it is full
	next int
	max  int
}

type place struct {
	key key
	n   int64
}

func newWindow(max int) window { return window{seen: make(map[key]int64), max: max} }

func (w *window) add(k key, n int64) {
	if w.seen[k] == n {
		return
	}
	w.seen[k] = n
	if len(w.ring) < w.max {
		w.ring = append(w.ring, place{k, n})
		return
	}
	old := w.ring[w.next]
	w.forget(old.key, old.n)
	w.ring[w.next] = place{k, n}
	w.next = (w.next + 1) % w.max
}

// forget makes a repeat of an event new: it is old, dead or was not stored.
func (w *window) forget(k key, n int64) {
	if w.seen[k] == n {
		delete(w.seen, k)
	}
}
