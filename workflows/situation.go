package workflows

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// situation is a run as decisions see it: the facts, what holds for it, and how
// far Gantry and people are, at a time.
type situation struct {
	RunStatus

	now        time.Time
	rules      *managed.Rules // nil: not read yet
	rulesRead  time.Time
	rulesFor   *stateKey
	rulesStale bool

	needsApproval bool     // Spacelift's own approval policies keep it where it is
	read          bool     // the API told of the present state
	shown         stateKey // the newest state that the API showed at readAt
	trust         trust
	whyRead       string     // why notifications make it necessary to read the run; empty if they don't
	missingUntil  time.Time  // when a run that Spacelift does not know is given up
	told          []RunEvent // by the API, in the run's order
	blockRead     time.Time  // when it told of Block
	crowded       bool       // it did not, and more was told of the run than can be kept
	entered       entrance
	ask           *asking // about the present state; nil when it asks nothing
	open          *asking // about an earlier state, and nobody knows yet how it ended
	excluded      []string
	named         []string   // of the excluded, those that the API named
	approved      []decision // that count; see count
	rejected      *decision
	objection     *decision // that binds whatever becomes of the plan it was about: see count
	discounted    []string  // why approvals do not count, as sentences
	stopping      *stopping
	trouble       *trouble
	diagnosed     bool
	retryJudged   bool
	readAt        time.Time // when the API last showed the run
	again         bool      // the next attempt goes on under the same id
	chainsTold    *stateKey
	released      *stateKey
	followers     *managed.Followers
	parents       *parents
	replaced      *replacement
}

// situation is all that decisions rest on, at a time. It shares nothing with
// the record that decisions could change.
func (r *record) situation(at time.Time) situation {
	s := situation{
		RunStatus: r.facts(), now: at,
		rules: r.Rules, rulesRead: r.RulesRead, rulesFor: r.RulesFor, rulesStale: r.RulesStale,
		entered: r.Entered, stopping: r.Stopping, trouble: r.Trouble, diagnosed: r.Diagnosed, retryJudged: r.RetryJudged, readAt: r.ReadAt,
		trust: r.Trust, again: r.Again != nil,
		chainsTold: r.ChainsTold, released: r.Released, followers: r.Followers,
		parents: r.Parents, replaced: r.Replaced,
	}
	key := s.key()
	now, read := r.apiTold(key)
	s.read, s.blockRead = read, now.ReceivedAt
	s.told = slices.DeleteFunc(slices.Clone(r.Events), func(e RunEvent) bool { return e.Source != SourceReconcile })
	s.crowded = r.Dropped && !s.read
	if r.Shown != nil {
		s.shown = *r.Shown
	}
	s.whyRead, s.missingUntil = r.whyRead(), r.missingUntil()
	s.needsApproval = r.needsApproval(key)
	if asks(s.State, s.needsApproval) {
		if s.ask = r.asking(key); s.ask == nil {
			s.ask = &asking{Key: key, Since: at} // nothing has happened about it yet
		}
	}
	for i := range r.Askings {
		if a := &r.Askings[i]; a.Key != key && a.Resolved == "" {
			s.open = a
		}
	}
	s.excluded = r.excluded(s.Commit.Hash)
	s.named = r.behind(s.Commit.Hash, s.told)
	s.count(slices.Clone(r.Decisions))
	s.Approvals = s.approvals()
	if s.rulesFor != nil && *s.rulesFor == key {
		s.Gate = new(s.rules.Gate)
	}
	return s
}

func (s situation) key() stateKey { return stateKey{s.StateVersion, s.State} }

// plan is what the policy judges.
func (s situation) plan() policy.PlanFacts {
	return policy.PlanFacts{Type: s.Type, Drift: s.DriftDetection, Delta: s.Delta}
}

// alone reports whether Gantry confirms the plan without people. Where
// Spacelift's own approval policies ask for somebody, it does not.
func (s situation) alone() bool {
	ok, _ := s.Policy.Alone(s.plan())
	return ok && s.State == spacelift.RunStateUnconfirmed && !s.needsApproval && s.objection == nil
}

// needed is how many people must approve; 0 if Gantry counts no approvals. A run
// that somebody objected to is for people, whatever the policy says by now.
func (s situation) needed() int {
	if s.objection != nil {
		return max(s.Policy.Approvals.Value, 1)
	}
	return s.Policy.Approvals.Value
}

// peopleDecide reports whether the present state asks people, through Gantry.
func (s situation) peopleDecide() bool {
	return s.ask != nil && s.Managed && len(s.Policy.Problems) == 0 && s.needed() > 0 && !s.alone()
}

