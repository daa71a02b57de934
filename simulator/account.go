package simulator

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/gantryhq/gantry/spacelift"
)

type space struct{ Space }

// AddSpace adds a space below another.
func (s *Simulator) AddSpace(sp Space) error {
	return s.act(func() error { _, err := s.addSpace(sp); return err })
}

func (s *Simulator) addSpace(sp Space) (*space, error) {
	sp.Name = cmp.Or(sp.Name, sp.ID)
	if sp.ID == "" {
		sp.ID = slug(sp.Name) + "-" + s.newID()
	}
	sp.Parent = cmp.Or(sp.Parent, rootSpace)
	if exists(s.findSpace(sp.ID)) {
		return nil, refuse("space %s exists", sp.ID)
	}
	if _, err := s.findSpace(sp.Parent); err != nil {
		return nil, err
	}
	made := &space{Space: sp}
	s.spaces[sp.ID] = made
	s.touch()
	return made, nil
}

// reach lists the space and those it inherits from, nearest first
// (https://docs.spacelift.io/concepts/spaces/).
func (s *Simulator) reach(id string) []string {
	reach := []string{id}
	for sp := s.spaces[id]; sp != nil && sp.ID != rootSpace && sp.InheritEntities; sp = s.spaces[sp.Parent] {
		reach = append(reach, sp.Parent)
	}
	return reach
}

// AddWorkerPool adds a private worker pool.
func (s *Simulator) AddWorkerPool(p WorkerPool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.ID == "" {
		p.ID = s.newID()
	}
	if _, ok := s.pools[p.ID]; ok {
		return refuse("worker pool %s exists", p.ID)
	}
	s.pools[p.ID] = p
	s.touch()
	return nil
}

// AddStack adds a stack or module.
func (s *Simulator) AddStack(st Stack) error {
	return s.act(func() error { _, err := s.addStack(st); return err })
}

func (s *Simulator) addStack(st Stack) (*stack, error) {
	st.Name = cmp.Or(st.Name, string(st.ID))
	st.ID = cmp.Or(st.ID, spacelift.StackID(slug(st.Name)))
	st.Space = cmp.Or(st.Space, rootSpace)
	st.Repository = cmp.Or(st.Repository, "infra")
	st.Namespace = cmp.Or(st.Namespace, string(s.opts.Account))
	st.Branch = cmp.Or(st.Branch, "main")
	st.Provider = cmp.Or(st.Provider, "GITHUB")
	switch {
	case st.ID == "":
		return nil, refuse("a stack needs a name")
	case exists(s.findStack(st.ID)):
		return nil, refuse("stack %s exists", st.ID)
	}
	if _, err := s.findSpace(st.Space); err != nil {
		return nil, err
	}
	if !st.Drift.none() {
		drift, err := st.Drift.checked()
		if err != nil {
			return nil, fmt.Errorf("stack %s: %w", st.ID, err)
		}
		st.Drift = drift
	}
	if _, ok := s.pools[st.WorkerPool]; st.WorkerPool != "" && !ok {
		return nil, fmt.Errorf("worker pool %s: %w", st.WorkerPool, ErrNotFound)
	}
	made := &stack{settings: defaultSettings(), stackRecord: stackRecord{
		Stack: st, State: "NONE", CreatedAt: s.clock.Now(), Outputs: map[string]string{}, ManagesState: true,
	}}
	made.settings.GithubActionDeploy = flag(!st.NoPromotion)
	s.stacks[st.ID] = made
	s.order = append(s.order, st.ID)
	s.stackChanged(made)
	s.touch()
	return made, nil
}

// RemoveStack deletes a stack, after a DESTROY run if its resources are to go;
// the run is returned then. The deletion ends with that run. A stack that others
// depend on, or that is protected from deletion, is refused.
func (s *Simulator) RemoveStack(by string, id spacelift.StackID, destroyResources bool) (spacelift.RunID, error) {
	return s.made(func() (*run, error) { return s.deleteStack(person(by), id, destroyResources) })
}

// deleteStack deletes a stack that no other stack depends on
// (https://docs.spacelift.io/concepts/stack/stack-dependencies#stack-deletion).
// While a DESTROY run is under way, a second request changes nothing.
func (s *Simulator) deleteStack(who actor, id spacelift.StackID, destroyResources bool) (*run, error) {
	st, err := s.findStack(id)
	if err != nil {
		return nil, err
	}
	downstream := s.downstream(id)
	switch {
	case st.Deleting:
		return nil, nil
	case bool(st.settings.ProtectFromDeletion):
		return nil, refuse("stack %s is protected from deletion", id)
	case len(downstream) > 0:
		return nil, refuse("stack %s can't be deleted: the stacks %s depend on it", id, strings.Join(downstream, ", "))
	}
	if !destroyResources {
		s.remove(st)
		s.touch()
		return nil, nil
	}
	r := st.newRun(spacelift.RunTypeDestroy, st.nextPlan(), st.commitNamed("")).startedBy(who)
	err = s.begin(r)
	st.Deleting = err == nil
	s.stackChanged(st)
	return r, err
}

// SetLabels replaces a stack's labels.
func (s *Simulator) SetLabels(id spacelift.StackID, labels ...string) error {
	return s.change(id, func(st *stack) { st.Labels = slices.Clone(labels) })
}

// SetAutodeploy switches a stack's autodeploy.
func (s *Simulator) SetAutodeploy(id spacelift.StackID, on bool) error {
	return s.change(id, func(st *stack) { st.Autodeploy = on })
}

// SetApprovals sets how many people the stack's approval policy asks for.
func (s *Simulator) SetApprovals(id spacelift.StackID, n int) error {
	return s.change(id, func(st *stack) { st.Approvals = n })
}

