package simulator_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

var fullCycle = []spacelift.RunState{
	"QUEUED", "READY", "PREPARING", "INITIALIZING", "PLANNING", "UNCONFIRMED", "CONFIRMED", "PREPARING_APPLY", "APPLYING", "FINISHED",
}

// deliver plays a confirmed run with faults and returns what arrived.
func deliver(t *testing.T, faults ...simulator.DeliveryFault) (*rig, []received) {
	r := newRig(t)
	r.stack(simulator.Stack{ID: "net"})
	r.routeAll()
	for _, f := range faults {
		_, err := r.InjectDelivery(f)
		r.ok(err)
	}
	id := r.push("net", twoAdded)
	r.ok(r.Confirm("jane", "net", id, ""))
	r.settle()
	return r, r.hook.all()
}

func TestEveryStateIsDeliveredInOrder(t *testing.T) {
	r, got := deliver(t)
	if diff := cmp.Diff(fullCycle, r.hook.states()); diff != "" {
		t.Errorf("states (-want +got)\n%s", diff)
	}
	for i, d := range got {
		if d.Event.StateVersion != i {
			t.Errorf("%s has stateVersion %d, want %d", d.Event.State, d.Event.StateVersion, i)
		}
	}
	for _, d := range r.Deliveries() {
		if d.Outcome != simulator.Delivered || len(d.Attempts) != 1 || !strings.HasSuffix(d.ID, "/200") {
			t.Errorf("log entry %+v", d)
		}
	}
}

func TestDeliveryLooksLikeSpacelifts(t *testing.T) {
	_, got := deliver(t)
	d := got[0]
	for name, pattern := range map[string]string{
		"Content-Type": `^application/json$`, "User-Agent": `^Go-http-client/2\.0$`,
		"X-Signature": `^sha1=[0-9a-f]{40}$`, "X-Signature-256": `^sha256=[0-9a-f]{64}$`,
		"Traceparent": `^00-[0-9a-f]{32}-[0-9a-f]{16}-01$`, "X-Datadog-Trace-Id": `^\d+$`,
	} {
		if v := d.Header.Get(name); !regexp.MustCompile(pattern).MatchString(v) {
			t.Errorf("%s is %q, want %s", name, v, pattern)
		}
	}
	if err := spacelift.VerifySignature([]byte("hush"), []byte(d.Body), d.Header.Get("X-Signature-256")); err != nil {
		t.Errorf("signature of %s: %v", d.Body, err)
	}
	if d.Method != http.MethodPost || strings.ContainsAny(d.Body, "\n") || strings.Contains(d.Body, `": `) {
		t.Errorf("%s %s is not a compact POST", d.Method, d.Body)
	}
}

