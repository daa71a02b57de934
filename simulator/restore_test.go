package simulator_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

func realistic(o *simulator.Options) { o.Phases = simulator.RealisticPhases() }

func TestRunGoesOnAfterARestore(t *testing.T) {
	r := newRig(t, realistic)
	r.stack(simulator.Stack{ID: "net", Autodeploy: true})
	r.routeAll()
	id := r.push("net", twoAdded)
	r.advance(30 * time.Second) // PLANNING from 21.7 s to 49.7 s
	if run := r.get("net", id); run.State != spacelift.RunStatePlanning {
		t.Fatalf("the run is %s", run.State)
	}
	before := r.get("net", id)

	r = r.restart()
	if diff := cmp.Diff(before, r.get("net", id)); diff != "" {
		t.Errorf("the run after the restore (-want +got)\n%s", diff)
	}
	r.advance(19 * time.Second)
	r.is("net", id, spacelift.RunStatePlanning)
	r.advance(time.Second)
	r.is("net", id, spacelift.RunStateApplying)
	r.advance(time.Minute)
	if run := r.get("net", id); run.State != spacelift.RunStateFinished || run.History[6].At.Sub(epoch) != 79700*time.Millisecond {
		t.Errorf("the run is %s after %s, want FINISHED after 1m19.7s", run.State, run.History[len(run.History)-1].At.Sub(epoch))
	}
	want := []spacelift.RunState{"QUEUED", "READY", "PREPARING", "INITIALIZING", "PLANNING", "APPLYING", "FINISHED"}
	if diff := cmp.Diff(want, r.hook.states()); diff != "" {
		t.Errorf("states delivered (-want +got)\n%s", diff)
	}
}

// Timers that expired while nothing ran fire immediately.
func TestTimePassesWhileAnAccountIsClosed(t *testing.T) {
	r := newRig(t, realistic)
	r.stack(simulator.Stack{ID: "net"})
	id := r.push("net", twoAdded)
	r.advance(30 * time.Second)
	r.Close()
	r.clock.Advance(time.Hour)
	r = r.restart()
	r.settle()
	if got := r.get("net", id); got.State != spacelift.RunStateUnconfirmed || got.History[5].At.Sub(epoch) != time.Hour+30*time.Second {
		t.Errorf("the run is %s since %s", got.State, got.History[len(got.History)-1].At.Sub(epoch))
	}
}

func TestQueueAndLockSurvive(t *testing.T) {
	r := newRig(t)
	r.stack(simulator.Stack{ID: "net"})
	first, second := r.push("net", twoAdded), r.push("net", twoAdded)
	r.ok(r.Lock("jane", "net", "hands off"))

	r = r.restart()
	r.settle()
	r.is("net", second, spacelift.RunStateQueued)
	st, err := r.Stack("net")
	r.ok(err)
	if st.Blocker != first || st.LockedBy != "jane" || st.LockNote != "hands off" || st.State != spacelift.RunStateUnconfirmed {
		t.Errorf("the stack is %+v", st)
	}
	if err := r.Lock("ann", "net", ""); err == nil {
		t.Error("ann locked the stack that jane has locked")
	}
	r.ok(r.Discard("jane", "net", first, ""))
	r.settle()
	r.is("net", second, spacelift.RunStateQueued) // the lock holds it
	r.ok(r.Unlock("jane", "net"))
	r.settle()
	r.is("net", second, spacelift.RunStateUnconfirmed)
}

