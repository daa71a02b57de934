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
	stack *stack
	shownSettings

	ID               graphql.ID
	Name             string
	Description      *string
	State            string
	StateSetAt       *int32
	CreatedAt        int32
	Space            graphql.ID
	SpaceDetails     *spaceOut
	Labels           []string
	Starred          bool
	CanWrite         bool
	Autodeploy       bool
	IsDisabled       bool
	Deleted          bool
	Deleting         bool
	ManagesStateFile bool

	Provider         string
	Namespace        string
	Repository       string
	Branch           string
	ProjectRoot      *string
	VCSIntegration   *vcsIntegrationOut
	TerraformVersion *string
	VendorConfig     *vendorOut
	WorkerPool       *workerPoolOut

	LockedBy           *string
	LockedAt           *int32
	LockNote           *string
	TrackedCommit      *commitOut
	TrackedCommitSetBy *string

	AttachedPolicies   []*attachedPolicyOut
	AttachedContexts   []*attachedContextOut
	Config             configOuts
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
	Config         configOuts
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

// out copies the stack for an answer.
func (st *stack) out(s *Simulator, who actor) *stackOut {
	o := &stackOut{
		stack: st, shownSettings: st.settings.shownSettings,
		ID: graphql.ID(st.ID), Name: st.Name, Description: absentIfEmpty(st.Description), State: string(st.State),
		CreatedAt: seconds(st.CreatedAt), Space: graphql.ID(st.Space), SpaceDetails: s.spaces[st.Space].out(s, who),
		Labels: slices.Clone(st.Labels), CanWrite: !who.reads, Autodeploy: st.Autodeploy, IsDisabled: st.Disabled,
		Deleted: st.Deleted, Deleting: st.Deleting, ManagesStateFile: st.ManagesState,
		Provider: st.Provider, Namespace: st.Namespace, Repository: st.Repository, Branch: st.Branch,
		ProjectRoot: absentIfEmpty(st.ProjectRoot), VCSIntegration: st.vcsOut(),
		VendorConfig: &vendorOut{deref(st.settings.VendorConfig)}, WorkerPool: s.poolOut(st),
		LockedBy: absentIfEmpty(st.LockedBy), LockNote: absentIfEmpty(st.LockNote), TrackedCommitSetBy: absentIfEmpty(st.TrackedSetBy),
		AttachedPolicies: st.attachedOut(s), Config: outs(st.Config, s, who), Integrations: st.integrationsOut(s, who),
	}
	if !st.StateAt.IsZero() {
		o.StateSetAt = new(seconds(st.StateAt))
	}
	if st.LockedBy != "" {
		o.LockedAt = new(seconds(st.LockedAt))
	}
	if st.Tracked != nil {
		o.TrackedCommit = st.Tracked.out()
	}
	for _, set := range s.effective(st) {
		shown := &runtimeConfigOut{Element: set.element.out(s, who)}
		if c := set.context; c != nil {
			shown.Context = &runtimeContextOut{ID: graphql.ID(c.ID), ContextName: c.Name}
		}
		o.RuntimeConfig = append(o.RuntimeConfig, shown)
	}
	for _, a := range s.attachedContexts(st) {
		o.AttachedContexts = append(o.AttachedContexts, &attachedContextOut{
			ContextID: graphql.ID(a.context.ID), ContextName: a.context.Name, Priority: int32(a.Priority), IsAutoattached: a.ID == "",
			Config: outs(a.context.Elements, s, who),
		})
	}
	for _, name := range sortedKeys(st.Outputs) {
		o.Outputs = append(o.Outputs, &outputOut{ID: graphql.ID(name), Value: new(st.Outputs[name])})
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
	id := cmp.Or(string(st.settings.VCSIntegrationID), standard)
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

// attachedOut lists the policies attached to the stack.
// Assumption: those attached by label are among them, as attachedContexts lists them.
func (st *stack) attachedOut(s *Simulator) (out []*attachedPolicyOut) {
	for _, p := range s.attachedPolicies(st, "") {
		out = append(out, &attachedPolicyOut{PolicyID: graphql.ID(p.ID), PolicyName: p.Name, PolicyType: p.Type})
	}
	return out
}

// ConfigElement finds one of Config.
func (o *stackOut) ConfigElement(args idArgs) *configOut { return o.Config.find(args.ID) }

func (o *stackOut) Blocker(ctx context.Context) (*runOut, error) {
	return orNull(ctx, func(*Simulator, actor) (*run, error) {
		if o.stack.blocker == nil {
			return nil, ErrNotFound
		}
		return o.stack.blocker, nil
	})
}

// find returns a run of the stack, even of a deleted one.
func (o *stackOut) find(s *Simulator, id spacelift.RunID) (*run, error) {
	if r := s.runs[id]; r != nil && r.stack == o.stack {
		return r, nil
	}
	return nil, ErrNotFound
}

func (o *stackOut) Run(ctx context.Context, args idArgs) (*runOut, error) {
	return orNull(ctx, found(args.ID, o.find, nil))
}

func (o *stackOut) RunResourceState(ctx context.Context, args idArgs) (*runOut, error) {
	return o.Run(ctx, args)
}

// runsPage is the size of a page of a stack's runs.
// Assumption: Spacelift's own is not documented.
const runsPage = 50

type beforeArgs struct{ Before *graphql.ID }

// page returns the runs of some types before the one named, newest first.
func (o *stackOut) page(ctx context.Context, args beforeArgs, kinds ...spacelift.RunType) []*runOut {
	return list(ctx, func(*Simulator) (page []*run) {
		reached := deref(args.Before) == ""
		for _, r := range slices.Backward(o.stack.runs) {
			if len(page) == runsPage {
				break
			}
			if reached && slices.Contains(kinds, r.Type) {
				page = append(page, r)
			}
			reached = reached || r.ID == runID(*args.Before)
		}
		return page
	})
}

// Runs returns more than tracked runs.
// Assumption: a stack's runs show DESTROY runs beside the tracked ones, and a
// module's the tests.
func (o *stackOut) Runs(ctx context.Context, args beforeArgs) []*runOut {
	return o.page(ctx, args, spacelift.RunTypeTracked, spacelift.RunTypeDestroy, spacelift.RunTypeTesting)
}

func (o *stackOut) ProposedRuns(ctx context.Context, args beforeArgs) []*runOut {
	return o.page(ctx, args, spacelift.RunTypeProposed)
}

func (o *stackOut) Tasks(ctx context.Context, args beforeArgs) []*runOut {
	return o.page(ctx, args, spacelift.RunTypeTask)
}

func (o *stackOut) DependsOn(ctx context.Context) []*dependencyOut {
	return edges(ctx, func(d *dependency) bool { return d.Stack == o.stack.ID })
}

func (o *stackOut) IsDependedOnBy(ctx context.Context) []*dependencyOut {
	return edges(ctx, func(d *dependency) bool { return d.On == o.stack.ID })
}

func (o *stackOut) Dependency(ctx context.Context, args struct{ ID, DependsOnStackID *graphql.ID }) *dependencyOut {
	id, on := deref(args.ID), deref(args.DependsOnStackID)
	for _, d := range o.DependsOn(ctx) {
		if id != "" && d.ID == id || on != "" && d.DependsOnStackID == on {
			return d
		}
	}
	return nil
}

func edges(ctx context.Context, wanted func(*dependency) bool) []*dependencyOut {
	return list(ctx, func(s *Simulator) []*dependency {
		return slices.DeleteFunc(slices.Clone(s.dependencies), func(d *dependency) bool { return !wanted(d) })
	})
}

func (resolver) Stack(ctx context.Context, args idArgs) (*stackOut, error) {
	return orNull(ctx, found(args.ID, (*Simulator).findStack, func(_ *Simulator, _ actor, st *stack) error {
		if st.Module {
			return ErrNotFound
		}
		return nil
	}))
}

func (resolver) Stacks(ctx context.Context) []*stackOut { return list(ctx, (*Simulator).sortedStacks) }

// sortedStacks returns the stacks, without the modules, in the order they were created.
func (s *Simulator) sortedStacks() (stacks []*stack) {
	for _, id := range s.order {
		if st := s.stacks[id]; !st.Module {
			stacks = append(stacks, st)
		}
	}
	return stacks
}

func (resolver) RunStack(ctx context.Context, args struct{ RunID graphql.ID }) (*stackOut, error) {
	return orNull(ctx, func(s *Simulator, _ actor) (*stack, error) {
		r := s.runs[runID(args.RunID)]
		if r == nil || r.stack.Deleted {
			return nil, ErrNotFound
		}
		return r.stack, nil
	})
}