// The bodies are, byte for byte, the recorded ones, but for ids and times.
func TestBodiesAreTheRecordedOnes(t *testing.T) {
	blur := func(body []byte) string {
		var b bytes.Buffer
		if err := json.Compact(&b, body); err != nil {
			t.Fatal(err)
		}
		s := regexp.MustCompile(`"(timestamp|timestamp_millis|createdAt)":\d+`).ReplaceAllString(b.String(), `"$1":0`)
		return regexp.MustCompile(`\b01[0-9A-Z]{24}\b`).ReplaceAllString(s, "ULID")
	}
	escaped := func(s string) string { // as Go's encoder writes it
		return strings.NewReplacer("&", `\u0026`, "<", `\u003c`, ">", `\u003e`).Replace(s)
	}
	commit := simulator.Commit{
		Hash: "9f2c1d7e4b8a06f35c21de90ab7741f6c3e85d12", Message: "Widen private subnets", AuthorLogin: "jdoe", AuthorName: "Jane Doe",
		URL: "https://github.com/acme/infra-live/commit/9f2c1d7e4b8a06f35c21de90ab7741f6c3e85d12",
	}
	feature := simulator.Commit{
		Hash: "41aa0c7d92e6b35f8d10c2f47be95a3760dd1e84", Message: "feat: wider subnets & <new> CIDRs", Branch: "feature/wider-subnets",
		URL: "https://github.com/acme/infra-live/commit/41aa0c7d92e6b35f8d10c2f47be95a3760dd1e84",
	}
	plan := func(added, changed, deleted int) simulator.Plan {
		return simulator.Plan{Delta: spacelift.Delta{Added: added, Changed: changed, Deleted: deleted, Resources: 42}}
	}
	push := func(c simulator.Commit, p simulator.Plan) func(*rig) spacelift.RunID {
		return func(r *rig) spacelift.RunID {
			id, err := r.Push("network-prod", c, p)
			r.ok(err)
			r.settle()
			return id
		}
	}
	person := "jane.doe@acme.example"
	for file, play := range map[string]func(*rig) spacelift.RunID{
		"run_tracked_queued":      push(commit, plan(3, 1, 0)),
		"run_tracked_planning":    push(commit, plan(3, 1, 0)),
		"run_tracked_unconfirmed": push(commit, plan(3, 1, 0)),
		"run_proposed_finished":   push(feature, plan(3, 1, 0)),
		"run_tracked_applying": func(r *rig) spacelift.RunID {
			id := push(commit, plan(3, 1, 0))(r)
			r.ok(r.Confirm(person, "network-prod", id, ""))
			return id
		},
		"run_tracked_finished": func(r *rig) spacelift.RunID {
			id := push(commit, plan(3, 1, 0))(r)
			r.ok(r.Confirm(person, "network-prod", id, ""))
			return id
		},
		"run_tracked_discarded": func(r *rig) spacelift.RunID {
			id := push(commit, plan(0, 0, 7))(r)
			r.ok(r.Discard(person, "network-prod", id, "Would delete the NAT gateways"))
			return id
		},
		"run_tracked_replan_requested": func(r *rig) spacelift.RunID {
			id := push(commit, plan(3, 1, 0))(r)
			r.ok(r.Replan(person, "network-prod", id))
			return id
		},
		"run_task_finished": func(r *rig) spacelift.RunID {
			push(commit, simulator.Plan{})(r)
			id, err := r.CreateTask(person, "network-prod", "terraform state list", false)
			r.ok(err)
			return id
		},
		"run_tracked_canceled": func(r *rig) spacelift.RunID {
			push(commit, simulator.Plan{})(r)
			id, err := r.Trigger(person, simulator.Trigger{Stack: "network-prod"})
			r.ok(err)
			r.ok(r.Cancel(person, "network-prod", id, "Cancelling run"))
			return id
		},
		"run_drift_proposed_finished": func(r *rig) spacelift.RunID {
			push(commit, simulator.Plan{})(r)
			id, err := r.DetectDrift("network-prod", plan(0, 2, 0))
			r.ok(err)
			return id
		},
		"run_destroy_destroying": func(r *rig) spacelift.RunID {
			push(commit, simulator.Plan{})(r)
			id, err := r.RemoveStack(person, "network-prod", true)
			r.ok(err)
			return id
		},
	} {
		t.Run(file, func(t *testing.T) {
			r := newRig(t)
			r.ok(r.AddWorkerPool(simulator.WorkerPool{ID: "01KDWP00V00000000000000001", Name: "prod-workers", Labels: []string{"pool:prod"}}))
			r.stack(simulator.Stack{
				ID: "network-prod", Name: "network / prod", Description: "Shared network for production", Repository: "infra-live",
				Labels: []string{"env:prod", "folder:network", "orchestrator:release"}, WorkerPool: "01KDWP00V00000000000000001",
				Drift: simulator.DriftDetection{Schedule: []string{"0 4 * * *"}},
			})
			r.ok(r.AddStackWebhook(simulator.StackWebhook{Stack: "network-prod", Endpoint: r.hook.url}))
			id := play(r)
			r.settle()

			recorded, err := os.ReadFile("testdata/" + file + ".json")
			r.ok(err)
			var want struct {
				State        spacelift.RunState
				StateVersion int
			}
			r.ok(json.Unmarshal(recorded, &want))
			i := slices.IndexFunc(r.hook.all(), func(d received) bool { return d.Event.State == want.State && d.Event.Run.ID == id })
			if i < 0 {
				t.Fatalf("no %s among %v", want.State, r.hook.states())
			}
			got := blur([]byte(r.hook.all()[i].Body))
			expected := escaped(blur(recorded))
			if file == "run_proposed_finished" { // recorded after a review
				expected = strings.Replace(expected, `"stateVersion":6`, `"stateVersion":5`, 1)
			}
			if got != expected {
				t.Errorf("body\n got %s\nwant %s", got, expected)
			}
		})
	}
}

