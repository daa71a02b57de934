package spacelift

// NamedWebhook is a webhook of a space. It sends the events that notification
// policies route to it.
type NamedWebhook struct {
	ID             string   `json:"id"` // a slug made from the name
	Name           string   `json:"name"`
	Endpoint       string   `json:"endpoint"`
	Enabled        bool     `json:"enabled"` // Spacelift switches it off after ten failures in a row
	Labels         []string `json:"labels,omitempty"`
	Space          string   `json:"space"` // id
	RetryOnFailure bool     `json:"retryOnFailure"`
	SecretHeaders  []string `json:"secretHeaders,omitempty"` // names only; Spacelift doesn't show the values
}

// NamedWebhookInput holds all settings of a webhook. An update replaces them all:
// Spacelift doesn't document what it does with missing ones.
type NamedWebhookInput struct {
	Name           string
	Endpoint       string
	Enabled        bool
	Labels         []string
	Space          string // id
	Secret         string // required: without one, deliveries can't be distinguished from forgeries
	RetryOnFailure bool
}
