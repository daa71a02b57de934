package freeze

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// Bounds of freezes. They travel with every continue-as-new and every query, so
// all together must stay below the 2 MB that Temporal takes.
const (
	maxHeld      = 50      // in effect or to come
	maxHeldBytes = 600_000 // of those, as JSON
	maxPast      = 50      // remembered, so that a repeated request is recognized
	maxPastBytes = 400_000 // of those, as JSON
	maxKeyBytes  = 300_000 // of the idempotency keys, as JSON
	maxStacks    = 100     // named by one freeze
	maxText      = 500     // bytes of a reason; of an id, a name and a key, too
	maxNotified  = 200     // stacks to notify runs of; beyond, those of all stacks are
)

// notifyAgain is the time after which runs are notified of a change again: a run
// that began to wait at that very moment is not listed yet.
const notifyAgain = 30 * time.Second

// Book is the state of an execution of Freezes. Its JSON form travels in Input.
type Book struct {
	Held []entry         `json:"held,omitempty"` // oldest first
	Past []entry         `json:"past,omitempty"` // oldest first
	Keys decide.UsedKeys `json:"keys,omitempty"`

	Turned time.Time  `json:"turned,omitzero"`  // when Turn was called last
	Notify []audience `json:"notify,omitempty"` // soonest first, two at most
}

// entry is a freeze, and the parts of its wish that the freeze lacks.
type entry struct {
	Freeze   policy.Freeze `json:"freeze"`
	Asked    time.Time     `json:"asked,omitzero"` // the end that the wish asked for
	LiftedBy string        `json:"liftedBy,omitempty"`
}

// audience is a set of waiting runs to notify of a change: those of some stacks, or of
// all.
type audience struct {
	At     time.Time `json:"at"`
	Stacks []string  `json:"stacks,omitempty"`
	All    bool      `json:"all,omitempty"`
}

// add adds the runs that a freeze covers.
func (a *audience) add(stacks []string) {
	a.Stacks = slices.Compact(slices.Sorted(slices.Values(slices.Concat(a.Stacks, stacks))))
	if a.All = a.All || len(stacks) == 0 || len(a.Stacks) > maxNotified; a.All {
		a.Stacks = nil
	}
}

// merge adds another audience.
func (a *audience) merge(other audience) {
	if other.All || len(other.Stacks) > 0 {
		a.add(other.Stacks) // no stacks are all
	}
}

// Freezes returns the freezes that are in effect or announced.
func (b *Book) Freezes() []policy.Freeze {
	all := make([]policy.Freeze, 0, len(b.Held)) // empty, not null
	for _, e := range b.Held {
		all = append(all, e.Freeze)
	}
	return all
}

// Declare adds the freeze that a person wishes, unless the same wish made it before:
// then fresh is false. It returns the freeze, or why there will be none.
func (b *Book) Declare(now time.Time, wish Declare) (f policy.Freeze, fresh bool, refusal *decide.Refusal) {
	f, fresh, refusal = b.declared(now, wish)
	if refusal != nil {
		return f, false, refusal
	}
	b.remember(wish.Key, declareContent(wish.ID))
	if fresh {
		b.Held = append(b.Held, entry{Freeze: f, Asked: f.Until})
		b.changed(now, f)
	}
	return f, fresh, nil
}

// RefuseDeclare returns why Declare would refuse a wish; nil if it would not.
func (b *Book) RefuseDeclare(now time.Time, wish Declare) *decide.Refusal {
	_, _, refusal := b.declared(now, wish)
	return refusal
}

// declared returns the freeze that a wish makes, or made before.
func (b *Book) declared(now time.Time, wish Declare) (f policy.Freeze, fresh bool, refusal *decide.Refusal) {
	wish = wish.tidy()
	if _, refusal := b.Keys.Check(wish.Key, declareContent(wish.ID)); refusal != nil {
		return f, false, refusal
	}
	for _, e := range slices.Concat(b.Held, b.Past) {
		if e.Freeze.ID != wish.ID {
			continue
		}
		if !e.made(wish) {
			return f, false, decide.Refuse(decide.ErrTypeKeyReused, "another freeze has the id %s", wish.ID)
		}
		return e.Freeze, false, nil
	}
	f = policy.Freeze{
		ID: wish.ID, Reason: wish.Reason, Stacks: wish.Stacks, From: wish.From, Until: wish.Until, DeclaredBy: wish.By, DeclaredAt: now,
	}
	if f.From.IsZero() {
		f.From = now
	}
	if refusal = wish.invalid(f, now); refusal == nil {
		refusal = b.full(f)
	}
	if refusal != nil {
		return policy.Freeze{}, false, refusal
	}
	return f, true, nil
}