func TestRetries(t *testing.T) {
	setup := func(t *testing.T, retry bool) *rig {
		r := newRig(t, func(o *simulator.Options) { o.RetrySpacing = 7 * time.Second })
		r.stack(simulator.Stack{ID: "net"})
		r.ok(r.AddStackWebhook(simulator.StackWebhook{Stack: "net", Endpoint: r.hook.url, RetryOnFailure: retry}))
		return r
	}
	// queue pushes a run that stays queued: exactly one event.
	queue := func(r *rig) simulator.Delivery {
		_, err := r.PushWaiting("net", simulator.Commit{}, twoAdded, "never")
		r.ok(err)
		r.settle()
		return r.Deliveries()[0]
	}
	t.Run("three of a 5xx, spaced", func(t *testing.T) {
		r := setup(t, true)
		r.hook.answer = func(int) int { return 503 }
		if d := queue(r); d.Outcome != simulator.Pending || len(d.Attempts) != 1 {
			t.Fatalf("after the first answer: %+v", d)
		}
		r.advance(6 * time.Second)
		if n := len(r.hook.all()); n != 1 {
			t.Errorf("%d requests before the spacing was over", n)
		}
		for range 5 {
			r.advance(7 * time.Second)
		}
		d := r.Deliveries()[0]
		if len(r.hook.all()) != 4 || d.Outcome != simulator.Failed || len(d.Attempts) != 4 {
			t.Errorf("%d requests, %+v; want 1 + 3 and failed", len(r.hook.all()), d)
		}
	})
	t.Run("until it works, the same bytes", func(t *testing.T) {
		r := setup(t, true)
		r.hook.answer = func(n int) int { return []int{500, 502, 204}[n] }
		queue(r)
		r.advance(7 * time.Second)
		r.advance(7 * time.Second)
		got := r.hook.all()
		if len(got) != 3 || got[0].Body != got[2].Body || got[0].Header.Get("X-Signature-256") != got[2].Header.Get("X-Signature-256") {
			t.Errorf("%d requests: %+v", len(got), got)
		}
		if d := r.Deliveries()[0]; d.Outcome != simulator.Delivered {
			t.Errorf("outcome %s", d.Outcome)
		}
	})
	for name, c := range map[string]struct {
		retry  bool
		status int
	}{"not of a 4xx": {true, 400}, "not of a redirect": {true, 302}, "not unless switched on": {false, 500}} {
		t.Run(name, func(t *testing.T) {
			r := setup(t, c.retry)
			r.hook.answer = func(int) int { return c.status }
			queue(r)
			r.advance(time.Hour)
			if d := r.Deliveries()[0]; len(r.hook.all()) != 1 || d.Outcome != simulator.Failed {
				t.Errorf("%d requests, %s", len(r.hook.all()), d.Outcome)
			}
		})
	}
	t.Run("not of a refused connection", func(t *testing.T) {
		r := setup(t, true)
		r.ok(r.AddStack(simulator.Stack{ID: "other"}))
		r.ok(r.AddStackWebhook(simulator.StackWebhook{Stack: "other", Endpoint: "http://127.0.0.1:1/", RetryOnFailure: true}))
		_, err := r.PushWaiting("other", simulator.Commit{}, twoAdded, "never")
		r.ok(err)
		r.settle()
		if d := r.Deliveries()[0]; d.Outcome != simulator.Failed || len(d.Attempts) != 1 || d.Attempts[0].Error == "" {
			t.Errorf("%+v", d)
		}
	})
}

func TestTenFailuresInARowSwitchAWebhookOff(t *testing.T) {
	r := newRig(t)
	r.stack(simulator.Stack{ID: "net"})
	r.routeAll()
	fail := true
	r.hook.answer = func(int) int {
		if fail {
			return 401
		}
		return 200
	}
	event := func() {
		_, err := r.Trigger("jane", simulator.Trigger{Stack: "net", Type: spacelift.RunTypeProposed})
		r.ok(err)
		runs, err := r.Runs("net")
		r.ok(err)
		r.ok(r.Cancel("jane", "net", runs[len(runs)-1].Ref.Run, ""))
		r.settle()
	} // two events: QUEUED and CANCELED
	enabled := func() bool {
		var got struct{ NamedWebhooksIntegration struct{ Enabled bool } }
		r.graphql(`{ namedWebhooksIntegration(id: "hook") { enabled } }`, nil, &got)
		return got.NamedWebhooksIntegration.Enabled
	}
	for range 4 {
		event()
	}
	fail = false
	event() // a success in between starts the count again
	fail = true
	for range 4 {
		event()
	}
	if !enabled() {
		t.Fatal("switched off after 8 failures in a row")
	}
	event()
	if enabled() {
		t.Fatal("still on after 10 failures in a row")
	}
	before := len(r.hook.all())
	event()
	if after := len(r.hook.all()); after != before {
		t.Errorf("%d deliveries to a disabled webhook", after-before)
	}
	if inbox := r.Inbox(); len(inbox) != 1 || !strings.Contains(inbox[0].Body, "hook") {
		t.Errorf("inbox %+v, want one notice about it", inbox)
	}
	fail = false
	a := r.graphql(`mutation ($in: NamedWebhooksIntegrationInput!) { namedWebhooksIntegrationUpdate(id: "hook", input: $in) { enabled } }`,
		map[string]any{"in": map[string]any{"enabled": true, "endpoint": r.hook.url, "space": "root", "name": "hook", "secret": "hush"}}, nil)
	if len(a.Errors) > 0 {
		t.Fatal(a.Errors)
	}
	event()
	if !enabled() || len(r.hook.all()) != before+2 {
		t.Errorf("enabled %v with %d deliveries after it was switched on again", enabled(), len(r.hook.all())-before)
	}
}

func TestDisabledWebhooksGetNothing(t *testing.T) {
	r := newRig(t)
	r.stack(simulator.Stack{ID: "net"})
	r.routeAll()
	r.ok(r.AddNamedWebhook(simulator.NamedWebhook{ID: "off", Endpoint: r.hook.url, Disabled: true}))
	r.ok(r.AddStackWebhook(simulator.StackWebhook{Stack: "net", Endpoint: r.hook.url, Disabled: true}))
	r.push("net", simulator.Plan{})
	if diff := cmp.Diff(6, len(r.Deliveries())); diff != "" {
		t.Errorf("entries of the delivery log (-want +got)\n%s", diff)
	}
}
