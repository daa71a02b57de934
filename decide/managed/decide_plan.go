package managed

import (
	"fmt"
	"strings"
	"time"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// gateGrace is the minimum pause between two readings of a closed gate: the clocks of
// those who read it and of those who wait for it may differ a little.
const gateGrace = 15 * time.Second

// decidePlan decides about a plan with changes. The order matters: what people
// and clocks ended comes first, then whatever speaks against confirming, and
// last what speaks for it.
func decidePlan(s *Situation) Next {
	plan := planOf(s.RunStatus)
	switch {
	case s.Ask.Act.is(requestAccepted):
		return accepted(s)
	case !s.Managed:
		return inSpacelift(reasonUnmanaged)
	case s.rejected != nil:
		return s.discard(discarding(s, s.rejected.By+" rejected the plan"+decide.AfterColon(s.rejected.Note), noteOf("Rejected through Gantry by "+s.rejected.By, s.rejected.Note)))
	case s.Ask.Stage == stageExpired:
		return s.discard(discarding(s, s.Ask.Why, "Discarded by Gantry: "+s.Ask.Why+"."))
	case s.Ask.Act.is(requestIneffective):
		return ineffective(s)
	case s.outdated():
		return s.attempt(readingRules())
	case len(s.Policy.Problems) > 0:
		return hold(WaitLabels, whoLabels, thenLabels, "%s", objection(s.Policy.Problems))
	}
	if n, wait := behindParents(s); wait {
		return n
	}
	if n, wait := unjudged(s); wait {
		return n
	}
	why := fmt.Sprintf("the plan (%s) has changes and %s confirms them", describePlan(s.RunStatus), s.Policy.Confirm.Origin)
	if !s.autoConfirms() {
		if s.needed() == 0 && s.ownReview() {
			return leavesToSpacelift(s)
		}
		if n, enough := askPeople(s, fmt.Sprintf("the plan (%s) has changes", describePlan(s.RunStatus))); !enough {
			return n
		}
		why = fmt.Sprintf("the plan (%s) has changes and %s approved it", describePlan(s.RunStatus), s.approvers())
	}
	if n, holds := blocked(s); holds {
		return n
	}
	if s.needsApproval && !s.ownReview() {
		return reviewed(s, reviewing(s, spacelift.ReviewApprove, why, "Approved through Gantry by "+s.approvers()+"."))
	}
	if n, shut := atGate(s); shut {
		return n
	}
	if plan != nil && plan.Result == PlanChanged && plan.Looks >= maxLooks {
		return hold(WaitPerson, whoOperator, thenNever, reasonContradiction, plan.Reason)
	}
	return s.attempt(confirming(s, "%s", why))
}

// decideReview decides about a run that Spacelift's own approval policies keep
// until somebody reviews it.
func decideReview(s *Situation, what string) Next {
	switch {
	case s.Ask == nil:
		return passing(s, PhaseQueued, what)
	case !s.Managed:
		n := inSpacelift("%s; the stack does not carry %s, so Gantry only watches", what, spacelift.LabelManaged)
		n.Who = whoReviewer
		return n
	case s.rejected != nil:
		return reviewed(s, reviewing(s, spacelift.ReviewReject, s.rejected.By+" rejected the run"+decide.AfterColon(s.rejected.Note),
			noteOf("Rejected through Gantry by "+s.rejected.By, s.rejected.Note)))
	case s.Ask.Stage == stageExpired:
		return reviewed(s, reviewing(s, spacelift.ReviewReject, s.Ask.Why, "Rejected by Gantry: "+s.Ask.Why+"."))
	case s.Ask.Review.Do == DoReview && s.Ask.Review.Review == spacelift.ReviewApprove && s.Ask.Review.State != requestIdle:
		return reviewed(s, reviewing(s, spacelift.ReviewApprove, what, s.Ask.Review.Note))
	case s.outdated():
		return s.attempt(readingRules())
	case len(s.Policy.Problems) > 0:
		return hold(WaitLabels, whoLabels, thenLabels, "%s", objection(s.Policy.Problems))
	}
	if n, wait := unjudged(s); wait {
		return n
	}
	n, enough := askPeople(s, what)
	if !enough {
		return n
	}
	return reviewed(s, reviewing(s, spacelift.ReviewApprove, s.approvers()+" approved the run", "Approved through Gantry by "+s.approvers()+"."))
}

// unjudged reports whether expressions of the policy have yet to be evaluated for the
// plan, or can't be, and what to do then.
func unjudged(s *Situation) (n Next, wait bool) {
	if !s.planShows() || !s.Policy.Expressions.Any() {
		return Next{}, false
	}
	v := s.verdicts()
	again := s.judgeAgain()
	if v == nil || !again.IsZero() && !s.Now.Before(again) {
		return s.attempt(readingRules()), true
	}
	if v.Trouble == "" {
		return Next{}, false
	}
	n = hold(WaitPolicy, whoProfiles, "Gantry evaluates it again, and decides", "%s", v.Trouble)
	n.Until = again
	return n, true
}

// judgeAgain returns the time at which to evaluate the policy's expressions again; zero
// for never.
func (s *Situation) judgeAgain() time.Time {
	v := s.verdicts()
	if v == nil || v.Until.IsZero() {
		return time.Time{}
	}
	return decide.Later(v.Until, s.rulesRead.Add(gateGrace))
}

// accepted waits for the effect of what Spacelift accepted about a plan, and
// looks for it when that takes too long.
func accepted(s *Situation) Next {
	n := passing(s, PhaseApplying, reasonConfirmed)
	if s.Ask.Act.Do == DoDiscard {
		n = passing(s, PhaseFollowing, "the plan is discarded; Spacelift has not reported it yet")
	}
	if n.Until = s.Ask.Act.due(); s.Ask.Act.overdue(s.Now) {
		return s.attempt(verifying(n))
	}
	return n
}

// ineffective holds a plan that Spacelift keeps in spite of what it accepted.
func ineffective(s *Situation) Next {
	return hold(WaitPerson, whoSpacelift, thenFollow, "Spacelift accepted %d times that Gantry wants to %s the plan, and the run is still %s",
		s.Ask.Act.Tries, s.Ask.Act.Do, s.Key())
}

// discard is a request to discard the plan, unless that has no effect.
func (s *Situation) discard(n Next) Next {
	if s.Ask.Act.is(requestIneffective, DoDiscard) {
		return ineffective(s)
	}
	return s.attempt(n)
}

// reviewed is passing a review on: once it is accepted, Spacelift's own policies
// may ask for more.
func reviewed(s *Situation, n Next) Next {
	q := s.Ask.Review
	switch {
	case q.Review != n.Review || q.State == requestIdle || q.State == requestSending:
		return s.attempt(n)
	case q.is(requestIneffective) && q.Review == spacelift.ReviewReject:
		return hold(WaitPerson, whoReviewer, thenFollow, "Gantry passed the rejection on to Spacelift %d times, and the run is still %s", q.Tries, s.Key())
	case q.is(requestIneffective):
		held := hold(WaitPerson, whoReviewer, n.Then, "Gantry passed the approval on to Spacelift, and an approval policy there asks for more reviews than Gantry can give")
		return held
	case q.overdue(s.Now):
		return s.attempt(verifying(n))
	}
	wait := passing(s, PhaseWaiting, "the review is passed on; Spacelift has not reported yet that the run continues")
	wait.Until = q.due()
	return wait
}

// verifying reads the run for the effect of what Spacelift accepted.
func verifying(n Next) Next {
	n.Until, n.Journal = time.Time{}, false
	return n.to(DoVerify)
}

// askPeople decides what to do until enough people have approved.
func askPeople(s *Situation, what string) (n Next, enough bool) {
	if s.needed() == 0 {
		n = inSpacelift("%s and the policy is to confirm by hand (%s); somebody confirms or discards it in Spacelift", what, s.Policy.Confirm.Origin)
		if s.State != spacelift.RunStateUnconfirmed {
			n = inSpacelift("%s; somebody reviews it in Spacelift", what)
			n.Who = whoReviewer
		}
		return n, false
	}
	wait := Next{
		Do: doWait, Phase: PhaseWaiting, Journal: true, Reason: what + s.whyAsked(),
		What: WaitPerson, Who: s.whoApproves(), Then: s.thenApproved(),
	}
	switch {
	case s.enough() && s.read && s.rulesHere():
		return Next{}, true
	case !s.rulesHere():
		return s.attempt(readingRules()), false
	case !s.Ask.Notified:
		asking := wait.to(DoAsk)
		asking.Journal = false // the waiting that follows says the same
		return asking, false
	}
	if dues := s.schedule(); len(dues) > 0 {
		if due := dues[0].At; !due.After(s.Now) {
			striking := wait.to(DoClock)
			striking.Journal = false // what strikes has an entry of its own
			switch {                 // what the API and the configuration say by now decides whether it strikes
			case s.readAt.Before(due):
				return s.readFirst(striking), false
			case s.rulesRead.Before(due):
				striking.Do = DoRules
			}
			return s.attempt(striking), false
		}
		wait.Until = dues[0].At
	}
	wait.Until = decide.Earlier(wait.Until, s.judgeAgain())
	return wait, false
}

// whyAsked completes the sentence that a run waits for people: why, and how many
// have approved.
func (s *Situation) whyAsked() string {
	given := "nobody has approved yet"
	if len(s.approved) > 0 {
		given = s.approvers() + " approved"
	}
	progress := strings.Join(append([]string{
		fmt.Sprintf("; %d of %s: %s", s.given(), approvalsOf(s.needed()), given),
	}, s.discounted...), "; ")
	if missing := s.missing(); len(missing) > 0 {
		progress += "; missing: " + decide.Enumerate(missing)
	}
	if why := s.tooFewApprovers(); why != "" {
		progress += "; " + why
	}
	if s.State != spacelift.RunStateUnconfirmed {
		return progress
	}
	why, because := " and people decide", ", because "
	var reasons []string
	if s.Policy.Confirm.Value == policy.ConfirmManual {
		why, because = fmt.Sprintf("%s (%s)", why, s.Policy.Confirm.Origin), ", also because "
	} else {
		_, rules := s.Policy.AutoConfirms(s.plan())
		for _, r := range rules {
			if r.Effect == policy.EffectAsks {
				reasons = append(reasons, fmt.Sprintf("%s (%s)", strings.Replace(r.Detail, "the plan", "it", 1), r.Origin))
			}
		}
	}
	if o := s.objection; o != nil {
		reasons = append(reasons, fmt.Sprintf("%s %s, which binds until the run has ended", o.By, pastTense(o.Verdict, o.State)))
	}
	if s.needsApproval && !s.ownReview() {
		reasons = append(reasons, "an approval policy in Spacelift asks for a review")
	}
	if len(reasons) > 0 {
		why += because + decide.Enumerate(reasons)
	}
	return why + progress
}

// whoApproves says who may, or what else is possible where that is too few.
func (s *Situation) whoApproves() string {
	if s.tooFewApprovers() != "" {
		return whoMore
	}
	who := s.takers()
	if len(s.named) > 0 && !s.Policy.SelfApproval.Value {
		who += ", but not " + decide.Enumerate(s.excludedPeople())
	}
	return who
}

// excludedPeople names who may not approve, with an author's login behind the
// name: they are one person. Names that only notifications said are left out,
// though they are excluded as well.
func (s *Situation) excludedPeople() []string {
	login, name := s.Commit.AuthorLogin, s.Commit.AuthorName
	if login == "" || name == "" || decide.SameName(login, name) {
		return s.named
	}
	var people []string
	for _, who := range s.named {
		switch {
		case decide.SameName(who, name):
			people = append(people, name+" ("+login+")")
		case !decide.SameName(who, login):
			people = append(people, who)
		}
	}
	return people
}

// whoMore can help a run that too few people may approve.
const whoMore = "an operator, who gives somebody else a token of the group or sets selfApproval in the profile; or anyone who may confirm or discard the run in Spacelift"

// thenApproved says what follows when enough people approved.
func (s *Situation) thenApproved() string {
	switch {
	case s.State != spacelift.RunStateUnconfirmed:
		return "Gantry passes the review on to Spacelift"
	case s.Gate != nil && !s.Gate.Open:
		return "Gantry confirms the plan once it may: " + s.Gate.Reason
	}
	return "Gantry confirms the plan"
}

// atGate reports whether windows and freezes keep Gantry from confirming, as
// far as it is known, and what to do then. The activity
// that confirms checks what is not known.
func atGate(s *Situation) (n Next, shut bool) {
	if s.Gate == nil || s.Gate.Open {
		return Next{}, false
	}
	until := s.Gate.Until
	if again := s.rulesRead.Add(gateGrace); !until.IsZero() && until.Before(again) {
		until = again
	}
	if !until.IsZero() && !s.Now.Before(until) {
		return s.attempt(readingRules()), true
	}
	who := "no one; the window opens automatically"
	if s.Gate.Freeze != "" {
		who = "the operator of Gantry: the freeze " + s.Gate.Freeze + " can be lifted"
	}
	switch {
	case s.Gate.HeldByPolicy():
		who = whoProfiles
	case s.Gate.Until.IsZero() && s.Gate.Freeze == "":
		who = "the operator who configures Gantry's windows, or anyone who may edit the stack's labels"
	}
	n = hold(WaitGate, who, "Gantry confirms the plan", "%s", s.Gate.Reason)
	n.Until = until
	return n, true
}

func readingRules() Next {
	return Next{
		Do: DoRules, Phase: PhaseHolding, Reason: "Gantry reads the rules in effect", What: WaitAnswer,
		Who: whoOperator, Then: "Gantry decides",
	}
}

func discarding(s *Situation, why, note string) Next {
	return Next{
		Do: DoDiscard, Phase: PhaseHolding, Journal: true, ForPeople: s.rejected != nil, Reason: why, Note: note,
		What: WaitAnswer, Who: whoAnswer, Then: "Spacelift ends the run",
	}
}

func reviewing(s *Situation, verdict spacelift.ReviewDecision, why, note string) Next {
	then := "Spacelift continues the run"
	if verdict == spacelift.ReviewReject {
		then = "Spacelift ends the run"
	}
	phase := PhaseHolding
	if s.State == spacelift.RunStateUnconfirmed {
		phase = PhaseConfirming
	}
	return Next{
		Do: DoReview, Phase: phase, Journal: true, ForPeople: s.Ask.Stage != stageExpired, Reason: why, Note: decide.Fit(note, decide.MaxText), Review: verdict,
		What: WaitAnswer, Who: whoReviewer, Then: then,
	}
}

// confirmNote returns the note that Spacelift shows with a confirmation. It differs
// between plans.
func confirmNote(s *Situation) string {
	if !s.autoConfirms() {
		return fmt.Sprintf("Confirmed by Gantry: approved by %s (state version %d).", s.approvers(), s.StateVersion)
	}
	return fmt.Sprintf("Confirmed by Gantry because of %s (state version %d).", s.Policy.Confirm.Origin, s.StateVersion)
}