// approvals is how far people are; nil when nobody is asked through Gantry.
func (s situation) approvals() *Approvals {
	if !s.peopleDecide() {
		return nil
	}
	a := &Approvals{Needed: s.needed(), Given: len(s.approved), Group: s.Policy.Approvers.Value}
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

// tooFewMay says why people can't give as many approvals as are needed, as far as
// it is known who may; empty if they can.
func (s situation) tooFewMay() string {
	if !s.peopleDecide() || !s.read || !s.rulesHere() {
		return ""
	}
	self, group := s.Policy.SelfApproval.Value, "with a token that may approve"
	if name := s.Policy.Approvers.Value; name != "" {
		group = "in the group " + name
	}
	if !self && len(s.excluded) == 0 {
		return "nobody can approve it: Spacelift tells neither who triggered the run nor who wrote its commit, and nobody approves their own"
	}
	known := s.rules.Approvers
	if known == nil {
		return ""
	}
	var may []string
	for _, p := range known.People {
		if who := (Person{Name: p.Name, Aliases: p.Aliases}); self || !slices.ContainsFunc(s.excluded, who.called) {
			may = append(may, p.Name)
		}
	}
	const own = "triggered the run or wrote its commit"
	switch {
	case len(may) >= s.needed():
		return ""
	case len(known.People) == 0:
		return "nobody can approve it: there is nobody " + group
	case len(may) == 0:
		return fmt.Sprintf("nobody can approve it: everyone %s %s", group, own)
	case len(may) == len(known.People):
		return fmt.Sprintf("only %s can approve it, and %s are needed", enumerate(may), approvalsOf(s.needed()))
	}
	return fmt.Sprintf("only %s can approve it, and %s are needed: everyone else %s %s", enumerate(may), approvalsOf(s.needed()), group, own)
}

// enough reports whether as many people approved as must.
func (s situation) enough() bool { return len(s.approved) >= s.needed() }

// claims reports whether Gantry is asking Spacelift for what people approved.
// That can be taken back as long as Spacelift has not done it.
func (s situation) claims() bool {
	if s.ask == nil || s.rejected != nil || s.ask.Stage == stageExpired {
		return false
	}
	return s.ask.Act.is(requestSending, doConfirm) || s.ask.Review.is(requestSending) && s.ask.Review.Review == spacelift.ReviewApprove
}

// outdated reports whether the policy must be read before anything is decided
// about the state that asks: labels are others now, or a freeze may be.
func (s situation) outdated() bool {
	return s.rules == nil || s.rulesStale || !slices.Equal(s.rules.Labels, s.Labels)
}

// rulesHere reports whether the gate and the clocks are known for the present
// state.
func (s situation) rulesHere() bool { return s.rulesFor != nil && *s.rulesFor == s.key() }

// dues are the clocks of the present state that have not struck yet, soonest
// first. What ends the waiting stays due until it did.
func (s situation) dues() []policy.Due {
	if s.ask == nil || !s.rulesHere() || s.ask.Stage == stageExpired {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(s.rules.Dues), func(d policy.Due) bool {
		switch d.Kind {
		case policy.DueDiscard:
			return false
		case policy.DueTimeout:
			return s.ask.Stage == stageKept
		}
		return !d.At.After(s.ask.DuesDone)
	})
}

// tooFew says that the time was over before enough people approved.
func (s situation) tooFew(kind policy.DueKind) string {
	within := s.Policy.ApprovalTimeout.Value
	if kind == policy.DueDiscard {
		for _, step := range s.Policy.Escalation.Value {
			if step.Discard && (within == 0 || s.Policy.OnTimeout.Value == policy.TimeoutKeep || step.After < within) {
				within = step.After
			}
		}
	}
	switch given := len(s.approved); given {
	case 0:
		return fmt.Sprintf("nobody approved within %s", within)
	default:
		return fmt.Sprintf("only %d of %d approved within %s", given, s.needed(), within)
	}
}

// approvers lists who approved.
func (s situation) approvers() string {
	names := make([]string, len(s.approved))
	for i, d := range s.approved {
		names[i] = d.By
	}
	return enumerate(names)
}

// enumerate writes a list as in a sentence.
func enumerate(names []string) string {
	switch n := len(names); n {
	case 0:
		return "nobody"
	case 1:
		return names[0]
	default:
		return strings.Join(names[:n-1], ", ") + " and " + names[n-1]
	}
}

// deadline is how long a run may be in the present state; 0 is for ever.
func (s situation) deadline() time.Duration {
	d := s.Policy.Deadlines.Value
	if s.State != "" && !s.State.Known() {
		return time.Duration(d.Applying) // it may be an apply
	}
	switch s.State {
	case spacelift.RunStateQueued:
		return time.Duration(d.Queued)
	case spacelift.RunStatePending, spacelift.RunStateReady, spacelift.RunStatePreparing, spacelift.RunStateInitializing:
		return time.Duration(d.Starting)
	case spacelift.RunStatePlanning, spacelift.RunStateReplanRequested, spacelift.RunStatePreparingReplan:
		return time.Duration(d.Planning)
	case spacelift.RunStateConfirmed, spacelift.RunStatePreparingApply, spacelift.RunStateApplying,
		spacelift.RunStatePerforming, spacelift.RunStateDestroying:
		return time.Duration(d.Applying)
	}
	return 0
}
