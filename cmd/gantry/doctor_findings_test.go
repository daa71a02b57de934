package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/api/enums/v1"

	"github.com/gantryhq/gantry/doctor"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// Every check is made to fail or warn.
func TestDoctorFindings(t *testing.T) {
	type healthy struct {
		*rig
		temporal *temporal
	}
	tests := []struct {
		check string
		name  string
		cause func(healthy)
		args  []string
		want  doctor.Verdict
		says  string
		fix   string
	}{
		{
			check: "configuration", name: "a setting nobody knows", want: doctor.Fail, says: "GANTRY_LISTNE: there is no such setting (meant GANTRY_LISTEN?)", fix: "gantry serve --print-config",
			cause: func(h healthy) { h.t.Setenv("GANTRY_LISTNE", ":80") },
		},
		{
			check: "configuration", name: "a setting that makes no sense", want: doctor.Fail, says: "GANTRY_INBOX_LINGER: 2h", fix: "gantry serve --print-config",
			cause: func(h healthy) { h.t.Setenv("GANTRY_INBOX_LINGER", "2h") },
		},
		{
			check: "configuration", name: "a secret's file is missing", want: doctor.Fail, says: "no such file",
			cause: func(h healthy) {
				h.t.Setenv("GANTRY_WEBHOOK_SECRET", "")
				h.t.Setenv("GANTRY_WEBHOOK_SECRET_FILE", filepath.Join(h.t.TempDir(), "gone"))
			},
		},
		{
			check: "inbox", name: "a file is in its place", want: doctor.Fail, says: "is not a folder",
			cause: func(h healthy) { h.ok(os.WriteFile(h.data, nil, 0o600)) },
		},
		{
			check: "inbox", name: "it exists and can be written", want: doctor.OK, says: "can be written",
			cause: func(h healthy) { h.ok(os.MkdirAll(h.data, 0o700)) },
		},
		{
			check: "inbox", name: "nothing can be created there", want: doctor.Fail, says: "can't be created", fix: "set data to another folder",
			cause: func(h healthy) { h.t.Setenv("GANTRY_DATA", "/proc/gantry/inbox") },
		},
		{
			check: "gantry-certificate", name: "the address isn't https", want: doctor.Warn, says: "speaks TLS", fix: "unless a proxy",
			cause: func(h healthy) { h.speaksTLS() },
		},
		{
			check: "temporal-reachable", name: "nothing listens", want: doctor.Fail, says: "nothing answers at 127.0.0.1:1 (from TEMPORAL_ADDRESS)", fix: "temporal.address",
			cause: func(h healthy) { h.t.Setenv("TEMPORAL_ADDRESS", "127.0.0.1:1") },
		},
		{
			check: "configuration", name: "a profile of Temporal that isn't there", want: doctor.Fail, says: "temporal.toml: unable to find profile nowhere", fix: "gantry serve --print-config",
			cause: func(h healthy) { h.t.Setenv("TEMPORAL_PROFILE", "nowhere") },
		},
		{
			check: "temporal-namespace", name: "it doesn't exist", want: doctor.Fail, says: "there is no namespace gantry-prod", fix: "temporal operator namespace create --namespace gantry-prod",
			cause: func(h healthy) { h.t.Setenv("TEMPORAL_NAMESPACE", "gantry-prod") },
		},
		{
			check: "temporal-namespace", name: "it may not be seen", want: doctor.Fail, says: "not for you", fix: "credentials",
			cause: func(h healthy) { h.temporal.change(func() { h.temporal.broken = errPermission }) },
		},
		{
			check: "temporal-search-attributes", name: "one is missing", want: doctor.Warn, says: "missing: GantryPhase", fix: "--type Keyword --name GantryPhase",
			cause: func(h healthy) { h.temporal.change(func() { delete(h.temporal.attributes, "GantryPhase") }) },
		},
		{
			check: "temporal-search-attributes", name: "one has another type", want: doctor.Fail, says: "GantryStack is a Int, not a Keyword", fix: "search-attribute remove",
			cause: func(h healthy) {
				h.temporal.change(func() { h.temporal.attributes["GantryStack"] = enums.INDEXED_VALUE_TYPE_INT })
			},
		},
		{
			check: "temporal-worker", name: "nobody works", want: doctor.Warn, says: "no worker polls task queue gantry", fix: "start gantry serve",
			cause: func(h healthy) { h.temporal.change(func() { h.temporal.pollers = 0 }) },
		},
		{
			check: "temporal-shared", name: "another Gantry is there", want: doctor.Warn, says: "in namespace default: globex, initech", fix: "its own temporal.taskQueue",
			cause: func(h healthy) {
				h.temporal.change(func() { h.temporal.others = []string{"run/initech/a/1", "run/globex/b/2", "run/initech/c/3"} })
			},
		},
		{
			check: "gantry-ready", name: "the disk is full", want: doctor.Fail, says: "no space left on device", fix: "repair the disk",
			cause: func(h healthy) {
				h.gantry.ready = func(w http.ResponseWriter) {
					w.WriteHeader(http.StatusServiceUnavailable)
					io.WriteString(w, `{"status":"unavailable","inbox":{"writable":false,"pending":0,"problem":"no space left on device"},"forwarding":{"down":false}}`)
				}
			},
		},
		{
			check: "gantry-ready", name: "Temporal is away", want: doctor.Warn, says: "42 events wait", fix: "temporal-reachable",
			cause: func(h healthy) {
				h.gantry.ready = func(w http.ResponseWriter) {
					io.WriteString(w, `{"status":"degraded","inbox":{"writable":true,"pending":42},"forwarding":{"down":true,"problem":"gone"}}`)
				}
			},
		},
		{
			check: "gantry-ready", name: "a proxy lets the webhook through alone", want: doctor.Warn, says: "403", fix: "ask Gantry from inside",
			cause: func(h healthy) {
				h.gantry.ready = func(w http.ResponseWriter) { w.WriteHeader(http.StatusForbidden) }
			},
		},
		{
			check: "gantry-ready", name: "nothing listens", want: doctor.Fail, says: "connection refused", fix: "check that gantry serve runs there",
			cause: func(healthy) {}, args: []string{"--url", "http://127.0.0.1:1/webhook"},
		},
		{
			check: "gantry-signature", name: "nothing listens", want: doctor.Fail, says: "connection refused", fix: "check that gantry serve runs there",
			cause: func(healthy) {}, args: []string{"--url", "http://127.0.0.1:1/webhook"},
		},
		{
			check: "gantry-signature", name: "another secret here than there", want: doctor.Fail, says: "refuses a signed notification as signature-mismatch", fix: "the same configuration",
			cause: func(h healthy) { h.t.Setenv("GANTRY_WEBHOOK_SECRET", "another") },
		},
		{
			check: "gantry-signature", name: "another header here than there", want: doctor.Fail, says: "refuses a signed notification as secret-header-mismatch", fix: "the same configuration",
			cause: func(h healthy) { h.t.Setenv("GANTRY_SECRET_HEADER_VALUE", "another") },
		},
		{
			check: "gantry-signature", name: "something else listens there", want: doctor.Fail, says: "404", fix: "give --url the address of Gantry's webhook",
			cause: func(h healthy) {
				other := httptest.NewServer(http.NotFoundHandler())
				h.t.Cleanup(other.Close)
				h.gantry.url = other.URL + "/webhook"
			},
		},
		{
			check: "spacelift-key", name: "it was deleted", want: doctor.Fail, says: "Spacelift refuses it", fix: "check endpoint, apiKeyId",
			cause: func(h healthy) { h.spacelift.RemoveAPIKey(os.Getenv("SPACELIFT_API_KEY_ID")) },
		},
		{
			check: "spacelift-key", name: "Spacelift can't be reached", want: doctor.Fail, says: "connection refused", fix: "the network path to it",
			cause: func(h healthy) { h.t.Setenv("SPACELIFT_API_KEY_ENDPOINT", "http://127.0.0.1:1") },
		},
		{
			check: "spacelift-rights", name: "stacks can't be read", want: doctor.Fail, says: "list stacks", fix: "space:read",
			cause: func(h healthy) {
				_, err := h.spacelift.InjectAPI(simulator.APIFault{Kind: simulator.Unauthorized, Field: "searchStacks"})
				h.ok(err)
			},
		},
		{
			check: "spacelift-acts", name: "a writer's key", want: doctor.Unknown, says: "it shows only when Gantry acts", fix: "run:confirm",
			cause: func(h healthy) { h.as(simulator.Writer) },
		},
		{
			check: "spacelift-rights", name: "the key sees no stack", want: doctor.Warn, says: "sees no stack", fix: "give the key a role",
			cause: func(h healthy) {
				for _, s := range h.spacelift.Stacks() {
					_, err := h.spacelift.RemoveStack("jane", s.ID, false)
					h.ok(err)
				}
			},
		},
		{check: "clock", name: "a little off", want: doctor.Warn, says: "it is 30s apart", fix: "NTP", cause: func(h healthy) { h.skew(30 * time.Second) }},
		{check: "clock", name: "far off", want: doctor.Fail, says: "it is 2h0m0s apart", fix: "NTP", cause: func(h healthy) { h.skew(-2 * time.Hour) }},
		{
			check: "webhook-present", name: "there is none", want: doctor.Fail, says: "there is no webhook hooky", fix: "gantry setup --account acme --webhook-name hooky --yes --url http",
			cause: func(healthy) {}, args: []string{"--webhook-name", "hooky"},
		},
		{
			check: "webhook-enabled", name: "Spacelift switched it off", want: doctor.Fail, says: "switches a webhook off after ten failures", fix: "gantry setup --account acme --yes --url http",
			cause: func(h healthy) { h.changeWebhook(func(in *spacelift.NamedWebhookInput) { in.Enabled = false }) },
		},
		{
			check: "webhook-address", name: "it points elsewhere", want: doctor.Fail, says: "it points at https://elsewhere.example.com", fix: "gantry setup",
			cause: func(h healthy) {
				h.changeWebhook(func(in *spacelift.NamedWebhookInput) { in.Endpoint = "https://elsewhere.example.com/webhook" })
			},
		},
		{
			check: "webhook-address", name: "with a slash behind it", want: doctor.OK, says: "/webhook/",
			cause: func(h healthy) {
				h.changeWebhook(func(in *spacelift.NamedWebhookInput) { in.Endpoint = h.gantry.url + "/" })
			},
		},
		{
			check: "webhook-address", name: "with a doubled slash", want: doctor.Fail, says: "answers 404 at a path with doubled slashes", fix: "gantry setup",
			cause: func(h healthy) {
				h.changeWebhook(func(in *spacelift.NamedWebhookInput) {
					in.Endpoint = strings.TrimSuffix(h.gantry.url, "/webhook") + "//webhook"
				})
			},
		},
		{
			check: "webhook-address", name: "spelled in another way", want: doctor.OK, says: "HTTP://",
			cause: func(h healthy) {
				h.changeWebhook(func(in *spacelift.NamedWebhookInput) {
					in.Endpoint = strings.Replace(h.gantry.url, "http://", "HTTP://", 1)
				})
			},
		},
		{
			check: "webhook-address", name: "an address where nothing answers is not recommended", want: doctor.Fail, says: "it points at http", fix: "(the address at which it does)",
			cause: func(healthy) {}, args: []string{"--url", "http://127.0.0.1:1/webhook"},
		},
		{
			check: "webhook-retry", name: "off", want: doctor.Fail, says: "it is off instead of on", fix: "gantry setup",
			cause: func(h healthy) { h.changeWebhook(func(in *spacelift.NamedWebhookInput) { in.RetryOnFailure = false }) },
		},
		{
			check: "webhook-label", name: "gone", want: doctor.Fail, says: "the policy picks webhooks by the label gantry", fix: "gantry setup",
			cause: func(h healthy) {
				h.changeWebhook(func(in *spacelift.NamedWebhookInput) { in.Labels = []string{"mine"} })
			},
		},
		{
			check: "webhook-secret", name: "another one", want: doctor.Fail, says: "one that is not configured", fix: "gantry setup",
			cause: func(h healthy) { h.ok(h.spacelift.SetWebhookSecret("gantry", "another")) },
		},
		{
			check: "webhook-secret", name: "a rotation is half done", want: doctor.Warn, says: "an older one", fix: "gantry setup",
			cause: func(h healthy) {
				h.t.Setenv("GANTRY_WEBHOOK_SECRET", "the new one")
				h.t.Setenv("GANTRY_PREVIOUS_WEBHOOK_SECRET", testSecret)
			},
		},
		{
			check: "webhook-secret", name: "not shown to this key", want: doctor.Warn, says: "was not compared", fix: "--send-secrets --yes --url http",
			cause: func(h healthy) { h.as(simulator.Reader) },
		},
		{
			check: "gantry-proxy", name: "one that it doesn't trust", want: doctor.Warn, says: "through the proxy 10.0.0.9", fix: "as untrusted-proxy says",
			cause: func(h healthy) {
				h.gantry.finds("untrusted-proxy", "this replica receives notifications through the proxy 10.0.0.9")
			},
		},
		{
			check: "gantry-proxy", name: "Gantry can't be asked", want: doctor.Unknown, says: "set GANTRY_TOKEN", fix: "GANTRY_TOKEN",
			cause: func(h healthy) { h.t.Setenv("GANTRY_TOKEN", "") },
		},
		{
			check: "webhook-secret", name: "erased by another tool", want: doctor.Warn, says: "Spacelift hides it from this key, or there is none", fix: "--send-secrets --yes --url http",
			cause: func(h healthy) { h.ok(h.spacelift.SetWebhookSecret("gantry", "")) },
		},
		{
			check: "webhook-secret", name: "erased, and requests were refused since", want: doctor.Warn, says: "Gantry has refused requests since the last notification that it accepted", fix: "--send-secrets",
			cause: func(h healthy) {
				h.ok(h.spacelift.SetWebhookSecret("gantry", ""))
				h.gantry.log("refused", "signature-mismatch", time.Now())
			},
		},
		{
			check: "webhook-secret", name: "erased, and Gantry says that signatures don't match", want: doctor.Fail, says: "refused 5 signatures", fix: "--send-secrets",
			cause: func(h healthy) {
				h.ok(h.spacelift.SetWebhookSecret("gantry", ""))
				h.gantry.finds("secret-mismatch", "this replica refused 5 signatures")
			},
		},
		{
			check: "configuration", name: "which secret is current is left open", want: doctor.Fail, says: "which one is current", fix: "",
			cause: func(h healthy) {
				file := filepath.Join(h.t.TempDir(), "secret")
				h.ok(os.WriteFile(file, []byte("older\n"), 0o600))
				h.t.Setenv("GANTRY_PREVIOUS_WEBHOOK_SECRET_FILE", file)
			},
		},
		{
			check: "webhook-header", name: "it isn't sent", want: doctor.Fail, says: "X-Other is missing", fix: "gantry setup",
			cause: func(h healthy) { h.t.Setenv("GANTRY_SECRET_HEADER", "X-Other") },
		},
		{
			check: "webhook-header", name: "Gantry can't be asked what it took", want: doctor.Unknown, says: "set GANTRY_TOKEN", fix: "--send-secrets",
			cause: func(h healthy) { h.t.Setenv("GANTRY_TOKEN", "") },
		},
		{
			check: "webhook-header", name: "the token is none", want: doctor.Unknown, says: "could not be read: No token", fix: "GANTRY_TOKEN",
			cause: func(h healthy) { h.t.Setenv("GANTRY_TOKEN", "another") },
		},
		{
			check: "webhook-header", name: "nothing came yet", want: doctor.Unknown, says: "holds no notification of the account", fix: "wait for the next notification",
			cause: func(h healthy) { h.gantry.deliveries = nil },
		},
		{
			check: "webhook-header", name: "Gantry refuses it", want: doctor.Unknown, says: "as secret-header-mismatch", fix: "--send-secrets",
			cause: func(h healthy) { h.gantry.log("refused", "secret-header-mismatch", time.Now()) },
		},
		{
			check: "webhook-header", name: "none is configured", want: doctor.OK, says: "none is configured",
			cause: func(h healthy) {
				h.t.Setenv("GANTRY_SECRET_HEADER", "")
				h.t.Setenv("GANTRY_SECRET_HEADER_VALUE", "")
			},
		},
		{
			check: "policy-present", name: "there is none", want: doctor.Fail, says: "there is no policy other", fix: "--policy-name other",
			cause: func(healthy) {}, args: []string{"--policy-name", "other"},
		},
		{
			check: "policy-present", name: "its name is taken", want: doctor.Fail, says: "belongs to a policy of type PLAN", fix: "--policy-name",
			cause: func(h healthy) {
				h.ok(h.spacelift.AddPolicy(simulator.Policy{ID: "taken", Type: "PLAN", Body: "package spacelift"}))
			},
			args: []string{"--policy-name", "taken"},
		},
		{
			check: "policy-current", name: "somebody edited it", want: doctor.Warn, says: "another one, from line", fix: "gantry setup",
			cause: func(h healthy) { h.changePolicy(func(in *spacelift.PolicyInput) { in.Body += "\n# edited\n" }) },
		},
		{
			check: "policy-current", name: "the old engine", want: doctor.Warn, says: "it is REGO_V0 instead of REGO_V1", fix: "gantry setup",
			cause: func(h healthy) { h.changePolicy(func(in *spacelift.PolicyInput) { in.Engine = "REGO_V0" }) },
		},
		{
			check: "policy-routes", name: "it routes nothing", want: doctor.Fail, says: "a labelled stack is not routed to webhook gantry", fix: "gantry setup",
			cause: func(h healthy) { h.changePolicy(func(in *spacelift.PolicyInput) { in.Body = "package spacelift\n" }) },
		},
		{
			check: "policy-routes", name: "it routes everything", want: doctor.Warn, says: "stacks without the label are routed too", fix: "gantry setup",
			cause: func(h healthy) {
				h.changePolicy(func(in *spacelift.PolicyInput) {
					in.Body = "package spacelift\n\nimport rego.v1\n\nwebhook contains {\"endpoint_id\": \"gantry\"}\n"
				})
			},
		},
		{
			check: "policy-routes", name: "the key may not simulate", want: doctor.Warn, says: "could not be checked", fix: "workbench",
			cause: func(h healthy) { h.as(simulator.Reader) },
		},
		{
			check: "single-delivery", name: "a second policy, as guides have it", want: doctor.Warn, says: "policy everything routes runs of managed stacks to webhook gantry too, such as for a TRACKED run of network", fix: "remove the duplicates",
			cause: func(h healthy) {
				h.ok(h.spacelift.AddPolicy(simulator.Policy{ID: "everything", Body: everything}))
			},
		},
		{
			check: "single-delivery", name: "a second policy that only speaks of Gantry", want: doctor.OK, says: "nothing else sends them",
			cause: func(h healthy) {
				h.ok(h.spacelift.AddPolicy(simulator.Policy{ID: "again", Engine: simulator.RegoV1, Body: "package spacelift\n# gantry:managed\n"}))
			},
		},
		{
			check: "single-delivery", name: "a second policy, and the key may not simulate", want: doctor.Warn, says: "could not be checked for all policies", fix: "workbench",
			cause: func(h healthy) {
				h.ok(h.spacelift.AddPolicy(simulator.Policy{ID: "everything", Body: everything}))
				h.as(simulator.Reader)
			},
		},
		{
			check: "single-delivery", name: "a second webhook, spelled in another way", want: doctor.Warn, says: "webhook old has the label gantry and the same address", fix: "remove the duplicates",
			cause: func(h healthy) {
				h.ok(h.spacelift.AddNamedWebhook(simulator.NamedWebhook{ID: "old", Endpoint: strings.Replace(h.gantry.url, "http://", "HTTP://", 1), Labels: []string{"gantry"}, Secret: testSecret}))
			},
		},
		{
			check: "delivery-form", name: "a policy that sends by PUT", want: doctor.Fail, says: "calls webhook gantry by PUT", fix: "remove the webhook from these policies",
			cause: func(h healthy) {
				h.ok(h.spacelift.AddPolicy(simulator.Policy{ID: "puts", Engine: simulator.RegoV1, Body: "package spacelift\n\nwebhook contains {\"endpoint_id\": \"gantry\", \"method\": \"PUT\"} if input.internal_error\n"}))
			},
		},
		{
			check: "delivery-form", name: "a policy with a payload of its own", want: doctor.Warn, says: "sends a payload of its own to webhook gantry", fix: "remove the webhook",
			cause: func(h healthy) {
				h.ok(h.spacelift.AddPolicy(simulator.Policy{ID: "own", Engine: simulator.RegoV1, Body: "package spacelift\n\nwebhook contains {\"endpoint_id\": \"gantry\", \"payload\": {\"text\": \"hi\"}} if input.run_updated\n"}))
			},
		},
		{
			check: "delivery-form", name: "our own policy, edited", want: doctor.Fail, says: "policy gantry calls webhook gantry by PUT", fix: "remove the webhook",
			cause: func(h healthy) {
				h.changePolicy(func(in *spacelift.PolicyInput) {
					in.Body = "package spacelift\n\nimport rego.v1\n\nwebhook contains {\"endpoint_id\": \"gantry\", \"method\": \"PUT\"}\n"
				})
			},
		},
		{
			check: "guardian-webhook", name: "it watches one that isn't there", want: doctor.Fail, says: "there is no webhook with the id hooky", fix: "set guardian.webhook to gantry",
			cause: func(h healthy) { h.t.Setenv("GANTRY_GUARDIAN_WEBHOOK", "hooky") },
		},
		{
			check: "guardian-webhook", name: "it watches another", want: doctor.Warn, says: "pager points at https://pager.example.com", fix: "points here",
			cause: func(h healthy) {
				h.ok(h.spacelift.AddNamedWebhook(simulator.NamedWebhook{ID: "pager", Endpoint: "https://pager.example.com/", Secret: testSecret}))
				h.t.Setenv("GANTRY_GUARDIAN_WEBHOOK", "pager")
			},
		},
		{
			check: "stacks-enforced", name: "the policies are gone", want: doctor.Warn, says: "network is advisory: the policy gantry-approval is not attached", fix: "--enforce",
			cause: func(h healthy) {
				h.ok(h.spacelift.SetLabels("network", "gantry:managed", "gantry:approvals=2"))
				h.run("setup", "--url", h.gantry.url, "--no-enforce", "--yes")
			},
		},
		{
			check: "stacks-enforced", name: "another approval policy", want: doctor.Warn, says: "Spacelift doesn't document how several combine", fix: "--enforce",
			cause: func(h healthy) {
				h.ok(h.spacelift.SetLabels("network", "gantry:managed", "gantry:approvals=2"))
				h.ok(h.spacelift.AddPolicy(simulator.Policy{Name: "theirs", Type: simulator.PolicyApproval, Labels: []string{"autoattach:*"}, Body: "package spacelift\n"}))
			},
		},
		{
			check: "stacks-references", name: "a parent that isn't there", want: doctor.Warn, says: `network, gantry:after=sandbx: there is no stack "sandbx"`, fix: "correct the labels",
			cause: func(h healthy) { h.ok(h.spacelift.SetLabels("network", "gantry:managed", "gantry:after=sandbx")) },
		},
		{
			check: "stacks-references", name: "a parent that isn't managed", want: doctor.Warn, says: `stack "sandbox" is not managed`, fix: "correct the labels",
			cause: func(h healthy) { h.ok(h.spacelift.SetLabels("network", "gantry:managed", "gantry:after=sandbox")) },
		},
		{
			check: "stacks-references", name: "a group of nobody", want: doctor.Warn, says: `belongs to the group "platform"`, fix: "correct the labels",
			cause: func(h healthy) { h.ok(h.spacelift.SetLabels("network", "gantry:managed", "gantry:approvers=platform")) },
		},
		{
			check: "configuration", name: "a profile that nobody can approve", want: doctor.Warn, says: `profiles[0].approvers: nobody with a token that may approve belongs to the group "platform"`, fix: "gantry serve --print-config",
			cause: func(h healthy) { h.configure("profiles: [{name: p, approvers: platform}]\n") },
		},
		{
			check: "stacks-managed", name: "none", want: doctor.Warn, says: "no stack is labelled gantry:managed", fix: "label stacks gantry:managed",
			cause: func(h healthy) { h.ok(h.spacelift.SetLabels("network", "env:prod")) },
		},
		{
			check: "stacks-labels", name: "one that holds plans", want: doctor.Fail, says: "network, gantry:confirm=maybe: its value is none of auto, manual and no-deletes", fix: "correct the labels",
			cause: func(h healthy) { h.ok(h.spacelift.SetLabels("network", "gantry:managed", "gantry:confirm=maybe")) },
		},
		{
			check: "stacks-labels", name: "names of the configuration", want: doctor.OK, says: "all of them",
			cause: func(h healthy) {
				h.ok(h.spacelift.SetLabels("network", "gantry:managed", "gantry:profile=production"))
				h.configure("profiles: [{name: production, confirm: manual}]\n")
			},
		},
		{
			check: "stacks-labels", name: "names that it lacks", want: doctor.Fail, says: `network, gantry:profile=production: there is no profile "production"`, fix: "correct the labels",
			cause: func(h healthy) { h.ok(h.spacelift.SetLabels("network", "gantry:managed", "gantry:profile=production")) },
		},
		{
			check: "stacks-labels", name: "a misspelt prefix", want: doctor.Warn, says: "sandbox, ganrty:managed: Gantry doesn't read it", fix: "correct the labels",
			cause: func(h healthy) { h.ok(h.spacelift.SetLabels("sandbox", "ganrty:managed")) },
		},
		{
			check: "stacks-labels", name: "one to no effect", want: doctor.Warn, says: "sandbox has gantry:confirm=auto, but not gantry:managed", fix: "correct the labels",
			cause: func(h healthy) { h.ok(h.spacelift.SetLabels("sandbox", "gantry:confirm=auto")) },
		},
		{
			check: "stacks-labels", name: "a slip of the pen", want: doctor.Warn, says: "sandbox, Gantry:Managed: labels are case-sensitive",
			cause: func(h healthy) { h.ok(h.spacelift.SetLabels("sandbox", "Gantry:Managed")) },
		},
		{
			check: "stacks-reach", name: "a space that doesn't inherit", want: doctor.Fail, says: "lonely in space island: the webhook in root has no effect there", fix: "inherit",
			cause: func(h healthy) {
				h.ok(h.spacelift.AddSpace(simulator.Space{ID: "island"}))
				h.ok(h.spacelift.AddStack(simulator.Stack{ID: "lonely", Space: "island", Labels: []string{"gantry:managed"}}))
			},
		},
	}
	provoked := map[string]bool{}
	for _, tt := range tests {
		provoked[tt.check] = true
		t.Run(tt.check+"/"+tt.name, func(t *testing.T) {
			r, temporal := newHealthyRig(t)
			tt.cause(healthy{r, temporal})
			args := tt.args
			if !slices.Contains(args, "--url") {
				args = append(args, "--url", r.gantry.url)
			}
			found, report, code := r.doctor(args...)
			got, there := found[tt.check]
			said := got.Text + "\n" + strings.Join(got.Details, "\n")
			if !there || got.Verdict != tt.want || !strings.Contains(said, tt.says) || !strings.Contains(got.Fix, tt.fix) {
				t.Errorf("got %+v, want %s that says %q, fixed by %q", got, tt.want, tt.says, tt.fix)
			}
			if (code == 1) != (report.Verdict == doctor.Fail) || tt.want == doctor.Fail && code != 1 {
				t.Errorf("exit code %d with verdict %s", code, report.Verdict)
			}
			if got.Verdict != doctor.OK && got.Fix == "" {
				t.Error("a finding without a fix")
			}
		})
	}
	for _, id := range checkIDs() {
		if !provoked[id] {
			t.Errorf("no story provokes a finding of %s", id)
		}
	}
}

// everything is a policy that routes all runs to all webhooks, for the old engine.
const everything = "package spacelift\n\nwebhook[{\"endpoint_id\": e.id}] {\n  e := input.webhook_endpoints[_]\n  input.run_updated != null\n}\n"

// skew makes Spacelift's clock differ from ours.
func (r *rig) skew(by time.Duration) {
	r.t.Helper()
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Date", time.Now().Add(by).UTC().Format(http.TimeFormat))
		r.spacelift.ServeHTTP(w, q)
	}))
	r.t.Cleanup(proxy.Close)
	r.t.Setenv("SPACELIFT_API_KEY_ENDPOINT", proxy.URL)
}
