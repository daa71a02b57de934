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
	Config                 []*configOut
}

// ConfigElement finds one of Config.
func (o *moduleOut) ConfigElement(args idArgs) *configOut { return elementOf(o.Config, args.ID) }

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
func (resolver) Module(ctx context.Context, args idArgs) *moduleOut {
	return read(ctx, func(s *Simulator) *moduleOut {
		st, err := s.findStack(stackID(args.ID))
		if err != nil || !st.Module {
			return nil
		}
		return &moduleOut{
			ID: graphql.ID(st.ID), Name: st.Name, Description: absentIfEmpty(st.Description), Branch: st.Branch,
			Integrations: st.integrationsOut(), Labels: orEmpty(slices.Clone(st.Labels)), ModuleShares: []*moduleShareOut{},
			Namespace: st.Namespace, ProjectRoot: absentIfEmpty(st.ProjectRoot), GitSparseCheckoutPaths: []string{},
			Provider: st.Provider, Repository: st.Repository, Space: graphql.ID(st.Space), SpaceDetails: s.spaces[st.Space].out(),
			TerraformProvider: "default", VCSIntegration: st.vcsOut(), WorkerPool: s.poolOut(st), Owner: string(s.opts.Account), Config: configsOut(st.config),
		}
	})
}