// invalid refuses a wish that makes no freeze.
func (w Declare) invalid(f policy.Freeze, now time.Time) *decide.Refusal {
	bad := func(format string, args ...any) *decide.Refusal {
		return decide.Refuse(ErrTypeInvalid, format, args...)
	}
	impossible := slices.IndexFunc(f.Stacks, func(s string) bool { return spacelift.ValidateStack(spacelift.StackID(s)) != nil })
	switch {
	case f.ID == "" || f.DeclaredBy == "":
		return bad("a freeze needs an id and the name of the person who declares it")
	case f.Reason == "":
		return bad("a freeze needs a reason")
	case max(len(f.ID), len(f.Reason), len(f.DeclaredBy), len(w.Key)) > maxText:
		return bad("the id, the reason, the name or the idempotency key of a freeze has more than %d bytes", maxText)
	case len(f.Stacks) > maxStacks:
		return bad("it names %d stacks, more than %d; name none for the whole account", len(f.Stacks), maxStacks)
	case impossible >= 0:
		return bad("no stack can have the id %s", decide.Fit(fmt.Sprintf("%q", f.Stacks[impossible]), decide.MaxName))
	case !decide.Storable(f.From) || !decide.Storable(f.Until):
		return bad("it begins or ends outside of the years 1 to 9999 (UTC); leave until out for a freeze without an end")
	case !f.Until.IsZero() && !f.Until.After(f.From):
		return bad("it ends at %s, before it begins at %s", f.Until.Format(time.RFC3339), f.From.Format(time.RFC3339))
	case !f.Until.IsZero() && !f.Until.After(now):
		return bad("it ends at %s, which is in the past", f.Until.Format(time.RFC3339))
	}
	return nil
}

// full refuses a freeze that there is no room for.
func (b *Book) full(f policy.Freeze) *decide.Refusal {
	if len(b.Held) >= maxHeld {
		return decide.Refuse(ErrTypeFull, "there are %d freezes already; lift one first", len(b.Held))
	}
	if size := decide.SizeOf(b.Held) + decide.SizeOf(entry{Freeze: f, Asked: f.Until}); size > maxHeldBytes {
		return decide.Refuse(ErrTypeFull,
			"all freezes together would take %d bytes, more than %d; lift one first, or name fewer stacks, or none for the whole account", size, maxHeldBytes)
	}
	return nil
}

// Lift ends the freeze that a person wishes to end, unless the same wish ended it
// before: then fresh is false. It returns the freeze, or why none is lifted.
func (b *Book) Lift(now time.Time, wish Lift) (f policy.Freeze, fresh bool, refusal *decide.Refusal) {
	f, fresh, refusal = b.lifted(now, wish)
	if refusal != nil {
		return f, false, refusal
	}
	b.remember(wish.Key, liftContent(wish.ID))
	if !fresh {
		return f, false, nil
	}
	b.retire(func(e *entry) bool {
		if e.Freeze.ID != wish.ID {
			return false
		}
		e.Freeze.Until, e.LiftedBy = now, wish.By
		f = e.Freeze
		return true
	})
	b.changed(now, f)
	return f, true, nil
}

// RefuseLift returns why Lift would refuse a wish; nil if it would not.
func (b *Book) RefuseLift(now time.Time, wish Lift) *decide.Refusal {
	_, _, refusal := b.lifted(now, wish)
	return refusal
}

// lifted returns the freeze that a wish is to end, or ended before.
func (b *Book) lifted(now time.Time, wish Lift) (f policy.Freeze, fresh bool, refusal *decide.Refusal) {
	if _, refusal := b.Keys.Check(wish.Key, liftContent(wish.ID)); refusal != nil {
		return f, false, refusal
	}
	for _, e := range b.Held {
		if e.Freeze.ID == wish.ID && !over(e.Freeze, now) {
			return e.Freeze, true, nil
		}
	}
	for _, e := range b.Past {
		if e.Freeze.ID == wish.ID && e.LiftedBy != "" {
			return e.Freeze, false, nil
		}
	}
	return f, false, decide.Refuse(ErrTypeUnknown, "there is no freeze %s, or it is over", wish.ID)
}

