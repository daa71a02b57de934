package spaceliftapi

import (
	"context"
	"fmt"

	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/spacelift/spaceliftapi/internal/operations"
)

// Bounds of the resources of a plan. Spacelift serves them in one answer.
const (
	maxResources     = 10_000
	maxResourceBytes = 2 << 20 // of addresses
)

// PlannedResources reads the resources that the run's plan changes, and leaves out
// those that it only reads. It returns ErrNotFound when the run doesn't exist.
//
// Assumption: Spacelift lists one element for each phase and documents neither what
// they are nor whether a plan that was replaced is among them. A resource counts
// whichever element names it, and once for each kind of change.
func (c *Client) PlannedResources(ctx context.Context, ref spacelift.RunRef) (spacelift.PlannedResources, error) {
	if err := c.own(ref); err != nil {
		return spacelift.PlannedResources{}, err
	}
	data, err := operations.PlannedResources(ctx, c.api, string(ref.Stack), string(ref.Run))
	switch {
	case err != nil:
		return spacelift.PlannedResources{}, fmt.Errorf("read planned resources of run %s: %w", ref, err)
	case data.Stack == nil || data.Stack.Run == nil:
		return spacelift.PlannedResources{}, fmt.Errorf("read planned resources of run %s: run %w", ref, spacelift.ErrNotFound)
	}
	planned := spacelift.PlannedResources{Run: fromRunDetails(ref, data.Stack.Run.RunDetails), Complete: true}
	planned.Run.StackName, planned.Run.StackLabels = data.Stack.Name, data.Stack.Labels
	seen, size := map[spacelift.Resource]bool{}, 0
	for _, phase := range data.Stack.Run.ChangesV3 {
		for _, r := range phase.Resources {
			resource := fromChange(r)
			if resource.Change == spacelift.ChangeNone || seen[resource] {
				continue
			}
			size += len(resource.Address) + len(resource.PreviousAddress)
			if len(planned.Resources) == maxResources || size > maxResourceBytes {
				planned.Complete = false
				break
			}
			seen[resource] = true
			planned.Resources = append(planned.Resources, resource)
		}
	}
	spacelift.SortResources(planned.Resources)
	return planned, nil
}

func fromChange(r operations.PlannedResourcesStackRunChangesV3RunChangesResourcesRunChangesResource) spacelift.Resource {
	resource := spacelift.Resource{Address: r.Address, Change: spacelift.ParseChange(r.Metadata.Type)}
	if r.PreviousAddress != r.Address {
		resource.PreviousAddress = r.PreviousAddress
	}
	if resource.Change == spacelift.ChangeNone && resource.PreviousAddress != "" {
		resource.Change = spacelift.ChangeMove
	}
	return resource
}
