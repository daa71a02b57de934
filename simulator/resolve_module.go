package simulator

import (
	"context"
	"slices"

	"github.com/graph-gophers/graphql-go"
)

type moduleOut struct {
	ID                     graphql.ID
	Name                   string
	Description            *string
	Administrative         bool
	Branch                 string
	Integrations           *integrationsOut
	Labels                 []string
	LocalPreviewEnabled    bool
	ModuleShares           []*moduleShareOut
	Namespace              string
	ProjectRoot            *string
	GitSparseCheckoutPaths []string
	ProtectFromDeletion    bool
	Provider               string
	Public                 bool
	Repository             string
	RepositoryURL          *string
	RunnerImage            *string
	Space                  graphql.ID
	SpaceDetails           *spaceOut
	TerraformProvider      string
	VCSIntegration         *vcsIntegrationOut
	WorkerPool             *workerPoolOut
	WorkflowTool           *string
	Owner                  string
	Config                 configOuts
}

// ConfigElement finds one of Config.
func (o *moduleOut) ConfigElement(args idArgs) *configOut { return o.Config.find(args.ID) }

// Sharing is not simulated: the list of these is empty.
type moduleShareOut struct {
	ID       graphql.ID
	From, To struct {
		Account struct{ Subdomain string }
		Space   *spaceOut
	}
	Module *moduleOut
}

// Module finds what AddStack added with Module set.
func (resolver) Module(ctx context.Context, args idArgs) (*moduleOut, error) {
	return orNull(ctx, func(s *Simulator, _ actor) (module, error) {
		st, err := s.findStack(stackID(args.ID))
		if err == nil && !st.Module {
			err = ErrNotFound
		}
		return module{st}, err
	})
}

// module is a stack that answers show as a module.
type module struct{ *stack }

func (m module) out(s *Simulator, who actor) *moduleOut {
	return &moduleOut{
		ID: graphql.ID(m.ID), Name: m.Name, Description: absentIfEmpty(m.Description), Branch: m.Branch,
		Integrations: m.integrationsOut(s, who), Labels: slices.Clone(m.Labels), Namespace: m.Namespace,
		ProjectRoot: absentIfEmpty(m.ProjectRoot), Provider: m.Provider, Repository: m.Repository,
		Space: graphql.ID(m.Space), SpaceDetails: s.spaces[m.Space].out(s, who), TerraformProvider: "default",
		VCSIntegration: m.vcsOut(), WorkerPool: s.poolOut(m.stack), Owner: string(s.opts.Account), Config: outs(m.Config, s, who),
	}
}
