package managed

import (
	"fmt"
	"slices"
	"time"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// Situation is a run as decisions see it: the facts, the rules in effect, and the
// progress of Gantry and people, at a time.
type Situation struct {
	*RunStatus

	Now        time.Time
	rules      *Rules // nil: not read yet
	rulesRead  time.Time
	rulesFor   *StateKey
	rulesStale bool

	needsApproval bool     // Spacelift's own approval policies keep it where it is
	read          bool     // the API showed the present state
	shown         StateKey // the newest state that the API showed at readAt
	Trust         trust
	whyRead       string     // why notifications make it necessary to read the run; empty if they don't
	doubted       bool       // the state may be none that the run has entered
	missingUntil  time.Time  // when a run that Spacelift does not know is given up
	readEvents    []RunEvent // by the API, in the run's order
	blockRead     time.Time  // when it showed Block
	Crowded       bool       // it did not, and the run has more events than can be kept
	Entered       entrance
	Ask           *pendingDecision // about the present state; nil when it asks nothing
	open          *pendingDecision // about an earlier state, and nobody knows yet how it ended
	excluded      []string
	named         []string   // of the excluded, those that the API named
	taken         []decision // all of them, as Decisions has them
	approved      []decision // that count; see count
	rejected      *decision
	objection     *decision // that binds whatever becomes of the plan it was about: see count
	discounted    []string  // why approvals do not count, as sentences
	stopping      *Stopping
	backoff       *backoff
	diagnosed     bool
	retryJudged   bool
	readAt        time.Time // when the API last showed the run
	again         bool      // the next attempt continues under the same id
	chainsTold    *StateKey
	released      *StateKey
	followers     *Followers
	parents       *Parents
	otherEnded    time.Time
	waitersKnow   *StateKey
	judged        *StateKey // see Record.Judged
	replaced      *replacement
}

// Situation returns all that decisions depend on, at a time. It shares nothing with
// the record that decisions could change.
func (r *Record) Situation(at time.Time) *Situation {
	s := &Situation{
		RunStatus: r.Facts(), Now: at,
		rules: r.Rules, rulesRead: r.RulesRead, rulesFor: r.RulesFor, rulesStale: r.RulesStale,
		Entered: r.Entered, stopping: r.Stopping, backoff: r.Backoff, diagnosed: r.Diagnosed, retryJudged: r.RetryJudged, readAt: r.ReadAt,
		Trust: r.Trust, again: r.Again != nil,
		chainsTold: r.ChainsTold, released: r.Released, followers: r.Followers,
		parents: r.Parents, replaced: r.Replaced, judged: r.Judged, otherEnded: r.OtherEnded, waitersKnow: r.WaitersKnow,
	}
	key := s.Key()
	now, read := r.apiShowed(key)
	s.read, s.blockRead = read, now.ReceivedAt
	s.readEvents = r.readings()
	s.Crowded = r.Dropped && !s.read
	if r.Shown != nil {
		s.shown = *r.Shown
	}
	s.whyRead, s.missingUntil = r.whyRead(), r.missingUntil()
	if now, ok := r.current(); ok && !s.read {
		s.doubted = r.whyDoubted(now) != ""
	}
	s.needsApproval = r.needsApproval(key)
	if s.State.NeedsDecision(s.needsApproval) {
		if s.Ask = r.pending(key); s.Ask == nil {
			s.Ask = &pendingDecision{Key: key, Since: at} // nothing has happened about it yet
		}
	}
	for i := range r.Askings {
		if a := &r.Askings[i]; a.Key != key && a.Resolved == "" {
			s.open = a
		}
	}
	s.excluded = r.excluded(s.Commit.Hash)
	s.named = r.behind(s.Commit.Hash, s.readEvents)
	s.count(slices.Clone(r.Decisions))
	s.Approvals = s.approvals()
	if s.rulesFor != nil && *s.rulesFor == key {
		s.Gate = new(s.rules.Gate)
	}
	return s
}

func (s *Situation) Key() StateKey { return StateKey{s.StateVersion, s.State} }

// plan returns the facts that the policy judges.
func (s *Situation) plan() policy.PlanFacts {
	return policy.PlanFacts{Type: s.Type, Drift: s.DriftDetection, Delta: s.Delta, Verdicts: s.verdicts()}
}

// verdicts returns the results of the policy's expressions for the plan that the run
// shows; nil if there are none, or they are not known.
func (s *Situation) verdicts() *policy.Verdicts {
	if !s.planShows() || !s.rulesHere() {
		return nil
	}
	return s.rules.Verdicts
}

// autoConfirms reports whether Gantry confirms the plan without people. Where other
// approval policies than Gantry's ask for somebody, it does not.
func (s *Situation) autoConfirms() bool {
	ok, _ := s.Policy.AutoConfirms(s.plan())
	return ok && s.State == spacelift.RunStateUnconfirmed && (!s.needsApproval || s.ownReview()) && s.objection == nil
}

// peopleDecide reports whether the present state asks people, through Gantry.
func (s *Situation) peopleDecide() bool {
	return s.Ask != nil && s.Managed && len(s.Policy.Problems) == 0 && s.needed() > 0 && !s.autoConfirms()
}

// approvals counts people's decisions; nil if nobody is asked through Gantry.
func (s *Situation) approvals() *Approvals {
	if !s.peopleDecide() {
		return nil
	}
	a := &Approvals{Needed: s.needed(), Given: s.given(), Group: s.Policy.Approvers.Value}
	for _, d := range s.demands()[1:] {
		a.Required = append(a.Required, RequiredApprovals{Needed: d.Needed, Given: len(d.given), Group: d.Group, Reason: d.Why})
	}
	if !s.Policy.SelfApproval.Value {
		a.Excluded = slices.Clone(s.excluded)
	}
	for _, d := range s.Decisions {
		if d.State == s.State && d.StateVersion == s.StateVersion {
			a.Decided = append(a.Decided, d)
		}
	}
	return a
}

// Sending reports whether Gantry is asking Spacelift for what people approved.
// That can be taken back as long as Spacelift has not done it.
func (s *Situation) Sending() bool {
	if s.Ask == nil || s.rejected != nil || s.Ask.Stage == stageExpired {
		return false
	}
	return s.Ask.Act.is(requestSending, DoConfirm) || s.Ask.Review.is(requestSending) && s.Ask.Review.Review == spacelift.ReviewApprove
}

// outdated reports whether the policy must be read before anything is decided
// about the state that asks: labels are others now, or a freeze may be.
func (s *Situation) outdated() bool {
	return s.rules == nil || s.rulesStale || !slices.Equal(s.rules.Labels, s.Labels)
}

// rulesHere reports whether the gate and the clocks are known for the present
// state.
func (s *Situation) rulesHere() bool { return s.rulesFor != nil && *s.rulesFor == s.Key() }

// schedule are the clocks of the present state that have not struck yet, soonest
// first. What ends the waiting stays due until it did.
func (s *Situation) schedule() []policy.Deadline {
	if s.Ask == nil || !s.rulesHere() || s.Ask.Stage == stageExpired {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(s.rules.Schedule), func(d policy.Deadline) bool {
		switch d.Kind {
		case policy.DeadlineDiscard:
			return false
		case policy.DeadlineTimeout:
			return s.Ask.Stage == stageKept
		}
		return !d.At.After(s.Ask.DuesDone)
	})
}

// timeOver says that too few people approved in time.
func (s *Situation) timeOver(kind policy.DeadlineKind) string {
	within := s.Policy.ApprovalTimeout.Value
	if kind == policy.DeadlineDiscard {
		for _, step := range s.Policy.Escalation.Value {
			if step.Discard && (within == 0 || s.Policy.OnTimeout.Value == policy.TimeoutKeep || step.After < within) {
				within = step.After
			}
		}
	}
	switch given := s.given(); given {
	case 0:
		return fmt.Sprintf("nobody approved within %s", within)
	default:
		return fmt.Sprintf("only %d of %d approved within %s", given, s.needed(), within)
	}
}

// approvers lists the people who approved.
func (s *Situation) approvers() string {
	names := make([]string, len(s.approved))
	for i, d := range s.approved {
		names[i] = d.By
	}
	return decide.Enumerate(names)
}

// Deadline returns the time that a run may stay in the present state; 0 is forever.
func (s *Situation) Deadline() time.Duration {
	d := s.Policy.Deadlines.Value
	if s.State.Applies() || s.State != "" && !s.State.Known() { // an unknown state may be an apply
		return time.Duration(d.Applying)
	}
	switch s.State {
	case spacelift.RunStateQueued:
		return time.Duration(d.Queued)
	case spacelift.RunStatePending, spacelift.RunStateReady, spacelift.RunStatePreparing, spacelift.RunStateInitializing:
		return time.Duration(d.Starting)
	case spacelift.RunStatePlanning, spacelift.RunStateReplanRequested, spacelift.RunStatePreparingReplan:
		return time.Duration(d.Planning)
	}
	return 0
}

// The silence after which an execution reads the run itself. Notifications
// get lost; this is the net below Reconcile, which finds most of it earlier. The
// policy's deadlines take the place of SilenceWorking where they apply.
const (
	SilenceWorking = 30 * time.Minute // while Spacelift works
	SilenceWaiting = 6 * time.Hour    // while people are to decide, or something holds the run
)

// PollAgain is the pause after a reading that Spacelift didn't answer. It doubles up
// to SilenceWorking: a day without Spacelift costs some 50 readings of 6 events
// each.
const PollAgain = time.Minute

// Shortest returns the shortest deadline.
func Shortest(s *Situation) time.Duration {
	least := min(SilenceWaiting, effectWithin)
	d := s.Policy.Deadlines.Value
	for _, one := range []time.Duration{time.Duration(d.Queued), time.Duration(d.Starting), time.Duration(d.Planning), time.Duration(d.Applying)} {
		if one > 0 {
			least = min(least, one)
		}
	}
	return least
}

// NoteOverdue notifies people, once, that the run stays in its state for longer than
// its policy allows, though nobody has to act.
func (r *Record) NoteOverdue(s *Situation, n Next, at time.Time) {
	if n.What != WaitSpacelift || !s.Managed || s.Deadline() <= 0 || r.Entered.Overdue || at.Before(s.Entered.At.Add(s.Deadline())) || r.Shown == nil || *r.Shown != s.Key() {
		return
	}
	r.Entered.Overdue = true
	r.Note(at, KindClock, "the run stays in %s for longer than %s (%s)", s.State, span(at, at.Add(s.Deadline())), s.Policy.Deadlines.Origin)
	r.notifyOverdue(s, at)
}
