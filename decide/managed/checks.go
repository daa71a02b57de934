package managed

import (
	"fmt"
	"strings"

	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// Act is something that Gantry does to a run, or that begins one.
type Act string

// The acts that rest on checks. Those that people or a time limit end a run by don't:
// nothing forbids a discard, a stop, or a review that rejects.
const (
	ToConfirm Act = "confirm" // a plan
	ToReview  Act = "review"  // to pass people's approval on to Spacelift's own policies
	ToRelease Act = "release" // a plan, by a review after which people may confirm it
	ToDiscard Act = "discard" // an old plan
	ToFollow  Act = "follow"  // to trigger a run for a chain, or in place of one with an old plan
	ToTrigger Act = "trigger" // a run that somebody asks for
	ToRetry   Act = "retry"   // a failed run

	ToRetryByPolicy Act = "retry by policy" // a failed run, because its policy allows it
)

// Check is a condition of an act beside the state of its run.
type Check string

// The checks.
const (
	CheckManaged  Check = "managed"  // the stack opts in
	CheckPolicy   Check = "policy"   // it is the one that the plan was judged by
	CheckVerdicts Check = "verdicts" // so are the results of its expressions
	CheckLabels   Check = "labels"   // all of Gantry's can be followed
	CheckPeople   Check = "people"   // they approved, or aren't needed
	CheckStart    Check = "start"    // no lock or other brake of the stack keeps a run from beginning
	CheckBrakes   Check = "brakes"   // … nor the plan from being confirmed
	CheckGate     Check = "gate"     // no window, freeze or expression holds the plan
)

// checksOf are the checks of each act. The first that fails is the reason.
var checksOf = map[Act][]Check{
	ToConfirm: {CheckManaged, CheckPolicy, CheckVerdicts, CheckLabels, CheckPeople, CheckBrakes, CheckGate},
	ToReview:  {CheckManaged, CheckPolicy, CheckVerdicts, CheckLabels},
	ToRelease: {CheckManaged, CheckPolicy, CheckVerdicts, CheckLabels, CheckBrakes, CheckGate},
	ToDiscard: {CheckPolicy},
	ToFollow:  {CheckManaged, CheckLabels, CheckStart},
	ToTrigger: {CheckManaged, CheckStart},
	ToRetry:   {CheckStart},

	ToRetryByPolicy: {CheckManaged, CheckPolicy, CheckStart},
}

// Standing is a stack and a run of it, as far as checks need them, right before an act.
type Standing struct {
	Run    spacelift.RunRef // without an id, a run to begin
	Labels []string         // of the stack
	Brakes spacelift.Brakes // without a lock of Gantry's own key
	Rules  Rules            // in effect now

	Judged *Judged          // for those that rest on CheckPolicy
	Plan   policy.PlanFacts // as it is now, for ToConfirm
}

// Obstacle is the reason why an act is forbidden.
type Obstacle struct {
	Check  Check
	Reason string           // a sentence
	Block  *spacelift.Block // if a brake of the stack is the reason
}

// Forbids returns the first check that an act fails; nil if it may be carried out.
func (s Standing) Forbids(act Act) *Obstacle {
	for _, check := range checksOf[act] {
		if reason, block := s.fails(check); reason != "" {
			return &Obstacle{check, reason, block}
		}
	}
	return nil
}

// fails returns why a check fails; empty if it doesn't.
func (s Standing) fails(check Check) (reason string, block *spacelift.Block) {
	switch check {
	case CheckManaged:
		if !spacelift.Managed(s.Labels) {
			reason = fmt.Sprintf("the stack %s does not carry the label %s: its labels are %s", s.Run.Stack, spacelift.LabelManaged, listed(s.Labels))
		}
	case CheckPolicy:
		if !s.Judged.Policy.Equal(s.Rules.Policy) {
			reason = "the policy is not the one that the run was judged by; the stack's labels are " + listed(s.Labels)
		}
	case CheckVerdicts:
		if !s.Judged.Verdicts.Same(s.Rules.Verdicts) {
			reason = "the policy's expressions have other results than those that the run was judged by"
		}
	case CheckLabels:
		if all := s.Rules.Policy.Problems; len(all) > 0 {
			reason = fmt.Sprintf("the label %s of the stack %s can't be followed: %s; %s", all[0].Label, s.Run.Stack, all[0].Problem, all[0].Remedy)
		}
	case CheckPeople:
		if why := s.whyPeople(); why != "" {
			reason = "Gantry may not confirm this run without people: " + why
		}
	case CheckStart:
		block = s.Brakes.StartBlock()
	case CheckBrakes:
		block = s.Brakes.ConfirmBlock(s.Run.Run)
	case CheckGate:
		if !s.Rules.Gate.Open {
			reason = s.Rules.Gate.Reason
		}
	}
	if block != nil {
		reason = block.Reason
	}
	return reason, block
}

// whyPeople returns why the rules leave a run that people did not approve to them; empty
// if they don't.
func (s Standing) whyPeople() string {
	if s.Judged.Approved {
		return ""
	}
	alone, considered := s.Rules.Policy.AutoConfirms(s.Plan)
	if alone {
		return ""
	}
	for _, r := range considered {
		if r.Effect != policy.EffectAllows {
			return fmt.Sprintf("%s (%s)", r.Detail, r.Origin)
		}
	}
	return "the policy leaves it to people"
}

// listed names the labels of a stack that Gantry reads.
func listed(labels []string) string {
	if ours := spacelift.OurLabels(labels); len(ours) > 0 {
		return strings.Join(ours, " ")
	}
	return "none of Gantry's"
}
