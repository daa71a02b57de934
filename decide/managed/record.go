package managed

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/spacelift"
)

// Record holds all that an execution knows of its run. Everything else, RunStatus
// above all, is computed from it. Its JSON form travels in ManageRunInput.
type Record struct {
	Run       spacelift.RunRef `json:"run"`
	StartedAt time.Time        `json:"startedAt"`

	// Events are the events of the run: see fold.
	Events  []RunEvent `json:"events,omitempty"`
	Dropped bool       `json:"dropped,omitempty"` // there were more than maxEvents

	// Doubted are states that only notifications named and the API denied, the
	// last maxEvents of them.
	Doubted []StateKey `json:"doubted,omitempty"`

	// ReadAt is the time when the API last showed the run, and Shown the newest
	// state then; nil before that. Trust is the trust in notifications.
	ReadAt time.Time `json:"readAt,omitzero"`
	Shown  *StateKey `json:"shown,omitempty"`
	Trust  trust     `json:"trust,omitzero"`

	Fault *fault `json:"fault,omitempty"` // Gantry's own code failed, and has not decided since

	Plans   []Plan          `json:"plans,omitempty"`
	Journal []TimelineEntry `json:"journal,omitempty"` // what Gantry did and noticed, in order
	Forgot  int             `json:"forgot,omitempty"`  // journal entries left out, see maxJournal
	Decided string          `json:"decided,omitempty"` // the decision last written to the journal

	GivenUp string `json:"givenUp,omitempty"` // why the run is no longer followed

	RetryOf *RetryOf `json:"retryOf,omitempty"`
	Again   *RetryOf `json:"again,omitempty"` // the next attempt, which continues under the same id

	// Rules are the rules in effect, as last read; RulesFor is the state that their
	// gate and schedule are for, nil for none. RulesStale says that they may have
	// changed.
	Rules      *Rules    `json:"rules,omitempty"`
	RulesRead  time.Time `json:"rulesRead,omitzero"`
	RulesFor   *StateKey `json:"rulesFor,omitempty"`
	RulesStale bool      `json:"rulesStale,omitempty"`

	// Resources are those of the plan that rules were last read for; nil before that.
	Resources *Resources `json:"resources,omitempty"`

	Entered   entrance          `json:"entered,omitzero"`
	Askings   []pendingDecision `json:"askings,omitempty"`
	Decisions []decision        `json:"decisions,omitempty"`
	Keys      decide.UsedKeys   `json:"keys,omitempty"`
	Stopping  *Stopping         `json:"stopping,omitempty"`
	Backoff   *backoff          `json:"trouble,omitempty"`

	Diagnosed bool     `json:"diagnosed,omitempty"` // the failure was looked into, or that was given up
	Failure   *Failure `json:"failure,omitempty"`
	Retry     *Retry   `json:"retry,omitempty"`

	// RetryJudged says that the rules in effect after the diagnosis have decided
	// whether the run is tried again.
	RetryJudged bool `json:"retryJudged,omitempty"`

	// Chains are the chains of the run, and ChainsTold the end that they know of.
	// Followers are the stacks that follow the run's, nil while they are not
	// known; Released is the end for which they were released, if there were any.
	Chains     []ChainRef `json:"chains,omitempty"`
	Behind     []string   `json:"behind,omitempty"` // see RunStatus
	ChainsTold *StateKey  `json:"chainsTold,omitempty"`
	Followers  *Followers `json:"followers,omitempty"`
	Released   *StateKey  `json:"released,omitempty"`

	// Parents is the progress of the stacks that go first, as last read, and
	// Replaced the run that takes the place of an old plan; see behindParents.
	Parents  *Parents     `json:"parents,omitempty"`
	Replaced *replacement `json:"replaced,omitempty"`

	// OtherEnded is the time of the newest signal that another run or a chain has ended,
	// and WaitersKnow the end of this run that the runs and chains that wait for it were
	// signaled.
	OtherEnded  time.Time `json:"otherEnded,omitzero"`
	WaitersKnow *StateKey `json:"waitersKnow,omitempty"`

	// Bypass is the newest application of a plan against the policy in effect, and Judged
	// the last one that was compared with it.
	Bypass *Bypass   `json:"bypass,omitempty"`
	Judged *StateKey `json:"judged,omitempty"`

	Outbox   []Notice `json:"outbox,omitempty"`   // messages that have not arrived yet
	Spoke    bool     `json:"spoke,omitempty"`    // people received a message that calls for an end
	Farewell bool     `json:"farewell,omitempty"` // they received the end
}

