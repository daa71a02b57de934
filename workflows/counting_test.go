package workflows_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/managed"
)

// An approval counts by the rules in effect when the plan is
// confirmed, not when it was given.
func TestApprovalsAreJudgedAnew(t *testing.T) {
	two := []string{"gantry:approvals=2", "gantry:confirm=manual", "gantry:managed"}
	for _, tc := range []struct {
		name   string
		script func(*rig)
		waits  string // an hour later, nothing being confirmed
		then   decide.Person
	}{
		{
			name: "a group has to approve from now on",
			script: func(r *rig) {
				r.truth.StackLabels = two
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Minute, func() { r.says(eve, managed.Approve, "") })
				r.at(2*time.Minute, func() {
					r.set(func() { r.truth.StackLabels = append([]string{"gantry:approvers=platform"}, two...) })
					r.notify()
				})
				r.at(3*time.Minute, func() { r.says(ann, managed.Approve, "") })
			},
			waits: "1 of 2 approvals: ann approved; eve's approval does not count: only the group platform decides about this stack's runs (gantry:approvers=platform), and eve is not in it",
			then:  bob,
		},
		{
			name: "the author becomes known",
			script: func(r *rig) {
				r.truth.StackLabels, r.truth.TriggeredBy = asked, "api::01CI"
				nameless := func(version int) managed.RunEvent {
					e := r.notification(version)
					e.Commit.AuthorName = ""
					return e
				}
				r.at(0, func() {
					r.goes(queued, planning)
					r.signal(nameless(0), nameless(1))
				})
				r.at(time.Minute, func() {
					r.set(func() { r.away = true })
					r.goes(unconfirmed)
					r.signal(nameless(2))
				})
				r.at(2*time.Minute, func() { r.says(jane, managed.Approve, "") })
				r.at(3*time.Minute, func() { r.set(func() { r.away = false }) })
			},
			waits: "0 of 1 approval: nobody has approved yet; jane's approval does not count: jane triggered this run or wrote its commit (as jane doe), and somebody else has to approve it",
			then:  ann,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, nil)
			tc.script(r)
			r.at(time.Hour, func() {
				r.wants(managed.PhaseWaiting, tc.waits)
				r.says(tc.then, managed.Approve, "")
			})
			r.at(2*time.Hour, func() { r.notify(); r.moves(applying, finished) })
			if s := r.manage(); s.State != finished || len(r.confirmed) != 1 {
				t.Errorf("ended in %s with %d confirmations", s.State, len(r.confirmed))
			}
		})
	}
}

// Somebody with two names is one person, even when the configuration says so
// only after both have been used.
func TestTwoNamesOfOnePersonCountOnce(t *testing.T) {
	r := newRig(t, production)
	again := decide.Person{Name: "ann-laptop", Aliases: []string{"Ann"}, Groups: []string{"platform"}}
	r.at(0, func() { r.moves(queued, planning, unconfirmed) })
	r.at(time.Minute, func() { r.says(ann, managed.Approve, "") })
	r.at(2*time.Minute, func() {
		r.denied(again, managed.Approve, managed.ErrTypeAlreadyDecided, "has approved this plan already")
	})
	r.at(3*time.Minute, func() { r.says(again, managed.Revoke, "") })
	r.at(4*time.Minute, func() {
		if diff := cmp.Diff(&managed.Approvals{Needed: 2, Group: "platform", Excluded: []string{"Jane Doe"}}, r.explains().Approvals, cmp.FilterPath(
			func(p cmp.Path) bool { return p.Last().String() == ".Decided" }, cmp.Ignore())); diff != "" {
			t.Errorf("approvals (-want +got):\n%s", diff)
		}
		r.person("jane", discarded, "")
		r.notify()
	})
	r.manage()
}
