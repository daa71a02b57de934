package simulator

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/graph-gophers/graphql-go"

	"github.com/gantryhq/gantry/spacelift"
)

type stackOut struct {
	sim   *Simulator
	stack *stack
	Hooks

	ID                           graphql.ID
	Name                         string
	Description                  *string
	State                        string
	StateSetAt                   *int32
	CreatedAt                    int32
	Space                        graphql.ID
	SpaceDetails                 *spaceOut
	Labels                       []string
	Starred                      bool
	CanWrite                     bool
	Administrative               bool
	Autodeploy                   bool
	Autoretry                    bool
	IsDisabled                   bool
	Deleted                      bool
	Deleting                     bool
	ProtectFromDeletion          bool
	GithubActionDeploy           bool
	LocalPreviewEnabled          bool
	EnableWellKnownSecretMasking bool
	EnableSensitiveOutputUpload  bool
	ManagesStateFile             bool

	Provider               string
	Namespace              string
	Repository             string
	RepositoryURL          *string
	Branch                 string
	ProjectRoot            *string
	AdditionalProjectGlobs []string
	GitSparseCheckoutPaths []string
	VCSIntegration         *vcsIntegrationOut
	RunnerImage            *string
	TerraformVersion       *string
	VendorConfig           *vendorOut
	WorkerPool             *workerPoolOut

	LockedBy           *string
	LockedAt           *int32
	LockNote           *string
	TrackedCommit      *commitOut
	TrackedCommitSetBy *string

	AttachedPolicies   []*attachedPolicyOut
	AttachedContexts   []*attachedContextOut
	Config             []*configOut
	RuntimeConfig      []*runtimeConfigOut
	Outputs            []*outputOut
	ModuleVersionsUsed []*moduleVersionOut
	Integrations       *integrationsOut
}

type vcsIntegrationOut struct {
	ID        graphql.ID
	IsDefault bool
}

type workerPoolOut struct {
	ID   graphql.ID
	Name string
}

type outputOut struct {
	ID          graphql.ID
	Description *string
	Sensitive   bool
	Value       *string
}

type attachedPolicyOut struct {
	PolicyID   graphql.ID
	PolicyName string
	PolicyType string
}

type attachedContextOut struct {
	ContextID      graphql.ID
	ContextName    string
	Priority       int32
	IsAutoattached bool
	Config         []*configOut
}

type runtimeConfigOut struct {
	Context *runtimeContextOut
	Element *configOut
}

type runtimeContextOut struct {
	ID          graphql.ID
	ContextName string
}

// Module versions are not simulated: the list of these is empty.
type moduleVersionOut struct {
	ID     graphql.ID
	Number string
	Module *moduleOut
}

