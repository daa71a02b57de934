package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/gantryhq/gantry/decide/reconcile"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// kills counts the times that TestKill kills Gantry. With SOAK=10m in the
// environment it continues for at least that long.
const kills = 20

// Gantry is killed under load again and again. Afterwards Temporal has every event
// that was answered 202, and every plan was confirmed once.
func TestKill(t *testing.T) {
	w := newWorld(t)
	load := newLoad(w, 30)
	soak, _ := time.ParseDuration(os.Getenv("SOAK"))
	end := time.Now().Add(soak)
	for round := 0; round < kills || time.Now().Before(end); round++ {
		p := w.serve()
		ctx, stop := context.WithCancel(t.Context())
		var senders sync.WaitGroup
		for range 4 {
			senders.Go(func() { load.send(ctx) })
		}
		load.waitFor(20 + rand.IntN(60))
		p.Kill()
		stop()
		senders.Wait()
	}
	w.serve()
	load.check()
	t.Logf("%d events acknowledged", len(load.accepted))
}

// While Temporal is down, the webhook answers as usual and /readyz says degraded, even
// before the first event. When Temporal is back, every accepted event arrives.
func TestTemporalIsAway(t *testing.T) {
	w := newWorld(t)
	w.serve()
	w.temporal.Stop()
	degraded := func(when string, enough func(api.Readiness) bool) {
		w.eventually("readyz says degraded "+when, func(ctx context.Context) error {
			r, err := w.client.GetReadinessWithResponse(ctx)
			if err == nil && (r.JSON200 == nil || r.JSON200.Status != api.ReadinessStatusDegraded || !enough(*r.JSON200)) {
				err = fmt.Errorf("%d %s", r.StatusCode(), r.Body)
			}
			return err
		})
	}
	degraded("before an event", func(r api.Readiness) bool { return r.Inbox.Pending == 0 && r.Forwarding.DownSince != nil })
	load := newLoad(w, 5)
	ctx, stop := context.WithCancel(t.Context())
	var senders sync.WaitGroup
	senders.Go(func() { load.send(ctx) })
	load.waitFor(200)
	stop()
	senders.Wait()
	degraded("with events", func(r api.Readiness) bool { return r.Inbox.Pending > 0 })
	if r, err := w.client.ListRunsWithResponse(t.Context(), nil); err != nil || r.StatusCode() != http.StatusServiceUnavailable {
		t.Errorf("listing runs without Temporal: %v %s", err, r.Body)
	}
	w.startTemporal()
	load.check()
}

// Gantry starts without Temporal, accepts events, and forwards them once Temporal
// is up.
func TestStartWithoutTemporal(t *testing.T) {
	w := newWorld(t)
	w.temporal.Stop()
	w.serve()
	load := newLoad(w, 1)
	ctx, stop := context.WithCancel(t.Context())
	var senders sync.WaitGroup
	senders.Go(func() { load.send(ctx) })
	load.waitFor(5)
	stop()
	senders.Wait()
	w.startTemporal()
	load.check()
}

// A full disk is a 503, and no accepted event is lost. When there is space again,
// Gantry accepts events without a restart.
func TestDiskFull(t *testing.T) {
	w := newWorld(t)
	p := w.serve()
	status, answer := w.deliver(w.notification("network-prod", "01KDXBEFORE000000000000000", "QUEUED", 0))
	if status != http.StatusAccepted {
		t.Fatalf("before: %d %s", status, answer)
	}
	p.limitFiles(1) // no file may grow
	body := w.notification("network-prod", "01KDXFULL00000000000000000", "QUEUED", 0)
	padding := strings.Repeat("x", 900<<10) // more than any room a store may have set aside
	big := strings.Replace(body, `"account"`, `"padding":"`+padding+`","account"`, 1)
	w.eventually("it answers 503", func(context.Context) error {
		if status, answer := w.deliver(big); status != http.StatusServiceUnavailable || !strings.Contains(answer, "not-stored") {
			// There was still room for this one; try another event.
			big = strings.Replace(big, `"stateVersion":`, `"stateVersion":1`, 1)
			return fmt.Errorf("%d %.200s", status, answer)
		}
		return nil
	})
	r, err := w.client.GetReadinessWithResponse(t.Context())
	w.must(err)
	if r.StatusCode() != http.StatusServiceUnavailable || r.HTTPResponse.Header.Get("Retry-After") == "" {
		t.Errorf("readyz says %d %s", r.StatusCode(), r.Body)
	}
	p.limitFiles(unix.RLIM_INFINITY)
	w.eventually("it accepts again", func(context.Context) error {
		if status, answer := w.deliver(body); status != http.StatusAccepted {
			return fmt.Errorf("%d %s", status, answer)
		}
		return nil
	})
	w.phase("network-prod", "01KDXBEFORE000000000000000", api.PhaseQueued)
	w.phase("network-prod", "01KDXFULL00000000000000000", api.PhaseQueued)
}

