package managed

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// RunStatus is all that Gantry can say of a run: the answer to StatusQuery and
// the result of ManageRun. Its JSON form is a contract with every replica that
// asks and with histories of executions that have ended.
type RunStatus struct {
	Run          spacelift.RunRef   `json:"run"`
	Type         spacelift.RunType  `json:"type,omitempty"`
	State        spacelift.RunState `json:"state,omitempty"` // empty until the first event
	StateVersion int                `json:"stateVersion"`
	Phase        Phase              `json:"phase"`
	WaitingFor   *WaitingFor        `json:"waitingFor,omitempty"` // nil once the run has ended
	Outcome      string             `json:"outcome,omitempty"`    // how it ended, as a sentence; empty before that

	// GivenUp says why Gantry stopped following the run before its end; mostly
	// empty.
	GivenUp string `json:"givenUp,omitempty"`

	Managed bool          `json:"managed"` // the stack carried gantry:managed by the last event
	Policy  policy.Policy `json:"policy"`
	Labels  []string      `json:"labels,omitempty"` // Gantry's own, sorted

	// RulesUnread says that Policy follows from the labels alone so far: Gantry reads
	// the rules in effect before it decides anything.
	RulesUnread bool `json:"rulesUnread,omitempty"`

	// NeedsApproval says that Spacelift's own approval policies keep the run in
	// its state, as far as the API showed.
	NeedsApproval bool `json:"needsApproval,omitempty"`

	// Enforcement is the worth of the policy in Spacelift, as the API last showed it;
	// nil if that isn't known.
	Enforcement *policy.Enforcement `json:"enforcement,omitempty"`

	// Block is the brake that kept Gantry from confirming when the API was last
	// asked about the state, such as a lock; nil for none.
	Block *spacelift.Block `json:"block,omitempty"`

	// Bypass is the newest confirmation or apply against the policy in effect; nil
	// without one.
	Bypass *Bypass `json:"bypass,omitempty"`

	Plans []Plan `json:"plans,omitempty"` // what Gantry did about each plan it was to confirm

	// Gate says whether windows and freezes let Gantry confirm; nil until a plan
	// made it look.
	Gate *policy.Gate `json:"gate,omitempty"`

	// Approvals counts people's decisions about the current plan; nil if Gantry
	// asks nobody.
	Approvals *Approvals `json:"approvals,omitempty"`

	// Ballot is the decision that Gantry takes from people now; nil if it takes none.
	Ballot *Ballot `json:"ballot,omitempty"`

	// Decisions are all that people took through Gantry, those about earlier
	// plans included, oldest first.
	Decisions []Decided `json:"decisions,omitempty"`

	Failure *Failure `json:"failure,omitempty"` // why it failed; nil if it did not, or it is not known yet
	Retry   *Retry   `json:"retry,omitempty"`   // of this run by another; nil when none is planned
	RetryOf *RetryOf `json:"retryOf,omitempty"` // the run that this one tries again

	// Stop is a person's wish to end the run, which binds until it has ended; nil
	// without one.
	Stop *Stop `json:"stop,omitempty"`

	// Behind are the people who asked Gantry for the run, or who are behind the run whose
	// place it takes.
	Behind []string `json:"behind,omitempty"`

	// Chains are the chains of the run: one that it began, or those that released it. Followers are the managed stacks that follow the run's, and
	// are released when it finishes.
	Chains    []ChainRef          `json:"chains,omitempty"`
	Followers []spacelift.StackID `json:"followers,omitempty"`

	Branch         string           `json:"branch,omitempty"`
	Commit         spacelift.Commit `json:"commit,omitzero"`
	Delta          *spacelift.Delta `json:"delta,omitempty"`
	Resources      *Resources       `json:"resources,omitempty"` // that the plan changes; nil if nobody read them
	DriftDetection bool             `json:"driftDetection,omitempty"`
	TriggeredBy    string           `json:"triggeredBy,omitempty"`
	URL            string           `json:"url,omitempty"`
	StackName      string           `json:"stackName,omitempty"`

	StartedAt   time.Time `json:"startedAt"`            // when Gantry began to manage the run
	LastEventAt time.Time `json:"lastEventAt,omitzero"` // when the newest event reached us

	States   []StateEntry    `json:"states,omitempty"`   // in the run's order; a terminal state is last
	Timeline []TimelineEntry `json:"timeline,omitempty"` // oldest first
}

