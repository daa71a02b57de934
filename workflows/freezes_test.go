package workflows_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.temporal.io/sdk/temporal"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/freeze"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/workflows"
)

func TestFreezesAreDeclaredAndLifted(t *testing.T) {
	r := newFreezeRig(t)
	r.at(time.Minute, func() {
		r.holds()
		now := started.Add(time.Minute)
		r.declares(audit, func(got policy.Freeze) {
			want := policy.Freeze{ID: "f1", Reason: "audit", From: now, DeclaredBy: "jane", DeclaredAt: now}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("declared (-want +got):\n%s", diff)
			}
		})
	})
	r.at(2*time.Minute, func() {
		r.holds("f1")
		other := audit
		other.ID, other.Stacks = "f2", []string{"network-prod", "app-prod", "network-prod"}
		r.declares(other, func(f policy.Freeze) {
			if !slices.Equal(f.Stacks, []string{"app-prod", "network-prod"}) {
				t.Errorf("declared for %v", f.Stacks)
			}
		})
	})
	r.at(time.Hour, func() {
		r.holds("f1", "f2")
		r.lifts(freeze.Lift{ID: "f1", By: "joe"}, func(f policy.Freeze) {
			if f.ID != "f1" || !f.Until.Equal(started.Add(time.Hour)) {
				t.Errorf("lifted %+v", f)
			}
		})
	})
	r.at(time.Hour+time.Second, func() { r.holds("f2") })
	r.ends(2 * time.Hour)
	r.keeps(freeze.Input{Account: "acme"})
	second := 30 * time.Second
	r.wasSignaledAt(time.Minute, time.Minute+second, 2*time.Minute, 2*time.Minute+second, time.Hour, time.Hour+second, 2*time.Hour)
}

// Runs are signaled when a freeze begins and when it ends.
func TestFreezesBeginAndEnd(t *testing.T) {
	r := newFreezeRig(t)
	r.at(0, func() {
		wish := audit
		wish.From, wish.Until = started.Add(time.Hour), started.Add(3*time.Hour)
		r.declares(wish)
	})
	r.at(30*time.Minute, func() { r.holds("f1") })
	r.at(2*time.Hour, func() { r.holds("f1") })
	r.at(3*time.Hour+time.Second, func() { r.holds() })
	r.ends(24 * time.Hour)
	r.keeps(freeze.Input{Account: "acme"})
	second := 30 * time.Second
	r.wasSignaledAt(0, second, time.Hour, time.Hour+second, 3*time.Hour, 3*time.Hour+second, 24*time.Hour)
}

// Asked twice, it is one freeze: before and after its end, and in the next
// execution.
func TestFreezesKnowARepeat(t *testing.T) {
	r := newFreezeRig(t)
	var first, lifted policy.Freeze
	same := func(f policy.Freeze) {
		if f.ID != first.ID || !f.From.Equal(first.From) || !f.DeclaredAt.Equal(first.DeclaredAt) {
			t.Errorf("the repeat made %+v", f)
		}
	}
	repeated := audit
	repeated.Reason = " audit "
	r.at(time.Minute, func() { r.declares(audit, func(f policy.Freeze) { first = f }) })
	r.at(2*time.Minute, func() { r.declares(repeated, same) })
	lift := freeze.Lift{ID: "f1", By: "joe"}
	r.at(3*time.Minute, func() { r.lifts(lift, func(f policy.Freeze) { lifted = f }) })
	r.at(4*time.Minute, func() {
		r.declares(repeated, same)
		r.lifts(lift, func(f policy.Freeze) {
			if !f.Until.Equal(lifted.Until) {
				t.Errorf("the repeat lifted %+v, not %+v", f, lifted)
			}
		})
		r.holds()
	})
	r.ends(5 * time.Minute)
	next := r.keeps(freeze.Input{Account: "acme"})
	second := 30 * time.Second
	r.wasSignaledAt(time.Minute, time.Minute+second, 3*time.Minute, 3*time.Minute+second, 5*time.Minute)

	r2 := newFreezeRig(t)
	r2.env.SetStartTime(started.Add(5 * time.Minute))
	r2.at(time.Second, func() {
		r2.holds("last")
		r2.declares(audit, same)
		r2.lifts(lift)
		r2.refuses(freeze.LiftUpdate, freeze.Lift{ID: "f2", By: "joe"}, freeze.ErrTypeUnknown)
	})
	r2.at(time.Minute, func() {
		r2.holds("last")
		r2.env.SetContinueAsNewSuggested(true)
		r2.lifts(freeze.Lift{ID: "last", By: "rig"})
	})
	r2.keeps(next)
	// The second time of the execution before, and what happened in this one.
	r2.wasSignaledAt(5*time.Minute+second, 6*time.Minute)
}

