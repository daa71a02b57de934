package workflows_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// scenario is one of the ways that runs go in Spacelift. A plan or a preview
// that waits continues as the policy has it; where nothing of Gantry's moves it,
// joe moves it in Spacelift, as the scenario has it.
type scenario struct {
	name   string
	typ    spacelift.RunType
	states []spacelift.RunState

	outside   spacelift.RunState // what joe makes of the first plan, before the policy does
	unchanged bool               // the plan has no changes
	outcome   string             // a part of it, unless Gantry ends the run
}

const begin = "QUEUED READY PREPARING INITIALIZING "

var scenarios = []scenario{
	{name: "tracked, no changes", typ: "TRACKED", states: states(begin + "PLANNING FINISHED"), unchanged: true, outcome: "the plan had no changes"},
	{name: "tracked, waits", typ: "TRACKED", states: states(begin + "PLANNING UNCONFIRMED CONFIRMED PREPARING_APPLY APPLYING FINISHED"), outcome: "the plan was applied"},
	{name: "tracked, autodeploy", typ: "TRACKED", states: states(begin + "PLANNING APPLYING FINISHED"), outcome: "the run finished"},
	{name: "tracked, discarded", typ: "TRACKED", states: states(begin + "PLANNING UNCONFIRMED DISCARDED"), outside: discarded, outcome: "discarded by joe"},
	{
		name: "tracked, replan", typ: "TRACKED", outside: replan, outcome: "the plan was applied",
		states: states(begin + "PLANNING UNCONFIRMED REPLAN_REQUESTED PREPARING_REPLAN PLANNING UNCONFIRMED CONFIRMED PREPARING_APPLY APPLYING FINISHED"),
	},
	{name: "proposed", typ: "PROPOSED", states: states(begin + "PLANNING FINISHED"), outcome: "the preview finished"},
	{name: "proposed, reviewed", typ: "PROPOSED", states: states(begin + "PLANNING PENDING_REVIEW FINISHED"), outcome: "the preview finished"},
	{name: "task", typ: "TASK", states: states(begin + "PERFORMING FINISHED"), outcome: "the task finished"},
	{name: "module test", typ: "TESTING", states: states(begin + "PLANNING APPLYING DESTROYING FINISHED"), outcome: "the module's test finished"},
	{name: "cancelled while queued", typ: "TRACKED", states: states("QUEUED CANCELED"), outcome: "cancelled before it started"},
	{name: "dependency skip", typ: "TRACKED", states: states("QUEUED SKIPPED"), outcome: "skipped"},
}

func states(list string) (all []spacelift.RunState) {
	for s := range strings.FieldsSeq(list) {
		all = append(all, spacelift.RunState(s))
	}
	return all
}

// stop is a point that a run reaches: its phase, a part of the reason, and a rule that
// matched, as "name effect"; empty for none in particular.
type stop struct {
	phase  managed.Phase
	reason string
	rule   string
}

// passes are the states that nobody has to do anything about, whatever the
// policy.
var passes = map[spacelift.RunState]stop{
	queued:             {managed.PhaseQueued, "in the stack's queue", ""},
	ready:              {managed.PhaseQueued, "waits for a worker", ""},
	preparing:          {managed.PhaseQueued, "a worker is being set up", ""},
	initializing:       {managed.PhaseQueued, "a worker is being set up", ""},
	planning:           {managed.PhasePlanning, "Spacelift is planning", ""},
	replan:             {managed.PhasePlanning, "somebody asked for another plan", ""},
	"PREPARING_REPLAN": {managed.PhasePlanning, "somebody asked for another plan", ""},
	confirmed:          {managed.PhaseApplying, "the plan is confirmed and waits for a worker", ""},
	preparingApply:     {managed.PhaseApplying, "the plan is confirmed and a worker is being set up", ""},
	applying:           {managed.PhaseApplying, "Spacelift is applying the plan", ""},
	"PERFORMING":       {managed.PhaseApplying, "Spacelift is performing the task", ""},
	"DESTROYING":       {managed.PhaseApplying, "Spacelift is destroying resources", ""},
}

// Every way a run goes, with every policy: what it waits for at each stop and
// why, what Gantry does about it, and how it ends.
func TestScenariosWithEveryPolicy(t *testing.T) {
	for _, m := range manners {
		for _, sc := range scenarios {
			t.Run(m.name+"/"+sc.name, func(t *testing.T) {
				w := walk{rig: newRig(t, m.labels), manner: m, scenario: sc}
				w.truth.Type, w.world.freezes = sc.typ, m.freezes
				w.script()
				w.ends(w.manage())
			})
		}
	}
}

// walk plays one scenario with one policy.
type walk struct {
	*rig
	manner   manner
	scenario scenario

	clock  time.Duration
	course course // of what the policy decided about, if anything
	stops  int    // that were looked at
}

