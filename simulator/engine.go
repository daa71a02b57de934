package simulator

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gantryhq/gantry/spacelift"
)

// What a caller can get wrong. Actions on a run in the wrong state are
// *IllegalStateError.
var (
	ErrNotFound     = errors.New("not found")
	ErrUnauthorized = errors.New("unauthorized")
	ErrRefused      = errors.New("refused") // locked, disabled or misused
)

// refusal is an ErrRefused that says why, in words of its own.
type refusal struct{ reason string }

func (e *refusal) Error() string { return e.reason }

func (e *refusal) Is(target error) bool { return target == ErrRefused }

func refuse(format string, args ...any) error { return &refusal{fmt.Sprintf(format, args...)} }

func (s *Simulator) findStack(id spacelift.StackID) (*stack, error) {
	if st := s.stacks[id]; st != nil && !st.deleted {
		return st, nil
	}
	return nil, fmt.Errorf("stack %s: %w", id, ErrNotFound)
}

func (s *Simulator) findRun(stack spacelift.StackID, id spacelift.RunID) (*run, error) {
	st, err := s.findStack(stack)
	if err != nil {
		return nil, err
	}
	if r := s.runs[id]; r != nil && r.stack == st {
		return r, nil
	}
	return nil, fmt.Errorf("run %s of stack %s: %w", id, stack, ErrNotFound)
}

func (r *run) ref() spacelift.RunRef {
	return spacelift.RunRef{Account: r.sim.opts.Account, Stack: r.stack.ID, Run: r.id}
}

func (r *run) state() spacelift.RunState {
	if len(r.history) == 0 {
		return ""
	}
	return r.history[len(r.history)-1].State
}

func (r *run) terminal() bool { return r.state().Terminal() }

func (r *run) blocking() bool { return blocking(r.kind) }

func (r *run) duration(state spacelift.RunState) time.Duration {
	if d, ok := r.plan.Phases[state]; ok {
		return d
	}
	return r.sim.opts.Phases[state]
}

// begin puts a prepared run into its stack's queue and, for a tracked one,
// queues its dependents behind it. Called under the lock, like all below.
func (s *Simulator) begin(r *run) error {
	if err := s.allowed(r); err != nil {
		return err
	}
	st := r.stack
	r.sim = s
	r.id = spacelift.RunID(s.newID())
	r.createdAt = s.clock.Now()
	if r.chain == "" {
		r.chain = string(r.id)
	}
	s.fillCommit(st, &r.commit)
	st.runs = append(st.runs, r)
	st.waiting = append(st.waiting, r)
	s.runs[r.id] = r
	for _, up := range r.upstream {
		up.downstream = append(up.downstream, r)
	}
	s.enter(r, queued, "", "")
	if r.kind == spacelift.RunTypeTracked && !r.retried {
		s.queueDependents(r)
	}
	return nil
}

// allowed says why a run can't be created.
func (s *Simulator) allowed(r *run) error {
	st := r.stack
	switch {
	case s.closed:
		return refuse("the simulator is closed")
	case st.disabled:
		return refuse("stack %s is disabled", st.ID)
	case st.deleting && r.kind != spacelift.RunTypeDestroy:
		return refuse("stack %s is being deleted", st.ID)
	case st.lockedBy != "" && r.by != "" && r.by != st.lockedBy && r.blocking():
		return refuse("stack %s is locked by %s", st.ID, st.lockedBy)
	}
	return nil
}

// nextPlan is what the next run of the stack will find.
func (st *stack) nextPlan() Plan {
	if len(st.nextPlans) == 0 {
		return st.Plan
	}
	p := st.nextPlans[0]
	st.nextPlans = st.nextPlans[1:]
	return p
}