// floodEvents are the events of TestSignedFlood, each of a made-up run. Gantry starts 2,000
// new runs of an account immediately, then ten a second.
const floodEvents, firstStarts, startsPerSecond = 50_000, 2_000, 10

// Somebody who knows the webhook secret sends events of made-up runs. Gantry stores all
// of them, starts some, which it asks Spacelift about, and says that the others wait.
// Meanwhile people decide runs that it follows already, and those continue.
func TestSignedFlood(t *testing.T) {
	w := newWorld(t, twoApprove)
	people, _ := w.servePeople("")
	id := w.change(twoApprove.ID, 1)
	w.phase(twoApprove.ID, id, api.PhaseWaiting)
	before, began := len(w.spacelift.Requests()), time.Now()
	flooded := make(chan error, 1)
	var sent atomic.Int64
	go func() { flooded <- w.flood(&sent) }()
	w.eventually("the flood is under way", func(context.Context) error {
		if n := sent.Load(); n < floodEvents/10 {
			return fmt.Errorf("%d events were accepted", n)
		}
		return nil
	})
	w.counts(people.bob, twoApprove.ID, id, api.VerdictApprove)
	w.counts(people.carol, twoApprove.ID, id, api.VerdictApprove)
	if n := sent.Load(); n == floodEvents {
		t.Errorf("the flood was over before the run was decided")
	}
	w.phase(twoApprove.ID, id, api.PhaseDone)
	if run, err := w.spacelift.Run(twoApprove.ID, id); err != nil || run.State != spacelift.RunStateFinished {
		t.Errorf("the run is %s in Spacelift, %v", run.State, err)
	}
	w.must(<-flooded)
	w.account("a finding says that new runs wait", func(a api.Account) bool { return finding(a, reconcile.FindingNewRunsDelayed) })
	r, err := w.client.GetReadinessWithResponse(t.Context())
	w.must(err)
	most := firstStarts + startsPerSecond*(1+int(time.Since(began).Seconds()))
	if r.JSON200 == nil || r.JSON200.Inbox.Pending < floodEvents-most {
		t.Errorf("readyz: %d %s, want %d events or more to wait", r.StatusCode(), r.Body, floodEvents-most)
	}
	if calls := len(w.spacelift.Requests()) - before; calls > most+100 { // of the real run, and of lists
		t.Errorf("Gantry called Spacelift %d times for %d made-up runs, %d of which it may have started", calls, floodEvents, most)
	}
}

// flood sends events of made-up runs over some connections, and counts the accepted ones.
func (w *world) flood(accepted *atomic.Int64) error {
	const connections, id = 32, "01KDXFORGED000000000000000"
	c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections}}
	defer c.CloseIdleConnections()
	template := w.notification(twoApprove.ID, id, spacelift.RunStateUnconfirmed, 5)
	var senders errgroup.Group
	senders.SetLimit(connections)
	for i := range floodEvents {
		senders.Go(func() error {
			body := strings.Replace(template, id, fmt.Sprintf("01KDXFORGED%015d", i), 1)
			req, err := w.signed(w.t.Context(), body)
			if err != nil {
				return err
			}
			res, err := c.Do(req)
			if err != nil {
				return err
			}
			answer, err := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if err == nil && res.StatusCode != http.StatusAccepted {
				err = fmt.Errorf("event %d: %d %s", i, res.StatusCode, answer)
			}
			accepted.Add(1)
			return err
		})
	}
	return senders.Wait()
}

// limitFiles bounds how large the process may make its files.
func (p *process) limitFiles(bytes uint64) {
	p.t.Helper()
	if err := unix.Prlimit(p.Cmd.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: bytes, Max: unix.RLIM_INFINITY}, nil); err != nil {
		p.t.Fatal(err)
	}
}

// load sends the events of many runs repeatedly and in any order, and records the
// acknowledged ones.
type load struct {
	w      *world
	bodies []loadBody

	mu       sync.Mutex
	accepted map[string]loadBody // by identity
	more     chan struct{}
}

type loadBody struct {
	run     runID
	state   spacelift.RunState
	version int
	body    string
}

