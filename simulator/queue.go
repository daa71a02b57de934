package simulator

import (
	"cmp"
	"slices"

	"github.com/gantryhq/gantry/spacelift"
)

// schedule starts every queued run of the stack that may start now, in the
// order of https://docs.spacelift.io/concepts/run#run-prioritization: blocking
// runs before proposed ones before drift checks, oldest first within a class.
// A run that waits for people or other stacks does not delay those behind it.
func (s *Simulator) schedule(st *stack) {
	waiting := slices.Clone(st.waiting)
	slices.SortStableFunc(waiting, func(a, b *run) int { return cmp.Compare(a.class(), b.class()) })
	arriving := false // a blocking run that goes first has just been queued
	for _, r := range waiting {
		if r.blocking() && arriving {
			continue
		}
		if !s.startable(r) {
			arriving = arriving || r.blocking() && !r.Settled
			continue
		}
		if r.blocking() {
			st.blocker = r
		}
		s.must(r, ready, "")
	}
}

func (r *run) class() int {
	switch {
	case r.Prioritized:
		return 0
	case r.blocking():
		return 1
	case !r.Drift:
		return 2
	}
	return 3
}

// startable reports whether a queued run may leave the queue.
//
// Assumption: a stack lock holds all queued blocking runs but its owner's. The
// documentation says only that others can't trigger runs.
func (s *Simulator) startable(r *run) bool {
	st := r.stack
	switch {
	case r.state() != queued || !r.Settled:
		return false
	case r.blocking() && st.blocker != nil:
		return false
	case r.blocking() && st.LockedBy != "" && st.LockedBy != r.By:
		return false
	case len(r.upstream) > 0 && !r.Released:
		return false
	case r.needsApproval():
		return false
	}
	return len(s.unmet(r)) == 0
}

// unmet returns the external dependencies that still hold the run
// (https://docs.spacelift.io/concepts/policy/push-policy/run-external-dependencies).
func (s *Simulator) unmet(r *run) []string {
	var names []string
	for _, name := range r.External {
		switch s.external[name] {
		case "FINISHED", "SKIPPED":
		default:
			names = append(names, name)
		}
	}
	return names
}

// needsApproval reports whether the approval policy asks in the run's state and is
// still undecided.
func (r *run) needsApproval() bool { return !r.sim.approval(r).approved }

// hasApprovalPolicy reports whether an approval policy is attached to the stack.
func (s *Simulator) hasApprovalPolicy(st *stack) bool {
	return st.Approvals > 0 || len(s.attachedPolicies(st, PolicyApproval)) > 0
}

// reviewable reports whether the stack's scripted approval policy is evaluated in
// the run's state.
func (r *run) reviewable() bool {
	st := r.stack
	if st.Approvals == 0 {
		return false
	}
	switch r.state() {
	case queued:
		return r.blocking() && (st.ApproveQueued || st.Autodeploy)
	case unconfirmed, pendingReview:
		return true
	}
	return false
}

// tally counts the reviews given in the run's present state; the latest of each
// person counts.
func (r *run) tally() (approvals, rejections int) {
	latest := map[string]string{}
	for _, review := range r.Reviews {
		if review.State == r.state() {
			latest[review.Author] = review.Decision
		}
	}
	for _, decision := range latest {
		if decision == "APPROVE" {
			approvals++
		} else {
			rejections++
		}
	}
	return approvals, rejections
}

func (r *run) canConfirm() bool { return r.state() == unconfirmed && !r.needsApproval() }

// canRetry reports whether runRetry takes the run.
// Assumption: any ended run but a DESTROY or TESTING one; Spacelift's request
// collection mentions pull-request runs, its permissions of blocking ones too.
func (r *run) canRetry() bool {
	return r.terminal() && (r.Type == spacelift.RunTypeProposed || r.Type == spacelift.RunTypeTracked || r.Type == spacelift.RunTypeTask)
}