func (s *Simulator) fillCommit(st *stack, c *Commit) {
	if c.Branch == "" {
		c.Branch = st.Branch
	}
	if c.Hash == "" {
		c.Hash = s.randomHex(20)
	}
	if c.Message == "" {
		c.Message = "Change " + st.Name
	}
	if c.AuthorName == "" {
		c.AuthorName = "Jane Doe"
	}
	if c.AuthorLogin == "" {
		c.AuthorLogin = "jdoe"
	}
	if c.URL == "" {
		c.URL = "https://github.com/" + st.Namespace + "/" + st.Repository + "/commit/" + c.Hash
	}
	if c.At.IsZero() {
		c.At = s.clock.Now()
	}
}

// move takes a run to another state, or says that the state machine does not
// allow it. who is empty for a machine.
func (s *Simulator) move(r *run, to spacelift.RunState, who, note string) error {
	if !legal(r.kind, r.state(), to) {
		return &IllegalStateError{Run: r.ref(), State: r.state(), Action: "move to " + string(to)}
	}
	s.enter(r, to, who, note)
	return nil
}

// must is move for transitions the engine itself decides on: an illegal one is
// a bug in the engine.
func (s *Simulator) must(r *run, to spacelift.RunState, note string) {
	if err := s.move(r, to, "", note); err != nil {
		panic(err)
	}
}

func (s *Simulator) enter(r *run, to spacelift.RunState, who, note string) {
	s.unset(r.timer)
	now := s.clock.Now()
	if r.state() == queued {
		r.stack.waiting = slices.DeleteFunc(r.stack.waiting, func(o *run) bool { return o == r })
	}
	r.updatedAt = now
	r.history = append(r.history, spacelift.Transition{
		State: to, StateVersion: len(r.history), At: now, Username: who, Note: note,
	})
	s.log.Info("run state changed", "stack", r.stack.ID, "run", r.id, "type", r.kind, "state", to, "version", len(r.history)-1, "note", note)
	r.showOnStack(to, now)
	s.notify(r)
	s.touch()
	switch {
	case to.Terminal():
		s.ended(r)
	case !waitsForPeople(to):
		r.timer = s.later(r.duration(to), timer{what: phaseEnds, run: r, version: len(r.history)})
	}
}

// showOnStack keeps the stack's state: that of its latest tracked run, without
// the states stacks don't have.
func (r *run) showOnStack(state spacelift.RunState, at time.Time) {
	if r.kind != spacelift.RunTypeTracked && r.kind != spacelift.RunTypeDestroy {
		return
	}
	switch state {
	case queued, ready, canceled, skipped:
		return
	}
	r.stack.state, r.stack.stateAt = state, at
}

// advance is the end of a phase: the machine decides where the run goes.
func (s *Simulator) advance(r *run) {
	state := r.state()
	if r.plan.FailIn == state && state != queued && state != ready {
		s.failPhase(r, state)
		return
	}
	switch state {
	case queued:
		r.settled = true
		s.schedule(r.stack)
	case ready:
		s.must(r, preparing, "")
	case preparing:
		if missing := s.missingInputs(r); missing != "" {
			s.must(r, failed, "job assignment failed: the following inputs are missing: "+missing)
		} else if r.skipInit {
			s.must(r, performing, "")
		} else {
			s.must(r, initializing, "")
		}
	case initializing:
		switch r.kind {
		case spacelift.RunTypeTask:
			s.must(r, performing, "")
		case spacelift.RunTypeDestroy:
			s.must(r, destroying, "")
		default:
			s.must(r, planning, "")
		}
	case planning:
		s.plannedNext(r)
	case confirmed:
		s.must(r, preparingApply, "")
	case preparingApply:
		s.must(r, applying, "")
	case applying:
		s.apply(r)
		if r.kind == spacelift.RunTypeTesting {
			s.must(r, destroying, "")
		} else {
			s.must(r, finished, "")
		}
	case performing:
		s.must(r, finished, "")
	case destroying:
		if r.kind == spacelift.RunTypeTesting && r.plan.FailIn == applying {
			s.must(r, failed, r.plan.FailNote)
		} else {
			s.must(r, finished, "")
		}
	case replanRequested:
		s.must(r, preparingReplan, "")
	case preparingReplan:
		s.must(r, planning, "")
	}
}