// newLoad prepares stacks whose runs wait for confirmation, and the
// notifications that lead there. Spacelift itself sends none of them.
func newLoad(w *world, runs int) *load {
	l := &load{w: w, accepted: map[string]loadBody{}, more: make(chan struct{}, 1)}
	states := []spacelift.RunState{"QUEUED", "READY", "PREPARING", "INITIALIZING", "PLANNING", "UNCONFIRMED"}
	for i := range runs {
		stack := spacelift.StackID(fmt.Sprintf("load-%d", i))
		w.must(w.spacelift.AddStack(simulator.Stack{ID: stack, Labels: []string{"gantry:managed", "gantry:confirm=auto"}}))
	}
	w.must(w.spacelift.Flush(w.t.Context()))
	w.silence()
	for i := range runs {
		stack := spacelift.StackID(fmt.Sprintf("load-%d", i))
		id := w.push(stack, 1)
		_, err := w.spacelift.WaitState(w.t.Context(), stack, id, spacelift.RunStateUnconfirmed)
		w.must(err)
		run, err := w.spacelift.Run(stack, id)
		w.must(err)
		for version, state := range states {
			body := strings.NewReplacer("9f2c1d7e4b8a06f35c21de90ab7741f6c3e85d12", run.Commit.Hash).
				Replace(w.notification(stack, id, state, version))
			l.bodies = append(l.bodies, loadBody{id, state, version, body})
		}
	}
	return l
}

// silence switches the named webhook off: from here on only the test notifies.
func (w *world) silence() {
	w.t.Helper()
	_, err := w.spacelift.InjectDelivery(simulator.DeliveryFault{Kind: simulator.Drop})
	w.must(err)
}

// send delivers until ctx ends. Refused connections are part of the story.
func (l *load) send(ctx context.Context) {
	for ctx.Err() == nil {
		b := l.bodies[rand.IntN(len(l.bodies))]
		req, err := l.w.signed(ctx, b.body)
		if err != nil {
			panic(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			continue
		}
		var receipt api.Receipt
		err = json.NewDecoder(res.Body).Decode(&receipt)
		res.Body.Close()
		if err != nil || res.StatusCode != http.StatusAccepted {
			continue
		}
		l.mu.Lock()
		l.accepted[fmt.Sprintf("%s/%s/%d", b.run, b.state, b.version)] = b
		l.mu.Unlock()
		select {
		case l.more <- struct{}{}:
		default:
		}
	}
}

// waitFor blocks until some more answers came.
func (l *load) waitFor(answers int) {
	l.w.t.Helper()
	timeout := time.After(patience)
	for range answers {
		select {
		case <-l.more:
		case <-timeout:
			l.w.t.Fatalf("fewer than %d answers within %s", answers, patience)
		}
	}
}

// check checks that every acknowledged event has arrived, once.
func (l *load) check() {
	l.w.t.Helper()
	byRun := map[runID][]loadBody{}
	for _, b := range l.accepted {
		byRun[b.run] = append(byRun[b.run], b)
	}
	for run, events := range byRun {
		stack := spacelift.StackID("")
		var n struct {
			Stack struct {
				ID spacelift.StackID `json:"id"`
			} `json:"stack"`
		}
		l.w.must(json.Unmarshal([]byte(events[0].body), &n))
		stack = n.Stack.ID
		l.w.eventually(fmt.Sprintf("run %s has all its events", run), func(ctx context.Context) error {
			got, err := l.w.run(ctx, stack, run)
			if err != nil {
				return err
			}
			for _, want := range events {
				count := 0
				for _, s := range got.States {
					if s.State == string(want.state) && s.StateVersion == want.version {
						count++
					}
				}
				if count != 1 {
					return fmt.Errorf("%s %d is there %d times", want.state, want.version, count)
				}
			}
			unconfirmed := slices.ContainsFunc(events, func(b loadBody) bool { return b.state == "UNCONFIRMED" })
			now, err := l.w.spacelift.Run(stack, run)
			if err == nil && unconfirmed && now.State == spacelift.RunStateUnconfirmed {
				err = errors.New("it is still UNCONFIRMED")
			}
			return err
		})
	}
	confirmed := map[string]int{}
	for _, m := range l.w.spacelift.Mutations("runConfirm") {
		if m.Executed {
			confirmed[fmt.Sprint(m.Arguments["run"])]++
		}
	}
	for run, n := range confirmed {
		if n != 1 {
			l.w.t.Errorf("run %s was confirmed %d times", run, n)
		}
	}
}
