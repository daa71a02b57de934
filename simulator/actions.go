package simulator

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/gantryhq/gantry/spacelift"
)

// actor is a person who uses the Go or control API, or an API key.
type actor struct {
	name    string // as in triggeredBy and history: a login, or "api::<key id>"
	admin   bool
	reads   bool   // an API key without the right to act on runs
	machine bool   // an API key
	title   string // the name to show beside the login
	address string // the address the request came from
	// pretends is set for a request that a NoEffect fault has struck: it is
	// answered as if it had been carried out.
	pretends bool
}

// personAddress is the address that people seem to come from. It is of a range
// reserved for documentation.
const personAddress = "192.0.2.20"

func person(name string) actor {
	return actor{name: name, admin: true, title: name, address: personAddress}
}

// session is the identity that created a run, as policies see it.
type session struct {
	Login   string `json:"login"`
	Name    string `json:"name"`
	Address string `json:"address"`
	Admin   bool   `json:"admin"`
	Machine bool   `json:"machine"`
}

// startedBy records the actor as the one who created the run.
func (r *run) startedBy(who actor) *run {
	r.TriggeredBy, r.By = who.name, who.name
	r.Session = &session{Login: who.name, Name: who.title, Address: who.address, Admin: who.admin, Machine: who.machine}
	return r
}

// inState returns the run if it is in one of the states.
func (s *Simulator) inState(stack spacelift.StackID, id spacelift.RunID, action string, states ...spacelift.RunState) (*run, error) {
	r, err := s.findRun(stack, id)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(states, r.state()) {
		return nil, &IllegalStateError{Run: r.ref(), State: r.state(), Action: action}
	}
	return r, nil
}

// orBlocker is inState for actions that take the run that holds the stack if the
// id is empty.
func (s *Simulator) orBlocker(stack spacelift.StackID, id spacelift.RunID, action string, states ...spacelift.RunState) (*run, error) {
	if id == "" {
		st, err := s.findStack(stack)
		if err != nil {
			return nil, err
		}
		if st.blocker == nil {
			return nil, fmt.Errorf("blocker of stack %s: %w", stack, ErrNotFound)
		}
		id = st.blocker.ID
	}
	return s.inState(stack, id, action, states...)
}

func (s *Simulator) confirm(who actor, stack spacelift.StackID, id spacelift.RunID, note, metadata string) (*run, error) {
	r, err := s.orBlocker(stack, id, "confirm", unconfirmed)
	if err != nil {
		return nil, err
	}
	if r.needsApproval() {
		return nil, refuse("run %s needs approval before it can be confirmed", r.ID)
	}
	if !who.pretends {
		r.addMetadata(metadata) // first: policies see it when the run is CONFIRMED
	}
	return s.carryOut(who, r, confirmed, note)
}

// carryOut moves a run to the state that the actor asks for, and returns the run
// to show.
func (s *Simulator) carryOut(who actor, r *run, to spacelift.RunState, note string) (*run, error) {
	if !who.pretends {
		return r, s.move(r, to, who.name, note)
	}
	shown := *r
	shown.History = append(slices.Clone(r.History), spacelift.Transition{
		State: to, StateVersion: len(r.History), At: s.clock.Now(), Username: who.name, Note: note,
	})
	return &shown, nil
}

func (s *Simulator) discard(who actor, stack spacelift.StackID, id spacelift.RunID, note string) (*run, error) {
	r, err := s.orBlocker(stack, id, "discard", unconfirmed)
	if err != nil {
		return nil, err
	}
	return s.carryOut(who, r, discarded, note)
}

func (s *Simulator) discardAll(who actor, stack spacelift.StackID, note string) ([]*run, error) {
	st, err := s.findStack(stack)
	if err != nil {
		return nil, err
	}
	var gone []*run
	for _, r := range st.runs {
		if r.state() == unconfirmed {
			if err := s.move(r, discarded, who.name, note); err != nil {
				return gone, err
			}
			gone = append(gone, r)
		}
	}
	return gone, nil
}

