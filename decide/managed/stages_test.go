package managed

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/gantryhq/gantry/spacelift"
)

// impossible marks a cell of a table of states and events: the event does
// nothing in that state.
const impossible = "impossible"

// machine is a small state machine and all that may happen to it.
type machine struct {
	states []string
	events []string

	// happens puts a fresh machine into a state, lets an event happen, and returns
	// the state after it and whether the event was possible.
	happens func(state, event string) (after string, possible bool)

	cells map[string]map[string]string // by state and event: the next state, or impossible
}

// check compares each state and event with its cell. One without a cell fails,
// so that nobody adds a state or an event without deciding what it means.
func (m machine) check(t *testing.T) {
	t.Helper()
	for _, state := range m.states {
		for _, event := range m.events {
			want, ok := m.cells[state][event]
			if !ok {
				t.Errorf("%q, %s: no cell", state, event)
				continue
			}
			got, possible := m.happens(state, event)
			switch {
			case want == impossible && (possible || got != state):
				t.Errorf("%q, %s: becomes %q, want it to be impossible", state, event, got)
			case want != impossible && (!possible || got != want):
				t.Errorf("%q, %s: becomes %q (possible: %t), want %q", state, event, got, possible, want)
			}
		}
	}
	for state, row := range m.cells {
		if !slices.Contains(m.states, state) || len(row) != len(m.events) {
			t.Errorf("the row %q is of no state, or has %d cells for %d events", state, len(row), len(m.events))
		}
	}
}

// names are states as strings.
func names[S ~string](states []S) []string {
	all := make([]string, len(states))
	for i, s := range states {
		all[i] = string(s)
	}
	return all
}

// What Gantry asks Spacelift, by what is asked first and how often it was
// accepted: "accepted again" is the second time.
func TestStagesOfARequest(t *testing.T) {
	const twice = "accepted again"
	machine{
		states: append(names(requestStates), twice),
		events: []string{"send the same", "send another", "accept", "drop", "expire"},
		happens: func(state, event string) (string, bool) {
			q := request{State: requestState(state), Do: DoConfirm, Tries: 1}
			if state == twice {
				q.State, q.Tries = requestAccepted, mostRequests
			}
			possible := map[string]func() bool{
				"send the same": func() bool { return q.send(DoConfirm, "", "") },
				"send another":  func() bool { return q.send(DoDiscard, "", "") },
				"accept":        func() bool { return q.accept(t0) },
				"drop":          q.drop,
				"expire":        q.expire,
			}[event]()
			if q.State == requestAccepted && q.Tries == mostRequests {
				return twice, possible
			}
			return string(q.State), possible
		},
		cells: map[string]map[string]string{
			"":            {"send the same": "sending", "send another": "sending", "accept": impossible, "drop": impossible, "expire": impossible},
			"sending":     {"send the same": impossible, "send another": impossible, "accept": twice, "drop": "", "expire": impossible},
			"accepted":    {"send the same": impossible, "send another": "sending", "accept": impossible, "drop": impossible, "expire": ""},
			twice:         {"send the same": impossible, "send another": "sending", "accept": impossible, "drop": impossible, "expire": "ineffective"},
			"ineffective": {"send the same": impossible, "send another": "sending", "accept": impossible, "drop": impossible, "expire": impossible},
		},
	}.check(t)
}

// A request is overdue once its effect should show, and not before.
func TestARequestIsOverdue(t *testing.T) {
	for do, within := range map[Action]time.Duration{DoConfirm: effectWithin, DoDiscard: effectWithin, DoStop: effectWithin, DoReview: reviewWithin} {
		q := request{State: requestAccepted, Do: do, At: t0}
		if q.overdue(t0.Add(within-time.Second)) || !q.overdue(t0.Add(within)) {
			t.Errorf("%s is not overdue %s after it was accepted, or is before that", do, within)
		}
		for _, state := range requestStates {
			if q.State = state; state != requestAccepted && (q.overdue(t0.Add(time.Hour)) || !q.due().IsZero()) {
				t.Errorf("%s is overdue while %q", do, state)
			}
		}
	}
}

// A state that asks people, as far as people are with it.
func TestStagesOfAnAsking(t *testing.T) {
	machine{
		states: names(decisionStages),
		events: []string{"see", "ask", "ask again", "approve", "doubt", "keep", "expire"},
		happens: func(state, event string) (string, bool) {
			a := pendingDecision{Stage: decisionStage(state), Notified: state == string(stageAsked) || state == string(stageKept)}
			possible := map[string]func() bool{
				"see": a.markRead, "ask": a.markAsked, "ask again": a.reask, "approve": a.markEnough, "keep": a.markKept,
				"doubt":  func() bool { return a.reopen(t0) },
				"expire": func() bool { return a.expire("nobody approved") },
			}[event]()
			if (a.Stage == stageExpired) != (a.Why != "" || state == "expired") {
				t.Errorf("%s, %s: %q with the reason %q", state, event, a.Stage, a.Why)
			}
			return string(a.Stage), possible
		},
		cells: map[string]map[string]string{
			"":        {"see": "seen", "ask": "asked", "ask again": impossible, "approve": "enough", "doubt": impossible, "keep": "kept", "expire": "expired"},
			"seen":    {"see": impossible, "ask": "asked", "ask again": impossible, "approve": "enough", "doubt": impossible, "keep": "kept", "expire": "expired"},
			"asked":   {"see": impossible, "ask": impossible, "ask again": "seen", "approve": "enough", "doubt": impossible, "keep": "kept", "expire": "expired"},
			"kept":    {"see": impossible, "ask": impossible, "ask again": "kept", "approve": "enough", "doubt": impossible, "keep": impossible, "expire": "expired"},
			"enough":  {"see": impossible, "ask": impossible, "ask again": "enough", "approve": impossible, "doubt": "seen", "keep": impossible, "expire": impossible},
			"expired": {"see": impossible, "ask": impossible, "ask again": impossible, "approve": impossible, "doubt": impossible, "keep": impossible, "expire": impossible},
		},
	}.check(t)
}

