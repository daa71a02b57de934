package chain

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// member is a stack of a chain, the root or a follower.
type member struct {
	Follower
	Runs []memberRun `json:"runs,omitempty"`

	Releasing bool     `json:"releasing,omitempty"` // a run is being triggered right now
	Backoff   *backoff `json:"trouble,omitempty"`   // why none was, the last time
	Keeps     bool     `json:"keeps,omitempty"`     // the stack's policy keeps old plans
	Skipped   *Skip    `json:"skipped,omitempty"`

	By []int `json:"by,omitempty"` // the people behind its runs, of chain.People

	State NodeState `json:"state,omitempty"` // as last recorded, and since when
	Since time.Time `json:"since,omitzero"`
}

// memberRun is a run of a stack, as the API showed it. Nothing here comes from a
// notification.
type memberRun struct {
	Run          spacelift.RunID    `json:"run"`
	State        spacelift.RunState `json:"state,omitempty"` // empty: not read yet
	StateVersion int                `json:"stateVersion,omitempty"`
	CreatedAt    time.Time          `json:"createdAt,omitzero"`
	PlannedAt    time.Time          `json:"plannedAt,omitzero"` // when its plan began
	EndedAt      time.Time          `json:"endedAt,omitzero"`   // all by Spacelift's clock
	Applied      bool               `json:"applied,omitempty"`  // it began to apply
	Actor        string             `json:"actor,omitempty"`    // the person who ended it
	Note         string             `json:"note,omitempty"`
	How          string             `json:"how,omitempty"`       // the run was made, as a sentence
	StoppedBy    string             `json:"stoppedBy,omitempty"` // the person who wanted it stopped
	Void         bool               `json:"void,omitempty"`      // it ended and does not count: the stack needs another one

	NextRead  time.Time `json:"look,omitzero"`     // when to read it next
	Reads     int       `json:"looks,omitempty"`   // reads in a row without a change
	Announced bool      `json:"rung,omitempty"`    // somebody said that it ended, and the API did not show it yet
	Unknown   int       `json:"unknown,omitempty"` // how often in a row Spacelift did not know it
}

func (n *member) run(id spacelift.RunID) *memberRun {
	i := slices.IndexFunc(n.Runs, func(r memberRun) bool { return r.Run == id })
	if i < 0 {
		return nil
	}
	return &n.Runs[i]
}

// current returns the run of a stack that counts: one that passes, or else the
// newest; nil if there is none.
func (n *member) current() *memberRun {
	var newest *memberRun
	for i := range n.Runs {
		r := &n.Runs[i]
		switch {
		case r.Void:
		case r.passes():
			return r
		case newest == nil || byCreation(*r, *newest) > 0:
			newest = r
		}
	}
	return newest
}

// state returns the state of a stack, whatever it follows.
func (n *member) state() NodeState {
	r := n.current()
	switch {
	case r != nil && r.passes():
		return NodeFinished
	case n.Skipped != nil:
		return NodeSkipped
	case r != nil && (r.State.Terminal() || r.lost()):
		return NodeFailed
	case r != nil:
		return NodeRunning
	case n.Backoff != nil && n.Backoff.Waits:
		return NodeWaiting
	case n.Backoff != nil:
		return NodeHeld
	case n.Releasing:
		return NodeReleasing
	}
	return NodeWaiting
}

// voids returns the runs of a stack that do not count.
func (n *member) voids() (ids []spacelift.RunID) {
	for _, r := range n.Runs {
		if r.Void {
			ids = append(ids, r.Run)
		}
	}
	return ids
}

func (r *memberRun) take(run spacelift.Run) {
	r.State, r.StateVersion, r.CreatedAt = run.State, run.StateVersion, run.CreatedAt
	r.PlannedAt, r.Applied = run.PlannedAt(), run.BeganToApply()
	r.EndedAt, r.Actor, r.Note, r.Reads, r.Void = time.Time{}, "", "", 0, false
	if end, ended := run.End(); ended {
		r.Announced = false
		r.EndedAt, r.Actor, r.Note = end.At, decide.Fit(end.Username, managed.MaxPerson), decide.Fit(spacelift.Unsigned(end.Note), maxRunNote)
	}
}

// slim drops the texts that are only shown of the newest run of a stack.
func (r *memberRun) slim() {
	if r.State.Terminal() {
		r.Actor, r.Note, r.How = "", "", ""
	}
}

