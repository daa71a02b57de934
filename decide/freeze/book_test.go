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

// temporalTakes is how large a payload may be.
const temporalTakes = 2_000_000

// Whatever people declare and lift, what an execution carries on and what it
// answers stay below what Temporal takes. What there is no room for is refused.
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
			f, _, no := b.Judge(t0, wish)
			if no != nil {
				if no.Type != ErrTypeFull || !strings.Contains(no.Reason, "lift one first") {
					t.Fatalf("freeze %d is refused with %v", i, no)
				}
				refused++
				break
			}
			b.Remember(wish.Key, DeclarationOf(wish.ID))
			b.Add(t0, f)
		}
		if len(b.Held) < 15 {
			t.Errorf("there was room for %d absurd freezes", len(b.Held))
		}
		if carried, answer := decide.SizeOf(Input{Account: "acme", Known: &b}), decide.SizeOf(b.Freezes()); max(carried, answer) > temporalTakes {
			t.Errorf("%d bytes are carried on and %d answered, more than %d", carried, answer, temporalTakes)
		}
		for _, e := range b.Held {
			b.End(t0, Lift{ID: e.Freeze.ID, By: absurd})
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
		f, _, no := b.Judge(t0, wish)
		if no != nil {
			t.Fatalf("freeze %d: %v", i, no)
		}
		b.Add(t0, f)
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
		f, _, no := b.Judge(t0, wish)
		if no != nil {
			t.Fatal(no)
		}
		b.Add(t0, f)
		b.End(t0.Add(time.Minute), Lift{ID: "a", By: "joe"})
		text, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &read); err != nil {
			t.Fatal(err)
		}
		if _, repeated, no := read.Judge(t0.Add(2*time.Minute), wish); no != nil || !repeated {
			t.Errorf("%+v is repeated: %t, %v", wish, repeated, no)
		}
		wish.Until = at.Add(9 * time.Hour)
		if _, _, no := read.Judge(t0.Add(2*time.Minute), wish); no == nil {
			t.Errorf("%+v is taken for the one of before", wish)
		}
	}
}

// Changes that come close together are notified of together, each to the runs
// that it covers and twice.
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
		{"two at once", func(b *Book) { b.changed(t0, freeze("b")); b.changed(t0, freeze("a")) }, 0, "[a b]"},
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
