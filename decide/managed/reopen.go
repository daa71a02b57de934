package managed

import (
	"slices"
	"time"
)

// Follow makes the record go on from that of an earlier execution. Under a new
// attempt of the run, what people decided about the one before counts no longer.
func (r *Record) Follow(at time.Time, was Record) {
	if r.after() > was.after() {
		r.Keys = was.Keys
		return
	}
	begun := *r
	*r = was
	r.GivenUp, r.Decided, r.Again = "", "", nil
	r.Diagnosed, r.Failure, r.Retry = false, nil, nil
	r.Released, r.ChainsTold, r.Backoff = nil, nil, nil
	r.Outbox, r.Farewell = nil, false
	r.Trust, r.RulesStale = trust{}, true
	r.Events = slices.DeleteFunc(slices.Clone(was.Events), func(e RunEvent) bool { return e.State.Terminal() })
	*r = fold(*r, begun.Events...)
	r.ReadAt, r.Shown = begun.ReadAt, begun.Shown
	r.Join(begun.Chains)
	if begun.RetryOf != nil {
		r.triesAgain(at, *begun.RetryOf)
	}
	r.Journal = append(r.Journal, begun.Journal...)
	r.Note(at, KindNote, "Gantry follows the run again: it goes on in Spacelift, and an earlier execution had ended")
}
