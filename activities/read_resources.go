package activities

import (
	"context"
	"fmt"
	"time"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// resourcesTimeout leaves a reading of the rules, which must answer within 3 seconds,
// time for the rest.
const resourcesTimeout = 2 * time.Second

// resources reads the resources of a plan, bounded for a history.
func (a *Activities) resources(ctx context.Context, run spacelift.RunRef, stateVersion int) *managed.Resources {
	planned, err := a.planned(ctx, run, stateVersion)
	if err != nil {
		return &managed.Resources{StateVersion: stateVersion, Unread: shorten(err.Error(), maxText)}
	}
	return managed.BoundResources(planned)
}

// planned reads all resources of a plan.
func (a *Activities) planned(ctx context.Context, run spacelift.RunRef, stateVersion int) (spacelift.PlannedResources, error) {
	api, err := a.account(run.Account)
	if err != nil {
		return spacelift.PlannedResources{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, resourcesTimeout)
	defer cancel()
	planned, err := api.PlannedResources(ctx, run)
	if err == nil && planned.Run.StateVersion != stateVersion {
		err = fmt.Errorf("the run is in %s (%d) by now, not at state version %d", planned.Run.State, planned.Run.StateVersion, stateVersion)
	}
	return planned, err
}