func (s *Simulator) cancelRun(who actor, stack spacelift.StackID, id spacelift.RunID, note string) (*run, error) {
	r, err := s.inState(stack, id, "cancel", queued, ready)
	if err != nil {
		return nil, err
	}
	return s.carryOut(who, r, canceled, note)
}

// stop asks the worker to stop the run. The worker obeys after the StopLag of the
// plan or of the options, if it still can then.
func (s *Simulator) stop(who actor, stack spacelift.StackID, id spacelift.RunID, note string) (*run, error) {
	r, err := s.inState(stack, id, "stop", initializing, planning)
	if err != nil || r.Plan.IgnoreStop || who.pretends {
		return r, err
	}
	s.later(cmp.Or(time.Duration(r.Plan.StopLag), s.opts.StopLag), timer{What: workerStops, run: r, By: who.name, Note: note})
	s.touch()
	return r, nil
}

// kill ends a run in progress immediately.
// Assumption: as STOPPED where a stop would do, else as FAILED.
func (s *Simulator) kill(who actor, stack spacelift.StackID, id spacelift.RunID, note string) (*run, error) {
	r, err := s.inState(stack, id, "kill", preparing, initializing, planning, preparingApply, applying, performing, destroying)
	if err != nil {
		return nil, err
	}
	if legal(r.Type, r.state(), stopped) {
		return s.carryOut(who, r, stopped, note)
	}
	if legal(r.Type, r.state(), failed) || who.pretends {
		return s.carryOut(who, r, failed, note)
	}
	// A module test must clean up whatever happens to its apply.
	r.Plan.FailIn, r.Plan.FailNote = r.state(), note
	s.failPhase(r, r.state())
	return r, nil
}

// retry starts the run again, with the stack's next plan or, if none is set,
// the same plan without its failure.
// Assumption: as a new run with an id of its own, whose dependents don't follow.
func (s *Simulator) retry(who actor, stack spacelift.StackID, id spacelift.RunID) (*run, error) {
	r, err := s.findRun(stack, id)
	if err != nil {
		return nil, err
	}
	if !r.canRetry() {
		return nil, &IllegalStateError{Run: r.ref(), State: r.state(), Action: "retry"}
	}
	again := r.stack.newRun(r.Type, r.Plan, r.Commit).startedBy(who)
	again.Command, again.Drift, again.SkipInit, again.ForceApply, again.Retried = r.Command, r.Drift, r.SkipInit, r.ForceApply, true
	again.Plan.FailIn, again.Plan.FailNote = "", ""
	if err := s.allowed(again); err != nil {
		return nil, err
	}
	if len(r.stack.NextPlans) > 0 {
		again.Plan = r.stack.nextPlan()
	}
	return again, s.begin(again)
}

// promote makes a tracked run from a proposed one
// (https://docs.spacelift.io/concepts/run/run-promotion).
func (s *Simulator) promote(who actor, stack spacelift.StackID, id spacelift.RunID) (*run, error) {
	r, err := s.findRun(stack, id)
	if err != nil {
		return nil, err
	}
	st := r.stack
	switch {
	case st.NoPromotion:
		return nil, refuse("stack %s does not allow run promotion", st.ID)
	case r.Type != spacelift.RunTypeProposed || r.state() != finished:
		return nil, &IllegalStateError{Run: r.ref(), State: r.state(), Action: "promote"}
	case st.Tracked != nil && !r.Commit.At.After(st.Tracked.At):
		return nil, refuse("commit of run %s is not newer than the one stack %s tracks", id, st.ID)
	}
	tracked := st.newRun(spacelift.RunTypeTracked, st.nextPlan(), r.Commit).startedBy(who)
	tracked.Pushed = true
	if err := s.begin(tracked); err != nil {
		return nil, err
	}
	st.track(tracked.Commit, who.name)
	return tracked, nil
}

