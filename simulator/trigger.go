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
	return s.PushWaiting(stack, c, p)
}

// PushAll makes the runs that one push to a repository shared by several stacks
// makes; their dependencies are respected. The result is in the order of stacks.
func (s *Simulator) PushAll(c Commit, p Plan, stacks ...spacelift.StackID) ([]spacelift.RunID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	runs, err := s.chained(stacks, func(i int, chain string) (*run, error) {
		r, err := s.push(stacks[i], c, p, chain, nil)
		if err == nil {
			c = r.Commit
		}
		return r, err
	})
	return runIDs(runs), err
}

// chained makes a run on each of the stacks, all of one chain, and returns them
// in the order of stacks. Upstream stacks come first: a stack that the chain has
// reached already must not get a second run.
func (s *Simulator) chained(stacks []spacelift.StackID, newRun func(i int, chain string) (*run, error)) ([]*run, error) {
	order := make([]int, len(stacks))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(s.depth(stacks[a]), s.depth(stacks[b])) })
	chain := s.newID()
	runs := make([]*run, len(stacks))
	for _, i := range order {
		r, err := newRun(i, chain)
		if err != nil {
			return nil, err
		}
		runs[i] = r
	}
	return runs, nil
}

// depth returns the length of the longest path upstream.
func (s *Simulator) depth(stack spacelift.StackID) int {
	deepest := 0
	for _, d := range s.dependencies {
		if d.Stack == stack {
			deepest = max(deepest, 1+s.depth(d.On))
		}
	}
	return deepest
}

// PushWaiting is Push with a push policy that makes the run wait for external
// dependencies, see MarkExternalDependency.
func (s *Simulator) PushWaiting(stack spacelift.StackID, c Commit, p Plan, dependencies ...string) (spacelift.RunID, error) {
	return s.made(func() (*run, error) { return s.push(stack, c, p, "", dependencies) })
}

func (s *Simulator) push(stack spacelift.StackID, c Commit, p Plan, chain string, external []string) (*run, error) {
	st, err := s.findStack(stack)
	if err != nil {
		return nil, err
	}
	s.fillCommit(st, &c)
	r := st.newRun(spacelift.RunTypeProposed, p, c)
	r.Chain, r.External, r.Pushed = chain, external, true
	if c.Branch == st.Branch {
		r.Type = spacelift.RunTypeTracked
		if waiting := st.queuedInChain(chain); chain != "" && waiting != nil {
			waiting.Commit, waiting.Plan, waiting.Pushed, waiting.TriggeredBy = c, p, true, ""
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
	if r.Type == spacelift.RunTypeTracked {
		st.track(c, "")
	}
	return r, nil
}

// stopOlder stops the branch's older proposed runs
// (https://docs.spacelift.io/concepts/run#stopped).
func (s *Simulator) stopOlder(st *stack, branch string) {
	for _, r := range slices.Clone(st.runs) {
		if r.Type != spacelift.RunTypeProposed || r.Drift || r.Commit.Branch != branch {
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

// Trigger is a runTrigger request of a person or an API key.
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
	return s.made(func() (*run, error) { return s.trigger(person(by), t) })
}

func (s *Simulator) trigger(who actor, t Trigger) (*run, error) {
	st, err := s.findStack(t.Stack)
	if err != nil {
		return nil, err
	}
	r := st.newRun(cmp.Or(t.Type, spacelift.RunTypeTracked), Plan{}, st.commitNamed(t.CommitSHA)).startedBy(who)
	r.ForceApply, r.Pushed = t.ForceApply, true
	if r.Type != spacelift.RunTypeTracked && r.Type != spacelift.RunTypeProposed {
		return nil, refuse("runs of type %s can't be triggered", r.Type)
	}
	r.addMetadata(t.Metadata)
	if err := s.allowed(r); err != nil {
		return nil, err
	}
	r.Plan = st.nextPlan()
	if err := s.begin(r); err != nil {
		return nil, err
	}
	if r.Type == spacelift.RunTypeTracked {
		st.track(r.Commit, who.name)
	}
	return r, nil
}

// triggerBatch triggers tracked runs that respect their stacks' dependencies: a
// stack that the chain queues behind another one of the batch gets one run.
func (s *Simulator) triggerBatch(who actor, triggers []Trigger) ([]*run, error) {
	var stacks []spacelift.StackID
	for _, t := range triggers {
		if _, err := s.findStack(t.Stack); err != nil {
			return nil, err
		}
		stacks = append(stacks, t.Stack)
	}
	return s.chained(stacks, func(i int, chain string) (*run, error) {
		t, st := triggers[i], s.stacks[stacks[i]]
		if waiting := st.queuedInChain(chain); waiting != nil {
			waiting.Pushed, waiting.ForceApply = true, t.ForceApply
			return waiting, nil
		}
		r := st.newRun(spacelift.RunTypeTracked, st.nextPlan(), st.commitNamed(t.CommitSHA)).startedBy(who)
		r.ForceApply, r.Chain, r.Pushed = t.ForceApply, chain, true
		r.addMetadata(t.Metadata)
		if err := s.begin(r); err != nil {
			return nil, err
		}
		st.track(r.Commit, who.name)
		return r, nil
	})
}

// commitNamed returns the commit with this hash, with its details if a run has
// them; for no hash, the commit that the stack tracks.
func (st *stack) commitNamed(sha string) Commit {
	if sha == "" {
		if st.Tracked != nil {
			return *st.Tracked
		}
		return Commit{}
	}
	for _, r := range slices.Backward(st.runs) {
		if r.Commit.Hash == sha {
			return r.Commit
		}
	}
	return Commit{Hash: sha}
}

func (r *run) addMetadata(text string) {
	if text != "" {
		r.Metadata = append(r.Metadata, text)
	}
}

// CreateTask runs a command in the stack's environment.
func (s *Simulator) CreateTask(by string, stack spacelift.StackID, command string, skipInitialization bool) (spacelift.RunID, error) {
	return s.made(func() (*run, error) { return s.createTask(person(by), stack, command, skipInitialization, "") })
}

func (s *Simulator) createTask(who actor, stack spacelift.StackID, command string, skipInit bool, metadata string) (*run, error) {
	st, err := s.findStack(stack)
	if err != nil {
		return nil, err
	}
	r := st.newRun(spacelift.RunTypeTask, Plan{}, st.commitNamed("")).startedBy(who)
	r.Command, r.SkipInit = command, skipInit
	r.addMetadata(metadata)
	if err := s.allowed(r); err != nil {
		return nil, err
	}
	r.Plan = st.nextPlan()
	return r, s.begin(r)
}

// TestModule runs a module's test case: plan, apply, destroy.
func (s *Simulator) TestModule(module spacelift.StackID, c Commit, p Plan) (spacelift.RunID, error) {
	return s.made(func() (*run, error) {
		st, err := s.findStack(module)
		if err != nil {
			return nil, err
		}
		if !st.Module {
			return nil, refuse("%s is a stack, not a module", module)
		}
		r := st.newRun(spacelift.RunTypeTesting, p, c)
		return r, s.begin(r)
	})
}