// SetPlan sets the plan of the stack's runs that have no script of their own.
func (s *Simulator) SetPlan(id spacelift.StackID, p Plan) error {
	return s.change(id, func(st *stack) { st.Plan = p })
}

// SetNextPlan scripts one run that is still to be created by a trigger, a
// retry, a dependency or a task. Called twice, it scripts the two next.
func (s *Simulator) SetNextPlan(id spacelift.StackID, p Plan) error {
	return s.change(id, func(st *stack) { st.NextPlans = append(st.NextPlans, p) })
}

func (s *Simulator) change(id spacelift.StackID, f func(*stack)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, err := s.findStack(id)
	if err != nil {
		return err
	}
	f(st)
	s.stackChanged(st)
	s.schedule(st)
	s.touch()
	return nil
}

// ChangePlan rewrites the script of a run under way: let its present phase
// fail, or let a replan find something else.
func (s *Simulator) ChangePlan(stack spacelift.StackID, id spacelift.RunID, f func(*Plan)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.findRun(stack, id)
	if err != nil {
		return err
	}
	if r.terminal() {
		return &IllegalStateError{Run: r.ref(), State: r.state(), Action: "change the plan of"}
	}
	changed := r.Plan.clone()
	f(&changed)
	r.Plan = changed
	s.touch()
	return nil
}

// Stack returns a stack as it is now.
func (s *Simulator) Stack(id spacelift.StackID) (StackStatus, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, err := s.findStack(id)
	if err != nil {
		return StackStatus{}, err
	}
	return st.status(), nil
}

// Stacks returns all stacks in the order they were created.
func (s *Simulator) Stacks() []StackStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]StackStatus, 0, len(s.order))
	for _, id := range s.order {
		all = append(all, s.stacks[id].status())
	}
	return all
}

// Run returns a run as it is now, with its history.
func (s *Simulator) Run(stack spacelift.StackID, id spacelift.RunID) (Run, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.findRun(stack, id)
	if err != nil {
		return Run{}, err
	}
	return r.snapshot(), nil
}

// Runs returns a stack's runs of every type, oldest first.
func (s *Simulator) Runs(stack spacelift.StackID) ([]Run, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st, err := s.findStack(stack)
	if err != nil {
		return nil, err
	}
	all := make([]Run, 0, len(st.runs))
	for _, r := range st.runs {
		all = append(all, r.snapshot())
	}
	return all, nil
}

func (r *run) snapshot() Run {
	shot := Run{
		Run: spacelift.Run{
			Ref: r.ref(), Type: r.Type, State: r.state(), StateVersion: len(r.History) - 1,
			Branch: r.Commit.Branch,
			Commit: spacelift.Commit{
				Hash: r.Commit.Hash, Message: r.Commit.Message, AuthorLogin: r.Commit.AuthorLogin,
				AuthorName: r.Commit.AuthorName, URL: r.Commit.URL,
			},
			DriftDetection: r.Drift, TriggeredBy: r.TriggeredBy,
			NeedsApproval: r.needsApproval(), CanConfirm: r.canConfirm(), CreatedAt: r.CreatedAt,
			StackLabels: slices.Clone(r.stack.Labels), History: slices.Clone(r.History),
		},
		Command: r.Command, Metadata: slices.Clone(r.Metadata), Reviews: slices.Clone(r.Reviews),
		Comments: slices.Clone(r.Comments), Unmet: r.sim.unmet(r), Plan: r.Plan, Retried: r.Retried,
	}
	if r.Delta != nil {
		shot.Delta = new(*r.Delta)
	}
	for _, up := range r.upstream {
		shot.WaitsFor = append(shot.WaitsFor, up.ref())
	}
	return shot
}

// AddAPIKey adds an API key and returns it. An empty ID or Secret is generated.
func (s *Simulator) AddAPIKey(k APIKey) APIKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k.ID == "" {
		k.ID = s.newID()
	}
	if k.Secret == "" {
		k.Secret = s.randomHex(32)
	}
	k.Name = cmp.Or(k.Name, k.ID)
	s.keys[k.ID] = k
	s.touch()
	return k
}

// APIKeys returns the keys, sorted by id and without their secrets.
func (s *Simulator) APIKeys() []APIKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]APIKey, 0, len(s.keys))
	for _, id := range sortedKeys(s.keys) {
		k := s.keys[id]
		k.Secret = ""
		all = append(all, k)
	}
	return all
}

// RemoveAPIKey deletes a key. Its tokens are refused from then on.
func (s *Simulator) RemoveAPIKey(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.keys, id)
	s.touch()
}

func (s *Simulator) baseURL() string {
	return cmp.Or(s.opts.URL, "https://"+string(s.opts.Account)+".app.spacelift.io")
}

func (s *Simulator) stackURL(id spacelift.StackID) string {
	return s.baseURL() + "/stack/" + url.PathEscape(string(id))
}

func (s *Simulator) runURL(r *run) string {
	return s.stackURL(r.stack.ID) + "/run/" + url.PathEscape(string(r.ID))
}

func (s *Simulator) pool(st *stack) (p WorkerPool, public bool) {
	if st.WorkerPool == "" {
		return WorkerPool{Labels: []string{}}, true
	}
	p = s.pools[st.WorkerPool]
	if p.Labels == nil {
		p.Labels = []string{}
	}
	return p, false
}

func (s *Simulator) sortedSpaces() []*space {
	ids := slices.Sorted(maps.Keys(s.spaces))
	all := make([]*space, 0, len(ids))
	for _, id := range ids {
		all = append(all, s.spaces[id])
	}
	return all
}
