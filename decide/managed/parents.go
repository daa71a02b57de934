package managed

import (
	"slices"
	"time"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// ParentsProgress is the progress of the stacks that go before a run's.
type ParentsProgress struct {
	State  ParentsState     `json:"state"`
	Reason string           `json:"reason,omitempty"` // a sentence, unless they have finished
	Of     spacelift.RunRef `json:"of,omitzero"`      // the run that the reason names, if any

	Chain   bool `json:"chain,omitempty"`   // a chain that has not reached the stack, or a newer run of the commit, releases what follows it
	Applied bool `json:"applied,omitempty"` // the run itself has begun to apply
}

// ParentsState is the progress of the parents in one word.
type ParentsState string

// The states.
const (
	ParentsThrough ParentsState = "through" // all have finished
	ParentsBusy    ParentsState = "go-on"   // one works on the same commit, or a chain has not reached the run yet
	ParentsFailed  ParentsState = "failed"  // one that works on the same commit did not finish
	ParentsNewer   ParentsState = "newer"   // one has applied changes since the run planned
)

// Parents is the progress of the stacks that go before a run's, as last read.
type Parents struct {
	Key   StateKey  `json:"key"`             // the run's state then
	After []string  `json:"after,omitempty"` // the stacks that it followed then
	At    time.Time `json:"at"`              // when they were read
	Since time.Time `json:"since"`           // since when the answer is the same
	Until time.Time `json:"until"`           // when they are read again, if the run waits for them
	Looks int       `json:"looks,omitempty"` // how often they were read, since the answer is the same
	ParentsProgress
	How      string `json:"how,omitempty"`   // what would unblock the run
	Notified bool   `json:"told,omitempty"`  // people know that the run waits for them
	Stale    bool   `json:"stale,omitempty"` // a chain has reached the run since
}

// replacement is the run that takes the place of one whose plan is old.
type replacement struct {
	Key StateKey         `json:"key"`
	New spacelift.RunRef `json:"new"`
	Why string           `json:"why"`
}

const (
	// parentsFirst and parentsMost bound the pause between readings of the stacks
	// that go first, while a run waits for them: it doubles. A run or a chain that ends,
	// and a chain that reaches the run, signal it earlier. soon is the pause
	// before: the end may have come while the stacks were read, when no list
	// showed yet that the run waits.
	soon         = 20 * time.Second
	parentsFirst = 2 * time.Minute
	parentsMost  = time.Hour

	// parentsNotifyAfter is the time that a run waits for busy stacks before Gantry
	// notifies people.
	parentsNotifyAfter = 6 * time.Hour

	// lateChain is the time that a run that has ended waits for the chain that is to
	// replace it, before it begins one of its own.
	lateChain = 10 * time.Minute
)

const (
	whoChain = "anyone whose token may operate, or anyone who may edit the stack's labels, or confirm or discard the run in Spacelift"
	howBusy  = "wait for the run or the chain that goes first; skip this stack in its chain, or stop the chain; or remove the label gantry:after"
	howRetry = "retry the run that did not finish; discard this one; or remove the label gantry:after"
)

// Through reports whether nothing that goes first speaks against a plan, by the policy
// of its stack.
func (p ParentsProgress) Through(by policy.Policy) bool {
	return p.State == ParentsThrough || p.State == ParentsNewer && by.OldPlans.Value == policy.OldPlansKeep
}

// GoesBehind reports whether other stacks go before the run's.
func (s *Situation) GoesBehind() bool {
	return len(s.Policy.After.Value) > 0 && s.Type == spacelift.RunTypeTracked && !s.DriftDetection
}

// parentsHere reports whether the parents were read in the state that the run is
// in, by the labels that it has.
func (s *Situation) parentsHere() bool {
	return s.parents != nil && !s.parents.Stale && s.parents.Key == s.Key() && slices.Equal(s.parents.After, s.Policy.After.Value)
}

// behindParents decides about a plan that waits for the stacks that go first, or
// is older than what they applied. It reports false when nothing speaks against
// the plan.
func behindParents(s *Situation) (n Next, wait bool) {
	switch {
	case !s.GoesBehind():
		return Next{}, false
	case !s.parentsHere():
		return s.attempt(readingParents()), true
	}
	switch p := s.parents; {
	case s.replaced != nil && s.replaced.Key == s.Key():
		n = discarding(s, "the plan is old: "+s.replaced.Why+"; run "+string(s.replaced.New.Run)+" takes its place",
			noteOf(policy.NoteOldPlan, s.replaced.Why+". Run "+string(s.replaced.New.Run)+" takes its place."))
		n.Old = true
		return s.discard(n), true
	case p.Through(s.Policy):
		return Next{}, false
	case s.parentsDue():
		return s.attempt(readingParents()), true
	case p.State == ParentsNewer:
		n = s.attempt(Next{
			Do: DoReplace, Phase: PhaseHolding, Journal: true, Reason: "the plan is old: " + p.Reason,
			What: WaitAnswer, Who: whoAnswer, Then: "Gantry discards the plan, and another run of the same commit takes its place",
		})
		if n.Do == DoHold {
			n.Until = decide.Earlier(n.Until, p.Until)
		}
		return n, true
	default:
		n = Next{
			Do: doWait, Phase: PhaseHolding, Journal: true, Reason: "the plan waits for the stacks that go first: " + p.Reason,
			What: WaitChain, Who: whoChain, Then: "once they have finished, Gantry continues with the plan, or replaces it if it is old", Until: p.Until,
		}
		return n, true
	}
}

// afterAnEnd reports whether a reading came right after the end of another run. It may
// have missed the next end, whose signal found the execution at work: then the next
// reading comes soon.
func (s *Situation) afterAnEnd(read time.Time) bool {
	return !s.otherEnded.IsZero() && read.Sub(s.otherEnded) < soon
}

// parentsDue reports whether it is time to read the parents again, for a run that waits
// for them.
func (s *Situation) parentsDue() bool {
	return !s.Now.Before(s.parents.Until) || s.otherEnded.After(s.parents.At)
}

func readingParents() Next {
	return Next{
		Do: DoParents, Phase: PhaseHolding, Reason: "Gantry reads whether the stacks that go first are through", What: WaitAnswer,
		Who: whoOperator, Then: "Gantry decides",
	}
}

// endsBehindParents decides about a run that has finished before it is said
// whether it begins a chain. Where a stack that goes first still works on the same
// commit, or has applied changes since the run planned, that one's chain reaches
// the run's stack and those that follow it.
func endsBehindParents(s *Situation, end Next) (n Next, wait bool) {
	switch {
	case !s.GoesBehind():
		return Next{}, false
	case !s.parentsHere():
		return s.attempt(end.to(DoParents)), true
	}
	over := s.Entered.At.Add(lateChain)
	if p := s.parents; p.State == ParentsNewer && !p.Applied && !p.Chain && !s.follows() && s.Now.Before(over) {
		if s.parentsDue() {
			return s.attempt(end.to(DoParents)), true
		}
		n = end.to(doWait)
		n.What, n.Who, n.Until = WaitChain, whoNobody, decide.Earlier(p.Until, over)
		n.Then = "the chain of the stack that goes first takes the run up, or the run begins one of its own"
		return n, true
	}
	return Next{}, false
}

// LeavesReleasing says why a run that has finished begins no chain; empty if it
// does. What it has applied those that follow must learn of, whatever goes first.
func (s *Situation) LeavesReleasing() string {
	if !s.GoesBehind() || !s.parentsHere() {
		return ""
	}
	p := s.parents
	if p.Chain || !p.Applied && (p.State == ParentsBusy || p.State == ParentsFailed) {
		return p.Reason
	}
	return ""
}

// TakeParents takes how far the parents are.
func (r *Record) TakeParents(at time.Time, found ParentsProgress) {
	r.clearBackoff(DoParents)
	s := r.Situation(at)
	p := Parents{Key: s.Key(), After: s.Policy.After.Value, At: at, Since: at, ParentsProgress: found}
	p.Reason, p.How = decide.Fit(p.Reason, decide.MaxText), howBusy
	if p.State == ParentsFailed {
		p.How = howRetry
	}
	if was := r.Parents; was != nil && was.Key == p.Key && was.State == p.State && was.Of == p.Of {
		p.Since, p.Looks, p.Notified = was.Since, was.Looks+1, was.Notified
	}
	p.Until = at.Add(soon)
	if p.Looks > 0 && !s.afterAnEnd(at) {
		p.Until = at.Add(decide.Backoff(parentsFirst, p.Looks-1, parentsMost))
	}
	r.Parents = &p
	waits := p.State == ParentsFailed || p.State == ParentsBusy && !at.Before(p.Since.Add(parentsNotifyAfter))
	if s.Ask == nil || p.Notified || !waits {
		return
	}
	if n := r.Situation(at).Next(); n.What == WaitChain {
		r.Parents.Notified = true
		r.notifyHeld(at, n)
	}
}

// ReplacedBy takes the run that takes the place of the present one.
func (r *Record) ReplacedBy(at time.Time, run spacelift.RunRef) {
	r.clearBackoff(DoReplace)
	key := r.Situation(at).Key()
	r.Replaced = &replacement{Key: key, New: run, Why: r.Parents.Reason}
	r.Note(at, KindAction, "run %s takes the place of this one, whose plan is old: %s", run.Run, r.Parents.Reason)
}
