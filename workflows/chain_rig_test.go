package workflows_test

import (
	"context"
	"errors"

	"github.com/gantryhq/gantry/spacelift"
)

// LabelsOfStacks answers like Spacelift's API.
func (r *rig) LabelsOfStacks(context.Context) ([]spacelift.LabelledStack, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mute {
		return nil, errors.New("dial tcp: connection refused")
	}
	var all []spacelift.LabelledStack
	for _, s := range r.others {
		all = append(all, spacelift.LabelledStack{ID: s.ID, Labels: s.Labels})
	}
	return all, nil
}
