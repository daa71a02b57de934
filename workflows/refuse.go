package workflows

import (
	"fmt"
	"slices"

	"github.com/gantryhq/gantry/spacelift"
)

// refusal is why a person's wish is not taken: one of the ErrType constants, and
// a sentence for that person.
type refusal struct {
	Type   string
	Reason string
}

func refuse(kind, format string, args ...any) *refusal {
	return &refusal{Type: kind, Reason: fmt.Sprintf(format, args...)}
}

// refuseDecision says why a decision is not taken; nil if it is. A decision that
// names no plan is about the state that Gantry had been told of when it came.
// It changes nothing.
func (r *record) refuseDecision(s situation, d Decision, told stateKey) *refusal {
	if d.Verdict != Approve && d.Verdict != Reject && d.Verdict != Revoke {
		return refuse(ErrTypeUnknownVerdict, "%q is no verdict; there are %s, %s and %s", d.Verdict, Approve, Reject, Revoke)
	}
	if used := r.Keys.use(d.Key); used != "" {
		return reused(used, d.content())
	}
	if no := s.refuseAnyDecision(); no != nil {
		return no
	}
	if s.claims() && d.Verdict == Approve {
		return s.refuseClaimed()
	}
	switch seen := d.StateVersion; {
	case seen != nil && *seen != s.StateVersion:
		return refuse(ErrTypeStalePlan, "you saw the plan of state version %d; the run is now at %s (%d), look again", *seen, s.State, s.StateVersion)
	case seen == nil && told != s.key():
		return refuse(ErrTypeStalePlan, "the run went on to %s (%d) while your decision was on its way, look again", s.State, s.StateVersion)
	}
	if no := s.refusePassedOn(); no != nil && d.Verdict != Reject {
		return no
	}
	switch d.Verdict {
	case Approve:
		return s.refuseApproval(d.By)
	case Revoke:
		if !slices.ContainsFunc(r.Decisions, func(was decision) bool { return was.approves(s.key(), d.By) }) {
			return refuse(ErrTypeNothingToRevoke, "there is no approval of yours to take back: %s has not approved this plan", d.By.Name)
		}
	case Reject:
		return s.refuseGroup(d.By)
	}
	return nil
}

// refuseAnyDecision says why nobody can decide now, whatever they decide.
func (s situation) refuseAnyDecision() *refusal {
	switch {
	case s.State.Terminal():
		return refuse(ErrTypeNotAsked, "the run has ended: %s", outcome(s.RunStatus))
	case s.stopping != nil:
		return refuse(ErrTypeTooLate, "%s has stopped the run", s.stopping.By)
	case s.ask == nil:
		return s.refuseUnasked()
	case s.ask.Act.is(requestAccepted, doConfirm):
		return refuse(ErrTypeTooLate, "the plan is confirmed already")
	case s.ask.sending() != nil && !s.claims():
		return s.refuseClaimed()
	case s.ask.Act.is(requestAccepted), s.ask.Review.is(requestAccepted) && s.ask.Review.Review == spacelift.ReviewReject:
		return refuse(ErrTypeTooLate, "it is decided already: Spacelift was asked to %s the run", s.ask.did())
	case s.rejected != nil:
		return refuse(ErrTypeTooLate, "%s has rejected it already", s.rejected.By)
	case s.ask.Stage == stageExpired:
		return refuse(ErrTypeTooLate, "the time is over: %s", s.ask.Why)
	case !s.Managed:
		return refuse(ErrTypeNotAsked, "the stack does not carry %s, so people decide about its runs in Spacelift", spacelift.LabelManaged)
	case len(s.Policy.Problems) == 0 && s.needed() == 0:
		return refuse(ErrTypeNotAsked, "Gantry only watches this stack and counts no approvals; with the label %sconfirm=manual it does", spacelift.LabelPrefix)
	}
	return nil
}

// refusePassedOn says why nothing can be added to, or taken from, what people
// approved: Spacelift has it. Rejecting is still possible.
func (s situation) refusePassedOn() *refusal {
	switch {
	case s.ask.Act.is(requestIneffective):
		return refuse(ErrTypeTooLate, "Spacelift was asked to %s the plan and has not done it: confirm or discard it in Spacelift, or reject it", s.ask.Act.Do)
	case s.ask.did() != doReview:
		return nil
	case s.ask.Review.is(requestIneffective):
		return refuse(ErrTypeTooLate, "the approval is passed on, and an approval policy in Spacelift asks for more reviews than Gantry can give: review the run in Spacelift, or reject it")
	}
	return refuse(ErrTypeTooLate, "the approval is passed on to Spacelift already")
}