// entrance is the time when the run entered its state, by the clock of the
// execution, so that nobody can forge it.
type entrance struct {
	Key     StateKey  `json:"key"`
	At      time.Time `json:"at"`
	Overdue bool      `json:"overdue,omitempty"` // it stays longer than the policy allows, and people were notified
	Held    bool      `json:"held,omitempty"`    // people were notified that something holds it
}

// StateKey identifies a state within a run. A replan repeats states, and
// notifications may be forged, so neither field is enough alone.
type StateKey struct {
	StateVersion int                `json:"stateVersion"`
	State        spacelift.RunState `json:"state"`
}

// maxJournal bounds the journal. A run fills a tenth of it; the rest is for
// runs that are replanned without end and for floods of forged notifications.
const maxJournal = 200

// Note writes an entry to the journal, as of the state the run is in. When the
// journal is full the oldest entry goes that is neither an action nor a decision: what Gantry and
// people did is never forgotten before what Gantry thought.
func (r *Record) Note(at time.Time, kind TimelineKind, format string, args ...any) {
	r.journal(at, kind, "", format, args...)
}

// journal is note, with who did it.
func (r *Record) journal(at time.Time, kind TimelineKind, actor, format string, args ...any) {
	e := TimelineEntry{At: at, Kind: kind, Source: SourceGantry, Actor: actor, Summary: decide.Fit(fmt.Sprintf(format, args...), decide.MaxText)}
	if now, ok := r.current(); ok {
		e.State, e.StateVersion = now.State, now.StateVersion
	}
	r.Journal = append(r.Journal, e)
	if len(r.Journal) <= maxJournal {
		return
	}
	oldest := 0
	for i, e := range r.Journal {
		if e.Kind != KindAction && e.Kind != KindPerson && e.Kind != KindAlarm && e.Kind != KindBypass {
			oldest = i
			break
		}
	}
	r.Journal = append(r.Journal[:oldest:oldest], r.Journal[oldest+1:]...)
	r.Forgot++
}

// plan returns the record of the plan of a state version, nil if there is none.
func (r *Record) plan(version int) *Plan {
	for i := range r.Plans {
		if r.Plans[i].StateVersion == version {
			return &r.Plans[i]
		}
	}
	return nil
}

// settle records the result of an attempt to confirm a plan.
func (r *Record) settle(at time.Time, version int, result PlanResult, reason string) {
	p := r.plan(version)
	if p == nil {
		r.Plans = append(r.Plans, Plan{StateVersion: version})
		p = &r.Plans[len(r.Plans)-1]
	}
	p.settle(at, result, reason)
}

// Learn folds in what the API shows, and records the states that no notification reported.
func (r *Record) Learn(at time.Time, run spacelift.Run) {
	if run.Ref != r.Run || run.State == "" {
		return // a call that failed shows nothing
	}
	before := r.Events
	r.noteReading(at, run)
	*r = fold(*r, FromRead(run, r.reading(at, run))...)
	r.noteRepair(at, before)
}

// reading returns the time of a reading. Of two readings the later counts, even if
// both fall into one instant of the execution's clock.
func (r *Record) reading(at time.Time, run spacelift.Run) time.Time {
	if was, ok := r.apiShowed(StateKey{run.StateVersion, run.State}); ok && !was.ReceivedAt.Before(at) {
		return was.ReceivedAt.Add(time.Nanosecond)
	}
	return at
}

// noteReading records a reading of the run. An end that the API showed and the run
// continued from was none.
func (r *Record) noteReading(at time.Time, run spacelift.Run) {
	r.ReadAt, r.Shown = at, &StateKey{run.StateVersion, run.State}
	if !run.State.Terminal() {
		r.Events = slices.DeleteFunc(slices.Clone(r.Events), func(e RunEvent) bool {
			return e.Source == SourceReconcile && e.State.Terminal() && e.StateVersion < run.StateVersion
		})
	}
}

