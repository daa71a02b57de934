package simulator

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/graph-gophers/graphql-go"

	"github.com/gantryhq/gantry/spacelift"
)

// stackSettings is the schema's StackInput: what a client says of a stack. Those
// the simulator works with are copied to Stack, the rest only shown again.
type stackSettings struct {
	hooksInput

	Name                         string
	Branch                       string
	Repository                   string
	Administrative               bool
	Autodeploy                   *bool
	Autoretry                    *bool
	Description                  *string
	Labels                       *[]string
	Space                        *idInput
	Provider                     *string
	Namespace                    *string
	RepositoryURL                *string
	ProjectRoot                  *string
	AdditionalProjectGlobs       *[]string
	GitSparseCheckoutPaths       *[]string
	RunnerImage                  *string
	VCSIntegrationID             *idInput
	VendorConfig                 *vendorInput
	WorkerPool                   *idInput
	GithubActionDeploy           *bool
	LocalPreviewEnabled          *bool
	EnableWellKnownSecretMasking *bool
	EnableSensitiveOutputUpload  *bool
	ProtectFromDeletion          *bool
}

// idInput is a graphql.ID whose JSON is JSON whatever it holds: graphql.ID
// quotes as Go does, and a snapshot could not be written.
type idInput string

func (idInput) ImplementsGraphQLType(name string) bool { return name == "ID" }

func (id *idInput) UnmarshalGraphQL(input any) error {
	return (*graphql.ID)(id).UnmarshalGraphQL(input)
}

func defaultSettings() stackSettings {
	return stackSettings{GithubActionDeploy: new(true), EnableSensitiveOutputUpload: new(true)}
}

// stack is the configuration the input asks for.
func (in stackSettings) stack(id spacelift.StackID) Stack {
	return Stack{
		ID: id, Name: in.Name, Branch: in.Branch, Repository: in.Repository, Autodeploy: truth(in.Autodeploy),
		Description: deref(in.Description), Labels: deref(in.Labels), Space: string(deref(in.Space)),
		Provider: deref(in.Provider), Namespace: deref(in.Namespace), ProjectRoot: deref(in.ProjectRoot),
		WorkerPool: string(deref(in.WorkerPool)), NoPromotion: !truth(in.GithubActionDeploy),
	}
}

func (resolver) StackCreate(ctx context.Context, args struct {
	Input         stackSettings
	ManageState   bool
	StackObjectID *string
	Slug          *string
}) (*stackOut, error) {
	return with(ctx, func(s *Simulator, _ actor) (*stackOut, error) {
		st, err := s.addStack(args.Input.stack(spacelift.StackID(deref(args.Slug))))
		if err != nil {
			return nil, err
		}
		st.settings, st.managesState = args.Input, args.ManageState
		return st.out(s), nil
	})
}

// StackUpdate takes the whole input.
// Assumption: what it leaves out is reset, the harsher of the two readings.
func (resolver) StackUpdate(ctx context.Context, args struct {
	ID    graphql.ID
	Input stackSettings
}) (*stackOut, error) {
	return with(ctx, func(s *Simulator, _ actor) (*stackOut, error) {
		st, err := s.findStack(stackID(args.ID))
		if err != nil {
			return nil, err
		}
		asked := args.Input.stack(st.ID)
		asked.Space = cmp.Or(asked.Space, rootSpace)
		if s.spaces[asked.Space] == nil {
			return nil, fmt.Errorf("space %s: %w", asked.Space, ErrNotFound)
		}
		asked.Provider = cmp.Or(asked.Provider, st.Provider)
		asked.Namespace = cmp.Or(asked.Namespace, st.Namespace)
		// What GraphQL does not know of stays: it is the simulator's own script.
		asked.Approvals, asked.ApproveQueued = st.Approvals, st.ApproveQueued
		asked.BlockerLag, asked.Drift, asked.Resources, asked.Plan = st.BlockerLag, st.Drift, st.Resources, st.Plan
		st.Stack, st.settings = asked, args.Input
		s.schedule(st)
		s.touch()
		return st.out(s), nil
	})
}

func (resolver) StackDelete(ctx context.Context, args struct {
	ID               graphql.ID
	DestroyResources *bool
}) (*stackOut, error) {
	return unlessGone(with(ctx, func(s *Simulator, who actor) (*stackOut, error) {
		st, err := s.findStack(stackID(args.ID))
		if err != nil {
			return nil, err
		}
		if _, err := s.deleteStack(who, st.ID, truth(args.DestroyResources)); err != nil {
			return nil, err
		}
		return st.out(s), nil
	}))
}

func onStack(ctx context.Context, id graphql.ID, do func(s *Simulator, who actor, st *stack) error) (*stackOut, error) {
	return with(ctx, func(s *Simulator, who actor) (*stackOut, error) {
		st, err := s.findStack(stackID(id))
		if err != nil {
			return nil, err
		}
		if err := do(s, who, st); err != nil {
			return nil, err
		}
		return st.out(s), nil
	})
}

func (resolver) StackLock(ctx context.Context, args struct {
	ID   graphql.ID
	Note *string
}) (*stackOut, error) {
	return onStack(ctx, args.ID, func(s *Simulator, who actor, st *stack) error {
		return s.lock(who, st.ID, deref(args.Note))
	})
}

func (resolver) StackUnlock(ctx context.Context, args idArgs) (*stackOut, error) {
	return onStack(ctx, args.ID, func(s *Simulator, who actor, st *stack) error {
		return s.unlock(who, st.ID)
	})
}

func (resolver) StackEnable(ctx context.Context, args idArgs) (*stackOut, error) {
	return onStack(ctx, args.ID, func(_ *Simulator, _ actor, st *stack) error {
		st.disabled = false
		return nil
	})
}

func (resolver) StackDisable(ctx context.Context, args idArgs) (*stackOut, error) {
	return onStack(ctx, args.ID, func(_ *Simulator, _ actor, st *stack) error {
		st.disabled = true
		return nil
	})
}

func (resolver) StackSetCurrentCommit(ctx context.Context, args struct {
	ID  graphql.ID
	SHA string
}) (*stackOut, error) {
	return onStack(ctx, args.ID, func(s *Simulator, who actor, st *stack) error {
		c := st.commitNamed(args.SHA)
		s.fillCommit(st, &c)
		st.track(c, who.name)
		return nil
	})
}

// StackSyncCommit tracks the newest commit pushed to the stack's branch.
func (resolver) StackSyncCommit(ctx context.Context, args idArgs) (*stackOut, error) {
	return onStack(ctx, args.ID, func(s *Simulator, who actor, st *stack) error {
		for _, r := range slices.Backward(st.runs) {
			if r.kind == spacelift.RunTypeTracked && r.commit.Branch == st.Branch {
				st.track(r.commit, who.name)
				return nil
			}
		}
		var head Commit
		s.fillCommit(st, &head)
		st.track(head, who.name)
		return nil
	})
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
