package simulator

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gantryhq/gantry/spacelift"
)

// attachedPolicies lists the policies of a type that are attached to a stack: by
// hand, or by a label autoattach:… within their reach
// (https://docs.spacelift.io/concepts/policy#automatically). An empty type lists
// all.
func (s *Simulator) attachedPolicies(st *stack, ofType string) (found []*policy) {
	for _, p := range s.policies {
		if p.Type == PolicyNotification || ofType != "" && p.Type != ofType {
			continue
		}
		byHand := slices.ContainsFunc(s.attachments, func(a *attachment) bool { return a.Policy == p.ID && a.Stack == st.ID })
		if byHand || s.reachesByLabel(p.Space, p.Labels, st) {
			found = append(found, p)
		}
	}
	return found
}

// reachesByLabel reports whether something of this space that carries these labels
// attaches itself to the stack.
func (s *Simulator) reachesByLabel(space string, labels []string, st *stack) bool {
	return slices.Contains(s.reach(st.Space), space) && slices.ContainsFunc(labels, func(label string) bool {
		wanted, auto := strings.CutPrefix(label, "autoattach:")
		return auto && (wanted == "*" || slices.Contains(st.Labels, wanted))
	})
}

// judgePlan evaluates the attached plan policies, and adds what the run's script
// says. One denial denies, and one warning warns.
func (s *Simulator) judgePlan(r *run) {
	r.Verdict, r.Messages = r.Plan.Verdict, slices.Clone(r.Plan.Messages)
	if r.Verdict == "" {
		r.Verdict = Allow
	}
	for _, p := range s.attachedPolicies(r.stack, PolicyPlan) {
		rules, err := evaluateRego(s.ctx, p.query, s.planInput(r))
		if err != nil {
			s.policyFailed(p, err)
			continue
		}
		for _, verdict := range []Verdict{Deny, Warn} {
			messages, _ := rules[string(verdict)].([]any)
			if len(messages) == 0 || r.Verdict == Deny && verdict == Warn {
				continue
			}
			if r.Verdict != verdict {
				r.Verdict, r.Messages = verdict, nil
			}
			for _, m := range messages {
				r.Messages = append(r.Messages, text(m))
			}
		}
	}
}

// planInput returns the input of plan policies, without the vendor's own plan.
func (s *Simulator) planInput(r *run) object {
	return object{"spacelift": object{
		"commit": commitInput(r.Commit), "request": object{"timestamp_ns": nanoseconds(s.clock.Now())},
		"run": s.runInput(r), "stack": s.stackInput(r.stack),
	}}
}

// approval is the decision of the approval policies about a run in its state.
type approval struct{ asks, approved, rejected bool }

// approval evaluates the approval policies of the run's stack.
//
// Assumption: of several policies, each must approve, and each may reject. The
// documentation doesn't say how they combine.
func (s *Simulator) approval(r *run) approval {
	a := approval{approved: true}
	if r.reviewable() {
		approvals, rejections := r.tally()
		a = approval{asks: true, approved: approvals >= r.stack.Approvals, rejected: rejections > 0}
	}
	if st := r.state(); st != queued && st != unconfirmed && st != pendingReview {
		return a
	}
	var input object
	for _, p := range s.attachedPolicies(r.stack, PolicyApproval) {
		if input == nil {
			input = object{"reviews": r.reviewsInput(), "run": s.runInput(r), "stack": s.stackInput(r.stack)}
		}
		a.asks = true
		rules, err := evaluateRego(s.ctx, p.query, input)
		if err != nil {
			s.policyFailed(p, err)
		}
		approve, _ := rules["approve"].(bool)
		reject, _ := rules["reject"].(bool)
		a.approved, a.rejected = a.approved && approve, a.rejected || reject
	}
	return a
}

func (s *Simulator) policyFailed(p *policy, err error) {
	s.log.Warn("policy failed", "policy", p.ID, "type", p.Type, "reason", err)
	s.notice("Policy failed", fmt.Sprintf("%s policy %s: %v", p.Type, p.ID, err), "ERROR")
}

// reviewsInput returns the reviews as approval policies see them: the newest of each
// person, those given in the run's state apart from older ones
// (https://docs.spacelift.io/concepts/policy/approval-policy).
//
// Assumption: after a replan, a review of the plan before it is still current. The
// documentation speaks of "reviews for the current state".
func (r *run) reviewsInput() object {
	type key struct {
		state  spacelift.RunState
		author string
	}
	seen := map[key]bool{}
	sets := map[bool]object{}
	for _, current := range []bool{true, false} {
		sets[current] = object{"approvals": []any{}, "rejections": []any{}}
	}
	for _, review := range slices.Backward(r.Reviews) {
		k := key{review.State, review.Author}
		if seen[k] {
			continue
		}
		seen[k] = true
		kind := "approvals"
		if review.Decision == "REJECT" {
			kind = "rejections"
		}
		set := sets[review.State == r.state()]
		set[kind] = append(set[kind].([]any), object{
			"author": review.Author, "author_roles": []any{}, "state": string(review.State),
			"request": object{"remote_ip": personAddress, "timestamp_ns": nanoseconds(review.At)},
			"session": object{"login": review.Author, "name": review.Author, "teams": []any{}},
		})
	}
	return object{"current": sets[true], "older": []any{sets[false]}}
}
