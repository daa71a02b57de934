package workflows

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/gantryhq/gantry/policy"
)

// Bounds of freezes. They travel with every continue-as-new and every query.
const (
	maxFreezes      = 50  // that hold or will
	maxPastFreezes  = 50  // remembered, so that a repeat of what was asked then is known for one
	maxFreezeStacks = 100 // named by one freeze
	maxFreezeText   = 500 // bytes of a reason; of an id and a name, too
)

// toldAgain is how long after a change runs are told of it a second time: one
// that began to wait at that very moment is not listed yet.
const toldAgain = 30 * time.Second

// freezeBook is what an execution of Freezes knows. Its JSON form travels in
// FreezesInput.
type freezeBook struct {
	Held []freezeEntry `json:"held,omitempty"` // oldest first
	Past []freezeEntry `json:"past,omitempty"` // oldest first
	Keys usedKeys      `json:"keys,omitempty"`

	Turned time.Time   `json:"turned,omitzero"` // when it was looked at last
	Tell   []time.Time `json:"tell,omitempty"`  // when runs are to be told, soonest first
}

// freezeEntry is a freeze and what was asked for.
type freezeEntry struct {
	Freeze   policy.Freeze `json:"freeze"`
	Wish     DeclareFreeze `json:"wish"`
	LiftedBy string        `json:"liftedBy,omitempty"`
}

// freezes are those that hold or will.
func (b *freezeBook) freezes() []policy.Freeze {
	all := make([]policy.Freeze, 0, len(b.Held)) // empty, not null
	for _, e := range b.Held {
		all = append(all, e.Freeze)
	}
	return all
}

// judge says what a wish comes to: a freeze to add, or the one that the same
// wish made before. The error is the refusal.
func (b *freezeBook) judge(now time.Time, wish DeclareFreeze) (f policy.Freeze, repeated bool, err error) {
	wish = wish.tidy()
	if err := b.refuseKey(wish.Key, declarationOf(wish.ID)); err != nil {
		return f, false, err
	}
	for _, e := range slices.Concat(b.Held, b.Past) {
		if e.Freeze.ID != wish.ID {
			continue
		}
		if !e.Wish.same(wish) {
			return f, false, refusedFreeze(ErrTypeKeyReused, "another freeze has the id %s", wish.ID)
		}
		return e.Freeze, true, nil
	}
	bad := func(format string, args ...any) (policy.Freeze, bool, error) {
		return policy.Freeze{}, false, refusedFreeze(ErrTypeBadFreeze, format, args...)
	}
	f = policy.Freeze{
		ID: wish.ID, Reason: wish.Reason, Stacks: wish.Stacks, From: wish.From, Until: wish.Until, DeclaredBy: wish.By, DeclaredAt: now,
	}
	if f.From.IsZero() {
		f.From = now
	}
	switch {
	case f.ID == "" || f.DeclaredBy == "":
		return bad("a freeze needs an id and somebody who declares it")
	case f.Reason == "":
		return bad("a freeze needs a reason: people will ask for it")
	case len(f.ID) > maxFreezeText || len(f.Reason) > maxFreezeText || len(f.DeclaredBy) > maxFreezeText:
		return bad("the id, the reason or the name of a freeze has more than %d bytes", maxFreezeText)
	case len(f.Stacks) > maxFreezeStacks:
		return bad("it names %d stacks, more than %d; name none for the whole account", len(f.Stacks), maxFreezeStacks)
	case slices.ContainsFunc(f.Stacks, func(s string) bool { return s == "" || len(s) > maxFreezeText }):
		return bad("one of its stacks is empty or too long to be a stack's id")
	case !f.Until.IsZero() && !f.Until.After(f.From):
		return bad("it ends at %s, before it begins at %s", f.Until.Format(time.RFC3339), f.From.Format(time.RFC3339))
	case !f.Until.IsZero() && !f.Until.After(now):
		return bad("it ends at %s, which is over", f.Until.Format(time.RFC3339))
	case len(b.Held) >= maxFreezes:
		return bad("there are %d freezes already; lift one first", len(b.Held))
	}
	return f, false, nil
}

func (b *freezeBook) add(now time.Time, wish DeclareFreeze, f policy.Freeze) {
	b.Held = append(b.Held, freezeEntry{Freeze: f, Wish: wish.tidy()})
	b.changed(now)
}

