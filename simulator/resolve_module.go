package simulator

import (
	"context"

	"github.com/graph-gophers/graphql-go"
)

type moduleOut struct {
	stackOut

	ModuleShares      []*moduleShareOut
	Public            bool
	TerraformProvider string
	WorkflowTool      *string
	Owner             string
}

// Sharing is not simulated: the list of these is empty.
type moduleShareOut struct {
	ID       graphql.ID
	From, To struct {
		Account struct{ Subdomain string }
		Space   *spaceOut
	}
	Module *moduleOut
}

// Module finds a stack that AddStack added with Module set.
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
	return &moduleOut{stackOut: *m.stack.out(s, who), TerraformProvider: "default", Owner: string(s.opts.Account)}
}
