package spaceliftapi_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/spacelift/spaceliftapi"
)

func TestMissingObjects(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer reply
		call   func(*spaceliftapi.Client) error
	}{
		{"stack of a run", data(`{"stack":null}`), func(c *spaceliftapi.Client) error { _, err := c.Run(t.Context(), testRun); return err }},
		{"run", data(`{"stack":{"id":"network-prod","run":null}}`), func(c *spaceliftapi.Client) error { _, err := c.Run(t.Context(), testRun); return err }},
		{"stack", data(`{"stack":null}`), func(c *spaceliftapi.Client) error { _, err := c.Stack(t.Context(), "gone"); return err }},
		{"stack of runs", data(`{"stack":null}`), func(c *spaceliftapi.Client) error {
			_, err := c.RunsOfStack(t.Context(), "gone", spacelift.RunTypeTracked, 5)
			return err
		}},
		{"run of a log", data(`{"stack":{"id":"network-prod","run":null}}`), func(c *spaceliftapi.Client) error {
			_, err := c.RunLogs(t.Context(), testRun, spacelift.Transition{State: spacelift.RunStatePlanning}, 100)
			return err
		}},
		{"webhook", refusal("webhook not found"), func(c *spaceliftapi.Client) error { _, err := c.NamedWebhook(t.Context(), "gone"); return err }},
		{"policy", data(`{"policy":null}`), func(c *spaceliftapi.Client) error { _, err := c.Policy(t.Context(), "gone"); return err }},
		{"run to confirm", refusal("run not found"), func(c *spaceliftapi.Client) error { return mutate(t.Context(), c) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := &api{t: t, answer: func(request) reply { return c.answer }}
			if err := c.call(newClient(t, a)); !errors.Is(err, spacelift.ErrNotFound) {
				t.Errorf("got %v, want ErrNotFound", err)
			}
			if n := len(a.seen()); n != 1 {
				t.Errorf("%d requests, want 1", n)
			}
		})
	}
}

func TestSchemaMismatch(t *testing.T) {
	for _, answer := range []reply{
		refusal(`Cannot query field "needsApproval" on type "Run".`),
		refusal(`Unknown type "ForceApplyMode".`),
		refusal(`Unknown argument "forceApply" on field "Mutation.runTrigger".`),
		{status: http.StatusUnprocessableEntity, body: `{"errors":[{"message":"Cannot query field \"x\" on type \"Run\"."}],"data":null}`},
		data(`{"stack":{"id":"network-prod","labels":"all of them"}}`),
	} {
		a := &api{t: t, answer: func(request) reply { return answer }}
		if _, err := newClient(t, a).Run(t.Context(), testRun); !errors.Is(err, spacelift.ErrSchemaMismatch) {
			t.Errorf("%+v: got %v, want ErrSchemaMismatch", answer, err)
		}
	}
}

func TestRefusalsOfRunMutations(t *testing.T) {
	for _, c := range []struct {
		said    string
		illegal bool
	}{
		{"run is not in a confirmable state", true},
		{"cannot transition from APPLYING to DISCARDED", true},
		{"the run has already been confirmed", true},
		{"run needs approval", true},
		{"stack is locked by jdoe", true},
		{"invalid commit hash", false},
	} {
		a := &api{t: t, answer: func(request) reply { return refusal(c.said) }}
		client := newClient(t, a)
		_, discard := client.DiscardRun(t.Context(), testRun, "")
		for verb, err := range map[string]error{
			"discard": discard,
			"review":  client.ReviewRun(t.Context(), testRun, spacelift.ReviewApprove, ""),
		} {
			_, illegal := errors.AsType[*spacelift.IllegalStateError](err)
			if illegal != c.illegal {
				t.Errorf("%s, %q: got %v, want IllegalStateError: %t", verb, c.said, err, c.illegal)
			}
			said, ok := errors.AsType[*spacelift.GraphQLError](err)
			if !ok || len(said.Messages) != 1 || said.Messages[0] != c.said {
				t.Errorf("%s: Spacelift's words are lost: %v", verb, err)
			}
			if errors.Is(err, spacelift.ErrAmbiguous) {
				t.Errorf("%s: a refusal is not ambiguous: %v", verb, err)
			}
		}
	}
}

func TestProblemsWithArgumentsAreListedInOrder(t *testing.T) {
	a := &api{t: t, answer: func(request) reply {
		return reply{body: `{"errors":[{"message":"invalid input","extensions":{"name":"is too long","endpoint":"must be https"}}]}`}
	}}
	_, err := newClient(t, a).CreateNamedWebhook(t.Context(), spacelift.NamedWebhookInput{Name: "x", Secret: "s3cret"})
	const want = `create webhook "x": spacelift says: invalid input (endpoint: must be https, name: is too long)`
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

func TestErrorsStaySmallAndSecretsOutOfThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		page := "<html>" + strings.Repeat("hush-hush jwt-1 ", 10_000)
		for _, answer := range []reply{
			refusal(strings.Repeat("no ", 10_000)),
			{status: http.StatusBadGateway, body: page},
			{status: http.StatusNotFound, body: page},
			{body: page},
		} {
			a := &api{t: t, answer: func(request) reply { return answer }}
			err := mutate(t.Context(), newClient(t, a))
			if err == nil || len(err.Error()) > 1000 {
				t.Errorf("error of %d bytes", len(fmt.Sprint(err)))
			}
			for _, secret := range []string{testKey.Secret, "jwt-1"} {
				if strings.Contains(fmt.Sprint(err), secret) {
					t.Errorf("%q is in %q", secret, err)
				}
			}
		}
	})
}

func TestAPIKeysDontPrintTheirSecret(t *testing.T) {
	asJSON, err := json.Marshal(testKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		fmt.Sprint(testKey), fmt.Sprintf("%+v", testKey), fmt.Sprintf("%#v", testKey), testKey.String(),
		fmt.Sprintf("%+v", struct{ Key spaceliftapi.APIKey }{testKey}), string(asJSON),
	} {
		if strings.Contains(text, testKey.Secret) || !strings.Contains(text, testKey.ID) {
			t.Errorf("printed as %s", text)
		}
	}
}