// find returns the freeze to lift, or the one that was lifted before. The error
// is the refusal.
func (b *freezeBook) find(now time.Time, wish LiftFreeze) (f policy.Freeze, repeated bool, err error) {
	if err := b.refuseKey(wish.Key, liftOf(wish.ID)); err != nil {
		return f, false, err
	}
	for _, e := range b.Held {
		if e.Freeze.ID == wish.ID && !over(e.Freeze, now) {
			return e.Freeze, false, nil
		}
	}
	for _, e := range b.Past {
		if e.Freeze.ID == wish.ID && e.LiftedBy != "" {
			return e.Freeze, true, nil
		}
	}
	return f, false, refusedFreeze(ErrTypeUnknownFreeze, "there is no freeze %s, or it is over", wish.ID)
}

// What a key was used for. Whose it is need not be said: two people never share
// a key. A declaration's particulars are compared where its id is.
func declarationOf(id string) string { return "declare " + id }
func liftOf(id string) string        { return "lift " + id }

// refuseKey refuses a key that was used for something else.
func (b *freezeBook) refuseKey(key, what string) error {
	if used := b.Keys.use(key); used != "" && used != what {
		return refusedFreeze(ErrTypeKeyReused, "this idempotency key was used for something else; take a new one")
	}
	return nil
}

func (b *freezeBook) remember(key, what string) {
	if b.Keys.use(key) == "" {
		b.Keys.remember(key, what)
	}
}

// end lifts a freeze that find found.
func (b *freezeBook) end(now time.Time, wish LiftFreeze) (f policy.Freeze) {
	b.retire(func(e *freezeEntry) bool {
		if e.Freeze.ID != wish.ID {
			return false
		}
		e.Freeze.Until, e.LiftedBy = now, wish.By
		f = e.Freeze
		return true
	})
	b.changed(now)
	return f
}

// turn takes out what is over, and notes that runs are to be told when a freeze
// has begun or ended since the last time.
func (b *freezeBook) turn(now time.Time) {
	edge := false
	for _, e := range b.Held {
		edge = edge || e.Freeze.From.After(b.Turned) && !e.Freeze.From.After(now) && e.Freeze.From.After(e.Freeze.DeclaredAt)
	}
	ended := b.retire(func(e *freezeEntry) bool { return over(e.Freeze, now) })
	b.Turned = now
	if edge || ended {
		b.changed(now)
	}
}

// retire moves entries from those that hold to those that did.
func (b *freezeBook) retire(gone func(*freezeEntry) bool) (found bool) {
	var left []freezeEntry
	for _, e := range b.Held {
		if !gone(&e) {
			left = append(left, e)
			continue
		}
		found = true
		b.Past = append(b.Past, e)
	}
	b.Held = left
	b.Past = b.Past[max(0, len(b.Past)-maxPastFreezes):]
	return found
}

// changed makes runs be told, now and once more.
func (b *freezeBook) changed(now time.Time) { b.Tell = []time.Time{now, now.Add(toldAgain)} }

// tellNow reports whether runs are to be told now, and takes that as done.
func (b *freezeBook) tellNow(now time.Time) bool {
	if len(b.Tell) == 0 || b.Tell[0].After(now) {
		return false
	}
	b.Tell = b.Tell[1:]
	return true
}

// due is when there is something to do next; zero if nothing is.
func (b *freezeBook) due() time.Time {
	times := slices.Clone(b.Tell)
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

// tidy is the same wish in one form, so that wishes can be compared.
func (w DeclareFreeze) tidy() DeclareFreeze {
	w.Reason = strings.TrimSpace(w.Reason)
	w.Stacks = slices.Compact(slices.Sorted(slices.Values(w.Stacks)))
	w.From, w.Until = w.From.UTC().Round(0), w.Until.UTC().Round(0)
	return w
}

// same compares tidy wishes.
func (w DeclareFreeze) same(o DeclareFreeze) bool {
	return w.ID == o.ID && w.By == o.By && w.Reason == o.Reason && slices.Equal(w.Stacks, o.Stacks) && w.From.Equal(o.From) && w.Until.Equal(o.Until)
}

func refusedFreeze(kind, format string, args ...any) error {
	return temporal.NewNonRetryableApplicationError(fmt.Sprintf(format, args...), kind, nil)
}