// A stop, by the state that the run is in: PLANNING when it was voiced, then the
// next, then its end.
func TestStagesOfAStop(t *testing.T) {
	planning, waits, ended := StateKey{4, spacelift.RunStatePlanning}, StateKey{5, spacelift.RunStateUnconfirmed}, StateKey{6, spacelift.RunStateFinished}
	show := func(s Stopping) string {
		if s.Request.State == requestAccepted {
			return fmt.Sprintf("%s in %s", s.Verb, s.Key.State)
		}
		return string(s.Request.State)
	}
	accepted := "stop in PLANNING"
	machine{
		states: []string{"", "sending", accepted, "ineffective"},
		events: []string{"ask", "ask in the next state", "accept", "accept in the next state", "stay", "continue", "end"},
		happens: func(state, event string) (string, bool) {
			s := Stopping{Key: planning, Request: request{Do: DoStop, State: requestState(state)}}
			if state == accepted {
				s.Request.State, s.Verb = requestAccepted, "stop"
			}
			possible := map[string]func() bool{
				"ask":                      func() bool { return s.ask(planning) },
				"ask in the next state":    func() bool { return s.ask(waits) },
				"accept":                   func() bool { return s.accept(t0, planning, "stop") },
				"accept in the next state": func() bool { return s.accept(t0, waits, "discard") },
				"stay":                     func() bool { return s.enter(planning) },
				"continue":                 func() bool { return s.enter(waits) },
				"end":                      func() bool { return s.enter(ended) },
			}[event]()
			return show(s), possible
		},
		cells: map[string]map[string]string{
			"": {
				"ask": "sending", "ask in the next state": "sending", "accept": impossible, "accept in the next state": impossible,
				"stay": impossible, "continue": "", "end": impossible,
			},
			"sending": {
				"ask": impossible, "ask in the next state": "sending", "accept": accepted, "accept in the next state": "discard in UNCONFIRMED",
				"stay": impossible, "continue": "", "end": impossible,
			},
			accepted: {
				"ask": impossible, "ask in the next state": "sending", "accept": impossible, "accept in the next state": impossible,
				"stay": impossible, "continue": "", "end": impossible,
			},
			"ineffective": {
				"ask": impossible, "ask in the next state": "sending", "accept": impossible, "accept in the next state": impossible,
				"stay": impossible, "continue": "", "end": impossible,
			},
		},
	}.check(t)
}

// A plan, as what came of the wish to confirm it.
func TestStagesOfAPlan(t *testing.T) {
	open := map[string]string{
		"confirmed": "confirmed", "already": "already", "changed": "changed", "refused": "refused", "postponed": "postponed",
		"discarded": "discarded", "ineffective": impossible, "unseen": "unseen",
	}
	decided := map[string]string{
		"confirmed": impossible, "already": impossible, "changed": impossible, "refused": impossible, "postponed": impossible,
		"discarded": impossible, "ineffective": "ineffective", "unseen": "unseen",
	}
	over := map[string]string{
		"confirmed": impossible, "already": impossible, "changed": impossible, "refused": impossible, "postponed": impossible,
		"discarded": impossible, "ineffective": impossible, "unseen": impossible,
	}
	machine{
		states: append([]string{""}, names(PlanResults)...),
		events: names(PlanResults),
		happens: func(state, event string) (string, bool) {
			p := Plan{Result: PlanResult(state)}
			possible := p.settle(t0, PlanResult(event), "because of that")
			return string(p.Result), possible
		},
		cells: map[string]map[string]string{
			"": open, "changed": open, "refused": open, "postponed": open, "ineffective": open,
			"confirmed": decided, "already": decided, "discarded": over, "unseen": over,
		},
	}.check(t)
}

// A retry, by a person or Gantry.
func TestStagesOfARetry(t *testing.T) {
	machine{
		states: names(RetryStates),
		events: []string{"start", "postpone", "made", "call off"},
		happens: func(state, event string) (string, bool) {
			r := Retry{State: RetryState(state)}
			possible := map[string]func() bool{
				"start":    r.start,
				"postpone": func() bool { return r.postpone(t0, t0, "the stack is locked") },
				"made":     func() bool { return r.made(testRun) },
				"call off": func() bool { return r.callOff("ann stopped it") },
			}[event]()
			return string(r.State), possible
		},
		cells: map[string]map[string]string{
			"planned":    {"start": "started", "postpone": impossible, "made": "made", "call off": "called-off"},
			"started":    {"start": impossible, "postpone": "planned", "made": "made", "call off": "called-off"},
			"made":       {"start": impossible, "postpone": impossible, "made": "made", "call off": impossible},
			"called-off": {"start": impossible, "postpone": impossible, "made": "made", "call off": impossible},
		},
	}.check(t)
}
