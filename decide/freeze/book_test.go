package freeze

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/policy"
)

// temporalTakes is the size that Temporal accepts for a payload, in bytes.
const temporalTakes = 2_000_000

// Whatever people declare and lift, the input of the next execution and the answer to
// a query stay below the size that Temporal accepts. A freeze without room is refused.
func TestFreezeBookStaysSmall(t *testing.T) {
	absurd := strings.Repeat("<", maxText) // six bytes each, as JSON
	var stacks []string
	for i := range maxStacks {
		stacks = append(stacks, fmt.Sprintf("%0200d", i))
	}
	var b Book
	refused := 0
	for round := range 5 {
		for i := range maxHeld + 1 {
			wish := Declare{ID: fmt.Sprintf("%d-%d-%s", round, i, absurd[:400]), By: absurd, Reason: absurd, Stacks: stacks, Key: fmt.Sprintf("%d %d", round, i)}
			_, _, refusal := b.Declare(t0, wish)
			if refusal != nil {
				if refusal.Type != ErrTypeFull || !strings.Contains(refusal.Reason, "lift one first") {
					t.Fatalf("freeze %d is refused with %v", i, refusal)
				}
				refused++
				break
			}
		}
		if len(b.Held) < 15 {
			t.Errorf("there was room for %d absurd freezes", len(b.Held))
		}
		if carried, answer := decide.SizeOf(Input{Account: "acme", Known: &b}), decide.SizeOf(b.Freezes()); max(carried, answer) > temporalTakes {
			t.Errorf("%d bytes are carried and %d answered, more than %d", carried, answer, temporalTakes)
		}
		for _, e := range b.Held {
			if _, _, refusal := b.Lift(t0, Lift{ID: e.Freeze.ID, By: absurd}); refusal != nil {
				t.Fatal(refusal)
			}
		}
	}
	if refused != 5 {
		t.Errorf("%d of 5 rounds met the bound", refused)
	}
}

// As many freezes as there may be fit in, if they are of the usual size.
func TestFreezeBookHoldsUsualFreezes(t *testing.T) {
	var b Book
	for i := range maxHeld {
		wish := Declare{ID: fmt.Sprintf("frz_%026d", i), By: "jane@example.com", Reason: "the quarter ends, see CHG-1234"}
		for j := range maxStacks {
			wish.Stacks = append(wish.Stacks, fmt.Sprintf("payments-prod-eu-central-1-service-%04d", j))
		}
		if _, _, refusal := b.Declare(t0, wish); refusal != nil {
			t.Fatalf("freeze %d: %v", i, refusal)
		}
	}
}

// A freeze is the one that the same wish made before, however it is read from its
// JSON form.
func TestFreezeBookKnowsTheWish(t *testing.T) {
	at := t0.Add(time.Hour)
	for _, wish := range []Declare{
		{ID: "a", By: "jane", Reason: "audit"},
		{ID: "a", By: "jane", Reason: "audit", Stacks: []string{"b", "a"}, From: at, Until: at.Add(time.Hour)},
	} {
		var b, read Book
		if _, _, refusal := b.Declare(t0, wish); refusal != nil {
			t.Fatal(refusal)
		}
		if _, _, refusal := b.Lift(t0.Add(time.Minute), Lift{ID: "a", By: "joe"}); refusal != nil {
			t.Fatal(refusal)
		}
		text, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &read); err != nil {
			t.Fatal(err)
		}
		if _, fresh, refusal := read.Declare(t0.Add(2*time.Minute), wish); refusal != nil || fresh {
			t.Errorf("%+v is fresh: %t, %v", wish, fresh, refusal)
		}
		wish.Until = at.Add(9 * time.Hour)
		if _, _, refusal := read.Declare(t0.Add(2*time.Minute), wish); refusal == nil {
			t.Errorf("%+v is taken for the earlier one", wish)
		}
	}
}

// Runs are notified together of changes that come close together, and a second time.
func TestFreezeBookNotifies(t *testing.T) {
	freeze := func(stacks ...string) policy.Freeze { return policy.Freeze{Stacks: stacks} }
	for _, tc := range []struct {
		name string
		do   func(b *Book)
		at   time.Duration
		want string
	}{
		{"one stack", func(b *Book) { b.changed(t0, freeze("a")) }, 0, "[a]"},
		{"again", func(b *Book) { b.changed(t0, freeze("a")); b.NotifyNow(t0, false) }, notifyAgain, "[a]"},
		{"two together", func(b *Book) { b.changed(t0, freeze("b")); b.changed(t0, freeze("a")) }, 0, "[a b]"},
		{"one and all", func(b *Book) { b.changed(t0, freeze("b")); b.changed(t0, freeze()) }, 0, "[]"},
		{"the second time of both", func(b *Book) {
			b.changed(t0, freeze("b"))
			b.NotifyNow(t0, false)
			b.changed(t0.Add(time.Second), freeze("a"))
			b.NotifyNow(t0.Add(time.Second), false)
		}, notifyAgain + time.Second, "[a b]"},
		{"all, and then one", func(b *Book) {
			b.changed(t0, freeze())
			b.NotifyNow(t0, false)
			b.changed(t0.Add(time.Second), freeze("a"))
			b.NotifyNow(t0.Add(time.Second), false)
		}, notifyAgain + time.Second, "[]"},
	} {
		var b Book
		tc.do(&b)
		if _, due := b.NotifyNow(t0.Add(tc.at), true); due {
			t.Errorf("%s: runs are notified while they are being notified", tc.name)
		}
		if stacks, due := b.NotifyNow(t0.Add(tc.at), false); !due || fmt.Sprint(stacks) != tc.want {
			t.Errorf("%s: %v, due is %t; want %s", tc.name, stacks, due, tc.want)
		}
	}
}

var t0 = time.Date(2026, 1, 1, 10, 0, 0, 0, time.UTC)

// JSON can't hold the year 10000, in which these are by UTC, and an execution that kept
// one would fail at each task.
func TestFreezesWithinTheYears(t *testing.T) {
	t.Parallel()
	west := time.FixedZone("", -12*60*60)
	now := time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC)
	for _, wish := range []Declare{
		{Until: time.Date(9999, 12, 31, 23, 0, 0, 0, west)},
		{From: time.Date(9999, 12, 31, 23, 0, 0, 0, west)},
		{From: time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		wish.ID, wish.By, wish.Reason = "f1", "jane", "audit"
		if refusal := new(Book).RefuseDeclare(now, wish); refusal == nil || refusal.Type != ErrTypeInvalid {
			t.Errorf("%v to %v: %v", wish.From, wish.Until, refusal)
		}
	}
	last := Declare{ID: "f1", By: "jane", Reason: "audit", Until: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)}
	if refusal := new(Book).RefuseDeclare(now, last); refusal != nil {
		t.Errorf("the last day: %v", refusal)
	}
}
