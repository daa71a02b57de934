package deploy_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/gantryhq/gantry/deploy"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

func TestAnEmptyAccountIsSetUpOnce(t *testing.T) {
	r := newRig(t)
	w := r.wanted()
	w.Header, w.HeaderValue = "X-Gantry-Token", headerValue

	plan := r.plan(w)
	if diff := cmp.Diff([]deploy.Item{deploy.ItemWebhook, deploy.ItemWebhookHeader, deploy.ItemPolicy}, items(plan)); diff != "" {
		t.Error(diff)
	}
	want := []string{"created webhook gantry", "set secret header X-Gantry-Token of webhook gantry", "created policy gantry"}
	if diff := cmp.Diff(want, r.setUp(w)); diff != "" {
		t.Error(diff)
	}
	hook := spacelift.NamedWebhook{
		ID: "gantry", Name: "gantry", Endpoint: r.hook.url, Enabled: true, Labels: []string{"gantry"}, Space: "root",
		RetryOnFailure: true, SecretHeaders: []string{"X-Gantry-Token"},
	}
	if diff := cmp.Diff(hook, r.webhook()); diff != "" {
		t.Error(diff)
	}
	policy := r.policy()
	if policy.Type != "NOTIFICATION" || policy.Engine != "REGO_V1" || policy.Space != "root" || policy.Body != deploy.Policy {
		t.Errorf("policy %+v", policy)
	}
	if again := r.plan(w); !again.Empty() {
		t.Errorf("a second run would change %v", items(again))
	}
	if done := r.setUp(w); len(done) > 0 {
		t.Errorf("a second run did %q", done)
	}
}

// The story of the labels: two stacks, one labelled.
func TestOnlyLabelledStacksAreHeardOf(t *testing.T) {
	r := newRig(t)
	w := r.wanted()
	w.Header, w.HeaderValue, r.hook.header = "X-Gantry-Token", headerValue, "X-Gantry-Token"
	r.setUp(w)
	r.ok(r.AddStack(simulator.Stack{ID: "network", Labels: []string{"env:prod", "gantry:managed"}}))
	r.ok(r.AddStack(simulator.Stack{ID: "sandbox", Labels: []string{"env:dev", "gantry:confirm=auto"}}))

	r.push("network")
	r.push("sandbox")
	if got := r.hook.heardOf(); !slices.Equal(got, []string{"network"}) {
		t.Errorf("asked about %q, want network alone", got)
	}

	before := r.hook.count()
	r.ok(r.SetLabels("network", "env:prod"))
	r.push("network")
	if got := r.hook.count(); got != before {
		t.Errorf("%d notifications came after the label was removed", got-before)
	}

	r.ok(r.SetLabels("sandbox", "gantry:managed"))
	r.push("sandbox")
	if got := r.hook.heardOf(); !slices.Equal(got, []string{"network", "sandbox"}) {
		t.Errorf("asked about %q, want sandbox too, now that it is labelled", got)
	}
	if touched := r.Mutations("stackUpdate"); len(touched) > 0 {
		t.Errorf("a stack was updated: %+v", touched)
	}
}

