package managed

import (
	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/spacelift"
)

// The types of the errors that refuse an update. Each message is a sentence for
// the person who asked.
const (
	ErrTypeNotAsked        = "NotAsked"        // the run does not ask for a decision now, or not for one of Gantry's
	ErrTypeNotEntitled     = "NotEntitled"     // the person is not in the group that approves
	ErrTypeSelfApproval    = "SelfApproval"    // the person triggered the run or wrote its commit, or nobody knows
	ErrTypeAlreadyDecided  = "AlreadyDecided"  // the person has said so already
	ErrTypeStalePlan       = "StalePlan"       // the person saw another plan
	ErrTypeNothingToRevoke = "NothingToRevoke" // the person has not approved this plan
	ErrTypeTooLate         = "TooLate"         // the plan is being confirmed or discarded, or was
	ErrTypeNotStoppable    = "NotStoppable"    // a run in this state can't be stopped
	ErrTypeUnknownVerdict  = "UnknownVerdict"  // no such verdict
)

// ErrTypeImpossibleRun is the type of the error for a run that cannot exist.
const ErrTypeImpossibleRun = "ImpossibleRun"

// RefuseDecision says why a decision is not taken; nil if it is. A decision that
// names no plan is about the newest state that Gantry had received when it came.
// It changes nothing.
func (r *Record) RefuseDecision(s *Situation, d Decision, seenAt StateKey) *decide.Refusal {
	if d.Verdict != Approve && d.Verdict != Reject && d.Verdict != Revoke {
		return decide.Refuse(ErrTypeUnknownVerdict, "%q is no verdict; there are %s, %s and %s", d.Verdict, Approve, Reject, Revoke)
	}
	if repeated, no := r.Keys.Check(d.Key, d.content()); repeated || no != nil {
		return no
	}
	if no := s.refuseNow(d.Verdict); no != nil {
		return no
	}
	switch seen := d.StateVersion; {
	case seen != nil && *seen != s.StateVersion:
		return decide.Refuse(ErrTypeStalePlan, "you saw the plan of state version %d; the run is now at %s (%d), check again", *seen, s.State, s.StateVersion)
	case seen == nil && (seenAt != s.Key() || d.Known != nil && *d.Known != s.Key()):
		return decide.Refuse(ErrTypeStalePlan, "the run moved on to %s (%d) while your decision was on its way, check again", s.State, s.StateVersion)
	}
	if no := s.refuseAbout(d.Verdict); no != nil {
		return no
	}
	b := s.ballot()
	return b.refuse(d.Verdict, d.By)
}

// refuseNow says why a verdict comes at the wrong time, from anyone.
func (s *Situation) refuseNow(v Verdict) *decide.Refusal {
	if no := s.refuseAnyDecision(); no != nil {
		return no
	}
	if s.Sending() && v == Approve {
		return s.refuseSending()
	}
	return nil
}

// refuseAbout says why a verdict about the present state counts for nothing, from
// anyone.
func (s *Situation) refuseAbout(v Verdict) *decide.Refusal {
	if v == Reject {
		return nil
	}
	if no := s.refusePassedOn(); no != nil || v != Approve {
		return no
	}
	switch {
	case len(s.Policy.Problems) > 0:
		return decide.Refuse(ErrTypeNotAsked, "the plan is held and cannot be approved: %s", objection(s.Policy.Problems))
	case s.autoConfirms():
		return decide.Refuse(ErrTypeNotAsked, "nobody has to approve: Gantry confirms this plan alone (%s)", s.Policy.Confirm.Origin)
	}
	return nil
}

