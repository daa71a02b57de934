package spaceliftapi_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/gantryhq/gantry/spacelift"
)

func TestWebhookSecretsAreCompared(t *testing.T) {
	for _, c := range []struct {
		name        string
		answer      reply
		same, shown bool
		wantErr     error
	}{
		{name: "the same", answer: data(`{"namedWebhooksIntegration":{"secret":"hush"}}`), same: true, shown: true},
		{name: "another", answer: data(`{"namedWebhooksIntegration":{"secret":"other"}}`), shown: true},
		{name: "null", answer: data(`{"namedWebhooksIntegration":{"secret":null}}`)},
		{name: "empty", answer: data(`{"namedWebhooksIntegration":{"secret":""}}`)},
		{name: "masked", answer: data(`{"namedWebhooksIntegration":{"secret":"********"}}`)},
		{name: "an older schema", answer: refusal(`Cannot query field "secret" on type "NamedWebhooksIntegration"`)},
		{name: "no such webhook", answer: data(`{"namedWebhooksIntegration":null}`), wantErr: spacelift.ErrNotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := &api{t: t, answer: func(request) reply { return c.answer }}
			same, shown, err := newClient(t, a).NamedWebhookSecretIs(t.Context(), "gantry-prod", "hush")
			if same != c.same || shown != c.shown || !errors.Is(err, c.wantErr) {
				t.Errorf("same %t, shown %t, %v; want %t, %t, %v", same, shown, err, c.same, c.shown, c.wantErr)
			}
			wantSeen(t, a, "NamedWebhookSecret")
		})
	}
}

// A key that can read webhooks, but not their secrets, is no error.
func TestASecretOutOfReachIsNotShown(t *testing.T) {
	a := &api{t: t, answer: func(r request) reply {
		if r.Operation == "Viewer" {
			return data(me)
		}
		return refusal("unauthorized")
	}}
	_, shown, err := newClient(t, a).NamedWebhookSecretIs(t.Context(), "gantry-prod", "hush")
	if shown || err != nil {
		t.Errorf("shown %t, %v", shown, err)
	}
}

func TestErrorsDoNotCarryTheSecret(t *testing.T) {
	a := &api{t: t, answer: func(request) reply {
		return reply{status: 200, body: `{"data":{"namedWebhooksIntegration":{"secret":["s3cret"]}}}`}
	}}
	_, shown, err := newClient(t, a).NamedWebhookSecretIs(t.Context(), "gantry-prod", "hush")
	if shown || err != nil && strings.Contains(err.Error(), "s3cret") {
		t.Errorf("shown %t, %v", shown, err)
	}
}