// out copies the stack for an answer to somebody.
func (st *stack) out(s *Simulator) *stackOut {
	in := st.settings
	o := &stackOut{
		sim: s, stack: st, Hooks: *in.hooks().out(),
		ID: graphql.ID(st.ID), Name: st.Name, Description: absentIfEmpty(st.Description), State: string(st.state),
		CreatedAt: seconds(st.createdAt), Space: graphql.ID(st.Space), SpaceDetails: s.spaces[st.Space].out(),
		Labels: orEmpty(slices.Clone(st.Labels)), CanWrite: true, Administrative: in.Administrative, Autodeploy: st.Autodeploy,
		Autoretry: truth(in.Autoretry), IsDisabled: st.disabled, Deleted: st.deleted, Deleting: st.deleting,
		ProtectFromDeletion: truth(in.ProtectFromDeletion), GithubActionDeploy: truth(in.GithubActionDeploy),
		LocalPreviewEnabled:          truth(in.LocalPreviewEnabled),
		EnableWellKnownSecretMasking: truth(in.EnableWellKnownSecretMasking),
		EnableSensitiveOutputUpload:  truth(in.EnableSensitiveOutputUpload),
		ManagesStateFile:             st.managesState,
		Provider:                     st.Provider, Namespace: st.Namespace, Repository: st.Repository, RepositoryURL: in.RepositoryURL,
		Branch: st.Branch, ProjectRoot: absentIfEmpty(st.ProjectRoot),
		AdditionalProjectGlobs: orEmpty(deref(in.AdditionalProjectGlobs)),
		GitSparseCheckoutPaths: orEmpty(deref(in.GitSparseCheckoutPaths)), VCSIntegration: st.vcsOut(),
		RunnerImage: in.RunnerImage, VendorConfig: &vendorOut{deref(in.VendorConfig)}, WorkerPool: s.poolOut(st),
		LockedBy: absentIfEmpty(st.lockedBy), LockNote: absentIfEmpty(st.lockNote),
		TrackedCommitSetBy: absentIfEmpty(st.trackedSetBy),
		AttachedPolicies:   st.attachedOut(s), AttachedContexts: []*attachedContextOut{},
		Config: configsOut(st.config), RuntimeConfig: []*runtimeConfigOut{}, Outputs: []*outputOut{},
		ModuleVersionsUsed: []*moduleVersionOut{}, Integrations: st.integrationsOut(),
	}
	if !st.stateAt.IsZero() {
		o.StateSetAt = new(seconds(st.stateAt))
	}
	if st.lockedBy != "" {
		o.LockedAt = new(seconds(st.lockedAt))
	}
	if st.tracked != nil {
		o.TrackedCommit = st.tracked.out()
	}
	for _, set := range s.effective(st) {
		shown := &runtimeConfigOut{Element: set.element.out()}
		if c := set.context; c != nil {
			shown.Context = &runtimeContextOut{ID: graphql.ID(c.ID), ContextName: c.Name}
		}
		o.RuntimeConfig = append(o.RuntimeConfig, shown)
	}
	for _, a := range s.attachedContexts(st) {
		o.AttachedContexts = append(o.AttachedContexts, &attachedContextOut{
			ContextID: graphql.ID(a.context.ID), ContextName: a.context.Name, Priority: int32(a.priority), IsAutoattached: a.id == "",
			Config: configsOut(a.context.config),
		})
	}
	for _, name := range sortedKeys(st.outputs) {
		o.Outputs = append(o.Outputs, &outputOut{ID: graphql.ID(name), Value: new(st.outputs[name])})
	}
	return o
}

// vcsOut returns the integration a stack or module uses: the one it names, else
// the default one of its provider, if that provider has integrations that
// clients name (https://registry.terraform.io/providers/spacelift-io/spacelift,
// is_default of spacelift_stack).
// Assumption: the id of a default integration.
func (st *stack) vcsOut() *vcsIntegrationOut {
	standard := ""
	switch st.Provider {
	case "AZURE_DEVOPS", "BITBUCKET_CLOUD", "BITBUCKET_DATACENTER", "GITHUB_ENTERPRISE", "GITLAB":
		standard = strings.ToLower(strings.ReplaceAll(st.Provider, "_", "-")) + "-default"
	}
	id := cmp.Or(string(deref(st.settings.VCSIntegrationID)), standard)
	if id == "" {
		return nil
	}
	return &vcsIntegrationOut{ID: graphql.ID(id), IsDefault: id == standard}
}

func (s *Simulator) poolOut(st *stack) *workerPoolOut {
	p, public := s.pool(st)
	if public {
		return nil
	}
	return &workerPoolOut{ID: graphql.ID(p.ID), Name: p.Name}
}

func (st *stack) attachedOut(s *Simulator) []*attachedPolicyOut {
	out := []*attachedPolicyOut{}
	for _, a := range s.attachments {
		if a.stack == st.ID {
			out = append(out, &attachedPolicyOut{
				PolicyID: graphql.ID(a.policy.ID), PolicyName: a.policy.Name, PolicyType: a.policy.Type,
			})
		}
	}
	return out
}

// ConfigElement finds one of Config.
func (o *stackOut) ConfigElement(args idArgs) *configOut { return elementOf(o.Config, args.ID) }

func (o *stackOut) Blocker() *runOut {
	o.sim.mu.Lock()
	defer o.sim.mu.Unlock()
	if o.stack.blocker == nil {
		return nil
	}
	return o.stack.blocker.out()
}