// refuseAnyDecision says why nobody can decide now, whatever they decide.
func (s *Situation) refuseAnyDecision() *decide.Refusal {
	switch {
	case s.State.Terminal():
		return decide.Refuse(ErrTypeNotAsked, "the run has ended: %s", outcome(s.RunStatus))
	case s.stopping != nil:
		return decide.Refuse(ErrTypeTooLate, "%s has stopped the run", s.stopping.By)
	case s.Ask == nil:
		return s.refuseUnasked()
	case s.Ask.Act.is(requestAccepted, DoConfirm):
		return decide.Refuse(ErrTypeTooLate, "the plan is confirmed already")
	case s.Ask.sending() != nil && !s.Sending():
		return s.refuseSending()
	case s.Ask.Act.is(requestAccepted), s.Ask.Review.is(requestAccepted) && s.Ask.Review.Review == spacelift.ReviewReject:
		return decide.Refuse(ErrTypeTooLate, "it is decided already: Spacelift was asked to %s the run", s.Ask.did())
	case s.rejected != nil:
		return decide.Refuse(ErrTypeTooLate, "%s has rejected it already", s.rejected.By)
	case s.Ask.Stage == stageExpired:
		return decide.Refuse(ErrTypeTooLate, "the time is over: %s", s.Ask.Why)
	case !s.Managed:
		return decide.Refuse(ErrTypeNotAsked, "the stack does not carry %s, so people decide about its runs in Spacelift", spacelift.LabelManaged)
	case len(s.Policy.Problems) == 0 && s.needed() == 0:
		return decide.Refuse(ErrTypeNotAsked, "Gantry only watches this stack and counts no approvals; with the label %sconfirm=manual it does", spacelift.LabelPrefix)
	}
	return nil
}

// refusePassedOn says why nothing can be added to, or taken from, what people
// approved: Spacelift has it. Rejecting is still possible.
func (s *Situation) refusePassedOn() *decide.Refusal {
	switch {
	case s.Ask.Act.is(requestIneffective):
		return decide.Refuse(ErrTypeTooLate, "Spacelift was asked to %s the plan and has not done it: confirm or discard it in Spacelift, or reject it", s.Ask.Act.Do)
	case s.Ask.did() != DoReview:
		return nil
	case s.Ask.Review.is(requestIneffective):
		return decide.Refuse(ErrTypeTooLate, "the approval is passed on, and an approval policy in Spacelift asks for more reviews than Gantry can give: review the run in Spacelift, or reject it")
	}
	return decide.Refuse(ErrTypeTooLate, "the approval is passed on to Spacelift already")
}

func (s *Situation) refuseSending() *decide.Refusal {
	do := DoStop
	if q := s.Ask.sending(); q != nil {
		do = q.Do
	}
	return decide.Refuse(ErrTypeTooLate, "Gantry is asking Spacelift to %s the run right now", do)
}

// refuseUnasked says why there is nothing to decide about.
func (s *Situation) refuseUnasked() *decide.Refusal {
	switch s.State {
	case spacelift.RunStateConfirmed, spacelift.RunStatePreparingApply, spacelift.RunStateApplying:
		return decide.Refuse(ErrTypeTooLate, "the plan is confirmed already: the run is %s", s.State)
	case "":
		return decide.Refuse(ErrTypeNotAsked, "nothing is known of this run yet")
	}
	return decide.Refuse(ErrTypeNotAsked, "the run is %s and asks nobody for a decision; decisions count from the moment its plan waits for one", s.State)
}

// RefuseStop says why a run is not stopped for somebody; nil if it is.
func (r *Record) RefuseStop(s *Situation, wish StopRequest) *decide.Refusal {
	if repeated, no := r.Keys.Check(wish.Key, wish.content()); repeated || no != nil {
		return no
	}
	retrying := s.State == spacelift.RunStateFailed && s.Retry != nil && s.Retry.State == RetryPlanned
	switch {
	case retrying:
		return nil
	case s.State.Terminal():
		return decide.Refuse(ErrTypeNotStoppable, "the run has ended: %s", outcome(s.RunStatus))
	case !s.Managed:
		return decide.Refuse(ErrTypeNotStoppable, "the stack does not carry %s: stop its runs in Spacelift", spacelift.LabelManaged)
	case s.stopping != nil:
		return decide.Refuse(ErrTypeTooLate, "%s has stopped the run already", s.stopping.By)
	case s.Ask != nil && s.Ask.sending() != nil && !s.Sending():
		return s.refuseSending()
	}
	switch {
	case s.State.Stoppable():
		return nil
	case s.State.HandedOver():
		return decide.Refuse(ErrTypeNotStoppable, "Spacelift does not stop a run that is %s; it will be out of that in a moment, so try again then", s.State)
	case s.State.Reviewable():
		return decide.Refuse(ErrTypeNotStoppable, "Spacelift does not stop a run that waits for a review: reject it")
	}
	return decide.Refuse(ErrTypeNotStoppable, "Spacelift does not stop a run that is %s", s.State)
}