// An idempotency key is remembered with the kind of the request and the id of the
// freeze. The person need not be part of it: two people never share a key. The rest
// of a declaration is compared with the freeze of its id.
func declareContent(id string) string { return "declare " + id }
func liftContent(id string) string    { return "lift " + id }

func (b *Book) remember(key, content string) {
	b.Keys.Remember(key, content)
	for decide.SizeOf(b.Keys) > maxKeyBytes {
		b.Keys = slices.Delete(b.Keys, 0, 1)
	}
}

// Turn removes freezes that are over, and schedules notifications for those that
// began or ended since the last call.
func (b *Book) Turn(now time.Time) {
	var edges []policy.Freeze
	for _, e := range b.Held {
		if e.Freeze.From.After(b.Turned) && !e.Freeze.From.After(now) && e.Freeze.From.After(e.Freeze.DeclaredAt) {
			edges = append(edges, e.Freeze)
		}
	}
	b.retire(func(e *entry) bool {
		if over(e.Freeze, now) {
			edges = append(edges, e.Freeze)
			return true
		}
		return false
	})
	b.Turned = now
	b.changed(now, edges...)
}

// retire moves entries from those in effect to those of the past.
func (b *Book) retire(gone func(*entry) bool) {
	var left []entry
	for _, e := range b.Held {
		if !gone(&e) {
			left = append(left, e)
			continue
		}
		b.Past = append(b.Past, e)
	}
	b.Held = left
	b.Past = slices.Delete(b.Past, 0, max(0, len(b.Past)-maxPast))
	for decide.SizeOf(b.Past) > maxPastBytes {
		b.Past = slices.Delete(b.Past, 0, 1)
	}
}

// changed schedules that the runs which freezes cover are notified, now and once more.
func (b *Book) changed(now time.Time, freezes ...policy.Freeze) {
	if len(freezes) == 0 {
		return
	}
	soon, again := audience{At: now}, audience{At: now.Add(notifyAgain)}
	for _, due := range b.Notify {
		if due.At.After(now) {
			again.merge(due)
		} else {
			soon.merge(due)
		}
	}
	for _, f := range freezes {
		soon.add(f.Stacks)
		again.add(f.Stacks)
	}
	b.Notify = []audience{soon, again}
}

// NotifyNow returns the stacks whose runs must be notified now, none for all, and
// counts that as done. While runs are being notified (busy), nothing is due.
func (b *Book) NotifyNow(now time.Time, busy bool) (stacks []string, due bool) {
	if busy || len(b.Notify) == 0 || b.Notify[0].At.After(now) {
		return nil, false
	}
	stacks = b.Notify[0].Stacks
	b.Notify = slices.Delete(b.Notify, 0, 1)
	return stacks, true
}

// Due returns the time at which there is something to do next; zero for none.
func (b *Book) Due(busy bool) time.Time {
	var times []time.Time
	if len(b.Notify) > 0 && !busy {
		times = append(times, b.Notify[0].At)
	}
	for _, e := range b.Held {
		if e.Freeze.From.After(b.Turned) {
			times = append(times, e.Freeze.From)
		}
		if !e.Freeze.Until.IsZero() {
			times = append(times, e.Freeze.Until)
		}
	}
	if len(times) == 0 {
		return time.Time{}
	}
	return slices.MinFunc(times, time.Time.Compare)
}

func over(f policy.Freeze, now time.Time) bool { return !f.Until.IsZero() && !f.Until.After(now) }

// tidy returns the same wish in one form, so that wishes can be compared.
func (w Declare) tidy() Declare {
	w.Reason = strings.TrimSpace(w.Reason)
	w.Stacks = slices.Compact(slices.Sorted(slices.Values(w.Stacks)))
	w.From, w.Until = w.From.UTC().Round(0), w.Until.UTC().Round(0)
	return w
}

// made reports whether a tidy wish is the one that the freeze was made by.
func (e entry) made(w Declare) bool {
	f := e.Freeze
	from := f.From.Equal(w.From) || w.From.IsZero() && f.From.Equal(f.DeclaredAt)
	return f.ID == w.ID && f.DeclaredBy == w.By && f.Reason == w.Reason && slices.Equal(f.Stacks, w.Stacks) && from && e.Asked.Equal(w.Until)
}
