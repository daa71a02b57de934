package simulator_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// transport hands requests to a handler without a network, which is what a
// synctest bubble needs.
type transport struct{ http.Handler }

func (h transport) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result(), nil
}

// Inside a bubble the real clock is fake, and a run takes no time to watch.
func TestInsideSynctest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hook := &receiver{answer: func(n int) int {
			if n == 0 {
				return 500
			}
			return 200
		}}
		sim := simulator.New(simulator.Options{HTTPClient: &http.Client{Transport: transport{hook}}, RetrySpacing: time.Minute})
		defer sim.Close()
		if err := sim.AddStack(simulator.Stack{ID: "net", Autodeploy: true}); err != nil {
			t.Fatal(err)
		}
		if err := sim.AddStackWebhook(simulator.StackWebhook{Stack: "net", Endpoint: "http://hook", RetryOnFailure: true}); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		id, err := sim.Push("net", simulator.Commit{}, twoAdded)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sim.WaitState(t.Context(), "net", id, spacelift.RunStateFinished); err != nil {
			t.Fatal(err)
		}
		if took, want := time.Since(start), 79700*time.Millisecond; took != want {
			t.Errorf("the run took %s, want the realistic %s", took, want)
		}
		synctest.Wait()
		want := []spacelift.RunState{"QUEUED", "QUEUED", "READY", "PREPARING", "INITIALIZING", "PLANNING", "APPLYING", "FINISHED"}
		if diff := cmp.Diff(want, hook.states()); diff != "" {
			t.Errorf("states (-want +got)\n%s", diff)
		}
	})
}

