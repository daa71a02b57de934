package workflows

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/spacelift"
)

// record is what an execution knows of its run. Everything else, RunStatus
// above all, is computed from it. Its JSON form travels in ManageRunInput.
type record struct {
	Run       spacelift.RunRef `json:"run"`
	StartedAt time.Time        `json:"startedAt"`

	// Events are what was said of the run: see fold.
	Events  []RunEvent `json:"events,omitempty"`
	Dropped bool       `json:"dropped,omitempty"` // there were more than maxEvents

	// Doubted are states that only notifications told of and the API denied.
	Doubted []stateKey `json:"doubted,omitempty"`

	Plans   []Plan          `json:"plans,omitempty"`
	Journal []TimelineEntry `json:"journal,omitempty"` // what Gantry did and noticed, in order
	Forgot  int             `json:"forgot,omitempty"`  // journal entries left out, see maxJournal
	Decided string          `json:"decided,omitempty"` // the decision last written to the journal

	GivenUp string `json:"givenUp,omitempty"` // why the run is no longer followed
}

// stateKey identifies a state within a run. A replan repeats states, and
// notifications may be forged, so neither field is enough alone.
type stateKey struct {
	StateVersion int                `json:"stateVersion"`
	State        spacelift.RunState `json:"state"`
}

// maxJournal bounds the journal. A run fills a tenth of it; the rest is for
// runs that are replanned without end and for floods of forged notifications.
const maxJournal = 200

// note writes an entry to the journal, as of the state the run is in. When the
// journal is full the oldest entry goes that is not an action: what Gantry did
// is never forgotten before what it thought.
func (r *record) note(at time.Time, kind TimelineKind, format string, args ...any) {
	e := TimelineEntry{At: at, Kind: kind, Source: SourceGantry, Summary: fit(fmt.Sprintf(format, args...), maxText)}
	if now, ok := r.current(); ok {
		e.State, e.StateVersion = now.State, now.StateVersion
	}
	r.Journal = append(r.Journal, e)
	if len(r.Journal) <= maxJournal {
		return
	}
	oldest := 0
	for i, e := range r.Journal {
		if e.Kind != KindAction {
			oldest = i
			break
		}
	}
	r.Journal = append(r.Journal[:oldest:oldest], r.Journal[oldest+1:]...)
	r.Forgot++
}

// plan returns what was done about the plan of a state version, nil if nothing
// was.
func (r *record) plan(version int) *Plan {
	for i := range r.Plans {
		if r.Plans[i].StateVersion == version {
			return &r.Plans[i]
		}
	}
	return nil
}

// settle records what came of looking at a plan in order to confirm it.
func (r *record) settle(at time.Time, version int, result PlanResult, reason string) {
	p := r.plan(version)
	if p == nil {
		r.Plans = append(r.Plans, Plan{StateVersion: version})
		p = &r.Plans[len(r.Plans)-1]
	}
	p.Result, p.Reason, p.At = result, fit(reason, maxText), at
	p.Looks++
}

// learn folds in what the API shows, and notes what no notification had told.
func (r *record) learn(at time.Time, run spacelift.Run) {
	if run.Ref != r.Run {
		return // a call that failed shows nothing
	}
	before := r.facts().States
	*r = fold(*r, fromRead(run, at)...)
	r.noteRepair(at, before)
}

// noteRepair notes the states that are known now and were not before.
func (r *record) noteRepair(at time.Time, before []StateEntry) {
	var missed []string
	for _, e := range r.facts().States {
		if !slices.ContainsFunc(before, func(b StateEntry) bool {
			return b.State == e.State && b.StateVersion == e.StateVersion
		}) {
			missed = append(missed, fmt.Sprintf("%s (%d)", e.State, e.StateVersion))
		}
	}
	if len(missed) > 0 {
		r.note(at, KindRepair, "the API told of states that no notification had: %s", strings.Join(missed, ", "))
	}
}

// hear folds in what the API shows of a run that nobody has told of for long,
// as far as it is news, and reports whether any was.
func (r *record) hear(at time.Time, run spacelift.Run) (news bool) {
	before := r.facts()
	told := unheard(before, fromRead(run, at))
	*r = fold(*r, told...)
	r.noteRepair(at, before.States)
	if run.StateVersion < before.StateVersion && !run.State.Terminal() && !before.State.Terminal() {
		r.doubtAfter(at, run)
		news = true
	}
	return news || len(told) > 0
}

// unheard returns the events that say more than is known: of states that are
// not known, and the newest if the stack's labels have changed.
func unheard(known RunStatus, read []RunEvent) []RunEvent {
	var news []RunEvent
	for _, e := range read {
		heard := slices.ContainsFunc(known.States, func(s StateEntry) bool { return s.State == e.State && s.StateVersion == e.StateVersion })
		relabelled := e.State == known.State && e.StateVersion == known.StateVersion && !slices.Equal(spacelift.OurLabels(e.Labels), known.Labels)
		if !heard || relabelled {
			news = append(news, e)
		}
	}
	return news
}

// giveUp ends the following of a run for a reason, unless it has ended itself.
func (r *record) giveUp(at time.Time, reason string) {
	r.GivenUp = fit(reason, maxText)
	r.note(at, KindNote, "Gantry stops following the run: %s", r.GivenUp)
}

// doubtAfter stops believing notifications of states that the API has not heard
// of, though it was asked for some time.
func (r *record) doubtAfter(at time.Time, run spacelift.Run) {
	var doubted []string
	for _, key := range r.doubt(run.StateVersion) {
		doubted = append(doubted, fmt.Sprintf("%s (%d)", key.State, key.StateVersion))
	}
	r.note(at, KindRepair, "the API shows %s (%d) as the newest state, so what notifications told beyond it is not believed: %s",
		run.State, run.StateVersion, strings.Join(doubted, ", "))
}
