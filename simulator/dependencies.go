package simulator

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gantryhq/gantry/spacelift"
)

// dependency is an edge: Stack runs after On.
type dependency struct {
	ID            string            `json:"id"`
	Stack         spacelift.StackID `json:"stack"`
	On            spacelift.StackID `json:"on"`
	TriggerAlways bool              `json:"triggerAlways,omitempty"`
	References    []*Reference      `json:"references,omitempty"`
}

// Reference passes an output of the upstream stack to a dependent one.
type Reference struct {
	ID            string `json:"id"`
	Output        string `json:"output"`
	Input         string `json:"input"`
	Type          string `json:"type,omitempty"`
	TriggerAlways bool   `json:"triggerAlways,omitempty"`
}

// AddDependency makes stack depend on another, with references to its outputs
// if there are any. Cycles are refused with their path.
func (s *Simulator) AddDependency(stack, on spacelift.StackID, references ...Reference) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, err := s.addDependency(stack, on, false)
	if err != nil {
		return err
	}
	for _, ref := range references {
		s.addReference(d, ref)
	}
	return nil
}

func (s *Simulator) addDependency(stack, on spacelift.StackID, triggerAlways bool) (*dependency, error) {
	for _, id := range []spacelift.StackID{stack, on} {
		if _, err := s.findStack(id); err != nil {
			return nil, err
		}
	}
	if s.edge(stack, on) != nil {
		return nil, refuse("stack %s depends on %s already", stack, on)
	}
	if path := s.path(on, stack); path != nil {
		return nil, refuse("dependency cycle %s -> %s", stack, strings.Join(path, " -> "))
	}
	d := &dependency{ID: s.newID(), Stack: stack, On: on, TriggerAlways: triggerAlways}
	s.dependencies = append(s.dependencies, d)
	s.touch()
	return d, nil
}

func (s *Simulator) addReference(d *dependency, ref Reference) *Reference {
	ref.ID = s.newID()
	if ref.Type == "" {
		ref.Type = "ENVIRONMENT_VARIABLE"
	}
	d.References = append(d.References, &ref)
	return &ref
}

// downstream lists the stacks that depend on this one directly.
func (s *Simulator) downstream(on spacelift.StackID) []string {
	var ids []string
	for _, d := range s.dependencies {
		if d.On == on {
			ids = append(ids, string(d.Stack))
		}
	}
	return ids
}

func (s *Simulator) edge(stack, on spacelift.StackID) *dependency {
	for _, d := range s.dependencies {
		if d.Stack == stack && d.On == on {
			return d
		}
	}
	return nil
}

// path follows dependencies upstream from one stack to another; nil if there is none.
func (s *Simulator) path(from, to spacelift.StackID) []string {
	if from == to {
		return []string{string(to)}
	}
	for _, d := range s.dependencies {
		if d.Stack == from {
			if upstream := s.path(d.On, to); upstream != nil {
				return append([]string{string(from)}, upstream...)
			}
		}
	}
	return nil
}

// queueDependents queues a tracked run on every stack that depends on r's,
// immediately and transitively; they wait for r. A dependent that has been queued by
// the same chain gets one more run to wait for instead.
// (https://docs.spacelift.io/concepts/stack/stack-dependencies)
func (s *Simulator) queueDependents(r *run) {
	for _, d := range slices.Clone(s.dependencies) {
		if d.On != r.stack.ID {
			continue
		}
		st, err := s.findStack(d.Stack)
		if err != nil || st.Disabled || st.Deleting {
			continue
		}
		if waiting := st.queuedInChain(r.Chain); waiting != nil {
			waiting.upstream = append(waiting.upstream, r)
			r.downstream = append(r.downstream, waiting)
			continue
		}
		follower := st.newRun(spacelift.RunTypeTracked, st.nextPlan(), deref(st.Tracked))
		follower.Chain, follower.TriggeredBy, follower.upstream = r.Chain, string(r.stack.ID), []*run{r}
		if r.ForceApply == "CASCADE" {
			follower.ForceApply = "CASCADE"
		}
		if err := s.begin(follower); err != nil {
			s.log.Warn("dependent not queued", "stack", st.ID, "upstream", r.stack.ID, "reason", err)
		}
	}
}