func TestEveryDriftIsSeenAndMended(t *testing.T) {
	hookDrift := func(change func(*spacelift.NamedWebhookInput)) func(*rig) {
		return func(r *rig) {
			in := spacelift.NamedWebhookInput{
				Name: "gantry", Endpoint: r.hook.url, Enabled: true, Labels: []string{"gantry"}, Space: "root", Secret: secret, RetryOnFailure: true,
			}
			change(&in)
			_, err := r.admin.UpdateNamedWebhook(r.t.Context(), "gantry", in)
			r.ok(err)
		}
	}
	policyDrift := func(change func(*spacelift.PolicyInput)) func(*rig) {
		return func(r *rig) {
			in := spacelift.PolicyInput{Name: "gantry", Type: "NOTIFICATION", Engine: "REGO_V1", Body: deploy.Policy, Space: "root"}
			change(&in)
			_, err := r.admin.UpdatePolicy(r.t.Context(), "gantry", in)
			r.ok(err)
		}
	}
	tests := []struct {
		name   string
		drift  func(*rig)
		change func(*deploy.Wanted)
		want   deploy.Item
		check  func(*rig)
	}{
		{
			name: "endpoint", want: deploy.ItemWebhookEndpoint,
			drift: hookDrift(func(in *spacelift.NamedWebhookInput) { in.Endpoint = "https://elsewhere.example.com/webhook" }),
			check: func(r *rig) {
				if got := r.webhook().Endpoint; got != r.hook.url {
					r.t.Errorf("endpoint %q", got)
				}
			},
		},
		{
			name: "switched off by Spacelift", want: deploy.ItemWebhookEnabled,
			drift: hookDrift(func(in *spacelift.NamedWebhookInput) { in.Enabled = false }),
			check: func(r *rig) {
				if !r.webhook().Enabled {
					r.t.Error("it is still off")
				}
			},
		},
		{
			name: "retry off, Spacelift's own default", want: deploy.ItemWebhookRetry,
			drift: hookDrift(func(in *spacelift.NamedWebhookInput) { in.RetryOnFailure = false }),
			check: func(r *rig) {
				if !r.webhook().RetryOnFailure {
					r.t.Error("it still doesn't retry")
				}
			},
		},
		{
			name: "our label is gone; labels of others stay", want: deploy.ItemWebhookLabels,
			drift:  hookDrift(func(in *spacelift.NamedWebhookInput) { in.Labels = []string{"team:platform", "tier:1"} }),
			change: func(w *deploy.Wanted) { w.Replace = true }, // without our label it may be another's
			check: func(r *rig) {
				if got := r.webhook().Labels; !slices.Equal(got, []string{"team:platform", "tier:1", "gantry"}) {
					r.t.Errorf("labels %q", got)
				}
			},
		},
		{
			name: "secret", want: deploy.ItemWebhookSecret,
			drift: hookDrift(func(in *spacelift.NamedWebhookInput) { in.Secret = "an old one" }),
		},
		{
			name: "another space is configured", want: deploy.ItemWebhookSpace,
			drift: func(r *rig) {
				r.ok(r.AddSpace(simulator.Space{ID: "prod", InheritEntities: true}))
				policyDrift(func(in *spacelift.PolicyInput) { in.Space = "prod" })(r)
			},
			change: func(w *deploy.Wanted) { w.Space = "prod" },
			check: func(r *rig) {
				if got := r.webhook().Space; got != "prod" {
					r.t.Errorf("space %q", got)
				}
			},
		},
		{
			name: "policy in another space than asked for", want: deploy.ItemPolicySpace,
			drift: func(r *rig) {
				r.ok(r.AddSpace(simulator.Space{ID: "prod", InheritEntities: true}))
				hookDrift(func(in *spacelift.NamedWebhookInput) { in.Space = "prod" })(r)
			},
			change: func(w *deploy.Wanted) { w.Space = "prod" },
		},
		{
			name: "a secret header is newly asked for", want: deploy.ItemWebhookHeader,
			drift:  func(*rig) {},
			change: func(w *deploy.Wanted) { w.Header, w.HeaderValue = "X-Gantry-Token", headerValue },
			check: func(r *rig) {
				if got := r.webhook().SecretHeaders; !slices.Equal(got, []string{"X-Gantry-Token"}) {
					r.t.Errorf("headers %q", got)
				}
			},
		},
		{
			name: "policy body", want: deploy.ItemPolicyBody,
			drift: policyDrift(func(in *spacelift.PolicyInput) {
				in.Body = strings.Replace(deploy.Policy, "gantry:managed", "gantry:managed-maybe", 1)
			}),
		},
		{
			name: "policy made for the old engine", want: deploy.ItemPolicyEngine,
			drift: policyDrift(func(in *spacelift.PolicyInput) { in.Engine = "REGO_V0" }),
			check: func(r *rig) {
				if got := r.policy().Engine; got != "REGO_V1" {
					r.t.Errorf("engine %q", got)
				}
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			w := r.wanted()
			r.setUp(w)
			tt.drift(r)
			if tt.change != nil {
				tt.change(&w)
			}
			if got := items(r.plan(w)); !slices.Equal(got, []deploy.Item{tt.want}) {
				t.Fatalf("changes %v, want %s alone", got, tt.want)
			}
			r.setUp(w)
			if again := r.plan(w); !again.Empty() {
				t.Errorf("after it was repaired: %v", items(again))
			}
			if tt.check != nil {
				tt.check(r)
			}
			r.ok(r.AddStack(simulator.Stack{ID: "network", Labels: []string{"gantry:managed"}}))
			r.push("network")
			if w.Space == "" && r.hook.count() == 0 { // a run in root is beyond what lives in a space below
				t.Error("no notification came: an update lost the secret")
			}
		})
	}
}

