package simulator_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// witness keeps a word or two for each thing that it receives.
type witness struct{ saw []string }

func (w *witness) RunEntered(r simulator.Run) { w.saw = append(w.saw, string(r.State)) }
func (w *witness) RunReviewed(_ spacelift.RunRef, r simulator.Review) {
	w.saw = append(w.saw, "review "+r.Decision)
}
func (w *witness) RequestAnswered(r simulator.Request, data []byte) {
	if r.Kind == "query" {
		w.saw = append(w.saw, r.Fields[0]+" "+string(data))
	}
}
func (w *witness) StackChanged(s simulator.StackStatus) {
	switch {
	case s.Deleted:
		w.saw = append(w.saw, "deleted")
	case s.Deleting:
		w.saw = append(w.saw, "deleting")
	case s.Disabled:
		w.saw = append(w.saw, "disabled")
	case s.LockedBy != "":
		w.saw = append(w.saw, "locked by "+s.LockedBy)
	default:
		w.saw = append(w.saw, "stack "+strings.Join(s.Labels, " "))
	}
}

func TestAnObserverSeesWhatHappensInOrder(t *testing.T) {
	w := &witness{}
	r := newRig(t, func(o *simulator.Options) { o.Observer = w })
	r.ok(r.AddStack(simulator.Stack{ID: "network", Approvals: 1}))
	r.ok(r.SetLabels("network", "a", "b"))
	r.ok(r.Lock("jane", "network", ""))
	r.ok(r.Unlock("jane", "network"))
	r.ok(r.Disable("network"))
	r.ok(r.Enable("network"))
	id, err := r.Push("network", simulator.Commit{}, simulator.Plan{Delta: spacelift.Delta{Added: 1}})
	r.ok(err)
	r.clock.Advance(0)
	r.ok(r.Review("jane", "network", id, "APPROVE", ""))
	r.graphql(`{ stack(id: "network") { id } }`, nil, nil)
	r.ok(r.Discard("jane", "network", id, ""))
	_, err = r.RemoveStack("jane", "network", false)
	r.ok(err)
	want := []string{
		"stack ", "stack a b", "locked by jane", "stack a b", "disabled", "stack a b",
		"QUEUED", "READY", "PREPARING", "INITIALIZING", "PLANNING", "UNCONFIRMED", "review APPROVE",
		`stack {"stack":{"id":"network"}}`, "DISCARDED", "deleted",
	}
	if diff := cmp.Diff(want, w.saw); diff != "" {
		t.Error(diff)
	}
}