// failPhase ends a run the script wants to fail here. A module test cleans up
// before it fails.
func (s *Simulator) failPhase(r *run, state spacelift.RunState) {
	if r.kind == spacelift.RunTypeTesting && state == applying {
		s.must(r, destroying, "")
		return
	}
	if !legal(r.kind, state, failed) {
		// CONFIRMED and the replan states can't fail: the failure shows in the
		// state that follows.
		r.plan.FailIn = map[spacelift.RunState]spacelift.RunState{
			confirmed: preparingApply, replanRequested: planning, preparingReplan: planning,
		}[state]
		s.advance(r)
		return
	}
	s.must(r, failed, r.plan.FailNote)
}

// plannedNext decides what follows a plan.
func (s *Simulator) plannedNext(r *run) {
	delta := r.plan.Delta
	if delta.Resources == 0 {
		delta.Resources = r.stack.Resources
	}
	r.delta, r.planned = &delta, true
	changes := r.plan.hasChanges() || r.forceApply != ""
	switch {
	case r.plan.Verdict == Deny:
		s.must(r, failed, "denied by a plan policy")
	case r.kind == spacelift.RunTypeTesting:
		s.must(r, applying, "")
	case r.kind == spacelift.RunTypeProposed:
		if r.plan.Verdict == Warn && r.stack.Approvals > 0 {
			s.must(r, pendingReview, "")
		} else {
			s.must(r, finished, "")
		}
	case !changes:
		s.must(r, finished, "")
	case r.stack.Autodeploy && r.plan.Verdict != Warn && r.stack.lockedBy == "":
		s.must(r, applying, "")
	default:
		s.must(r, unconfirmed, "")
	}
}

// apply changes what the stack manages.
func (s *Simulator) apply(r *run) {
	if r.delta != nil {
		after := *r.delta
		after.Resources = max(0, after.Resources+after.Added-after.Deleted)
		r.delta = &after
		if r.kind == spacelift.RunTypeTracked {
			r.stack.Resources = after.Resources
		}
	}
	if r.kind != spacelift.RunTypeTracked {
		return
	}
	r.applied = true
	r.changedBy = map[string]bool{}
	for name, value := range r.plan.Outputs {
		if old, had := r.stack.outputs[name]; !had || old != value {
			r.changedBy[name] = true
		}
		r.stack.outputs[name] = value
	}
}

// ended does what follows the end of a run: its slot is freed, a moment later,
// its dependents move on, drift is repaired, a destroyed stack goes.
func (s *Simulator) ended(r *run) {
	st := r.stack
	if st.blocker == r {
		s.later(cmp.Or(time.Duration(st.BlockerLag), s.opts.BlockerLag), timer{what: slotFrees, run: r})
	}
	s.releaseDependents(r)
	if r.state() != finished {
		if r.kind == spacelift.RunTypeDestroy {
			st.deleting = false
		}
		return
	}
	switch {
	case r.kind == spacelift.RunTypeDestroy:
		st.Resources = 0
		s.remove(st)
	case r.kind == spacelift.RunTypeProposed && r.drift && st.Drift.Reconcile && r.plan.hasChanges():
		s.reconcile(r)
	}
}

func (s *Simulator) remove(st *stack) {
	st.deleted, st.deleting = true, false
	s.dependencies = slices.DeleteFunc(s.dependencies, func(d *dependency) bool { return d.stack == st.ID || d.on == st.ID })
	s.attachments = slices.DeleteFunc(s.attachments, func(a *attachment) bool { return a.stack == st.ID })
	s.contextBonds = slices.DeleteFunc(s.contextBonds, func(a *contextAttachment) bool { return a.stack == st.ID })
	s.order = slices.DeleteFunc(s.order, func(id spacelift.StackID) bool { return id == st.ID })
}