// A key stands for one wish: for lifting one freeze, or declaring one.
func TestKeysOfFreezes(t *testing.T) {
	r := newFreezeRig(t)
	declare := func(id, key string) freeze.Declare {
		wish := audit
		wish.ID, wish.Key = id, key
		return wish
	}
	lift := func(id, key string) freeze.Lift { return freeze.Lift{ID: id, By: "joe", Key: key} }
	r.at(time.Minute, func() {
		r.declares(declare("f1", "k1"))
		r.declares(declare("f2", ""))
		r.declares(declare("f3", ""))
	})
	r.at(2*time.Minute, func() {
		r.refuses(freeze.LiftUpdate, lift("f1", "k1"), decide.ErrTypeKeyReused)
		r.lifts(lift("f1", "k2"))
	})
	r.at(3*time.Minute, func() {
		r.lifts(lift("f1", "k2")) // its repeat
		r.refuses(freeze.LiftUpdate, lift("f2", "k2"), decide.ErrTypeKeyReused)
		r.refuses(freeze.DeclareUpdate, declare("f4", "k2"), decide.ErrTypeKeyReused)
		r.refuses(freeze.LiftUpdate, lift("f9", "k3"), freeze.ErrTypeUnknown)
	})
	r.at(4*time.Minute, func() {
		r.holds("f2", "f3")
		r.lifts(lift("f2", "k3")) // what was refused used no key
	})
	r.ends(5 * time.Minute)
	next := r.keeps(freeze.Input{Account: "acme"})

	r2 := newFreezeRig(t)
	r2.env.SetStartTime(started.Add(5 * time.Minute))
	r2.at(time.Second, func() {
		r2.holds("f3", "last")
		r2.refuses(freeze.LiftUpdate, lift("f3", "k2"), decide.ErrTypeKeyReused)
		r2.env.SetContinueAsNewSuggested(true)
		r2.lifts(lift("f3", "k4"))
	})
	r2.keeps(next)
}

// dayAfterTheLast is a time that a request can hold, and no other zone's JSON can: in UTC,
// it is in the year 10000. One that was kept would end each task of its execution.
var dayAfterTheLast = time.Date(9999, 12, 31, 23, 0, 0, 0, time.FixedZone("", -12*60*60))