func (w *walk) script() {
	all := w.scenario.states
	for i := 0; i < len(all); i++ {
		switch s := all[i]; {
		case s == unconfirmed && all[i+1] == w.scenario.outside:
			i++
			w.overruled(all[i])
		case s == unconfirmed:
			i++
			w.decided(w.manner.plan, s, all[i])
		case s == pendingReview:
			i++
			w.decided(w.manner.review, s, all[i])
		default:
			w.after(10*time.Second, func() { w.enters(s); w.notify() })
			w.after(time.Second, w.looks)
		}
	}
}

// overruled lets joe decide about a plan in Spacelift before the policy does.
func (w *walk) overruled(next spacelift.RunState) {
	w.after(10*time.Second, func() {
		w.enters(unconfirmed)
		if w.manner.alone {
			w.person("joe", next, "")
			w.notifyOf(len(w.truth.History) - 2) // of what is over by now
			return
		}
		w.notify()
	})
	if !w.manner.alone {
		w.after(time.Minute, func() { w.isAt(w.manner.plan.stop) })
		w.after(time.Minute, func() { w.person("joe", next, ""); w.notify() })
	}
	w.after(time.Second, w.looks)
}

// decided lets the policy have its way, and joe move on what it leaves to
// people in Spacelift.
func (w *walk) decided(c course, s, next spacelift.RunState) {
	w.course = c
	w.after(10*time.Second, func() { w.enters(s); w.notify() })
	w.after(time.Minute, func() { w.isAt(c.stop) })
	for _, step := range c.steps {
		w.after(step.after, func() { step.do(w.rig) })
	}
	w.clock += time.Minute
	w.at(w.clock, func() {
		if w.state() == s {
			w.person("joe", next, "")
		}
		w.notify()
	})
	w.after(time.Second, w.looks)
}

// after continues the script after some time, unless the run has ended.
func (w *walk) after(d time.Duration, do func()) {
	w.clock += d
	w.at(w.clock, func() {
		if !w.state().Terminal() {
			do()
		}
	})
}

func (w *walk) enters(s spacelift.RunState) {
	w.goes(s)
	w.set(func() {
		switch {
		case s == unconfirmed:
			w.truth.Delta = w.manner.delta
		case s == pendingReview:
			w.truth.NeedsApproval = true // or it would not be there
		case s == finished && w.scenario.unchanged:
			w.truth.Delta = &spacelift.Delta{Resources: 42}
		}
	})
}

func (w *walk) state() spacelift.RunState {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.truth.State
}

// looks checks the state of a run that needs nobody.
func (w *walk) looks() {
	w.Helper()
	w.isAt(passes[w.state()])
}

// isAt checks where the run is, and that Explain says why.
func (w *walk) isAt(want stop) {
	w.Helper()
	w.stops++
	w.wants(want.phase, want.reason)
	e := w.explains()
	if e.Phase != want.phase || !strings.Contains(e.Summary, want.reason) || e.WaitingFor == nil || e.WaitingFor.Who == "" || len(e.Unblock) == 0 {
		w.Errorf("in %s it is explained by %+v, want phase %s, %q, and who can unblock it", w.state(), e, want.phase, want.reason)
	}
	if len(e.Rules) == 0 || want.rule != "" && !slices.ContainsFunc(e.Rules, func(r managed.Rule) bool { return r.Name+" "+string(r.Effect) == want.rule }) {
		w.Errorf("in %s it is explained by the rules %+v, want %q among them", w.state(), e.Rules, want.rule)
	}
}

// ends checks how the run ended, and what Gantry did on the way.
func (w *walk) ends(s managed.RunStatus) {
	w.Helper()
	state, outcome := w.scenario.states[len(w.scenario.states)-1], w.scenario.outcome
	switch {
	case w.course.ends != "":
		state, outcome = w.course.ends, w.course.outcome
	case !s.Managed:
		outcome = strings.TrimSuffix(outcome, " by joe") // nobody looks who it was
	case w.course.confirmed > 0 && w.manner.delta == nil:
		outcome = "the run finished"
	}
	if s.State != state || s.Phase != managed.PhaseDone || s.WaitingFor != nil || !strings.Contains(s.Outcome, outcome) {
		w.Errorf("ended in %s, phase %s, waiting for %+v, because %q; want %s, done, %q", s.State, s.Phase, s.WaitingFor, s.Outcome, state, outcome)
	}
	if e := w.explains(); e.Summary != s.Outcome || e.WaitingFor != nil {
		w.Errorf("its end is explained by %+v", e)
	}
	if len(w.confirmed) != w.course.confirmed || w.asked != w.course.confirmed {
		w.Errorf("confirmed %d times with %d requests, want %d", len(w.confirmed), w.asked, w.course.confirmed)
	}
	w.did(w.course.did...)
	want := 0
	for _, h := range w.truth.History {
		if !h.State.Terminal() {
			want++
		}
	}
	if w.manner.alone && w.scenario.outside != "" {
		want-- // the plan was over before anybody could look
	}
	if w.stops != want {
		w.Errorf("looked at %d stops, want %d", w.stops, want)
	}
	if w.Failed() {
		for _, e := range s.Timeline {
			w.Logf("%s %s %s %s(%d): %s", e.At.Format(time.TimeOnly), e.Kind, e.Source, e.State, e.StateVersion, e.Summary)
		}
	}
}