// Phase says in one word where Gantry is with a run. It is what people filter
// lists by, so it is coarser than Spacelift's states.
type Phase string

// Phases lists them all.
var Phases = []Phase{
	PhaseQueued, PhasePlanning, PhaseWaiting, PhaseHolding, PhaseConfirming, PhaseApplying, PhaseFollowing, PhaseRetrying, PhaseDone,
}

// The phases. A run passes them in about this order and may skip most.
const (
	PhaseQueued     Phase = "queued"     // not planning yet: in the queue, waiting for a worker, being set up
	PhasePlanning   Phase = "planning"   //
	PhaseWaiting    Phase = "waiting"    // for people, as its policy wants
	PhaseHolding    Phase = "holding"    // something keeps Gantry from acting; WaitingFor says what
	PhaseConfirming Phase = "confirming" // Spacelift has been asked to confirm and has not answered
	PhaseApplying   Phase = "applying"   // confirmed or applying; also a task performing, resources being destroyed
	PhaseFollowing  Phase = "following"  // in a state, or of a type, that this version does not know
	PhaseRetrying   Phase = "retrying"   // failed; another run is to try it again
	PhaseDone       Phase = "done"       // ended, however
)

// WaitingFor says what a run waits for.
type WaitingFor struct {
	What   Wait      `json:"what"`
	Reason string    `json:"reason"`         // a sentence
	Since  time.Time `json:"since"`          // by Spacelift's clock
	Until  time.Time `json:"until,omitzero"` // the earliest time when that changes automatically; zero: not known
	Who    string    `json:"who"`            // who can unblock it
	Next   string    `json:"next,omitempty"` // what happens then
}

// Wait is the kind of thing a run waits for.
type Wait string

// The kinds of waiting.
const (
	WaitSpacelift Wait = "spacelift" // to continue
	WaitPerson    Wait = "person"    // to decide, in Spacelift or through Gantry
	WaitLabels    Wait = "labels"    // to be fixed, or a person to decide in Spacelift
	WaitAnswer    Wait = "answer"    // of Spacelift's API
	WaitGate      Wait = "gate"      // to open: a window, or the end of a freeze
	WaitRetry     Wait = "retry"     // for the time of the next attempt
	WaitChain     Wait = "chain"     // for the stacks that go first
	WaitStack     Wait = "stack"     // to be unlocked, enabled, or let go by another run
	WaitPolicy    Wait = "policy"    // for expressions of the policy that can be evaluated
	WaitGantry    Wait = "gantry"    // at work itself, such as looking why the run failed
)

// Failure is the cause of a run's failure, as far as Spacelift shows it.
type Failure struct {
	Cause      policy.Cause       `json:"cause"`
	Phase      spacelift.RunState `json:"phase,omitempty"` // the state it failed in
	ApplyBegan bool               `json:"applyBegan"`      // an apply phase had begun, or may have
	Evidence   string             `json:"evidence,omitempty"`
	Source     string             `json:"source,omitempty"` // where the evidence is: "note", "log", "history"
}

// Retry is another attempt at a run that failed.
type Retry struct {
	State   RetryState       `json:"state"`
	Attempt int              `json:"attempt"`      // of the new run: 2 for the first retry
	Of      int              `json:"of"`           // attempts at most
	At      time.Time        `json:"at"`           // when it is to begin, or began
	By      string           `json:"by,omitempty"` // who did, unless Gantry
	As      spacelift.RunRef `json:"as,omitzero"`  // the new run, once known
	Reason  string           `json:"reason"`       // a sentence: why, and what became of it

	// Held is the reason that it waits longer than planned, and HeldSince the time
	// since then; empty if it does not.
	Held      string    `json:"held,omitempty"`
	HeldSince time.Time `json:"heldSince,omitzero"`
}