func TestFreezesRefuse(t *testing.T) {
	r := newFreezeRig(t)
	bad := func(change func(*freeze.Declare)) freeze.Declare {
		wish := audit
		wish.ID = "bad"
		change(&wish)
		return wish
	}
	r.at(time.Hour, func() {
		r.declares(audit)
		for _, wish := range []freeze.Declare{
			bad(func(w *freeze.Declare) { w.ID = "" }),
			bad(func(w *freeze.Declare) { w.By = "" }),
			bad(func(w *freeze.Declare) { w.Reason = " \n" }),
			bad(func(w *freeze.Declare) { w.Reason = string(make([]byte, 501)) }),
			bad(func(w *freeze.Declare) { w.Stacks = []string{"app-prod", ""} }),
			bad(func(w *freeze.Declare) { w.Stacks = []string{"it's none"} }),
			bad(func(w *freeze.Declare) { w.Key = string(make([]byte, 501)) }),
			bad(func(w *freeze.Declare) {
				for i := range 101 {
					w.Stacks = append(w.Stacks, strconv.Itoa(i))
				}
			}),
			bad(func(w *freeze.Declare) { w.Until = started.Add(30 * time.Minute) }),
			bad(func(w *freeze.Declare) { w.Until = dayAfterTheLast }),
			bad(func(w *freeze.Declare) { w.From, w.Until = dayAfterTheLast, time.Time{} }),
			bad(func(w *freeze.Declare) { w.From = time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC) }),
			bad(func(w *freeze.Declare) { w.From, w.Until = started.Add(3*time.Hour), started.Add(2*time.Hour) }),
			bad(func(w *freeze.Declare) { w.From, w.Until = started, started.Add(30*time.Minute) }),
		} {
			r.refuses(freeze.DeclareUpdate, wish, freeze.ErrTypeInvalid)
		}
		for _, change := range []func(*freeze.Declare){
			func(w *freeze.Declare) { w.By = "joe" },
			func(w *freeze.Declare) { w.Reason = "holidays" },
			func(w *freeze.Declare) { w.Until = started.Add(9 * time.Hour) },
			func(w *freeze.Declare) { w.Stacks = []string{"app-prod"} },
		} {
			wish := audit
			change(&wish)
			r.refuses(freeze.DeclareUpdate, wish, decide.ErrTypeKeyReused)
		}
		r.refuses(freeze.LiftUpdate, freeze.Lift{ID: "f9", By: "joe"}, freeze.ErrTypeUnknown)
	})
	r.at(2*time.Hour, func() {
		r.holds("f1")
		for i := range 49 {
			r.declares(freeze.Declare{ID: fmt.Sprintf("n%d", i), By: "jane", Reason: "many"})
		}
		r.refuses(freeze.DeclareUpdate, freeze.Declare{ID: "one-too-many", By: "jane", Reason: "many"}, freeze.ErrTypeFull)
		r.env.SetContinueAsNewSuggested(true)
		r.lifts(freeze.Lift{ID: "f1", By: "jane"})
	})
	r.keeps(freeze.Input{Account: "acme"})
	if len(r.signaled) == 0 || r.signaled[0] != time.Hour {
		t.Errorf("runs were signaled at %v", r.signaled)
	}
}

// While runs can't be signaled, people still declare and lift; once they can,
// they are.
func TestFreezesWhileListsAreAway(t *testing.T) {
	r := newFreezeRig(t)
	r.at(0, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.away = true
		r.declares(audit)
	})
	r.at(10*time.Minute, func() {
		r.holds("f1")
		r.lifts(freeze.Lift{ID: "f1", By: "jane"})
	})
	r.at(11*time.Minute, func() {
		r.holds()
		r.mu.Lock()
		defer r.mu.Unlock()
		r.away = false
	})
	r.ends(time.Hour)
	r.keeps(freeze.Input{Account: "acme"})
	if len(r.signaled) < 2 || r.signaled[0] < 11*time.Minute || r.signaled[0] > 13*time.Minute {
		t.Errorf("runs were signaled at %v", r.signaled)
	}
}

// A freeze of one stack is no news for the runs of others.
func TestFreezesOfOneStackDisturbNoOther(t *testing.T) {
	r := newFreezeRig(t)
	r.at(0, func() {
		wish := audit
		wish.Stacks = []string{"app-prod"}
		r.declares(wish)
	})
	r.at(time.Hour, func() { r.lifts(freeze.Lift{ID: "f1", By: "jane"}) })
	r.ends(2 * time.Hour)
	r.keeps(freeze.Input{Account: "acme"})
	r.wasSignaledAt(2 * time.Hour) // of the last one
	second := 30 * time.Second
	if want := []time.Duration{0, second, time.Hour, time.Hour + second}; !slices.Equal(r.others, want) {
		t.Errorf("runs of the stack were signaled at %v, want %v", r.others, want)
	}
}

func TestFreezesOfAnImpossibleAccount(t *testing.T) {
	r := newFreezeRig(t)
	r.env.ExecuteWorkflow(workflows.Freezes, freeze.Input{Account: "a'b"})
	if app, ok := errors.AsType[*temporal.ApplicationError](r.env.GetWorkflowError()); !ok || app.Type() != freeze.ErrTypeImpossibleAccount {
		t.Errorf("it ended with %v", r.env.GetWorkflowError())
	}
}