// passes reports whether the run releases the stacks that follow: it finished, and
// nobody wanted it stopped. A run that Spacelift skipped passes, too, unless it is
// void: nothing that it refers to has changed.
func (r *memberRun) passes() bool {
	return !r.Void && r.StoppedBy == "" && (r.State == spacelift.RunStateFinished || r.State == spacelift.RunStateSkipped)
}

// turn is the time at which a stack's turn came, by the runs that released it.
type turn struct {
	Ended   time.Time // when the last of them ended
	Applied time.Time // when the last of those ended that applied changes; zero: none did
}

func (c *Chain) turn(n *member) (t turn) {
	for _, p := range n.After {
		r := c.Nodes[p].current()
		if r == nil || !r.passes() {
			continue
		}
		t.Ended = decide.Later(t.Ended, r.EndedAt)
		if r.Applied {
			t.Applied = decide.Later(t.Applied, r.EndedAt)
		}
	}
	return t
}

// void returns why a run that has ended does not count; empty if it does. A run that
// applied changes counts, however old its plan: applying it again would not help.
func (r *memberRun) void(t turn, keeps bool) string {
	switch {
	case strings.HasPrefix(r.Note, policy.NoteOldPlan), strings.HasPrefix(r.Note, policy.NoteGivesWay):
		return "another one replaces it"
	case r.State == spacelift.RunStateSkipped && r.EndedAt.Before(t.Ended.Truncate(time.Second)):
		return "Spacelift skipped it before its turn came"
	case (r.State == spacelift.RunStateFinished || r.State == spacelift.RunStateFailed) && !r.Applied && !keeps &&
		!r.PlannedAt.IsZero() && r.PlannedAt.Before(t.Applied.Truncate(time.Second)):
		return "it planned before a stack that goes first had applied its changes"
	}
	return ""
}

// scheduleRead schedules the next read of a run that sends no news.
func (r *memberRun) scheduleRead(at time.Time) {
	first := readFirst
	if r.Announced || r.State == "" {
		first = readAnnounced
	}
	r.NextRead = at.Add(decide.Backoff(first, r.Reads, readLongest))
	r.Reads++
}

// end returns how the run ended, as a sentence.
func (r *memberRun) end(stack spacelift.StackID) string {
	text := fmt.Sprintf("run %s of %s ended in %s", r.Run, stack, r.State)
	if r.Actor != "" {
		text += " by " + r.Actor
	}
	text += decide.AfterColon(r.Note)
	if r.StoppedBy != "" && r.State == spacelift.RunStateFinished {
		text += fmt.Sprintf(", though %s wanted it stopped", r.StoppedBy)
	}
	return text
}

// lostAfter is the number of reads in a row that must not find a run before a chain
// counts it as lost.
const lostAfter = 2

// lost reports whether Spacelift does not know the run any more.
func (r *memberRun) lost() bool { return r.Unknown >= lostAfter }

// byCreation compares runs by age; a run that was not read yet is the newest.
func byCreation(a, b memberRun) int {
	return cmp.Or(cmp.Compare(managed.Rank(a.State == ""), managed.Rank(b.State == "")), a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.Run, b.Run))
}

// addPeople records the people behind runs of a stack. API keys and stacks are no
// people.
func (c *Chain) addPeople(n *member, names ...string) {
	for _, name := range names {
		name = decide.Fit(name, managed.MaxPerson)
		if name == "" || strings.HasPrefix(name, "api::") || c.index(spacelift.StackID(name)) >= 0 {
			continue
		}
		i := slices.IndexFunc(c.People, func(p string) bool { return decide.SameName(p, name) })
		if i < 0 && len(c.People) < maxPeople {
			i, c.People = len(c.People), append(c.People, name)
		}
		if i >= 0 && !slices.Contains(n.By, i) {
			n.By = append(n.By, i)
		}
	}
}

// Triggerers returns the people behind the runs before a stack's, and behind the root.
// They may not approve the stack's run.
func (c *Chain) Triggerers(n *member) []string {
	names := slices.Clone(c.TriggeredBy)
	seen := make([]bool, len(c.Nodes))
	for next := slices.Clone(n.After); len(next) > 0; next = next[1:] {
		i := next[0]
		if seen[i] {
			continue
		}
		seen[i] = true
		next = append(next, c.Nodes[i].After...)
		for _, by := range c.Nodes[i].By {
			names = append(names, c.People[by])
		}
	}
	return managed.Bounded(managed.Distinct(names))
}