// A slot that is freed later, a worker that obeys later and a dependent that
// waits: each would stand still for ever if its part were forgotten.
func TestWhatWaitsGoesOnAfterARestore(t *testing.T) {
	r := newRig(t, realistic, func(o *simulator.Options) { o.BlockerLag, o.StopLag = time.Minute, 10*time.Second })
	for _, id := range []spacelift.StackID{"net", "app", "db"} {
		r.stack(simulator.Stack{ID: id, Autodeploy: true, Plan: twoAdded})
	}
	r.ok(r.AddDependency("app", "net", simulator.Reference{Output: "vpc", Input: "VPC"}))
	up := r.push("net", simulator.Plan{Delta: twoAdded.Delta, Outputs: map[string]string{"vpc": "vpc-1"}})
	next := r.push("net", twoAdded)
	stopped := r.push("db", twoAdded)
	r.advance(25 * time.Second)
	r.ok(r.Stop("jane", "db", stopped, "enough"))

	r = r.restart()
	r.advance(10 * time.Second)
	if run := r.get("db", stopped); run.State != spacelift.RunStateStopped || run.History[5].Username != "jane" || run.History[5].Note != "enough" {
		t.Errorf("the stopped run is %s: %+v", run.State, run.History)
	}
	r.advance(45 * time.Second) // 1m20s: net has finished and its slot is taken for another minute
	r.is("net", up, spacelift.RunStateFinished)
	r = r.restart()
	r.is("net", next, spacelift.RunStateQueued)
	r.advance(time.Minute)
	if run := r.get("net", next); run.State == spacelift.RunStateQueued {
		t.Error("the slot was never freed")
	}
	apps, err := r.Runs("app")
	r.ok(err)
	if len(apps) != 2 || apps[0].State == spacelift.RunStateQueued || apps[0].TriggeredBy != "net" {
		t.Errorf("the dependent's runs are %+v", apps)
	}
}

// Deliveries that wait for their re-send or for a delay are sent after the
// restore, and those under way when the account was closed once more.
func TestUnsentDeliveriesAreSentAfterARestore(t *testing.T) {
	r := newRig(t, func(o *simulator.Options) { o.RetrySpacing = time.Minute })
	r.stack(simulator.Stack{ID: "net"})
	r.hook.answer = func(n int) int { return map[bool]int{true: 503, false: 200}[n == 0] }
	r.ok(r.AddStackWebhook(simulator.StackWebhook{Stack: "net", ID: "own", Endpoint: r.hook.url, Secret: "hush", RetryOnFailure: true}))
	_, err := r.InjectDelivery(simulator.DeliveryFault{Kind: simulator.Delay, State: "PLANNING", Delay: simulator.Duration(time.Hour)})
	r.ok(err)
	r.push("net", twoAdded) // QUEUED gets a 503, all else waits behind it
	if got := r.hook.states(); len(got) != 1 {
		t.Fatalf("delivered %v before the restore", got)
	}

	r = r.restart()
	r.settle()
	if got := r.hook.states(); len(got) != 1 {
		t.Errorf("delivered %v before the re-send was due", got)
	}
	r.advance(time.Minute)
	want := []spacelift.RunState{"QUEUED", "QUEUED", "READY", "PREPARING", "INITIALIZING", "UNCONFIRMED"}
	if diff := cmp.Diff(want, r.hook.states()); diff != "" {
		t.Errorf("delivered (-want +got)\n%s", diff)
	}
	r.advance(time.Hour)
	if got := r.hook.states(); got[len(got)-1] != spacelift.RunStatePlanning {
		t.Errorf("delivered %v, want the delayed PLANNING at last", got)
	}
	for _, got := range r.hook.all() {
		if err := spacelift.VerifySignature([]byte("hush"), []byte(got.Body), got.Header.Get("X-Signature-256")); err != nil {
			t.Errorf("%s: %v", got.Event.State, err)
		}
	}
}

func TestDeliveryUnderWayIsSentAgain(t *testing.T) {
	r := newRig(t)
	arrived := make(chan struct{}, 1)
	hang := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body) // only then the server sees that the client is gone
		arrived <- struct{}{}
		<-req.Context().Done()
	}))
	t.Cleanup(hang.Close)
	r.stack(simulator.Stack{ID: "net"})
	r.ok(r.AddNamedWebhook(simulator.NamedWebhook{ID: "hook", Endpoint: hang.URL, Secret: "hush"}))
	r.ok(r.AddPolicy(simulator.Policy{ID: "all", Engine: simulator.RegoV1, Body: `package spacelift

webhook contains {"endpoint_id": "hook"}
`}))
	_, err := r.Push("net", simulator.Commit{}, twoAdded)
	r.ok(err)
	<-arrived

	// The receiver has moved, and what is still to be sent moves with it.
	r = r.restart(func(s *simulator.Simulator) error { return s.SetWebhookEndpoint("hook", r.hook.url) })
	r.settle()
	want := []spacelift.RunState{"QUEUED", "READY", "PREPARING", "INITIALIZING", "PLANNING", "UNCONFIRMED"}
	if diff := cmp.Diff(want, r.hook.states()); diff != "" {
		t.Errorf("delivered (-want +got)\n%s", diff)
	}
	for _, d := range r.Deliveries() {
		if d.Outcome != simulator.Delivered || d.URL != r.hook.url || len(d.Attempts) != 1 {
			t.Errorf("logged %s to %s in %d attempts", d.Outcome, d.URL, len(d.Attempts))
		}
	}
}

