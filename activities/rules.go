package activities

import (
	"time"

	"github.com/gantryhq/gantry/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// ReadRulesInput asks what the labels of a run's stack come to.
type ReadRulesInput struct {
	Run    spacelift.RunRef `json:"run"`
	Labels []string         `json:"labels,omitempty"` // as OurLabels gives them

	// PlanSince is when a plan began to ask for a decision. With it the gate and
	// the clocks are read too.
	PlanSince time.Time `json:"planSince,omitzero"`
}

// Rules is what holds for a run.
type Rules struct {
	Labels []string      `json:"labels,omitempty"` // what they were read from
	Policy policy.Policy `json:"policy"`

	// Gate and Dues are for the plan that was asked about; Dues are sorted by
	// time.
	Gate policy.Gate  `json:"gate,omitzero"`
	Dues []policy.Due `json:"dues,omitempty"`
}
