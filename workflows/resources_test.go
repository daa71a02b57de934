package workflows_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/notify"
	"github.com/gantryhq/gantry/spacelift"
)

// People see what a plan destroys before what it adds: in the run, in the
// explanation and in the message that asks them. It is read once for each plan.
func TestPeopleSeeTheResourcesOfAPlan(t *testing.T) {
	var many []spacelift.Resource
	for i := range 25 {
		many = append(many, spacelift.Resource{Address: fmt.Sprintf("aws_iam_user.gone[%02d]", i), Change: spacelift.ChangeDelete})
	}
	play(t, []story{{
		name: "deletes and replacements first", labels: production,
		script: func(r *rig) {
			r.changes = append([]spacelift.Resource{{Address: "aws_db_instance.ma\x1b[31min", Change: spacelift.ChangeDelete}, {Address: "aws_vpc.a", Change: spacelift.ChangeReplace}}, r.changes...)
			r.at(0, func() { r.moves(queued, planning, unconfirmed) })
			r.at(time.Minute, func() {
				want := []spacelift.Resource{{Address: "aws_db_instance.ma\uFFFD[31min", Change: spacelift.ChangeDelete}, {Address: "aws_vpc.a", Change: spacelift.ChangeReplace}}
				for what, got := range map[string]*managed.Resources{"status": r.status().Resources, "explanation": r.explains().Resources} {
					if got == nil || got.Total != 2 || !slices.Equal(got.First, want) {
						t.Errorf("the %s shows %+v, want %+v", what, got, want)
					}
				}
				r.toldOf("Deletes", "aws_db_instance.ma\uFFFD[31min")
				r.toldOf("Replaces", "aws_vpc.a")
				r.says(ann, managed.Approve, "")
			})
			r.at(2*time.Minute, func() {
				r.readResources(1)
				r.set(func() { r.changes = many })
				r.moves(replan, planning, unconfirmed)
			})
			r.at(3*time.Minute, func() {
				got := r.status().Resources
				if got == nil || got.Total != 25 || len(got.First) != 20 || got.Deletes != 25 {
					t.Errorf("after a replan the status shows %+v", got)
				}
				r.toldOf("Deletes", "aws_iam_user.gone[09] and 15 more")
				r.readResources(2)
			})
			r.at(4*time.Minute, func() { r.person("joe", discarded, "") })
			r.at(5*time.Minute, func() { r.notify() })
		},
		state: discarded, outcome: "discarded",
	}, {
		name: "resources that can't be read hold nobody up", labels: asked,
		script: func(r *rig) {
			r.unlisted = true
			r.at(0, func() { r.moves(queued, planning, unconfirmed) })
			r.at(time.Minute, func() {
				if got := r.status().Resources; got == nil || !strings.Contains(got.Unread, "connection refused") {
					t.Errorf("the status shows %+v", got)
				}
				r.says(ann, managed.Approve, "")
			})
			r.at(2*time.Minute, func() { r.notify(); r.moves(applying, finished) })
		},
		state: finished, outcome: "applied", confirmed: 1, asked: 1,
		mentions: map[string]managed.TimelineKind{"the resources that the plan changes are not known": managed.KindNote},
	}})
}

// toldOf checks that the last message that asks for a decision names a fact.
func (r *rig) toldOf(name, ends string) {
	r.Helper()
	r.world.mu.Lock()
	defer r.world.mu.Unlock()
	for _, m := range slices.Backward(r.world.arrived) {
		if m.Type != notify.RunDecisionNeeded {
			continue
		}
		for _, f := range m.Facts {
			if f.Name == name && strings.HasSuffix(f.Value, ends) {
				return
			}
		}
		r.Errorf("the message has no %s that ends with %q: %+v", name, ends, m.Facts)
		return
	}
	r.Error("nobody was asked")
}

func (r *rig) readResources(want int) {
	r.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.listed != want {
		r.Errorf("the resources were read %d times, want %d", r.listed, want)
	}
}
