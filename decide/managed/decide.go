package managed

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/untrusted"
)

// Next is the next step with a run, and the reason for it.
type Next struct {
	Do     Action
	Phase  Phase
	Reason string // a sentence for people

	// WaitingFor has What, Who and Then until the run has ended.
	What Wait
	Who  string
	Then string

	// Until is the time by which to decide anew; zero for no such time.
	Until time.Time

	// Note goes with what is done in Spacelift, and Review is what is passed on
	// to its approval policies.
	Note   string
	Review spacelift.ReviewDecision

	// ForPeople marks what follows from a person's decision.
	ForPeople bool

	// Old marks the discard of an old plan, which the policy must still want.
	Old bool

	// Releases marks a review after which people may confirm the plan in Spacelift.
	Releases bool

	// Journal marks decisions that people want to find in the timeline. Most
	// waiting is not worth an entry.
	Journal bool
}

// Action is a step that the workflow carries out.
type Action string

const (
	doWait     Action = "wait"     // for the next event, or until a time
	DoHold     Action = "hold"     // wait, because something is in the way
	DoRules    Action = "rules"    // read the rules in effect
	DoRead     Action = "read"     // the run, as the API shows it
	DoVerify   Action = "verify"   // whether the run shows what Spacelift accepted
	DoAsk      Action = "ask"      // people
	DoClock    Action = "clock"    // do what the clocks say
	DoConfirm  Action = "confirm"  // the plan, once
	DoDiscard  Action = "discard"  // the plan
	DoReview   Action = "review"   // pass people's decision on to Spacelift's approval policies
	DoStop     Action = "stop"     // the run, because somebody wants it
	DoDiagnose Action = "diagnose" // why it failed
	DoRetry    Action = "retry"    // start the run that tries again
	DoRelease  Action = "release"  // the stacks that follow
	DoFinish   Action = "finish"   // the run has ended

	DoNotifyChains  Action = "notify-chains"  // that the run has ended
	DoSignalWaiting Action = "signal-waiting" // to the runs and chains that wait for it
	DoParents       Action = "parents"        // read how far the stacks are that go first
	DoReplace       Action = "replace"        // see to it that another run takes the place of one whose plan is old
)

// Who can unblock a run.
const (
	whoOperates  = "anyone whose token may operate"
	whoNobody    = "no one; Spacelift continues automatically"
	whoSpacelift = "anyone who may confirm or discard runs of this stack in Spacelift"
	whoReviewer  = "anyone who may review runs of this stack in Spacelift"
	whoLabels    = "anyone who may edit the stack's labels, or confirm or discard the run in Spacelift"
	whoProfiles  = "the operator who configures Gantry's profiles, or anyone who may confirm or discard the run in Spacelift"
	whoOperator  = "the operator of Gantry, or anyone who may confirm or discard the run in Spacelift"
	whoAnswer    = "Spacelift's API, or anyone who may confirm or discard the run in Spacelift"
)

// What happens then, and reasons, that several decisions share.
const (
	thenLabels          = "fixed labels count once Reconcile reads them, within minutes; if Reconcile is off, at the next notification of this run or when Gantry polls it, within 6 hours"
	thenNever           = "Gantry does not try this plan again"
	thenFollow          = "Gantry follows what they decide"
	thenRetries         = "Gantry tries again"
	reasonConfirmed     = "the plan is confirmed; Spacelift has not reported yet that it continues"
	reasonUnmanaged     = "the stack no longer carries " + spacelift.LabelManaged + ", so Gantry only watches; somebody confirms or discards the plan in Spacelift"
	reasonContradiction = "the notifications of this run and Spacelift's API keep contradicting each other: %s"
)

// maxLooks bounds how often one plan is looked at that turns out to differ from
// what notifications said, so that a contradiction ends in a hold and not in a
// loop.
const maxLooks = 3

// Decide recounts the approvals, decides, and records the decision. isNew reports
// whether the timeline has a new entry for it.
func (r *Record) Decide(at time.Time) (n Next, isNew bool) {
	r.recount(at)
	s := r.Situation(at)
	n = s.Next()
	if n.Do == DoFinish {
		r.Released = new(s.Key())
		return n, true
	}
	if n.Do == DoHold && s.fresh() {
		r.notifyHeld(at, n)
	}
	decided := fmt.Sprintf("%d %s %s", s.StateVersion, n.Do, n.Reason)
	if !n.Journal || decided == r.Decided {
		return n, false
	}
	r.Decided = decided
	r.Note(at, KindDecision, "%s: %s", n.Do, n.Reason)
	return n, true
}

// Next returns what to do about a run in this situation, and why. It is the only
// place where Gantry wants something.
//
// Gantry never acts on a notification alone: to act means to ask the API first,
// and to do nothing if that differs from the facts.
func (s *Situation) Next() Next { return s.whoMayAct(s.readIfDoubted(decideState(s))) }

