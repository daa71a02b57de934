package managed

import (
	"github.com/gantryhq/gantry/decide/policy"
)

// Rules is what holds for a run.
type Rules struct {
	Labels []string      `json:"labels,omitempty"` // what they were read from
	Policy policy.Policy `json:"policy"`

	// Gate and Schedule are for the plan that was asked about; Schedule is sorted by
	// time.
	Gate     policy.Gate       `json:"gate,omitzero"`
	Schedule []policy.Deadline `json:"dues,omitempty"`

	// Approvers are who may approve the plan that was asked about; nil when that is
	// not known.
	Approvers *policy.Approvers `json:"approvers,omitempty"`

	// URL is where the run is in Spacelift's user interface.
	URL string `json:"url,omitempty"`

	// Followers are the stacks that follow the run's; nil when that is not known,
	// or nobody asked.
	Followers *Followers `json:"followers,omitempty"`
}
