package workflows_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

var autoNotified = append([]string{"gantry:notify=deploys"}, auto...)

// The table of docs/how-to/notifications.md: which runs end with a message.
func TestTheEndOfARunNotifiesPeople(t *testing.T) {
	preview := func(r *rig) { r.set(func() { r.truth.Type = spacelift.RunTypeProposed }) }
	for _, tc := range []struct {
		name   string
		labels []string
		script func(*rig)
		want   []string
	}{
		{
			name: "Gantry alone confirmed it", labels: autoNotified,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Minute, func() { r.notify(); r.moves(applying, finished) })
			},
			want: []string{"deploys run.ended: network / prod: the run is FINISHED"},
		},
		{
			name: "nothing had to change", labels: autoNotified,
			script: func(r *rig) {
				r.at(0, func() {
					r.set(func() { r.truth.Delta = &spacelift.Delta{Resources: 42} })
					r.moves(queued, planning, finished)
				})
			},
		},
		{
			name: "a preview finished", labels: autoNotified,
			script: func(r *rig) { preview(r); r.at(0, func() { r.moves(queued, planning, finished) }) },
		},
		{
			name: "a preview failed", labels: autoNotified,
			script: func(r *rig) {
				preview(r)
				r.at(0, func() { r.moves(queued, planning) })
				r.at(time.Minute, func() { r.fails("", "Error: Unsupported argument\n"); r.notify() })
			},
		},
		{
			name: "a module's test failed", labels: autoNotified,
			script: func(r *rig) {
				r.set(func() { r.truth.Type = spacelift.RunTypeTesting })
				r.at(0, func() { r.moves(queued, planning) })
				r.at(time.Minute, func() { r.fails("", "Error: Unsupported argument\n"); r.notify() })
			},
		},
		{
			name: "a tracked run failed", labels: autoNotified,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning) })
				r.at(time.Minute, func() { r.fails("", "Error: Unsupported argument\n"); r.notify() })
			},
			want: []string{"deploys run.failed: network / prod: the run failed"},
		},
		{
			name: "somebody discarded a plan that nobody was asked about", labels: append([]string{"gantry:notify=deploys"}, manual...),
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Minute, func() { r.person("jane", discarded, ""); r.notify() })
			},
		},
		{
			name: "nobody is to be notified", labels: auto,
			script: func(r *rig) {
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Minute, func() { r.notify(); r.moves(applying, finished) })
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, tc.labels)
			tc.script(r)
			r.manage()
			r.received(tc.want...)
		})
	}
}

// A channel receives the messages of a run in their order, however long one of
// them takes, and each says who decided.
func TestMessagesKeepTheirOrderAndNameWhoDecided(t *testing.T) {
	r := newRig(t, asked)
	r.at(0, func() { r.moves(queued, planning, unconfirmed) })
	r.at(time.Minute, func() {
		r.world.set(func() { r.world.deaf = map[string]error{"deploys": errors.New("503 Service Unavailable")} })
	})
	r.at(2*time.Minute, func() { r.says(ann, managed.Approve, "") })
	r.at(3*time.Minute, func() { r.notify(); r.moves(applying, finished) })
	r.at(3*time.Minute+10*time.Second, func() { r.world.set(func() { r.world.deaf = nil }) })
	r.manage()
	r.received(
		"deploys run.decision_needed: network / prod: a plan waits for 1 approval",
		"deploys run.decided: network / prod: the plan is decided",
		"deploys run.ended: network / prod: the run is FINISHED",
	)
	if text := r.world.arrived[1].Text; text != "Gantry confirmed the plan, which ann approved." {
		t.Errorf("it was decided: %s", text)
	}
}

// A request that is answered at the end of a run takes no time from the messages that are
// on their way.
func TestARequestAtTheEndLosesNoMessage(t *testing.T) {
	r := newRig(t, asked)
	r.at(0, func() { r.moves(queued, planning, unconfirmed) })
	r.at(time.Minute, func() {
		r.world.set(func() { r.world.deaf = map[string]error{"deploys": errors.New("503 Service Unavailable")} })
	})
	r.at(2*time.Minute, func() { r.person("joe", "CONFIRMED", ""); r.goes(applying, finished) })
	r.at(2*time.Minute+time.Second, func() { r.stops(ann, "no", managed.ErrTypeNotStoppable) })
	r.at(2*time.Minute+10*time.Second, func() { r.world.set(func() { r.world.deaf = nil }) })
	r.manage()
	if got := r.world.messages(); !slices.ContainsFunc(got, func(m string) bool { return strings.Contains(m, "run.bypassed") }) {
		t.Errorf("the alarm is missing: %q", got)
	}
}

func TestARejectionIsReportedWithWhoAndWhy(t *testing.T) {
	r := newRig(t, asked)
	r.at(0, func() { r.moves(queued, planning, unconfirmed) })
	r.at(time.Minute, func() { r.says(bob, managed.Reject, "not on a Friday") })
	r.at(2*time.Minute, func() { r.notify() })
	r.manage()
	i := slices.IndexFunc(r.world.messages(), func(m string) bool { return strings.Contains(m, "run.decided") })
	if i < 0 || r.world.arrived[i].Text != "Gantry discarded the plan, which bob rejected: not on a Friday." {
		t.Errorf("messages are %+v", r.world.arrived)
	}
}

// No sentence about a run says a thing twice.
func TestSentencesSayThingsOnce(t *testing.T) {
	t.Run("a failure that Spacelift's note explains", func(t *testing.T) {
		r := newRig(t, auto)
		r.at(0, func() { r.moves(queued, planning) })
		r.at(time.Minute, func() { r.fails("Error: 429 Too Many Requests", ""); r.notify() })
		s := r.manage()
		if n := strings.Count(s.Outcome, "Too Many Requests"); n != 1 {
			t.Errorf("the outcome says it %d times: %s", n, s.Outcome)
		}
	})
	t.Run("an author has a name and a login, and is one person", func(t *testing.T) {
		r := newRig(t, asked)
		r.set(func() { r.truth.Commit.AuthorLogin = "alice" })
		r.at(0, func() { r.moves(queued, planning, unconfirmed) })
		r.at(time.Minute, func() {
			if who := r.status().WaitingFor.Who; !strings.HasSuffix(who, "but not Jane Doe (alice)") {
				t.Errorf("it waits for %s", who)
			}
			r.person("jane", discarded, "")
			r.notify()
		})
		r.manage()
	})
}
