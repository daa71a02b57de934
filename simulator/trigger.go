package simulator

import (
	"cmp"
	"slices"

	"github.com/gantryhq/gantry/spacelift"
)

// Push makes the run that a push to the stack's repository makes: a tracked one
// on the stack's branch, a proposed one on any other. A push to another branch
// stops the older proposed runs of that branch.
func (s *Simulator) Push(stack spacelift.StackID, c Commit, p Plan) (spacelift.RunID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.push(stack, c, p, "", nil)
	if err != nil {
		return "", err
	}
	return r.id, nil
}

// PushAll makes the runs that one push to a repository shared by several stacks
// makes; their dependencies are respected. The result is in the order of stacks.
func (s *Simulator) PushAll(c Commit, p Plan, stacks ...spacelift.StackID) ([]spacelift.RunID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// Upstream first: a stack that the chain has reached already must not get
	// a second run.
	sorted := slices.Clone(stacks)
	slices.SortStableFunc(sorted, func(a, b spacelift.StackID) int { return cmp.Compare(s.depth(a), s.depth(b)) })
	chain := s.newID()
	made := map[spacelift.StackID]spacelift.RunID{}
	for _, stack := range sorted {
		r, err := s.push(stack, c, p, chain, nil)
		if err != nil {
			return nil, err
		}
		c = r.commit
		made[stack] = r.id
	}
	ids := make([]spacelift.RunID, 0, len(stacks))
	for _, stack := range stacks {
		ids = append(ids, made[stack])
	}
	return ids, nil
}

// depth is the length of the longest way upstream.
func (s *Simulator) depth(stack spacelift.StackID) int {
	deepest := 0
	for _, d := range s.dependencies {
		if d.stack == stack {
			deepest = max(deepest, 1+s.depth(d.on))
		}
	}
	return deepest
}

// PushWaiting is Push with a push policy that makes the run wait for external
// dependencies, see MarkExternalDependency.
func (s *Simulator) PushWaiting(stack spacelift.StackID, c Commit, p Plan, dependencies ...string) (spacelift.RunID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.push(stack, c, p, "", dependencies)
	if err != nil {
		return "", err
	}
	return r.id, nil
}

func (s *Simulator) push(stack spacelift.StackID, c Commit, p Plan, chain string, external []string) (*run, error) {
	st, err := s.findStack(stack)
	if err != nil {
		return nil, err
	}
	s.fillCommit(st, &c)
	r := &run{stack: st, kind: spacelift.RunTypeProposed, plan: p, commit: c, chain: chain, external: external, pushed: true}
	if c.Branch == st.Branch {
		r.kind = spacelift.RunTypeTracked
		if waiting := st.queuedInChain(chain); chain != "" && waiting != nil {
			waiting.commit, waiting.plan, waiting.pushed, waiting.triggeredBy = c, p, true, ""
			st.track(c, "")
			s.touch()
			return waiting, nil
		}
	} else {
		s.stopOlder(st, c.Branch)
	}
	if err := s.begin(r); err != nil {
		return nil, err
	}
	if r.kind == spacelift.RunTypeTracked {
		st.track(c, "")
	}
	return r, nil
}

// stopOlder makes room for a newer proposed run of the branch
// (https://docs.spacelift.io/concepts/run#stopped).
func (s *Simulator) stopOlder(st *stack, branch string) {
	for _, r := range slices.Clone(st.runs) {
		if r.kind != spacelift.RunTypeProposed || r.drift || r.commit.Branch != branch {
			continue
		}
		switch r.state() {
		case queued, ready:
			s.must(r, canceled, "superseded by a newer commit")
		case initializing, planning:
			s.must(r, stopped, "superseded by a newer commit")
		}
	}
}

// Trigger is what a person or an API key asks for with runTrigger.
type Trigger struct {
	Stack spacelift.StackID
	// Type is TRACKED when empty; PROPOSED is the only other one allowed.
	Type spacelift.RunType
	// CommitSHA is the commit the stack tracks when empty.
	CommitSHA string
	// ForceApply is SINGLE, CASCADE or empty.
	ForceApply string
	// Metadata is kept with the run and shown to policies.
	Metadata string
}

// Trigger starts a run by hand. Its plan is the stack's next one.
func (s *Simulator) Trigger(by string, t Trigger) (spacelift.RunID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.trigger(person(by), t)
	if err != nil {
		return "", err
	}
	return r.id, nil
}

