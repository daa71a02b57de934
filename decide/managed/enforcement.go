package managed

import (
	"strings"

	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// enforcementOf returns the worth of the policy in Spacelift as a reading showed it.
// Spacelift's own behaviour counts more than a policy's name: a plan that waits, that
// Gantry has not reviewed and that needs no review isn't held back.
func (r *Record) enforcementOf(read RunEvent) *policy.Enforcement {
	if read.Enforcement == nil {
		return nil
	}
	e := *read.Enforcement
	ask := r.pending(keyOfState(read))
	reviewed := ask != nil && (ask.Review.State != requestIdle || ask.Act.State != requestIdle)
	if e.Level == policy.Enforced && read.State == spacelift.RunStateUnconfirmed && !read.NeedsApproval && !reviewed {
		e.Level, e.Asks = policy.Advisory, false
		e.Reason = "Spacelift asks for no review of this plan though the policy " + spacelift.EnforcingApproval + " is attached: its text isn't Gantry's, or somebody approved under Gantry's key"
	}
	return &e
}

// ownReview reports whether the review that Spacelift asks for is Gantry's own, which
// follows from Gantry's decision and takes no more people.
func (s *Situation) ownReview() bool {
	return s.needsApproval && s.State == spacelift.RunStateUnconfirmed && s.Enforcement != nil && s.Enforcement.Asks
}

// leavesToSpacelift is the review by which people may confirm in Spacelift a plan that
// the policy leaves to them.
func leavesToSpacelift(s *Situation) Next {
	if n, holds := blocked(s); holds {
		return n
	}
	if !s.rulesHere() {
		return s.attempt(readingRules())
	}
	if n, shut := atGate(s); shut {
		n.Then = "Gantry lets people confirm the plan in Spacelift"
		return n
	}
	why := "the policy leaves the plan to people in Spacelift (" + s.Policy.Confirm.Origin + ")"
	n := reviewing(s, spacelift.ReviewApprove, why, "Released by Gantry: "+why+".")
	n.Then, n.ForPeople, n.Releases = "people may confirm the plan in Spacelift", false, true
	return reviewed(s, n)
}

// whoMayAct corrects who can move a run on: while Spacelift waits for Gantry's review,
// it refuses every confirmation of people.
func (s *Situation) whoMayAct(n Next) Next {
	if s.ownReview() {
		n.Who = discardOnly(n.Who)
	}
	return n
}

func discardOnly(text string) string {
	return strings.ReplaceAll(text, "confirm or discard", "discard")
}
