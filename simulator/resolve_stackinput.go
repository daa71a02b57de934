package simulator

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/graph-gophers/graphql-go"

	"github.com/gantryhq/gantry/spacelift"
)

// stackSettings is the schema's StackInput: a stack as clients set it. Those
// settings that the simulator works with are copied to Stack.
type stackSettings struct {
	shownSettings

	Name             string
	Branch           string
	Repository       string
	Autodeploy       flag
	Description      *string
	Labels           lines
	Space            idInput
	Provider         *string
	Namespace        *string
	ProjectRoot      *string
	VCSIntegrationID idInput
	VendorConfig     *vendorInput
	WorkerPool       idInput
}

// shownSettings are the settings of a stack that are stored and shown again.
type shownSettings struct {
	Hooks

	Administrative               bool
	Autoretry                    flag
	RepositoryURL                *string
	AdditionalProjectGlobs       lines
	GitSparseCheckoutPaths       lines
	RunnerImage                  *string
	GithubActionDeploy           flag
	LocalPreviewEnabled          flag
	EnableWellKnownSecretMasking flag
	EnableSensitiveOutputUpload  flag
	ProtectFromDeletion          flag
}

// idInput is an ID that a client may leave out or set to null, which is "". Its
// JSON is valid whatever it holds; graphql.ID quotes as Go does, so a snapshot
// couldn't be written.
type idInput string

// ImplementsGraphQLType implements decode.Unmarshaler.
func (idInput) ImplementsGraphQLType(name string) bool { return name == "ID" }

// Nullable makes graphql-go accept null.
func (*idInput) Nullable() {}

// UnmarshalGraphQL implements decode.Unmarshaler.
func (id *idInput) UnmarshalGraphQL(input any) error {
	if input == nil {
		*id = ""
		return nil
	}
	return (*graphql.ID)(id).UnmarshalGraphQL(input)
}

func defaultSettings() stackSettings {
	return stackSettings{shownSettings: shownSettings{GithubActionDeploy: true, EnableSensitiveOutputUpload: true}}
}

// stack returns the configuration that the input asks for.
func (in stackSettings) stack(id spacelift.StackID) Stack {
	return Stack{
		ID: id, Name: in.Name, Branch: in.Branch, Repository: in.Repository, Autodeploy: bool(in.Autodeploy),
		Description: deref(in.Description), Labels: in.Labels, Space: string(in.Space),
		Provider: deref(in.Provider), Namespace: deref(in.Namespace), ProjectRoot: deref(in.ProjectRoot),
		WorkerPool: string(in.WorkerPool), NoPromotion: !bool(in.GithubActionDeploy),
	}
}

func (resolver) StackCreate(ctx context.Context, args struct {
	Input         stackSettings
	ManageState   bool
	StackObjectID *string
	Slug          *string
}) (*stackOut, error) {
	return answer(ctx, func(s *Simulator, _ actor) (*stack, error) {
		st, err := s.addStack(args.Input.stack(spacelift.StackID(deref(args.Slug))))
		if err == nil {
			st.settings, st.ManagesState = args.Input, args.ManageState
		}
		return st, err
	})
}

// StackUpdate takes the whole input.
// Assumption: settings that it leaves out are reset, the harsher of the two readings.
func (resolver) StackUpdate(ctx context.Context, args struct {
	ID    graphql.ID
	Input stackSettings
}) (*stackOut, error) {
	return onStack(ctx, args.ID, func(s *Simulator, _ actor, st *stack) error {
		asked := args.Input.stack(st.ID)
		asked.Space = cmp.Or(asked.Space, rootSpace)
		if _, err := s.findSpace(asked.Space); err != nil {
			return err
		}
		asked.Provider = cmp.Or(asked.Provider, st.Provider)
		asked.Namespace = cmp.Or(asked.Namespace, st.Namespace)
		// Settings that GraphQL does not have are kept: they are the simulator's script.
		asked.Approvals, asked.ApproveQueued = st.Approvals, st.ApproveQueued
		asked.BlockerLag, asked.Drift, asked.Resources, asked.Plan = st.BlockerLag, st.Drift, st.Resources, st.Plan
		st.Stack, st.settings = asked, args.Input
		s.stackChanged(st)
		s.schedule(st)
		s.touch()
		return nil
	})
}

func (resolver) StackDelete(ctx context.Context, args struct {
	ID               graphql.ID
	DestroyResources flag
}) (*stackOut, error) {
	return orNull(ctx, found(args.ID, (*Simulator).findStack, func(s *Simulator, who actor, st *stack) error {
		_, err := s.deleteStack(who, st.ID, bool(args.DestroyResources))
		return err
	}))
}

func onStack(ctx context.Context, id graphql.ID, change func(s *Simulator, who actor, st *stack) error) (*stackOut, error) {
	return answer(ctx, found(id, (*Simulator).findStack, change))
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
	return onStack(ctx, args.ID, func(s *Simulator, _ actor, st *stack) error {
		st.Disabled = false
		s.stackChanged(st)
		return nil
	})
}

func (resolver) StackDisable(ctx context.Context, args idArgs) (*stackOut, error) {
	return onStack(ctx, args.ID, func(s *Simulator, _ actor, st *stack) error {
		st.Disabled = true
		s.stackChanged(st)
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
			if r.Type == spacelift.RunTypeTracked && r.Commit.Branch == st.Branch {
				st.track(r.Commit, who.name)
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