// Whatever state somebody left things in, one round repairs it, and labels of
// others survive.
func TestOneRoundIsEnough(t *testing.T) {
	r := newRig(t)
	w := r.wanted()
	w.Replace = true
	r.setUp(w)
	ctx := t.Context()
	rapid.Check(t, func(t *rapid.T) {
		theirs := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"gantry", "team:platform", "tier:1"}), 0, 3, rapid.ID).Draw(t, "labels")
		if _, err := r.admin.UpdateNamedWebhook(ctx, "gantry", spacelift.NamedWebhookInput{
			Name: "gantry", Endpoint: rapid.SampledFrom([]string{w.Endpoint, "https://elsewhere.example.com/"}).Draw(t, "endpoint"),
			Enabled: rapid.Bool().Draw(t, "enabled"), RetryOnFailure: rapid.Bool().Draw(t, "retry"), Labels: theirs, Space: "root",
			Secret: rapid.SampledFrom([]string{secret, "other"}).Draw(t, "secret"),
		}); err != nil {
			t.Fatal(err)
		}
		body := rapid.SampledFrom([]string{deploy.Policy, deploy.Policy + "\r\n", "package spacelift\n"}).Draw(t, "body")
		if _, err := r.admin.UpdatePolicy(ctx, "gantry", spacelift.PolicyInput{
			Name: "gantry", Engine: rapid.SampledFrom([]string{"REGO_V0", "REGO_V1"}).Draw(t, "engine"), Body: body, Space: "root",
			Labels: []string{"owner:security"},
		}); err != nil {
			t.Fatal(err)
		}
		r.setUp(w)
		if again := r.plan(w); !again.Empty() || len(again.Notes) > 0 {
			t.Fatalf("after one round: %+v", again)
		}
		for _, l := range theirs {
			if !slices.Contains(r.webhook().Labels, l) {
				t.Fatalf("label %s is gone", l)
			}
		}
		if got := r.policy().Labels; !slices.Equal(got, []string{"owner:security"}) {
			t.Fatalf("labels of the policy: %q", got)
		}
	})
}

func TestWhatSpaceliftDoesNotShowIsSaidAndCanBeSent(t *testing.T) {
	r := newRig(t)
	w := r.wanted()
	w.Header, w.HeaderValue = "X-Gantry-Token", headerValue
	r.setUp(w)
	r.ok(r.SetWebhookSecret("gantry", "an old one"))
	r.admin = r.client(simulator.Writer) // who isn't shown the secret

	plan := r.plan(w)
	if !plan.Empty() {
		t.Errorf("changes %v, though nothing is seen to differ", items(plan))
	}
	notes := fmt.Sprint(plan.Notes)
	for _, want := range []string{"the secret of webhook gantry can't be compared", "the value of secret header X-Gantry-Token can't be compared"} {
		if !strings.Contains(notes, want) {
			t.Errorf("notes %q don't say that %s", notes, want)
		}
	}

	w.SendSecrets = true
	if got := items(r.plan(w)); !slices.Equal(got, []deploy.Item{deploy.ItemWebhookSecret, deploy.ItemWebhookHeader}) {
		t.Errorf("changes %v, want both secrets sent", got)
	}
	r.admin = r.client(simulator.Admin)
	w.SendSecrets = false
	if got := items(r.plan(w)); !slices.Equal(got, []deploy.Item{deploy.ItemWebhookSecret}) {
		t.Errorf("changes %v: an admin is shown the old secret", got)
	}
}

func TestPlansShowNoSecrets(t *testing.T) {
	r := newRig(t)
	w := r.wanted()
	w.Header, w.HeaderValue, w.SendSecrets = "X-Gantry-Token", headerValue, true
	show := func() {
		t.Helper()
		plan := r.plan(w)
		asJSON, err := json.Marshal([]any{plan, w})
		r.ok(err)
		for _, text := range []string{string(asJSON), fmt.Sprint(plan, w), fmt.Sprintf("%+v %#v", plan, plan), fmt.Sprintf("%+v %#v %s %q", w, w, w.Secret, w.Secret)} {
			if strings.Contains(text, secret) || strings.Contains(text, headerValue) {
				t.Errorf("a secret is in %s", text)
			}
		}
	}
	show()
	r.setUp(w)
	show()
}