func TestWebhookHealthSurvives(t *testing.T) {
	r := newRig(t)
	r.hook.answer = func(int) int { return http.StatusNotFound }
	r.stack(simulator.Stack{ID: "net", Autodeploy: true})
	r.routeAll()
	r.push("net", twoAdded) // seven states, seven failures
	r = r.restart()
	if r.NamedWebhooks()[0].Disabled {
		t.Fatal("disabled after seven failures")
	}
	r.push("net", twoAdded)
	if !r.NamedWebhooks()[0].Disabled || len(r.hook.all()) != 10 {
		t.Errorf("enabled after %d failures", len(r.hook.all()))
	}
	r = r.restart()
	r.push("net", twoAdded)
	if !r.NamedWebhooks()[0].Disabled || len(r.hook.all()) != 10 {
		t.Errorf("a disabled webhook was sent %d requests", len(r.hook.all()))
	}
	if notices := r.Inbox(); len(notices) != 1 || notices[0].Title != "Webhook disabled" {
		t.Errorf("the inbox holds %+v", notices)
	}
}

// A client notices nothing: its token holds, its run is where it was, and what
// it made itself is still there.
func TestClientNoticesNoRestart(t *testing.T) {
	r := newRig(t)
	r.stack(simulator.Stack{ID: "net", Labels: []string{"gantry:managed"}})
	id := r.push("net", twoAdded)
	mutate := func(document string) {
		t.Helper()
		if a := r.graphql(document, nil, nil); len(a.Errors) > 0 {
			t.Fatalf("%s: %v", document, a.Errors)
		}
	}
	mutate(`mutation { stackUpdate(id: "net", input: {name: "Net", branch: "main", repository: "infra", administrative: true,
		labels: ["a"], afterApply: ["echo"], space: "root", vendorConfig: {terraform: {version: "1.9"}}}) { id } }`)
	mutate(`mutation { stackConfigAdd(stack: "net", config: {id: "TF_VAR_x", type: ENVIRONMENT_VARIABLE, value: "1", writeOnly: false}) { id } }`)
	mutate(`mutation { spaceCreate(input: {name: "Team", parentSpace: "root", inheritEntities: true, description: "", labels: []}) { id } }`)
	const everything = `{
		spaces { id name labels } stacks { id name labels administrative afterApply config { id value }
			vendorConfig { ... on StackConfigVendorTerraform { version } }
			run(id: "ID") { state history { state stateVersion timestamp } } }
		policies { id body } }`
	query := strings.Replace(everything, "ID", string(id), 1)
	before := r.graphql(query, nil, nil)
	if len(before.Errors) > 0 {
		t.Fatalf("%v", before.Errors)
	}
	requests := len(r.Requests())

	r = r.restart()
	if diff := cmp.Diff(string(before.Data), string(r.graphql(query, nil, nil).Data)); diff != "" {
		t.Errorf("the client sees (-before +after)\n%s", diff)
	}
	if got := len(r.Requests()); got != requests+1 {
		t.Errorf("%d requests on record, want %d", got, requests+1)
	}
	mutate(`mutation { runConfirm(stack: "net", run: "` + string(id) + `") { id } }`)
	r.settle()
	r.is("net", id, spacelift.RunStateFinished)
	if r.push("net", twoAdded) == id {
		t.Error("an id was given twice")
	}
}

// Faults stay armed with what is left of them.
func TestFaultsSurvive(t *testing.T) {
	r := newRig(t)
	r.stack(simulator.Stack{ID: "net"})
	r.routeAll()
	_, err := r.InjectDelivery(simulator.DeliveryFault{Kind: simulator.Drop, Times: 3})
	r.ok(err)
	first, err := r.InjectAPI(simulator.APIFault{Kind: simulator.RateLimited, Field: "stacks"})
	r.ok(err)
	_, err = r.Push("net", simulator.Commit{}, twoAdded) // QUEUED is dropped
	r.ok(err)
	r = r.restart()
	r.settle()
	want := []spacelift.RunState{"INITIALIZING", "PLANNING", "UNCONFIRMED"}
	if diff := cmp.Diff(want, r.hook.states()); diff != "" {
		t.Errorf("delivered (-want +got)\n%s", diff)
	}
	if a := r.graphql(`{ stacks { id } }`, nil, nil); a.Status != http.StatusTooManyRequests {
		t.Errorf("the API answered %d, want the armed 429", a.Status)
	}
	second, err := r.InjectAPI(simulator.APIFault{Kind: simulator.Slow})
	r.ok(err)
	if first == second {
		t.Errorf("two faults are called %s", first)
	}
}