func (s *Simulator) trigger(who actor, t Trigger) (*run, error) {
	st, err := s.findStack(t.Stack)
	if err != nil {
		return nil, err
	}
	r := (&run{
		stack: st, kind: cmp.Or(t.Type, spacelift.RunTypeTracked), forceApply: t.ForceApply, pushed: true,
	}).startedBy(who)
	if r.kind != spacelift.RunTypeTracked && r.kind != spacelift.RunTypeProposed {
		return nil, refuse("runs of type %s can't be triggered", r.kind)
	}
	r.addMetadata(t.Metadata)
	r.commit = st.commitNamed(t.CommitSHA)
	if err := s.allowed(r); err != nil {
		return nil, err
	}
	r.plan = st.nextPlan()
	if err := s.begin(r); err != nil {
		return nil, err
	}
	if r.kind == spacelift.RunTypeTracked {
		st.track(r.commit, who.name)
	}
	return r, nil
}

// triggerBatch triggers tracked runs that respect their stacks' dependencies:
// what the chain queues behind another stack of the batch is not run twice.
func (s *Simulator) triggerBatch(who actor, triggers []Trigger) ([]*run, error) {
	chain := s.newID()
	for _, t := range triggers {
		if _, err := s.findStack(t.Stack); err != nil {
			return nil, err
		}
	}
	order := slices.Clone(triggers)
	slices.SortStableFunc(order, func(a, b Trigger) int { return cmp.Compare(s.depth(a.Stack), s.depth(b.Stack)) })
	made := map[spacelift.StackID]*run{}
	for _, t := range order {
		st := s.stacks[t.Stack]
		if waiting := st.queuedInChain(chain); waiting != nil {
			waiting.pushed, waiting.forceApply = true, t.ForceApply
			made[t.Stack] = waiting
			continue
		}
		r := (&run{
			stack: st, kind: spacelift.RunTypeTracked, plan: st.nextPlan(), commit: st.commitNamed(t.CommitSHA),
			forceApply: t.ForceApply, chain: chain, pushed: true,
		}).startedBy(who)
		r.addMetadata(t.Metadata)
		if err := s.begin(r); err != nil {
			return nil, err
		}
		st.track(r.commit, who.name)
		made[t.Stack] = r
	}
	runs := make([]*run, 0, len(triggers))
	for _, t := range triggers {
		runs = append(runs, made[t.Stack])
	}
	return runs, nil
}

// commitNamed is the commit with this hash if a run has seen it, else a bare
// one; for no hash, the commit the stack tracks.
func (st *stack) commitNamed(sha string) Commit {
	if sha == "" {
		if st.tracked != nil {
			return *st.tracked
		}
		return Commit{}
	}
	for _, r := range slices.Backward(st.runs) {
		if r.commit.Hash == sha {
			return r.commit
		}
	}
	return Commit{Hash: sha}
}

func (r *run) addMetadata(text string) {
	if text != "" {
		r.metadata = append(r.metadata, text)
	}
}

// CreateTask runs a command in the stack's environment.
func (s *Simulator) CreateTask(by string, stack spacelift.StackID, command string, skipInitialization bool) (spacelift.RunID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.createTask(person(by), stack, command, skipInitialization, "")
	if err != nil {
		return "", err
	}
	return r.id, nil
}

func (s *Simulator) createTask(who actor, stack spacelift.StackID, command string, skipInit bool, metadata string) (*run, error) {
	st, err := s.findStack(stack)
	if err != nil {
		return nil, err
	}
	r := (&run{
		stack: st, kind: spacelift.RunTypeTask, command: command, skipInit: skipInit, commit: st.commitNamed(""),
	}).startedBy(who)
	r.addMetadata(metadata)
	if err := s.allowed(r); err != nil {
		return nil, err
	}
	r.plan = st.nextPlan()
	return r, s.begin(r)
}

// TestModule runs a module's test case: plan, apply, destroy.
func (s *Simulator) TestModule(module spacelift.StackID, c Commit, p Plan) (spacelift.RunID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, err := s.findStack(module)
	if err != nil {
		return "", err
	}
	if !st.Module {
		return "", refuse("%s is a stack, not a module", module)
	}
	r := &run{stack: st, kind: spacelift.RunTypeTesting, plan: p, commit: c}
	if err := s.begin(r); err != nil {
		return "", err
	}
	return r.id, nil
}