// RetryState is the progress of a retry.
type RetryState string

// The states of a retry.
const (
	RetryPlanned   RetryState = "planned"    // it waits for its time
	RetryStarted   RetryState = "started"    // RetryRun, under RetryRunID of the run, carries it out
	RetryMade      RetryState = "made"       // there is a new run
	RetryCalledOff RetryState = "called-off" // nothing comes of it
)

// RetryStates lists them all.
var RetryStates = []RetryState{RetryPlanned, RetryStarted, RetryMade, RetryCalledOff}

// start records that RetryRun carries the retry out.
func (r *Retry) start() bool {
	if r.State != RetryPlanned {
		return false
	}
	r.State = RetryStarted
	return true
}

// postpone records that the retry has to wait, and why.
func (r *Retry) postpone(at, until time.Time, why string) bool {
	if r.State != RetryStarted {
		return false
	}
	if r.HeldSince.IsZero() {
		r.HeldSince = at
	}
	r.State, r.At, r.Held = RetryPlanned, until, why
	return true
}

// made takes the new run. A person may have made it in place of the policy, also
// after nothing came of the policy's own retry.
func (r *Retry) made(as spacelift.RunRef) bool {
	r.State, r.As = RetryMade, as
	return true
}

// callOff records why the retry is not made.
func (r *Retry) callOff(why string) bool {
	if r.State == RetryMade || r.State == RetryCalledOff {
		return false
	}
	r.State, r.Reason = RetryCalledOff, why
	return true
}

// calledOff reports whether a retry was planned and nothing comes of it.
func (r *Retry) calledOff() bool { return r != nil && r.State == RetryCalledOff }

// underWay reports whether a retry is on its way, or has made a run.
func (r *Retry) underWay() bool {
	return r != nil && (r.State == RetryStarted || r.State == RetryMade)
}

// StateEntry is a state that the run entered.
type StateEntry struct {
	State        spacelift.RunState `json:"state"`
	StateVersion int                `json:"stateVersion"`
	At           time.Time          `json:"at"` // by Spacelift's clock
	Source       EventSource        `json:"source"`
	Actor        string             `json:"actor,omitempty"`
	Note         string             `json:"note,omitempty"`
}

// TimelineEntry is one thing that happened with a run.
//
// Entries are in the order of the run's states, and what Gantry did is behind the
// state it answered. That is the order of cause and effect even where two clocks
// disagree, so At need not grow from entry to entry.
type TimelineEntry struct {
	At           time.Time          `json:"at"`
	Kind         TimelineKind       `json:"kind"`
	Source       string             `json:"source"`          // an EventSource, or SourceGantry
	Actor        string             `json:"actor,omitempty"` // who, where known; empty for machines
	Summary      string             `json:"summary"`         // a sentence with the reason in it
	State        spacelift.RunState `json:"state,omitempty"`
	StateVersion int                `json:"stateVersion"` // of State; meaningless without one
}

// SourceGantry is the source of timeline entries that Gantry made itself.
const SourceGantry = "gantry"

// TimelineKind sorts timeline entries.
type TimelineKind string

// The kinds of timeline entries.
const (
	KindEvent    TimelineKind = "event"    // the run entered a state
	KindDecision TimelineKind = "decision" // what Gantry wants, and why
	KindAction   TimelineKind = "action"   // what Gantry did in Spacelift
	KindRepair   TimelineKind = "repair"   // what the API showed and no notification said, or said otherwise
	KindNote     TimelineKind = "note"     // anything else worth knowing
	KindPerson   TimelineKind = "person"   // what a person decided through Gantry
	KindClock    TimelineKind = "clock"    // a reminder, an escalation, a deadline or a timeout
	KindRules    TimelineKind = "rules"    // the policy or the gate is another than before
	KindAlarm    TimelineKind = "alarm"    // what must not happen, and did
	KindBypass   TimelineKind = "bypass"   // a confirmation or an apply against the policy in effect
)