func (s situation) refuseClaimed() *refusal {
	do := doStop
	if q := s.ask.sending(); q != nil {
		do = q.Do
	}
	return refuse(ErrTypeTooLate, "Gantry is asking Spacelift to %s the run right now", do)
}

// refuseUnasked says why there is nothing to decide about.
func (s situation) refuseUnasked() *refusal {
	switch s.State {
	case spacelift.RunStateConfirmed, spacelift.RunStatePreparingApply, spacelift.RunStateApplying:
		return refuse(ErrTypeTooLate, "the plan is confirmed already: the run is %s", s.State)
	case "":
		return refuse(ErrTypeNotAsked, "nothing is known of this run yet")
	}
	return refuse(ErrTypeNotAsked, "the run is %s and asks nobody for a decision; decisions count from the moment its plan waits for one", s.State)
}

func (s situation) refuseApproval(by Person) *refusal {
	switch {
	case len(s.Policy.Problems) > 0:
		return refuse(ErrTypeNotAsked, "the plan is held and cannot be approved: %s", objection(s.Policy.Problems))
	case s.alone():
		return refuse(ErrTypeNotAsked, "nobody has to approve: Gantry confirms this plan alone (%s)", s.Policy.Confirm.Origin)
	}
	if s.approvedBy(by) {
		return refuse(ErrTypeAlreadyDecided, "%s has approved this plan already", by.Name)
	}
	return s.refusePerson(by)
}

// refusePerson says why an approval of somebody's does not count.
func (s situation) refusePerson(by Person) *refusal {
	if no := s.refuseGroup(by); no != nil {
		return no
	}
	if s.Policy.SelfApproval.Value {
		return nil
	}
	if len(s.excluded) == 0 {
		return refuse(ErrTypeSelfApproval, "nobody knows who triggered this run or wrote its commit, so it cannot be ruled out that it was %s", by.Name)
	}
	for _, name := range by.names() {
		if slices.ContainsFunc(s.excluded, Person{Name: name}.called) {
			return refuse(ErrTypeSelfApproval, "%s triggered this run or wrote its commit (as %s), and somebody else has to approve it", by.Name, name)
		}
	}
	return nil
}

func (s situation) refuseGroup(by Person) *refusal {
	if group := s.Policy.Approvers.Value; group != "" && !slices.Contains(by.Groups, group) {
		return refuse(ErrTypeNotEntitled, "only the group %s decides about this stack's runs (%s), and %s is not in it", group, s.Policy.Approvers.Origin, by.Name)
	}
	return nil
}

// refuseStop says why a run is not stopped for somebody; nil if it is.
func (r *record) refuseStop(s situation, wish StopRequest) *refusal {
	if used := r.Keys.use(wish.Key); used != "" {
		return reused(used, wish.content())
	}
	retrying := s.State == spacelift.RunStateFailed && s.Retry != nil && s.Retry.State == RetryPlanned
	switch {
	case retrying:
		return nil
	case s.State.Terminal():
		return refuse(ErrTypeNotStoppable, "the run has ended: %s", outcome(s.RunStatus))
	case !s.Managed:
		return refuse(ErrTypeNotStoppable, "the stack does not carry %s: stop its runs in Spacelift", spacelift.LabelManaged)
	case s.stopping != nil:
		return refuse(ErrTypeTooLate, "%s has stopped the run already", s.stopping.By)
	case s.ask != nil && s.ask.sending() != nil && !s.claims():
		return s.refuseClaimed()
	}
	switch {
	case s.State.Stoppable():
		return nil
	case s.State.HandedOver():
		return refuse(ErrTypeNotStoppable, "Spacelift does not stop a run that is %s; it will be out of that in a moment, so try again then", s.State)
	case s.State.Reviewable():
		return refuse(ErrTypeNotStoppable, "Spacelift does not stop a run that waits for a review: reject it")
	}
	return refuse(ErrTypeNotStoppable, "Spacelift does not stop a run that is %s", s.State)
}