// noteRepair notes the states that are known now and were not before.
func (r *Record) noteRepair(at time.Time, before []RunEvent) {
	var missed []string
	for _, e := range r.Facts().States {
		if !slices.ContainsFunc(before, func(b RunEvent) bool {
			return b.State == e.State && b.StateVersion == e.StateVersion
		}) {
			missed = append(missed, fmt.Sprintf("%s (%d)", e.State, e.StateVersion))
		}
	}
	if len(missed) > 0 {
		r.Note(at, KindRepair, "the API shows states that no notification reported: %s", strings.Join(missed, ", "))
	}
}

// Observe takes what the API shows of a run that went without news for long, and
// reports whether any of it was news.
func (r *Record) Observe(at time.Time, run spacelift.Run) (news bool) {
	key := StateKey{run.StateVersion, run.State}
	before, needed, block := r.Facts(), r.needsApproval(key), r.block(key)
	fresh := newsIn(before, slices.DeleteFunc(FromRead(run, at), r.Past))
	denied := r.Compare(at, run)
	return denied || len(fresh) > 0 || run.NeedsApproval != needed || byBlock(run.Brakes.ConfirmBlock(run.Ref.Run), block) != 0
}

// newsIn returns the events that say more than is known: those of new states, and
// the newest if the stack's labels have changed.
func newsIn(known *RunStatus, read []RunEvent) []RunEvent {
	var news []RunEvent
	for _, e := range read {
		has := slices.ContainsFunc(known.States, func(s StateEntry) bool { return s.State == e.State && s.StateVersion == e.StateVersion })
		relabelled := e.State == known.State && e.StateVersion == known.StateVersion && !slices.Equal(spacelift.OurLabels(e.Labels), known.Labels)
		if !has || relabelled {
			news = append(news, e)
		}
	}
	return news
}

// giveUp ends the following of a run for a reason, unless it has ended itself.
func (r *Record) giveUp(at time.Time, reason string) {
	r.GivenUp = decide.Fit(reason, decide.MaxText)
	r.Note(at, KindNote, "Gantry stops following the run: %s", r.GivenUp)
}

// Inherit moves the record of the execution before into the one that continues the run.
// The SDK keeps an execution's input as long as it runs, so none of the record stays there,
// and of the texts that its events have in common one copy is kept.
func (r *Record) Inherit(before *Record) {
	*r, *before = *before, Record{}
	r.Events = slices.Clone(r.Events)
	for i := range r.Events {
		r.Events[i].share(r.Events[0])
	}
}

// Follow continues the record of an earlier execution. Under a new attempt of the
// run, people's decisions about the one before count no longer. If nothing has happened
// since the end, only what came too late is added.
func (r *Record) Follow(at time.Time, was Record) {
	if r.after() > was.after() {
		r.Keys = was.Keys
		return
	}
	begun := *r
	*r = was
	if was.endedBefore(at, begun.Events) {
		r.Outbox = nil
		r.belongs(at, begun)
		r.Note(at, KindNote, "Gantry learned where the run comes from only after its end")
		return
	}
	r.GivenUp, r.Decided, r.Again = "", "", nil
	r.Diagnosed, r.Failure, r.Retry = false, nil, nil
	r.Released, r.ChainsTold, r.Backoff = nil, nil, nil
	r.Outbox, r.Farewell = nil, false
	r.Trust, r.RulesStale = trust{}, true
	r.Events = slices.DeleteFunc(slices.Clone(was.Events), func(e RunEvent) bool { return e.State.Terminal() })
	*r = fold(*r, begun.Events...)
	r.ReadAt, r.Shown = begun.ReadAt, begun.Shown
	r.belongs(at, begun)
	r.Journal = append(r.Journal, begun.Journal...)
	r.Note(at, KindNote, "Gantry follows the run again: it continues in Spacelift, and an earlier execution had ended")
}

// endedBefore reports whether the run ended, and none of the events is newer than that.
func (r *Record) endedBefore(at time.Time, events []RunEvent) bool {
	s := r.Situation(at)
	return r.GivenUp == "" && s.State.Terminal() &&
		!slices.ContainsFunc(events, func(e RunEvent) bool { return e.StateVersion > s.StateVersion })
}

// belongs adds what another record knows of where the run comes from.
func (r *Record) belongs(at time.Time, begun Record) {
	r.Join(begun.Chains)
	r.Behind = Bounded(Distinct(append(slices.Clone(r.Behind), begun.Behind...)))
	if begun.RetryOf != nil {
		r.setRetryOf(at, *begun.RetryOf)
	}
}
