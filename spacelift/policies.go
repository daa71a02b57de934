package spacelift

// PolicyTypeNotification is the type of the policies that route events to
// webhooks. They work on a whole space and ignore `autoattach:` labels.
const PolicyTypeNotification = "NOTIFICATION"

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