// decideState decides as if all that is known were true.
func decideState(s *Situation) Next {
	switch {
	case s.GivenUp != "" && !s.State.Terminal():
		return Next{Do: DoFinish, Phase: PhaseDone, Reason: "Gantry stopped following the run before its end: " + s.GivenUp}
	case s.State == "":
		return Next{
			Do: doWait, Phase: PhaseQueued, Reason: "no notification of this run has been understood yet",
			What: WaitSpacelift, Who: whoNobody,
		}
	case s.State.Terminal():
		return s.withLastRules(decideEnd(s))
	case s.again:
		return Next{Do: DoFinish, Phase: PhaseDone, Reason: "the run failed and is tried again under the same id"}
	case s.rules == nil && s.Ask == nil:
		n := passing(s, PhaseQueued, "Gantry reads the rules in effect")
		return s.attempt(n.to(DoRules))
	case !s.State.Known():
		return Next{
			Do: doWait, Phase: PhaseFollowing, Journal: true,
			Reason: fmt.Sprintf("this version of Gantry does not know the state %s: it follows the run and does nothing", s.State),
			What:   WaitSpacelift, Who: "unknown: check the run in Spacelift",
		}
	case !s.Type.Known():
		return Next{
			Do: doWait, Phase: PhaseFollowing, Journal: true,
			Reason: fmt.Sprintf("this version of Gantry does not know the run type %q: it follows the run and does nothing", s.Type),
			What:   WaitSpacelift, Who: "unknown: check the run in Spacelift",
		}
	case s.unjudged() != nil:
		return judging(s, continuing(s, ""))
	case s.stopping != nil:
		return decideStop(s)
	case s.appliesUnasked():
		return s.readFirst(passing(s, PhaseApplying, "Spacelift applies a plan that nobody was asked about"))
	case s.decidedElsewhere():
		return s.readFirst(continuing(s, "the run continues, and Gantry checks who decided"))
	}
	switch s.State {
	case spacelift.RunStateUnconfirmed:
		return s.readBeforeShowing(decidePlan(s))
	case spacelift.RunStatePendingReview:
		return s.readBeforeShowing(decideReview(s, "the plan drew a warning and has to be reviewed"))
	case spacelift.RunStateQueued:
		if s.needsApproval {
			return decideReview(s, "an approval policy in Spacelift keeps the run in the queue")
		}
		n := passing(s, PhaseQueued, "the run is in the stack's queue")
		n.Who = "Spacelift, unless the queue is held by a lock, an approval or a run that waits for somebody"
		return n
	}
	if p, ok := passingStates[s.State]; ok {
		return passing(s, p.phase, p.reason)
	}
	return passing(s, PhaseFollowing, fmt.Sprintf("the run is %s", s.State))
}

// passingStates are the states that a run passes without people, with their phase
// and reason.
var passingStates = map[spacelift.RunState]struct {
	phase  Phase
	reason string
}{
	spacelift.RunStatePending:         {PhaseQueued, "the run waits for a worker"},
	spacelift.RunStateReady:           {PhaseQueued, "the run waits for a worker"},
	spacelift.RunStatePreparing:       {PhaseQueued, "a worker is being set up for the run"},
	spacelift.RunStateInitializing:    {PhaseQueued, "a worker is being set up for the run"},
	spacelift.RunStatePlanning:        {PhasePlanning, "Spacelift is planning"},
	spacelift.RunStateReplanRequested: {PhasePlanning, "somebody asked for another plan"},
	spacelift.RunStatePreparingReplan: {PhasePlanning, "somebody asked for another plan"},
	spacelift.RunStateConfirmed:       {PhaseApplying, "the plan is confirmed and waits for a worker"},
	spacelift.RunStatePreparingApply:  {PhaseApplying, "the plan is confirmed and a worker is being set up"},
	spacelift.RunStateApplying:        {PhaseApplying, "Spacelift is applying the plan"},
	spacelift.RunStatePerforming:      {PhaseApplying, "Spacelift is performing the task"},
	spacelift.RunStateDestroying:      {PhaseApplying, "Spacelift is destroying resources"},
}

// to makes another action of a decision.
func (n Next) to(do Action) Next {
	n.Do = do
	return n
}

// passing is waiting for a state to go by.
func passing(s *Situation, phase Phase, reason string) Next {
	n := Next{Do: doWait, Phase: phase, Reason: reason, What: WaitSpacelift, Who: whoNobody, Then: "Gantry records how it ends"}
	if (phase == PhaseQueued || phase == PhasePlanning) && s.Type == spacelift.RunTypeTracked {
		n.Then = prospect(s)
	}
	return n
}

// continuing is waiting for a run that went past a decision without Gantry, in whatever
// state it is since: it may have another plan.
func continuing(s *Situation, reason string) Next {
	phase := PhaseHolding
	if p, ok := passingStates[s.State]; ok {
		phase = p.phase
	}
	return passing(s, phase, reason)
}

// inSpacelift is waiting for people who decide there.
func inSpacelift(format string, args ...any) Next {
	return Next{
		Do: doWait, Phase: PhaseWaiting, Journal: true, Reason: fmt.Sprintf(format, args...),
		What: WaitPerson, Who: whoSpacelift, Then: thenFollow,
	}
}