// Plan is the record of one plan. The state version of UNCONFIRMED
// identifies a plan within its run: a replan makes another.
type Plan struct {
	StateVersion int        `json:"stateVersion"`
	Result       PlanResult `json:"result"`
	Reason       string     `json:"reason"`
	At           time.Time  `json:"at"`
	Looks        int        `json:"looks"` // how often it was looked at in order to confirm it
}

// PlanResult is the result of an attempt to confirm a plan.
type PlanResult string

// The results. PlanChanged, PlanRefused and PlanPostponed let Gantry try that
// plan again.
const (
	PlanConfirmed PlanResult = "confirmed" // by us
	PlanAlready   PlanResult = "already"   // somebody was faster
	PlanChanged   PlanResult = "changed"   // it was not what we had judged
	PlanRefused   PlanResult = "refused"   // Spacelift would not, or could not be asked
	PlanPostponed PlanResult = "postponed" // the policy is another now, or the gate is closed
	PlanDiscarded PlanResult = "discarded" // by us

	// PlanIneffective is a confirmation that Spacelift accepted and that changed
	// nothing.
	PlanIneffective PlanResult = "ineffective"

	// PlanUnseen is a plan that nobody had judged and that a confirmation of
	// Gantry's took effect on: a replan came in between.
	PlanUnseen PlanResult = "unseen"
)

// PlanResults lists them all.
var PlanResults = []PlanResult{PlanConfirmed, PlanAlready, PlanChanged, PlanRefused, PlanPostponed, PlanDiscarded, PlanIneffective, PlanUnseen}

// settle records the result of an attempt to confirm the plan. What was confirmed or discarded
// is no longer refused or postponed; it may only turn out to have had no effect.
func (p *Plan) settle(at time.Time, result PlanResult, reason string) bool {
	switch p.Result {
	case PlanDiscarded, PlanUnseen:
		return false
	case PlanConfirmed, PlanAlready:
		if result != PlanIneffective && result != PlanUnseen {
			return false
		}
	default:
		if result == PlanIneffective {
			return false
		}
	}
	p.Result, p.Reason, p.At = result, decide.Fit(reason, decide.MaxText), at
	if result != PlanPostponed && result != PlanRefused { // what may pass is no contradiction
		p.Looks++
	}
	return true
}

// Status returns the status of the run at a time.
func (r *Record) Status(at time.Time) *RunStatus {
	now := r.Situation(at)
	n := now.Next()
	s := now.RunStatus
	s.Phase, s.Timeline = n.Phase, r.timeline(s.States)
	if r.Fault != nil {
		s.Phase, s.WaitingFor = PhaseHolding, r.Fault.waitingFor()
		return s
	}
	if n.Do == DoFinish {
		s.Outcome = n.Reason
	} else {
		s.WaitingFor, s.Ballot = n.waitingFor(s), now.openBallot()
	}
	return s
}