// review stores a review and evaluates the approval policy again. Without such a
// policy in the run's state it changes nothing else.
func (s *Simulator) review(who actor, stack spacelift.StackID, id spacelift.RunID, decision, note string) (Review, error) {
	if decision != "APPROVE" && decision != "REJECT" {
		return Review{}, refuse("decision %q", decision)
	}
	r, err := s.orBlocker(stack, id, "review", queued, unconfirmed, pendingReview)
	if err != nil {
		return Review{}, err
	}
	review := Review{
		ID: s.newID(), Author: who.name, Decision: decision, Note: note, State: r.state(), At: s.clock.Now(),
	}
	if who.pretends {
		return review, nil
	}
	r.Reviews = append(r.Reviews, review)
	if s.opts.Observer != nil {
		s.opts.Observer.RunReviewed(r.ref(), review)
	}
	s.touch()
	return review, s.applyApproval(r)
}

// applyApproval continues or ends a run as its approval policies decide.
func (s *Simulator) applyApproval(r *run) error {
	a := s.approval(r)
	switch {
	case !a.asks:
	case a.rejected:
		return s.move(r, failed, "", "rejected by an approval policy")
	case !a.approved:
	case r.state() == queued:
		s.schedule(r.stack)
	case r.state() == pendingReview:
		return s.move(r, finished, "", "")
	}
	return nil
}

func (s *Simulator) replan(who actor, stack spacelift.StackID, id spacelift.RunID) (*run, error) {
	r, err := s.inState(stack, id, "replan", unconfirmed)
	if err != nil {
		return nil, err
	}
	return s.carryOut(who, r, replanRequested, "")
}

func (s *Simulator) comment(who actor, stack spacelift.StackID, id spacelift.RunID, body string) (Comment, error) {
	r, err := s.findRun(stack, id)
	if err != nil {
		return Comment{}, err
	}
	c := Comment{Author: who.name, Body: body, At: s.clock.Now()}
	r.Comments = append(r.Comments, c)
	s.touch()
	return c, nil
}

func (s *Simulator) prioritize(stack spacelift.StackID, id spacelift.RunID, on bool) (*run, error) {
	r, err := s.findRun(stack, id)
	if err != nil {
		return nil, err
	}
	switch {
	case r.terminal():
		return nil, &IllegalStateError{Run: r.ref(), State: r.state(), Action: "prioritize"}
	case r.stack.WorkerPool == "":
		return nil, refuse("runs on the public worker pool can't be prioritized")
	}
	r.Prioritized = on
	s.touch()
	return r, nil
}

// lock locks a stack for one person or key. A locked stack does not autodeploy.
// Assumption: others may still confirm, discard and review the stack's runs. The
// documentation says only that they can't trigger any.
func (s *Simulator) lock(who actor, id spacelift.StackID, note string) error {
	st, err := s.findStack(id)
	if err != nil {
		return err
	}
	if st.LockedBy != "" && st.LockedBy != who.name {
		return refuse("stack %s is locked by %s", id, st.LockedBy)
	}
	st.LockedBy, st.LockedAt, st.LockNote = who.name, s.clock.Now(), note
	s.stackChanged(st)
	s.touch()
	return nil
}

func (s *Simulator) unlock(who actor, id spacelift.StackID) error {
	st, err := s.findStack(id)
	if err != nil {
		return err
	}
	switch {
	case st.LockedBy == "":
		return refuse("stack %s is not locked", id)
	case st.LockedBy != who.name && !who.admin:
		return fmt.Errorf("stack %s is locked by %s: %w", id, st.LockedBy, ErrUnauthorized)
	}
	st.LockedBy, st.LockedAt, st.LockNote = "", time.Time{}, ""
	s.stackChanged(st)
	s.schedule(st)
	s.touch()
	return nil
}

func (st *stack) track(c Commit, by string) { st.Tracked, st.TrackedSetBy = &c, by }