// Many concurrent clients, runs, faults and readers, on the real clock: every run
// ends, each is confirmed exactly once although everybody tries, and every
// state reaches the webhook in order.
func TestManyAtOnce(t *testing.T) {
	hook := newReceiver(t)
	sim := simulator.New(simulator.Options{Seed: 7, Phases: simulator.Instant()})
	t.Cleanup(sim.Close)
	r := &rig{Simulator: sim, t: t, hook: hook}
	r.AddAPIKey(simulator.APIKey{ID: "01KEY", Secret: "s3cret"})
	r.routeAll()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	token := r.exchange("01KEY", "s3cret")

	const stacks, each = 8, 5
	var confirmed atomic.Int32
	var wg sync.WaitGroup
	for i := range stacks {
		stack := spacelift.StackID(fmt.Sprintf("s%d", i))
		r.ok(r.AddStack(simulator.Stack{ID: stack}))
		wg.Go(func() {
			for range each {
				id, err := sim.Push(stack, simulator.Commit{}, twoAdded)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := sim.WaitState(ctx, stack, id, spacelift.RunStateUnconfirmed); err != nil {
					t.Error(err)
					return
				}
				var tries sync.WaitGroup
				for range 4 {
					tries.Go(func() {
						body := fmt.Sprintf(`{"query":"mutation { runConfirm(stack: \"%s\", run: \"%s\") { id } stack: __typename }"}`, stack, id)
						req := httptest.NewRequestWithContext(ctx, http.MethodPost, "/graphql", bytes.NewReader([]byte(body)))
						req.Header.Set("Authorization", "Bearer "+token)
						w := httptest.NewRecorder()
						sim.ServeHTTP(w, req)
						if !bytes.Contains(w.Body.Bytes(), []byte("errors")) {
							confirmed.Add(1)
						}
						sim.Stacks()
						sim.Deliveries()
					})
				}
				tries.Wait()
				if _, err := sim.WaitState(ctx, stack, id, spacelift.RunStateFinished); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	r.ok(sim.Flush(ctx))
	if got := int(confirmed.Load()); got != stacks*each || len(sim.Mutations("runConfirm")) != got {
		t.Errorf("%d confirmations succeeded and %d are recorded, want %d", got, len(sim.Mutations("runConfirm")), stacks*each)
	}
	perRun := map[spacelift.RunID][]spacelift.RunState{}
	for _, got := range hook.all() {
		perRun[got.Event.Run.ID] = append(perRun[got.Event.Run.ID], got.Event.State)
	}
	if len(perRun) != stacks*each {
		t.Errorf("received %d runs, want %d", len(perRun), stacks*each)
	}
	for id, states := range perRun {
		if !slices.Equal(states, fullCycle) {
			t.Errorf("run %s was received as %v", id, states)
		}
	}
}

// The same seed and the same script give the same account, ids included.
func TestSeedRepeatsEverything(t *testing.T) {
	play := func() []simulator.Delivery {
		r, _ := deliver(t, simulator.DeliveryFault{Kind: simulator.Duplicate, Probability: 0.4})
		log := r.Deliveries()
		for i := range log {
			log[i].URL = "" // the receivers' ports differ
		}
		return log
	}
	if diff := cmp.Diff(play(), play()); diff != "" {
		t.Errorf("the second time (-one +two)\n%s", diff)
	}
}

func TestCloseStopsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hook := &receiver{answer: func(int) int { return 500 }}
		sim := simulator.New(simulator.Options{HTTPClient: &http.Client{Transport: transport{hook}}})
		for _, err := range []error{
			sim.AddStack(simulator.Stack{ID: "net"}),
			sim.AddStackWebhook(simulator.StackWebhook{Stack: "net", Endpoint: "http://hook", RetryOnFailure: true}),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		id, err := sim.Push("net", simulator.Commit{}, twoAdded)
		if err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Second) // the bubble's time: between a failed attempt and its re-send
		sim.Close()
		before := len(hook.all())
		<-time.After(time.Hour)
		if after := len(hook.all()); after != before {
			t.Errorf("%d deliveries after Close", after-before)
		}
		run, err := sim.Run("net", id)
		if err != nil || run.State != spacelift.RunStateReady {
			t.Errorf("run is %s (%v), want it where Close found it", run.State, err)
		}
		if _, err := sim.Push("net", simulator.Commit{}, twoAdded); err == nil {
			t.Error("pushed to a closed simulator")
		}
	})
}

func TestWaitStateSaysHowItEnded(t *testing.T) {
	r := newRig(t)
	r.stack(simulator.Stack{ID: "net"})
	id := r.push("net", simulator.Plan{FailIn: "PLANNING"})
	if _, err := r.WaitState(t.Context(), "net", id, spacelift.RunStateFinished); err == nil || err.Error() != "wait for run "+string(id)+": it ended as FAILED" {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	waiting := r.push("net", twoAdded)
	if _, err := r.WaitState(ctx, "net", waiting, spacelift.RunStateFinished); err == nil {
		t.Error("no error although the context is done")
	}
}

func TestSlowAnswersTakeTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := simulator.New(simulator.Options{})
		defer sim.Close()
		sim.AddAPIKey(simulator.APIKey{ID: "01KEY", Secret: "s3cret"})
		if _, err := sim.InjectAPI(simulator.APIFault{Kind: simulator.Slow, Field: "apiKeyUser", Delay: simulator.Duration(9 * time.Second)}); err != nil {
			t.Fatal(err)
		}
		r := &rig{Simulator: sim, t: t}
		start := time.Now()
		r.exchange("01KEY", "s3cret")
		if took := time.Since(start); took != 9*time.Second {
			t.Errorf("took %s", took)
		}
		// A client that gives up before it is its turn has not done anything.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		req := httptest.NewRequestWithContext(ctx, http.MethodPost, "/graphql", bytes.NewReader([]byte(`{"query":"mutation { apiKeyUser(id: \"a\", secret: \"b\") { jwt } }"}`)))
		sim.ServeHTTP(httptest.NewRecorder(), req)
		requests := sim.Requests()
		if last := requests[len(requests)-1]; last.Executed || last.Status != 0 {
			t.Errorf("recorded %+v", last)
		}
	})
}
