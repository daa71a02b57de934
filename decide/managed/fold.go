package managed

import (
	"cmp"
	"slices"
	"time"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// Bounds on what an execution keeps. Real runs stay far below; what is beyond
// comes from somebody who wants to fill Temporal's histories, whose payloads
// must stay under 2 MB.
const (
	MaxEvents = 200 // a run passes some ten states, a replan adds four
	maxState  = 100 // bytes of the name of a state or type
	MaxUnread = 10  // members of a notification that could not be read
)

// fold adds what events say to what is known.
//
// The result depends only on the set of events folded, not on their order or
// on repeats: record.Events holds, for each state and kind of source, the one
// event that says most, sorted; and everything else is computed from that set.
// So late, repeated and reordered notifications never move a run backwards.
//
// Events that cannot be about this run are for take to sort out.
func fold(r Record, events ...RunEvent) Record {
	if n := min(len(r.Events)+len(events), MaxEvents+1); n > 0 { // no more room than they need: it is kept for days
		r.Events = append(make([]RunEvent, 0, n), r.Events...)
	}
	for _, e := range events {
		if r.Past(e) {
			continue
		}
		e = Trim(e)
		if len(r.Events) > 0 {
			e.share(r.Events[0])
		}
		i, found := slices.BinarySearchFunc(r.Events, e, byPlace)
		if found {
			r.Events[i] = join(r.Events[i], e)
			continue
		}
		r.Events = slices.Insert(r.Events, i, e)
		if len(r.Events) > MaxEvents {
			i := r.evictable()
			r.Events, r.Dropped = slices.Delete(r.Events, i, i+1), true
		}
	}
	return r
}

// evictable returns the index of the event to drop when there are too many: the
// lowest of those that only a notification named, whatever came first. Events that
// the API showed, the newest states and the end are always kept.
func (r *Record) evictable() int {
	return max(0, slices.IndexFunc(r.Events, func(e RunEvent) bool { return e.Source != SourceReconcile }))
}

// Take folds a batch as it came from outside, without what cannot be true.
func (r *Record) Take(at time.Time, batch []RunEvent) {
	own, foreign, impossible := r.own(batch)
	before := r.Events
	repair := slices.ContainsFunc(own, func(e RunEvent) bool { return e.Source == SourceReconcile })
	r.repeats(batch)
	r.overtaken(own)
	*r = fold(*r, own...)
	for _, e := range own {
		if e.Whole && e.Source == SourceReconcile && e.ReceivedAt.After(r.ReadAt) {
			r.ReadAt, r.Shown = e.ReceivedAt.UTC(), &StateKey{e.StateVersion, e.State}
			r.found(at)
			r.contradict(*r.Shown)
		}
	}
	if repair {
		r.noteRepair(at, before)
	}
	if foreign > 0 {
		r.Note(at, KindNote, "%d events of other runs were dropped", foreign)
	}
	if impossible > 0 {
		r.Note(at, KindNote, "%d events without a possible state were dropped", impossible)
	}
}

// own returns the events of a batch that can be about this run, and how many
// are of other runs or cannot be. What is doubted already is left out.
func (r *Record) own(batch []RunEvent) (own []RunEvent, foreign, impossible int) {
	own = make([]RunEvent, 0, len(batch))
	for _, e := range batch {
		switch {
		case e.Run != r.Run:
			foreign++
		case e.State == "" || len(e.State) > maxState || e.StateVersion < 0:
			impossible++
		case r.doubts(e):
		default:
			own = append(own, e)
		}
	}
	return own, foreign, impossible
}

// byPlace orders events by their place in the run. An end is last whatever its
// version: Spacelift has sent terminal states with stale ones.
func byPlace(a, b RunEvent) int {
	return cmp.Or(
		cmp.Compare(Rank(a.State.Terminal()), Rank(b.State.Terminal())),
		cmp.Compare(a.StateVersion, b.StateVersion),
		cmp.Compare(a.State, b.State),
		cmp.Compare(Rank(a.Source == SourceReconcile), Rank(b.Source == SourceReconcile)),
	)
}

func Rank(b bool) int {
	if b {
		return 1
	}
	return 0
}

// join merges two events of the same place. It is commutative, associative and
// idempotent, which is what makes fold so.
//
// Of two readings of the API the later counts, for it is about the same state
// at a later time. Two notifications of one state say the same, so any fixed
// choice will do where they don't; the time of the first is kept.
func join(a, b RunEvent) RunEvent {
	if a.Source == SourceReconcile {
		if c := a.ReceivedAt.Compare(b.ReceivedAt); c != 0 {
			if c > 0 {
				return a
			}
			return b
		}
		return greater(a, b)
	}
	first := slices.MinFunc([]RunEvent{a, b}, func(a, b RunEvent) int {
		return cmp.Or(a.ReceivedAt.Compare(b.ReceivedAt), cmp.Compare(a.Delivery, b.Delivery))
	})
	a.ReceivedAt, a.Delivery = first.ReceivedAt, first.Delivery
	b.ReceivedAt, b.Delivery = first.ReceivedAt, first.Delivery
	return greater(a, b)
}

// greater chooses between two events of one place: any total order would do.
func greater(a, b RunEvent) RunEvent {
	if byContent(a, b) >= 0 {
		return a
	}
	return b
}

// byContent orders events of one place by all that they say. It must look at
// every field, or the result of fold would depend on the order.
func byContent(a, b RunEvent) int {
	return cmp.Or(
		a.At.Compare(b.At),
		cmp.Compare(a.Type, b.Type),
		cmp.Compare(a.Note, b.Note),
		cmp.Compare(a.Actor, b.Actor),
		cmp.Compare(a.Branch, b.Branch),
		cmp.Compare(a.Commit.Hash, b.Commit.Hash),
		cmp.Compare(a.Commit.Message, b.Commit.Message),
		cmp.Compare(a.Commit.AuthorLogin, b.Commit.AuthorLogin),
		cmp.Compare(a.Commit.AuthorName, b.Commit.AuthorName),
		cmp.Compare(a.Commit.URL, b.Commit.URL),
		bySize(a.Delta, b.Delta),
		cmp.Compare(Rank(a.DriftDetection), Rank(b.DriftDetection)),
		cmp.Compare(a.TriggeredBy, b.TriggeredBy),
		cmp.Compare(Rank(a.NeedsApproval), Rank(b.NeedsApproval)),
		byBlock(a.Block, b.Block),
		byEnforcement(a.Enforcement, b.Enforcement),
		cmp.Compare(Rank(a.Whole), Rank(b.Whole)),
		cmp.Compare(a.StackName, b.StackName),
		slices.Compare(a.Labels, b.Labels),
		slices.Compare(a.Unread, b.Unread),
		cmp.Compare(a.Delivery, b.Delivery),
		a.ReceivedAt.Compare(b.ReceivedAt),
	)
}

func byBlock(a, b *spacelift.Block) int {
	if a == nil || b == nil {
		return cmp.Compare(Rank(a != nil), Rank(b != nil))
	}
	return cmp.Or(
		cmp.Compare(a.What, b.What), cmp.Compare(a.By, b.By), a.Since.Compare(b.Since),
		cmp.Compare(a.Note, b.Note), cmp.Compare(a.Reason, b.Reason),
	)
}

func byEnforcement(a, b *policy.Enforcement) int {
	if a == nil || b == nil {
		return cmp.Compare(Rank(a != nil), Rank(b != nil))
	}
	return cmp.Or(cmp.Compare(a.Level, b.Level), cmp.Compare(a.Reason, b.Reason), cmp.Compare(Rank(a.Asks), Rank(b.Asks)))
}

func bySize(a, b *spacelift.Delta) int {
	if a == nil || b == nil {
		return cmp.Compare(Rank(a != nil), Rank(b != nil))
	}
	return cmp.Or(
		cmp.Compare(a.Added, b.Added),
		cmp.Compare(a.Changed, b.Changed),
		cmp.Compare(a.Deleted, b.Deleted),
		cmp.Compare(a.Resources, b.Resources),
	)
}

// current returns the newest event: its state is the run's.
func (r *Record) current() (RunEvent, bool) {
	events := r.believed()
	if len(events) == 0 {
		return RunEvent{}, false
	}
	return *slices.MaxFunc(events, byAuthority), true
}

// byAuthority orders events by how far they decide what is so: the end before
// all, then the newer state, then the API before a notification.
func byAuthority(a, b *RunEvent) int {
	return cmp.Or(
		cmp.Compare(Rank(a.State.Terminal()), Rank(b.State.Terminal())),
		cmp.Compare(a.StateVersion, b.StateVersion),
		cmp.Compare(Rank(a.Source == SourceReconcile), Rank(b.Source == SourceReconcile)),
		a.At.Compare(b.At),
		cmp.Compare(a.State, b.State),
	)
}

// FromRead turns a run as the API shows it into events, one for each state of
// its history. The stack's labels belong to the time of reading and are in
// all; the run's own particulars are those of its newest state. An end that the
// run continued from was none: Spacelift may try a run again under the same id.
func FromRead(run spacelift.Run, at time.Time) []RunEvent {
	var events []RunEvent
	add := func(t spacelift.Transition) {
		events = append(events, RunEvent{
			Run: run.Ref, Type: run.Type, State: t.State, StateVersion: t.StateVersion,
			At: t.At, Note: t.Note, Actor: t.Username,
			Labels: run.StackLabels, Source: SourceReconcile, ReceivedAt: at,
		})
	}
	history := run.History
	if i := lastEnd(history); !run.State.Terminal() {
		history = history[i+1:]
	}
	newest := -1
	for _, t := range history {
		add(t)
		if t.State == run.State && t.StateVersion == run.StateVersion {
			newest = len(events) - 1
		}
	}
	if newest < 0 {
		add(spacelift.Transition{State: run.State, StateVersion: run.StateVersion, At: at})
		newest = len(events) - 1
	}
	e := &events[newest]
	e.Whole = true
	e.Branch, e.Commit, e.Delta = run.Branch, run.Commit, run.Delta
	e.DriftDetection, e.TriggeredBy, e.StackName = run.DriftDetection, run.TriggeredBy, run.StackName
	e.NeedsApproval, e.Block = run.NeedsApproval, run.Brakes.ConfirmBlock(run.Ref.Run)
	e.Enforcement = policy.EnforcementOf(run.Hold)
	return events
}

// lastEnd finds the last end in a history; -1 if there is none.
func lastEnd(history []spacelift.Transition) int {
	for i, t := range slices.Backward(history) {
		if t.State.Terminal() {
			return i
		}
	}
	return -1
}

// Trim bounds an event and gives equal ones equal form.
func Trim(e RunEvent) RunEvent {
	e.At, e.ReceivedAt = e.At.UTC(), e.ReceivedAt.UTC()
	if e.Source != SourceReconcile {
		e.Source, e.Whole = SourceWebhook, false
	}
	e.Note, e.Commit.Message = decide.Fit(e.Note, decide.MaxText), decide.Fit(e.Commit.Message, decide.MaxText)
	for _, s := range []*string{
		&e.Actor, &e.Branch, &e.TriggeredBy, &e.StackName, &e.Delivery,
		&e.Commit.Hash, &e.Commit.AuthorLogin, &e.Commit.AuthorName, &e.Commit.URL,
	} {
		*s = decide.Fit(*s, decide.MaxName)
	}
	if e.Block != nil {
		e.Block = new(*e.Block)
		e.Block.By, e.Block.Note, e.Block.Reason = decide.Fit(e.Block.By, decide.MaxName), decide.Fit(e.Block.Note, decide.MaxName), decide.Fit(e.Block.Reason, decide.MaxText)
	}
	if e.Enforcement != nil {
		e.Enforcement = new(*e.Enforcement)
		e.Enforcement.Reason = decide.Fit(e.Enforcement.Reason, decide.MaxText)
	}
	e.Type = spacelift.RunType(decide.Fit(string(e.Type), maxState))
	e.Labels = policy.TrimLabels(e.Labels)
	if len(e.Unread) > 0 {
		e.Unread = slices.Clone(e.Unread[:min(len(e.Unread), MaxUnread)])
		for i, member := range e.Unread {
			e.Unread[i] = decide.Fit(member, maxState)
		}
	}
	return e
}

// share has the event use the memory of another one's texts where they are equal, as most
// of a run's are: executions keep them for days.
func (e *RunEvent) share(of RunEvent) {
	share(&e.Run, of.Run)
	share(&e.Type, of.Type)
	share(&e.Branch, of.Branch)
	share(&e.Commit, of.Commit)
	share(&e.TriggeredBy, of.TriggeredBy)
	share(&e.StackName, of.StackName)
	if slices.Equal(e.Labels, of.Labels) {
		e.Labels = of.Labels
	}
}

func share[T comparable](mine *T, its T) {
	if *mine == its {
		*mine = its
	}
}

// Newest returns the state that results from batches that are not folded yet; zero
// if nothing is known.
func (r Record) Newest(batches []RunEvents) StateKey {
	for _, batch := range batches {
		own, _, _ := r.own(batch.Events)
		r = fold(r, own...)
	}
	now, ok := r.current()
	if !ok {
		return StateKey{}
	}
	return keyOfState(now)
}
