package simulator

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gantryhq/gantry/spacelift"
)

// The errors of callers. Actions on a run in the wrong state return an
// *IllegalStateError.
var (
	ErrNotFound     = errors.New("not found")
	ErrUnauthorized = errors.New("unauthorized")
	ErrRefused      = errors.New("refused") // locked, disabled or misused
)

// refusal is an ErrRefused with its reason as the whole text.
type refusal struct{ reason string }

func (e *refusal) Error() string { return e.reason }

func (e *refusal) Is(target error) bool { return target == ErrRefused }

func refuse(format string, args ...any) error { return &refusal{fmt.Sprintf(format, args...)} }

// find returns the element of a list that has this id.
func find[T any](list []T, kind, id string, idOf func(T) string) (found T, err error) {
	if i := slices.IndexFunc(list, func(item T) bool { return idOf(item) == id }); i >= 0 {
		return list[i], nil
	}
	return found, fmt.Errorf("%s %s: %w", kind, id, ErrNotFound)
}

// exists reports whether a find function has found something.
func exists[T any](_ T, err error) bool { return err == nil }

func (s *Simulator) findSpace(id string) (*space, error) {
	if sp := s.spaces[id]; sp != nil {
		return sp, nil
	}
	return nil, fmt.Errorf("space %s: %w", id, ErrNotFound)
}