// Facts returns the sum of the events, before anything is decided. The state is
// that of the newest event. Of every other particular, the last reading of the
// run counts; as long as the run was not read, the newest notification does.
func (r *Record) Facts() *RunStatus {
	s := &RunStatus{
		Run: r.Run, StartedAt: r.StartedAt, Plans: slices.Clone(r.Plans), GivenUp: r.GivenUp, RetryOf: r.RetryOf,
		Chains: slices.Clone(r.Chains), Behind: slices.Clone(r.Behind),
	}
	if r.Stopping != nil {
		s.Stop = new(r.Stopping.Stop)
	}
	if r.Bypass != nil {
		s.Bypass = new(*r.Bypass)
	}
	if r.Followers != nil {
		s.Followers = slices.Clone(r.Followers.Stacks)
	}
	for _, d := range r.Decisions {
		s.Decisions = append(s.Decisions, d.Decided)
	}
	placed := r.believed()
	events := newestFirst(placed)
	if len(events) > 0 {
		now := events[0]
		s.State, s.StateVersion, s.Labels = now.State, now.StateVersion, slices.Clone(now.Labels)
		s.NeedsApproval, s.Block = r.needsApproval(keyOfState(*now)), r.block(keyOfState(*now))
	}
	read, ok := r.lastRead()
	if ok {
		s.Labels = slices.Clone(read.Labels)
		s.Enforcement = r.enforcementOf(read)
		s.particulars(&read)
	}
	for _, e := range events {
		if !ok {
			s.particulars(e)
		}
	}
	for _, e := range r.Events {
		if e.ReceivedAt.After(s.LastEventAt) {
			s.LastEventAt = e.ReceivedAt
		}
	}
	s.Delta = delta(events, ok)
	s.Resources = r.resources(s)
	if r.Rules != nil {
		s.URL = r.Rules.URL
	}
	s.Managed, s.Policy, s.RulesUnread = spacelift.Managed(s.Labels), r.policy(s.Labels), r.Rules == nil
	s.States = states(placed)
	if s.State == spacelift.RunStateFailed {
		s.Failure, s.Retry = r.Failure, r.Retry
	}
	return s
}

// newestFirst sorts events by how far they decide what is so.
func newestFirst(events []*RunEvent) []*RunEvent {
	events = slices.Clone(events)
	slices.SortFunc(events, func(a, b *RunEvent) int { return byAuthority(b, a) })
	return events
}

// runType returns the type of the run as Facts has it.
func (r *Record) runType() spacelift.RunType {
	if read, ok := r.lastRead(); ok {
		return read.Type
	}
	var s RunStatus
	for _, e := range newestFirst(r.believed()) {
		s.Type = cmp.Or(s.Type, e.Type)
	}
	return s.Type
}

// policy returns the policy of the run: the one that was read, or before that, the
// one of its labels alone. Labels that name something of the configuration can't be
// judged then.
func (r *Record) policy(labels []string) policy.Policy {
	if r.Rules != nil {
		return r.Rules.Policy
	}
	p := (*policy.Definitions)(nil).Resolve(policy.Labelled(labels)).Of(r.Run.Stack)
	p.Problems = slices.DeleteFunc(p.Problems, func(bad policy.Problem) bool { return policy.NeedsConfiguration(bad.Label) })
	return p
}

// readFacts returns the sum of the readings of the run, without anything that only
// a notification said, for messages to people.
func (r *Record) readFacts() *RunStatus {
	read := *r
	read.Events = r.readings()
	return read.Facts()
}

// readings returns the events that the API showed.
func (r *Record) readings() (shown []RunEvent) {
	for i := range r.Events {
		if e := &r.Events[i]; e.Source == SourceReconcile {
			shown = append(shown, *e)
		}
	}
	return shown
}

// particulars adds what an event says of the run, as far as nothing was said yet.
func (s *RunStatus) particulars(e *RunEvent) {
	s.Type = cmp.Or(s.Type, e.Type)
	s.Branch = cmp.Or(s.Branch, e.Branch)
	s.TriggeredBy = cmp.Or(s.TriggeredBy, e.TriggeredBy)
	s.StackName = cmp.Or(s.StackName, e.StackName)
	s.Commit = fill(s.Commit, e.Commit)
	s.DriftDetection = s.DriftDetection || e.DriftDetection
}

