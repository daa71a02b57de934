package spacelift

// The types of policies that concern Gantry. NOTIFICATION policies route events to
// webhooks; they work on a whole space and ignore `autoattach:` labels.
const (
	PolicyTypeNotification = "NOTIFICATION"
	PolicyTypeApproval     = "APPROVAL"
	PolicyTypePlan         = "PLAN"
)

// The names of the two policies that make Gantry's decisions binding. Stacks name
// the policies attached to them, so the names are a contract.
const (
	EnforcingApproval = "gantry-approval"
	EnforcingPlan     = "gantry-plan"
)

// AttachedPolicy is a policy that is attached to a stack, by hand or by label.
type AttachedPolicy struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Type string `json:"type"`
}

// The engines that evaluate policies. Spacelift's own default is REGO_V0.
const (
	PolicyEngineRegoV0 = "REGO_V0"
	PolicyEngineRegoV1 = "REGO_V1"
)

// Policy is the present state of a policy in the API.
type Policy struct {
	ID          string   `json:"id"`
	Name        string   `json:"name"`
	Type        string   `json:"type"`
	Engine      string   `json:"engine"`
	Body        string   `json:"body"`
	Description string   `json:"description,omitempty"`
	Labels      []string `json:"labels,omitempty"`
	Space       string   `json:"space"` // id
}

// PolicyInput holds all settings of a policy. An update replaces all but the type.
type PolicyInput struct {
	Name        string
	Type        string
	Engine      string
	Body        string
	Description string
	Labels      []string
	Space       string // id
}