func (s *Simulator) findStack(id spacelift.StackID) (*stack, error) {
	if st := s.stacks[id]; st != nil && !st.Deleted {
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
	return spacelift.RunRef{Account: r.sim.opts.Account, Stack: r.stack.ID, Run: r.ID}
}

func (r *run) state() spacelift.RunState {
	if len(r.History) == 0 {
		return ""
	}
	return r.History[len(r.History)-1].State
}

func (r *run) terminal() bool { return r.state().Terminal() }

func (r *run) blocking() bool { return blocking(r.Type) }

func (r *run) duration(state spacelift.RunState) time.Duration {
	if d, ok := r.Plan.Phases[state]; ok {
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
	r.ID = spacelift.RunID(s.newID())
	r.CreatedAt = s.clock.Now()
	if r.Chain == "" {
		r.Chain = string(r.ID)
	}
	s.fillCommit(st, &r.Commit)
	st.runs = append(st.runs, r)
	st.waiting = append(st.waiting, r)
	s.runs[r.ID] = r
	for _, up := range r.upstream {
		up.downstream = append(up.downstream, r)
	}
	s.enter(r, queued, "", "")
	if r.Type == spacelift.RunTypeTracked && !r.Retried {
		s.queueDependents(r)
	}
	return nil
}

// allowed returns an error if the run can't be created.
func (s *Simulator) allowed(r *run) error {
	st := r.stack
	switch {
	case s.closed:
		return refuse("the simulator is closed")
	case st.Disabled:
		return refuse("stack %s is disabled", st.ID)
	case st.Deleting && r.Type != spacelift.RunTypeDestroy:
		return refuse("stack %s is being deleted", st.ID)
	case st.LockedBy != "" && r.By != "" && r.By != st.LockedBy && r.blocking():
		return refuse("stack %s is locked by %s", st.ID, st.LockedBy)
	}
	return nil
}

// nextPlan returns the plan of the stack's next run, and takes it off the list.
func (st *stack) nextPlan() Plan {
	if len(st.NextPlans) == 0 {
		return st.Plan
	}
	p := st.NextPlans[0]
	st.NextPlans = st.NextPlans[1:]
	return p
}

func (s *Simulator) fillCommit(st *stack, c *Commit) {
	c.Branch = cmp.Or(c.Branch, st.Branch)
	if c.Hash == "" {
		c.Hash = s.randomHex(20)
	}
	c.Message = cmp.Or(c.Message, "Change "+st.Name)
	c.AuthorName = cmp.Or(c.AuthorName, "Jane Doe")
	c.AuthorLogin = cmp.Or(c.AuthorLogin, "jdoe")
	c.URL = cmp.Or(c.URL, "https://github.com/"+st.Namespace+"/"+st.Repository+"/commit/"+c.Hash)
	if c.At.IsZero() {
		c.At = s.clock.Now()
	}
}

// move takes a run to another state. It returns an error if the state machine
// does not allow that. who is empty for a machine.
func (s *Simulator) move(r *run, to spacelift.RunState, who, note string) error {
	if !legal(r.Type, r.state(), to) {
		return &IllegalStateError{Run: r.ref(), State: r.state(), Action: "move to " + string(to)}
	}
	s.enter(r, to, who, note)
	return nil
}

// must moves a run as the engine itself decides: an illegal transition is
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
	r.UpdatedAt = now
	r.History = append(r.History, spacelift.Transition{
		State: to, StateVersion: len(r.History), At: now, Username: who, Note: note,
	})
	s.log.Info("run state changed", "stack", r.stack.ID, "run", r.ID, "type", r.Type, "state", to, "version", len(r.History)-1, "note", note)
	r.showOnStack(to, now)
	if s.opts.Observer != nil {
		s.opts.Observer.RunEntered(r.snapshot())
	}
	s.notify(r)
	s.touch()
	switch {
	case to.Terminal():
		s.ended(r)
	case !waitsForPeople(to):
		r.timer = s.later(r.duration(to), timer{What: phaseEnds, run: r, Version: len(r.History)})
	}
}

// showOnStack updates the stack's state: that of its latest tracked run, without
// the states stacks don't have.
func (r *run) showOnStack(state spacelift.RunState, at time.Time) {
	if r.Type != spacelift.RunTypeTracked && r.Type != spacelift.RunTypeDestroy {
		return
	}
	switch state {
	case queued, ready, canceled, skipped:
		return
	}
	r.stack.State, r.stack.StateAt = state, at
}

// advance ends a phase: it moves the run to the state that follows.
func (s *Simulator) advance(r *run) {
	state := r.state()
	if r.Plan.FailIn == state && state != queued && state != ready {
		s.failPhase(r, state)
		return
	}
	switch state {
	case queued:
		r.Settled = true
		s.schedule(r.stack)
	case preparing:
		if missing := s.missingInputs(r); missing != "" {
			s.must(r, failed, "job assignment failed: the following inputs are missing: "+missing)
		} else if r.SkipInit {
			s.must(r, performing, "")
		} else {
			s.must(r, initializing, "")
		}
	case initializing:
		switch r.Type {
		case spacelift.RunTypeTask:
			s.must(r, performing, "")
		case spacelift.RunTypeDestroy:
			s.must(r, destroying, "")
		default:
			s.must(r, planning, "")
		}
	case planning:
		s.plannedNext(r)
	case applying:
		s.apply(r)
		if r.Type == spacelift.RunTypeTesting {
			s.must(r, destroying, "")
		} else {
			s.must(r, finished, "")
		}
	case destroying:
		if r.Type == spacelift.RunTypeTesting && r.Plan.FailIn == applying {
			s.must(r, failed, r.Plan.FailNote)
		} else {
			s.must(r, finished, "")
		}
	default:
		s.must(r, following[state], "")
	}
}

// following maps the states that leave no choice to those that follow.
var following = map[spacelift.RunState]spacelift.RunState{
	ready: preparing, confirmed: preparingApply, preparingApply: applying, performing: finished,
	replanRequested: preparingReplan, preparingReplan: planning,
}

// failPhase ends a run whose script fails it in this state. A module test cleans
// up before it fails.
func (s *Simulator) failPhase(r *run, state spacelift.RunState) {
	if r.Type == spacelift.RunTypeTesting && state == applying {
		s.must(r, destroying, "")
		return
	}
	if !legal(r.Type, state, failed) {
		// CONFIRMED and the replan states can't fail: the failure shows in the
		// state that follows.
		r.Plan.FailIn = map[spacelift.RunState]spacelift.RunState{
			confirmed: preparingApply, replanRequested: planning, preparingReplan: planning,
		}[state]
		s.advance(r)
		return
	}
	s.must(r, failed, r.Plan.FailNote)
}

// plannedNext moves a run to the state that follows its plan.
func (s *Simulator) plannedNext(r *run) {
	delta := r.Plan.Counts()
	if delta.Resources == 0 {
		delta.Resources = r.stack.Resources
	}
	r.Delta, r.Planned = &delta, true
	s.judgePlan(r)
	changes := r.Plan.hasChanges() || r.ForceApply != ""
	switch {
	case r.Verdict == Deny:
		s.must(r, failed, "denied by a plan policy")
	case r.Type == spacelift.RunTypeTesting:
		s.must(r, applying, "")
	case r.Type == spacelift.RunTypeProposed:
		if r.Verdict == Warn && s.hasApprovalPolicy(r.stack) {
			s.must(r, pendingReview, "")
			if err := s.applyApproval(r); err != nil {
				panic(err)
			}
		} else {
			s.must(r, finished, "")
		}
	case !changes:
		s.must(r, finished, "")
	case r.stack.Autodeploy && r.Verdict != Warn && r.stack.LockedBy == "":
		s.must(r, applying, "")
	default:
		s.must(r, unconfirmed, "")
	}
}

// apply changes the resources and outputs of the stack.
func (s *Simulator) apply(r *run) {
	if r.Delta != nil {
		after := *r.Delta
		after.Resources = max(0, after.Resources+after.Added-after.Deleted)
		r.Delta = &after
		if r.Type == spacelift.RunTypeTracked {
			r.stack.Resources = after.Resources
		}
	}
	if r.Type != spacelift.RunTypeTracked {
		return
	}
	r.Applied = true
	r.ChangedBy = map[string]bool{}
	for name, value := range r.Plan.Outputs {
		if old, had := r.stack.Outputs[name]; !had || old != value {
			r.ChangedBy[name] = true
		}
		r.stack.Outputs[name] = value
	}
}

// ended frees the slot of an ended run a moment later, releases its dependents,
// repairs the drift it has found, and removes a destroyed stack.
func (s *Simulator) ended(r *run) {
	st := r.stack
	if st.blocker == r {
		s.later(cmp.Or(time.Duration(st.BlockerLag), s.opts.BlockerLag), timer{What: slotFrees, run: r})
	}
	s.releaseDependents(r)
	if r.state() != finished {
		if r.Type == spacelift.RunTypeDestroy {
			st.Deleting = false
			s.stackChanged(st)
		}
		return
	}
	switch {
	case r.Type == spacelift.RunTypeDestroy:
		st.Resources = 0
		s.remove(st)
	case r.Type == spacelift.RunTypeProposed && r.Drift && st.Drift.Reconcile && r.Plan.hasChanges():
		s.reconcile(r)
	}
}

func (s *Simulator) remove(st *stack) {
	st.Deleted, st.Deleting = true, false
	s.dependencies = slices.DeleteFunc(s.dependencies, func(d *dependency) bool { return d.Stack == st.ID || d.On == st.ID })
	s.attachments = slices.DeleteFunc(s.attachments, func(a *attachment) bool { return a.Stack == st.ID })
	s.contextBonds = slices.DeleteFunc(s.contextBonds, func(a *contextAttachment) bool { return a.Stack == st.ID })
	s.order = slices.DeleteFunc(s.order, func(id spacelift.StackID) bool { return id == st.ID })
	s.stackChanged(st)
}