func (o *stackOut) find(id graphql.ID) *run {
	if r := o.sim.runs[runID(id)]; r != nil && r.stack == o.stack {
		return r
	}
	return nil
}

func (o *stackOut) Run(args idArgs) *runOut {
	o.sim.mu.Lock()
	defer o.sim.mu.Unlock()
	if r := o.find(args.ID); r != nil {
		return r.out()
	}
	return nil
}

type runStateOut struct {
	ID       graphql.ID
	State    string
	Finished bool
}

func (o *stackOut) RunResourceState(args idArgs) *runStateOut {
	o.sim.mu.Lock()
	defer o.sim.mu.Unlock()
	r := o.find(args.ID)
	if r == nil {
		return nil
	}
	return &runStateOut{ID: args.ID, State: string(r.state()), Finished: r.terminal()}
}

// runsPage is the size of a page of a stack's runs.
// Assumption: Spacelift's own is not documented.
const runsPage = 50

type beforeArgs struct{ Before *graphql.ID }

// page returns the runs of some types before the one named, newest first.
func (o *stackOut) page(args beforeArgs, kinds ...spacelift.RunType) []*runOut {
	o.sim.mu.Lock()
	defer o.sim.mu.Unlock()
	page := []*runOut{}
	reached := deref(args.Before) == ""
	for _, r := range slices.Backward(o.stack.runs) {
		if len(page) == runsPage {
			break
		}
		if reached && slices.Contains(kinds, r.kind) {
			page = append(page, r.out())
		}
		reached = reached || r.id == runID(*args.Before)
	}
	return page
}

// Assumption: a stack's runs show DESTROY runs beside the tracked ones, and a
// module's the tests.
func (o *stackOut) Runs(args beforeArgs) []*runOut {
	return o.page(args, spacelift.RunTypeTracked, spacelift.RunTypeDestroy, spacelift.RunTypeTesting)
}

func (o *stackOut) ProposedRuns(args beforeArgs) []*runOut {
	return o.page(args, spacelift.RunTypeProposed)
}

func (o *stackOut) Tasks(args beforeArgs) []*runOut { return o.page(args, spacelift.RunTypeTask) }

func (o *stackOut) DependsOn() []*dependencyOut {
	return o.edges(func(d *dependency) bool { return d.stack == o.stack.ID })
}

func (o *stackOut) IsDependedOnBy() []*dependencyOut {
	return o.edges(func(d *dependency) bool { return d.on == o.stack.ID })
}

func (o *stackOut) Dependency(args struct{ ID, DependsOnStackID *graphql.ID }) *dependencyOut {
	found := o.edges(func(d *dependency) bool {
		if d.stack != o.stack.ID {
			return false
		}
		id, on := deref(args.ID), deref(args.DependsOnStackID)
		return id != "" && d.id == string(id) || on != "" && d.on == stackID(on)
	})
	if len(found) == 0 {
		return nil
	}
	return found[0]
}

func (o *stackOut) edges(wanted func(*dependency) bool) []*dependencyOut {
	o.sim.mu.Lock()
	defer o.sim.mu.Unlock()
	out := []*dependencyOut{}
	for _, d := range o.sim.dependencies {
		if wanted(d) {
			out = append(out, d.out(o.sim))
		}
	}
	return out
}

func (resolver) Stack(ctx context.Context, args idArgs) *stackOut {
	return read(ctx, func(s *Simulator) *stackOut {
		st, err := s.findStack(stackID(args.ID))
		if err != nil || st.Module {
			return nil
		}
		return st.out(s)
	})
}

func (resolver) Stacks(ctx context.Context) []*stackOut {
	return read(ctx, func(s *Simulator) []*stackOut {
		all := []*stackOut{}
		for _, id := range s.order {
			if st := s.stacks[id]; !st.Module {
				all = append(all, st.out(s))
			}
		}
		return all
	})
}

func (resolver) RunStack(ctx context.Context, args struct{ RunID graphql.ID }) *stackOut {
	return read(ctx, func(s *Simulator) *stackOut {
		r := s.runs[runID(args.RunID)]
		if r == nil || r.stack.deleted {
			return nil
		}
		return r.stack.out(s)
	})
}