// hold is waiting because something is in the way.
func hold(what Wait, who, then, format string, args ...any) Next {
	return Next{Do: DoHold, Phase: PhaseHolding, Journal: true, Reason: fmt.Sprintf(format, args...), What: what, Who: who, Then: then}
}

// confirming is confirming the plan.
func confirming(s *Situation, format string, args ...any) Next {
	n := Next{
		Do: DoConfirm, Phase: PhaseConfirming, Journal: true, ForPeople: !s.autoConfirms(), Reason: fmt.Sprintf(format, args...),
		What: WaitAnswer, Who: whoAnswer, Then: "Gantry keeps asking until Spacelift answers or somebody decides there",
	}
	if n.Note = confirmNote(s); s.Ask != nil && s.Ask.Act.Do == DoConfirm && s.Ask.Act.Note != "" {
		n.Note = s.Ask.Act.Note
	}
	return n
}

// attempt holds a step that failed before until its back-off is over.
func (s *Situation) attempt(n Next) Next {
	t := s.backoff
	if !t.holds(s, n.Do) {
		return n
	}
	held := hold(WaitAnswer, whoOperator, thenRetries, "%s", t.Reason)
	held.Until = t.Until
	if n.What == WaitSpacelift { // nothing of Gantry's own is in the way
		held.Do, held.Phase, held.What, held.Who, held.Journal = doWait, n.Phase, n.What, n.Who, false
		held.Reason, held.Then = n.Reason, n.Then
	}
	return held
}

// prospect says how Gantry will treat a plan with changes.
func prospect(s *Situation) string {
	switch {
	case !s.Managed:
		return "Gantry only watches: the stack does not carry " + spacelift.LabelManaged
	case len(s.Policy.Problems) > 0:
		return "a plan with changes will be held: " + objection(s.Policy.Problems)
	case s.Policy.Confirm.Value == policy.ConfirmAuto && s.Policy.AsksPeople():
		return fmt.Sprintf("Gantry confirms a plan with changes that is within its limits (%s); other plans are for people", s.Policy.Confirm.Origin)
	case s.Policy.Confirm.Value == policy.ConfirmAuto:
		return fmt.Sprintf("Gantry confirms a plan with changes (%s)", s.Policy.Confirm.Origin)
	case s.Policy.Confirm.Value == policy.ConfirmNoDeletes:
		return fmt.Sprintf("Gantry confirms a plan that deletes nothing (%s); other plans are for people", s.Policy.Confirm.Origin)
	case s.Policy.Approvals.Value > 0:
		return fmt.Sprintf("a plan with changes waits for %s through Gantry (%s)", approvalsOf(s.Policy.Approvals.Value), s.Policy.Approvals.Origin)
	}
	return "a plan with changes waits for somebody to confirm or discard it in Spacelift"
}

func approvalsOf(n int) string {
	if n == 1 {
		return "1 approval"
	}
	return fmt.Sprintf("%d approvals", n)
}

// noteOf returns the note that Spacelift shows with an act of Gantry's for a person. Spacelift,
// or what stores its notes, may refuse control characters, and with them the act.
func noteOf(what, note string) string {
	return decide.Fit(untrusted.Lines(what+decide.AfterColon(note)), decide.MaxText)
}

// planOf returns what Gantry did about the plan the run shows now.
func planOf(s *RunStatus) *Plan {
	for i, p := range s.Plans {
		if p.StateVersion == s.StateVersion {
			return &s.Plans[i]
		}
	}
	return nil
}

// describePlan says what the plan would do. Repairs of drift are tracked runs
// like others, and confirmed like them; the description says so.
func describePlan(s *RunStatus) string {
	what := describeDelta(s.Delta)
	if s.DriftDetection {
		what += ", to repair drift"
	}
	return what
}

func describeDelta(d *spacelift.Delta) string {
	if d == nil {
		return "size unknown"
	}
	return fmt.Sprintf("%d to add, %d to change, %d to delete", d.Added, d.Changed, d.Deleted)
}

// objection says which labels or settings keep Gantry from confirming, and what
// to do about the first: the explanation has all remedies, which are often alike.
func objection(problems []policy.Problem) string {
	first := problems[0]
	said := fmt.Sprintf("%s can't be followed: %s; %s", first.Label, first.Problem, first.Remedy)
	var others []string
	for _, p := range problems[1:] {
		if p.Label != first.Label && !slices.Contains(others, p.Label) {
			others = append(others, p.Label)
		}
	}
	if len(others) > 0 {
		said += ". Neither can " + strings.Join(others, ", ")
	}
	return said
}

// waitingFor is the answer to what, since when, who and then.
func (n Next) waitingFor(s *RunStatus) *WaitingFor {
	since := s.StartedAt
	if now := entered(s); now.State != "" {
		since = now.At
	}
	return &WaitingFor{What: n.What, Reason: n.Reason, Since: since, Until: n.Until, Who: n.Who, Next: n.Then}
}

// entered returns the entry of the run's present state.
func entered(s *RunStatus) StateEntry {
	for _, e := range s.States {
		if e.State == s.State && e.StateVersion == s.StateVersion {
			return e
		}
	}
	return StateEntry{}
}