// Logs are kept to their newest entries, but nothing unsent is forgotten.
func TestSnapshotBoundsItsLogs(t *testing.T) {
	r := newRig(t, func(o *simulator.Options) {
		o.HTTPClient = &http.Client{Transport: transport{http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}}
	})
	r.stack(simulator.Stack{ID: "late"})
	r.stack(simulator.Stack{ID: "net", Autodeploy: true})
	r.routeAll()
	_, err := r.InjectDelivery(simulator.DeliveryFault{Kind: simulator.Delay, Stack: "late", State: "QUEUED", Delay: simulator.Duration(time.Hour)})
	r.ok(err)
	late := r.push("late", twoAdded)
	for range 200 {
		r.push("net", twoAdded)
	}
	all := r.Deliveries()
	r = r.restart()
	kept := r.Deliveries()
	if len(all) != 1406 || len(kept) != 1001 || kept[0].Run.Run != late || kept[0].Outcome != simulator.Pending {
		t.Fatalf("%d of %d deliveries kept, the oldest of run %s", len(kept), len(all), kept[0].Run.Run)
	}
	if diff := cmp.Diff(all[len(all)-1000:], kept[1:]); diff != "" {
		t.Errorf("the newest entries (-want +got)\n%s", diff)
	}
	r.advance(time.Hour)
	if d := r.Deliveries()[0]; d.Outcome != simulator.Delivered {
		t.Errorf("the oldest delivery is %s", d.Outcome)
	}
}

// A webhook that is deleted and made again does not get what the old one was
// to be sent.
func TestDeletedWebhookStaysDeleted(t *testing.T) {
	r := newRig(t, func(o *simulator.Options) { o.RetrySpacing = time.Minute })
	r.hook.answer = func(int) int { return 503 }
	r.stack(simulator.Stack{ID: "net"})
	add := func() {
		r.ok(r.AddNamedWebhook(simulator.NamedWebhook{ID: "hook", Endpoint: r.hook.url, RetryOnFailure: true}))
	}
	add()
	r.ok(r.AddPolicy(simulator.Policy{ID: "all", Engine: simulator.RegoV1, Body: `package spacelift

webhook contains {"endpoint_id": "hook"} if input.run_updated.state == "QUEUED"
`}))
	r.push("net", twoAdded)
	r.graphql(`mutation { namedWebhooksIntegrationDelete(id: "hook") { id } }`, nil, nil)
	add()
	r = r.restart()
	r.advance(time.Hour)
	if got := len(r.hook.all()); got != 1 || r.Deliveries()[0].Outcome != simulator.Dropped {
		t.Errorf("%d requests, the delivery is %s", got, r.Deliveries()[0].Outcome)
	}
}

// Secrets have to be in a snapshot, and be nowhere else.
func TestSnapshotHoldsSecrets(t *testing.T) {
	r := newRig(t)
	r.ok(r.AddNamedWebhook(simulator.NamedWebhook{ID: "hook", Secret: "hush", Headers: map[string]string{"X-Team": "core"}}))
	r = r.restart()
	if keys := r.APIKeys(); len(keys) != 1 || keys[0].ID != "01KEY" || keys[0].Secret != "" {
		t.Errorf("keys %+v", keys)
	}
	if r.exchange("01KEY", "s3cret") == "" {
		t.Error("the key's secret is lost")
	}
	var shot struct {
		Webhooks []struct {
			Secret  string
			Headers map[string]string
		}
	}
	r.ok(json.Unmarshal(r.saved(), &shot))
	if len(shot.Webhooks) != 1 || shot.Webhooks[0].Secret != "hush" || shot.Webhooks[0].Headers["X-Team"] != "core" {
		t.Errorf("webhooks %+v", shot.Webhooks)
	}
	if slices.ContainsFunc(r.NamedWebhooks(), func(w simulator.NamedWebhook) bool { return w.Secret != "" }) {
		t.Error("the list of webhooks shows a secret")
	}
}
