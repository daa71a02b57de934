package policy

// Rule is one rule that was considered for a run, and its effect.
type Rule struct {
	Name   string `json:"name"` // such as "confirm", "limits.maxDeleted", "window"
	Value  string `json:"value"`
	Origin string `json:"origin"` // see Setting
	Effect Effect `json:"effect"`
	Detail string `json:"detail,omitempty"` // a sentence

	// Overruled lists the values that labels and weaker rules asked for without effect.
	Overruled []Overruled `json:"overruled,omitempty"`
}

// Effect is the effect of a rule on a run.
type Effect string

// The effects.
const (
	EffectAllows  Effect = "allows"
	EffectAsks    Effect = "asks"    // people
	EffectForbids Effect = "forbids" // for now, or until somebody fixes it
	EffectApplies Effect = "applies" // shapes what happens otherwise
)
