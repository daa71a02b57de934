package server

import (
	"context"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/gen/api"
	genserver "github.com/gantryhq/gantry/gen/server"
	"github.com/gantryhq/gantry/spacelift"
)

// ListResources lists the resources that a run's plan changes, as Spacelift shows them
// now: an execution keeps only the first.
func (h *handlers) ListResources(ctx context.Context, _ genserver.ListResourcesRequestObject) (genserver.ListResourcesResponseObject, error) {
	call := callOf(ctx)
	ctx, cancel := context.WithTimeout(ctx, stacksTimeout)
	defer cancel()
	planned, err := call.account.Stacks.PlannedResources(ctx, call.run)
	if err != nil {
		return nil, &spaceliftError{err}
	}
	return genserver.ListResources200JSONResponse{
		StateVersion: planned.Run.StateVersion, Complete: planned.Complete, Resources: toAPIList(planned.Resources, toAPIResource),
	}, nil
}

func toAPIPlannedResources(r managed.Resources) api.PlannedResources {
	return api.PlannedResources{
		StateVersion: r.StateVersion, Total: r.Total, Deletes: nonEmpty(r.Deletes), Replaces: nonEmpty(r.Replaces), First: toAPIList(r.First, toAPIResource),
		Incomplete: nonEmpty(r.Incomplete), Unread: nonEmpty(r.Unread),
	}
}

func toAPIResource(r spacelift.Resource) api.Resource {
	return api.Resource{Address: r.Address, PreviousAddress: nonEmpty(r.PreviousAddress), Change: string(r.Change)}
}
