package workflows_test

import (
	"context"
	"errors"

	"github.com/gantryhq/gantry/spacelift"
)

// StacksByLabel answers like Spacelift's API.
func (r *rig) StacksByLabel(context.Context, string) (spacelift.Listing[spacelift.Stack], error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mute {
		return spacelift.Listing[spacelift.Stack]{}, errors.New("dial tcp: connection refused")
	}
	return spacelift.Listing[spacelift.Stack]{Items: r.others, Complete: true}, nil
}