// delta returns the size of the run's plan, given its events with the newest first. Once the run was read, a notification is asked for nothing but the size
// of a newer plan, which Gantry compares before it acts.
func delta(events []*RunEvent, read bool) *spacelift.Delta {
	for _, e := range events {
		switch {
		case e.Whole:
		case e.Delta == nil, e.Source == SourceReconcile, read && !e.State.NeedsDecision(false):
			continue
		}
		if e.Delta == nil {
			return nil
		}
		return new(*e.Delta)
	}
	return nil
}

// fill completes a commit from another event of the same commit.
func fill(c, from spacelift.Commit) spacelift.Commit {
	if c.Hash != "" && c.Hash != from.Hash {
		return c
	}
	return spacelift.Commit{
		Hash:        cmp.Or(c.Hash, from.Hash),
		Message:     cmp.Or(c.Message, from.Message),
		AuthorLogin: cmp.Or(c.AuthorLogin, from.AuthorLogin),
		AuthorName:  cmp.Or(c.AuthorName, from.AuthorName),
		URL:         cmp.Or(c.URL, from.URL),
	}
}

// states lists the states that the events name, which are in their order. A state that both a
// notification and the API name has the finer time of the first and
// the actor of the second.
func states(events []*RunEvent) []StateEntry {
	list := slices.Grow[[]StateEntry](nil, len(events))
	for _, e := range events {
		if n := len(list); n > 0 && list[n-1].State == e.State && list[n-1].StateVersion == e.StateVersion {
			list[n-1].Actor, list[n-1].Note = e.Actor, cmp.Or(e.Note, list[n-1].Note)
			continue
		}
		list = append(list, StateEntry{
			State: e.State, StateVersion: e.StateVersion, At: e.At, Source: e.Source, Actor: e.Actor, Note: e.Note,
		})
	}
	return list
}

// timeline weaves the states and the journal into one: see TimelineEntry.
func (r *Record) timeline(states []StateEntry) []TimelineEntry {
	var all []TimelineEntry
	if r.Dropped || r.Forgot > 0 {
		all = append(all, TimelineEntry{
			At: r.StartedAt, Kind: KindNote, Source: SourceGantry,
			Summary: fmt.Sprintf("this run has a longer past than Gantry keeps: the oldest %sare left out", forgotten(r)),
		})
	}
	for _, s := range states {
		e := TimelineEntry{
			At: s.At, Kind: KindEvent, Source: string(s.Source), Actor: s.Actor,
			Summary: "the run is " + string(s.State), State: s.State, StateVersion: s.StateVersion,
		}
		if s.Note != "" {
			e.Summary += ": " + s.Note
		}
		all = append(all, e)
	}
	all = append(all, unread(r.Events)...)
	all = append(all, r.Journal...)
	slices.SortStableFunc(all, func(a, b TimelineEntry) int {
		return cmp.Or(
			cmp.Compare(Rank(a.State != ""), Rank(b.State != "")),
			cmp.Compare(Rank(a.State.Terminal()), Rank(b.State.Terminal())),
			cmp.Compare(a.StateVersion, b.StateVersion),
		)
	})
	return all
}

// unread notes what could not be read of notifications: each member once, at the
// first state whose notification had it.
func unread(events []RunEvent) (notes []TimelineEntry) {
	noted := map[string]bool{}
	for _, e := range events {
		fresh := slices.DeleteFunc(slices.Clone(e.Unread), func(member string) bool { return noted[member] })
		if len(fresh) == 0 {
			continue
		}
		for _, member := range fresh {
			noted[member] = true
		}
		notes = append(notes, TimelineEntry{
			At: e.At, Kind: KindNote, Source: SourceGantry, State: e.State, StateVersion: e.StateVersion,
			Summary: "Gantry could not read these members of the notification and ignored them: " + strings.Join(fresh, ", "),
		})
	}
	return notes
}

func forgotten(r *Record) string {
	switch {
	case r.Dropped && r.Forgot > 0:
		return fmt.Sprintf("states and %d notes ", r.Forgot)
	case r.Dropped:
		return "states "
	}
	return fmt.Sprintf("%d notes ", r.Forgot)
}