func TestChangesNobodyKnowsAboutAreLookedFor(t *testing.T) {
	for _, field := range []string{"namedWebhooksIntegrationCreate", "namedWebhooksIntegrationSetHeaders", "policyCreatev2"} {
		t.Run(field, func(t *testing.T) {
			r := newRig(t)
			w := r.wanted()
			w.Header, w.HeaderValue = "X-Gantry-Token", headerValue
			_, err := r.InjectAPI(simulator.APIFault{Kind: simulator.LostResponse, Field: field, Times: 1})
			r.ok(err)
			r.setUp(w)
			if again := r.plan(w); !again.Empty() {
				t.Errorf("left undone: %v", items(again))
			}
			if n := len(r.NamedWebhooks()); n != 1 {
				t.Errorf("%d webhooks", n)
			}
		})
	}
}

func TestMissingRightsAreNamed(t *testing.T) {
	t.Run("to change", func(t *testing.T) {
		r := newRig(t)
		r.admin = r.client(simulator.Writer)
		err := deploy.Apply(t.Context(), r.admin, r.plan(r.wanted()), func(what string) { t.Errorf("did %s", what) })
		if !errors.Is(err, spacelift.ErrForbidden) || !strings.Contains(err.Error(), "space admin role in space root") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("to read", func(t *testing.T) {
		r := newRig(t)
		_, err := r.InjectAPI(simulator.APIFault{Kind: simulator.Unauthorized, Field: "searchNamedWebhooksIntegrations"})
		r.ok(err)
		_, err = deploy.Inspect(t.Context(), r.admin, r.wanted())
		if !errors.Is(err, spacelift.ErrForbidden) || !strings.Contains(err.Error(), "reading webhooks takes read access") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("no such space", func(t *testing.T) {
		r := newRig(t)
		w := r.wanted()
		w.Space = "prdo"
		err := deploy.Apply(t.Context(), r.admin, r.plan(w), func(what string) { t.Errorf("did %s", what) })
		if !errors.Is(err, spacelift.ErrNotFound) || !strings.Contains(err.Error(), "check that space prdo exists") {
			t.Errorf("got %v", err)
		}
	})
}

func TestTheNameOfAnotherPolicyIsNotTaken(t *testing.T) {
	r := newRig(t)
	r.ok(r.AddPolicy(simulator.Policy{ID: "gantry", Type: "PLAN", Body: "package spacelift"}))
	found, err := deploy.Inspect(t.Context(), r.admin, r.wanted())
	r.ok(err)
	if _, err := deploy.Compare(r.wanted(), found); err == nil || !strings.Contains(err.Error(), `"gantry" belongs to a policy of type PLAN`) {
		t.Errorf("got %v", err)
	}
}

func TestWhatCannotBeListedIsNotCreatedAgain(t *testing.T) {
	found := deploy.Found{Policies: []spacelift.Policy{{ID: "gantry", Name: "gantry", Type: "NOTIFICATION", Engine: "REGO_V1", Body: deploy.Policy}}}
	if _, err := deploy.Compare(deploy.Wanted{Webhook: "gantry", Policy: "gantry"}, found); err == nil {
		t.Error("a webhook that may exist would be created")
	}
}

func TestDoubleDeliveriesAreForeseen(t *testing.T) {
	r := newRig(t)
	r.setUp(r.wanted())
	r.ok(r.AddPolicy(simulator.Policy{ID: "old-gantry", Engine: simulator.RegoV1, Body: deploy.Policy}))
	r.ok(r.AddNamedWebhook(simulator.NamedWebhook{ID: "old-hook", Endpoint: strings.Replace(r.hook.url, "http://", "HTTP://", 1), Labels: []string{"gantry"}, Secret: secret}))
	r.ok(r.AddNamedWebhook(simulator.NamedWebhook{ID: "staging", Endpoint: "https://staging.example.com/webhook", Labels: []string{"gantry"}, Secret: secret}))
	plan := r.plan(r.wanted())
	want := []deploy.Note{
		{Kind: deploy.NoteDouble, Text: "webhook old-hook has the label gantry and the same address: every notification comes twice"},
		{Kind: deploy.NoteDouble, Text: "policy old-gantry routes runs of managed stacks to webhook gantry too, such as for a TRACKED run of gantry-sample in QUEUED: every such notification comes twice"},
		{Kind: deploy.NoteDouble, Text: "policy old-gantry routes runs of managed stacks to webhook old-hook too, such as for a TRACKED run of gantry-sample in QUEUED: every such notification comes twice"},
	}
	if diff := cmp.Diff(want, plan.Notes); diff != "" || !plan.Empty() {
		t.Errorf("%v %s", items(plan), diff)
	}
}
