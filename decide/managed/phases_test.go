package managed

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/docs"
	"github.com/gantryhq/gantry/spacelift"
)

// moment is an event in the life of a run, and the situation after it.
type moment struct {
	event string
	s     *Situation
}

// lives are the ways that runs take. decide says which phase each moment is.
func lives() [][]moment {
	const mng, manual, auto, odd, retry = "gantry:managed", "gantry:confirm=manual", "gantry:confirm=auto", "gantry:confirm=atuo", "gantry:profile=retried"
	state := func(state spacelift.RunState, change ...func(*Situation)) moment {
		return moment{string(state), in(state, append([]func(*Situation){with(mng, manual)}, change...)...)}
	}
	then := func(event string, state spacelift.RunState, change ...func(*Situation)) moment {
		return moment{event, in(state, change...)}
	}
	unasked := then("UNCONFIRMED, Gantry confirms", "UNCONFIRMED", with(mng, auto))
	confirmed := then("Spacelift confirmed", "UNCONFIRMED", with(mng, auto), acceptedAct(DoConfirm))
	retried := then("FAILED, a retry is planned", "FAILED", with(mng, retry), toRetry(time.Minute))
	over := then("the retry started", "FAILED", with(mng))
	queued, planning, waiting := state("QUEUED"), state("PLANNING"), then("UNCONFIRMED, people decide", "UNCONFIRMED", with(mng, manual))
	return [][]moment{
		{
			queued, state("READY"), state("PREPARING"), state("INITIALIZING"), planning,
			unasked, confirmed, state("CONFIRMED"), state("PREPARING_APPLY"), state("APPLYING"), state("FINISHED"),
		},
		{state("PENDING"), planning, waiting, then("enough approvals", "UNCONFIRMED", with(mng, manual), approvedBy("ann"))},
		{queued, planning, waiting, state("CONFIRMED")},
		{queued, planning, waiting, state("REPLAN_REQUESTED"), state("PREPARING_REPLAN")},
		{
			queued, planning, waiting, then("rejected", "UNCONFIRMED", with(mng, manual), rejectedBy("ann")),
			then("Spacelift discarded", "UNCONFIRMED", with(mng, manual), rejectedBy("ann"), acceptedAct(DoDiscard)), state("DISCARDED"),
		},
		{queued, planning, waiting, state("DISCARDED")},
		{queued, planning, then("UNCONFIRMED, window closed", "UNCONFIRMED", with(mng, auto), shut(t0.Add(time.Hour))), then("window opens", "UNCONFIRMED", with(mng, auto))},
		{queued, planning, then("UNCONFIRMED, unreadable label", "UNCONFIRMED", with(mng, odd)), state("CONFIRMED")},
		{queued, then("approval policy asks", "QUEUED", with(mng, manual), needing), state("READY")},
		{queued, planning, state("PENDING_REVIEW"), state("FINISHED")},
		{queued, planning, state("FINISHED")},
		{queued, planning, retried, over},
		{queued, planning, unasked, confirmed, state("APPLYING"), retried, over},
		{queued, state("CANCELED")},
		{queued, state("SKIPPED")},
		{queued, planning, state("STOPPED")},
		{queued, state("PERFORMING")},
		{queued, state("DESTROYING")},
		{queued, then("a state that Gantry doesn't know", "SOAKING", with(mng)), state("FINISHED")},
	}
}

// drawPhases returns the picture of the phases and the table of Spacelift's states.
func drawPhases(t *testing.T) string {
	phases := map[spacelift.RunState][]Phase{}
	type edge struct{ from, to string }
	var order []edge
	events := map[edge][]string{}
	draw := func(from, to, event string) {
		e := edge{from, to}
		if !slices.Contains(order, e) {
			order = append(order, e)
		}
		if event != "" && !slices.Contains(events[e], event) {
			events[e] = append(events[e], event)
		}
	}
	seen := map[Phase]bool{}
	for _, life := range lives() {
		at := "[*]"
		for _, m := range life {
			phase := m.s.Next().Phase
			if !slices.Contains(phases[m.s.State], phase) {
				phases[m.s.State] = append(phases[m.s.State], phase)
			}
			if seen[phase] = true; at == "[*]" {
				draw(at, string(phase), "")
			} else if at != string(phase) {
				draw(at, string(phase), m.event)
			}
			at = string(phase)
		}
		if at == string(PhaseDone) {
			draw(at, "[*]", "")
		}
	}
	for _, phase := range Phases {
		if !seen[phase] {
			t.Errorf("no run passes the phase %s: add one to lives", phase)
		}
	}
	var b strings.Builder
	b.WriteString("```mermaid\nstateDiagram-v2\n")
	for _, e := range order {
		fmt.Fprintf(&b, "    %s --> %s", e.from, e.to)
		if len(events[e]) > 0 {
			b.WriteString(": " + strings.Join(events[e], " / "))
		}
		b.WriteByte('\n')
	}
	b.WriteString("```\n\n| Spacelift's state | Phases |\n| --- | --- |\n")
	for _, state := range spacelift.RunStates {
		if len(phases[state]) == 0 {
			t.Errorf("no run passes the state %s: add one to lives", state)
		}
		slices.SortFunc(phases[state], func(a, b Phase) int { return slices.Index(Phases, a) - slices.Index(Phases, b) })
		names := make([]string, len(phases[state]))
		for i, phase := range phases[state] {
			names[i] = "`" + string(phase) + "`"
		}
		fmt.Fprintf(&b, "| %s | %s |\n", state, strings.Join(names, ", "))
	}
	return b.String()
}

// TestPhasesAreDrawn compares docs/reference/phases.md with what decide says.
func TestPhasesAreDrawn(t *testing.T) {
	const file = "../../docs/reference/phases.md"
	docs.KeepSection(t, file, "phases", drawPhases(t))
	doc, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, phase := range Phases {
		if !strings.Contains(string(doc), "\n| `"+string(phase)+"` |") {
			t.Errorf("%s does not explain %s", file, phase)
		}
	}
}