func (st *stack) queuedInChain(chain string) *run {
	for _, r := range st.waiting {
		if r.Chain == chain && r.Type == spacelift.RunTypeTracked {
			return r
		}
	}
	return nil
}

// releaseDependents releases the runs that wait for r, or skips them.
func (s *Simulator) releaseDependents(r *run) {
	for _, follower := range r.downstream {
		if follower.state() == queued && !follower.Released {
			s.resolve(follower)
		}
	}
}

// resolve decides about a queued run once all the runs it waits for have ended.
//
// A run is skipped when one of its direct upstream runs did not succeed, and
// when all its edges carry references of which none changed. A skipped upstream
// run does not stop it: the chain continues behind a skipped stack
// (https://support.spacelift.io/articles/6348014823).
// Assumption: DISCARDED, CANCELED and STOPPED upstream count as FAILED does.
func (s *Simulator) resolve(r *run) {
	wanted := r.Pushed || r.ForceApply == "CASCADE"
	var broken []string
	for _, up := range r.upstream {
		switch up.state() {
		case finished, skipped:
			wanted = wanted || s.triggers(up, r)
		default:
			if !up.terminal() {
				return
			}
			broken = append(broken, string(up.stack.ID))
		}
	}
	r.Released = true
	switch {
	case len(broken) > 0:
		s.must(r, skipped, "upstream run did not finish: "+strings.Join(broken, ", "))
	case !wanted:
		s.must(r, skipped, "This run has dependency references which have not changed since the last run")
	default:
		s.schedule(r.stack)
	}
}

// triggers reports whether the edge between the two runs' stacks asks for a run.
func (s *Simulator) triggers(up, r *run) bool {
	d := s.edge(r.stack.ID, up.stack.ID)
	if d == nil || d.TriggerAlways || len(d.References) == 0 {
		return true
	}
	return slices.ContainsFunc(d.References, func(ref *Reference) bool { return ref.TriggerAlways || up.ChangedBy[ref.Output] })
}

// missingInputs names the references whose output no run has produced yet.
// They fail a run only if every edge of its stack carries references.
func (s *Simulator) missingInputs(r *run) string {
	if r.Type != spacelift.RunTypeTracked && r.Type != spacelift.RunTypeProposed {
		return ""
	}
	var missing []string
	for _, d := range s.dependencies {
		if d.Stack != r.stack.ID {
			continue
		}
		if len(d.References) == 0 {
			return ""
		}
		up := s.stacks[d.On]
		for _, ref := range d.References {
			if _, ok := up.Outputs[ref.Output]; !ok {
				missing = append(missing, fmt.Sprintf("%s.%s => %s", up.Name, ref.Output, ref.Input))
			}
		}
	}
	return strings.Join(missing, ", ")
}

// MarkExternalDependency reports that something outside Spacelift is FINISHED,
// SKIPPED or FAILED. The runs that wait for it start, or fail.
func (s *Simulator) MarkExternalDependency(name, status string) error {
	return s.act(func() error { return s.markExternal(name, status) })
}

func (s *Simulator) markExternal(name, status string) error {
	switch status {
	case "FINISHED", "SKIPPED", "FAILED":
	default:
		return refuse("external dependency status %q", status)
	}
	s.external[name] = status
	s.touch()
	for _, id := range slices.Clone(s.order) {
		st := s.stacks[id]
		for _, r := range slices.Clone(st.waiting) {
			if status == "FAILED" && slices.Contains(r.External, name) {
				s.must(r, failed, "external dependency "+name+" failed")
			}
		}
		s.schedule(st)
	}
	return nil
}
