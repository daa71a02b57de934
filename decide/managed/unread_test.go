package managed

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gantryhq/gantry/spacelift"
)

// TestWhatCouldNotBeReadIsOnTheTimeline: each member once, at the first state
// whose notification had it in another type, whatever order they came in.
func TestWhatCouldNotBeReadIsOnTheTimeline(t *testing.T) {
	ref := spacelift.RunRef{Account: "acme", Stack: "network", Run: "01"}
	event := func(state spacelift.RunState, version int, unread ...string) RunEvent {
		return RunEvent{Run: ref, State: state, StateVersion: version, At: t0, ReceivedAt: t0, Source: SourceWebhook, Unread: unread}
	}
	events := []RunEvent{
		event("QUEUED", 0), event("PLANNING", 3, "stack.vcs"), event("UNCONFIRMED", 5, "stack.vcs", "run.delta.added"), event("APPLYING", 7, "stack.vcs"),
	}
	for range 2 {
		r := Record{Run: ref}
		r.Take(t0, events)
		var notes []string
		for _, e := range r.Status(t0).Timeline {
			if strings.Contains(e.Summary, "could not read") {
				notes = append(notes, fmt.Sprintf("%s %d: %s", e.State, e.StateVersion, e.Summary))
			}
		}
		want := []string{
			"PLANNING 3: Gantry could not read these members of the notification and ignored them: stack.vcs",
			"UNCONFIRMED 5: Gantry could not read these members of the notification and ignored them: run.delta.added",
		}
		if !slices.Equal(notes, want) {
			t.Errorf("the timeline says %q, want %q", notes, want)
		}
		slices.Reverse(events)
	}
}

func TestUnreadMembersAreBounded(t *testing.T) {
	e := Trim(RunEvent{Unread: slices.Repeat([]string{strings.Repeat("x", 1000)}, 1000)})
	if len(e.Unread) != MaxUnread || len(e.Unread[0]) > maxState {
		t.Errorf("%d members of %d bytes are kept", len(e.Unread), len(e.Unread[0]))
	}
}
