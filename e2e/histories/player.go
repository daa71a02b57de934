package histories

import (
	"context"
	"fmt"
	"hash/fnv"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/spacelift/spaceliftapi"
	"github.com/gantryhq/gantry/workflows"
)

const (
	account = spacelift.Account("acme")
	stack   = spacelift.StackID("network-prod")
)

// begin is the start of the simulated account's clock.
var begin = time.Date(2026, 1, 1, 10, 0, 0, 0, time.UTC)

// story is one course that a run can take.
type story struct {
	name   string
	labels []string
	plan   spacelift.Delta
	script func(context.Context, *player) error

	// tick, when set, makes it a story of Reconcile: the history of that
	// execution is recorded, by its number in the story, from 1.
	tick int
}

// player plays a story: it moves a simulated run, notifies its execution, and
// waits until each notification has been processed.
type player struct {
	temporal client.Client
	queue    string
	sim      *simulator.Simulator
	clock    *simulator.ManualClock
	ref      spacelift.RunRef

	ticks                  []string // workflow ids of the executions of Reconcile
	next                   int      // the first state version without a notification
	notifications, signals int
}

// play plays the story with an execution of its own, and returns when that has
// ended.
func (s story) play(ctx context.Context, c client.Client) (*player, error) {
	// With a queue of its own, the previous story can't take this one's tasks.
	t := &player{temporal: c, queue: "gantry-" + s.name, clock: simulator.NewManualClock(begin)}
	phases := simulator.Phases{}
	for _, state := range spacelift.RunStates {
		phases[state] = time.Second
	}
	t.sim = simulator.New(simulator.Options{Account: account, Seed: seed(s.name), Clock: t.clock, Phases: phases}) //nolint:contextcheck // it ends with Close
	defer t.sim.Close()
	if err := t.sim.AddStack(simulator.Stack{ID: stack, Name: "network / prod", Labels: s.labels, Resources: 42}); err != nil {
		return nil, err
	}
	stopServing, api, err := t.serve(ctx)
	if err != nil {
		return nil, err
	}
	defer stopServing()

	rules, err := policy.Compile(configuration)
	if err != nil {
		return nil, err
	}
	w := worker.New(c, t.queue, worker.Options{Identity: identity})
	workflows.Register(w)
	w.RegisterActivity(&activities.Activities{
		Accounts:       map[spacelift.Account]activities.Spacelift{account: api},
		WebhookSecrets: map[spacelift.Account]func() string{account: func() string { return webhookSecret }},
		Definitions:    func() *policy.Definitions { return rules },
		Temporal:       c,
		Notifier:       silent{},
	})
	if err := w.Start(); err != nil {
		return nil, fmt.Errorf("start worker: %w", err)
	}
	defer w.Stop()

	run, err := t.sim.Push(stack, simulator.Commit{}, simulator.Plan{Delta: s.plan}) //nolint:contextcheck // as above
	if err != nil {
		return nil, err
	}
	t.ref = spacelift.RunRef{Account: account, Stack: stack, Run: run}
	if err := s.script(ctx, t); err != nil {
		return nil, err
	}
	if err := c.GetWorkflow(ctx, managed.ManageRunID(t.ref), "").Get(ctx, nil); err != nil {
		return nil, fmt.Errorf("wait for the execution: %w", err)
	}
	return t, nil
}

// seed returns a seed for ids that no other story has: they are part of an
// execution's id.
func seed(name string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name))
	return h.Sum64()
}

// serve serves the simulated account on a free port, and returns a client of it.
func (t *player) serve(ctx context.Context) (stop func(), api *spaceliftapi.Client, err error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	server := &http.Server{Handler: t.sim, ReadHeaderTimeout: 10 * time.Second}
	go server.Serve(listener) //nolint:errcheck // it ends with Close
	key := t.sim.AddAPIKey(simulator.APIKey{})
	api, err = spaceliftapi.NewClient(spaceliftapi.Config{
		Account: account, Endpoint: "http://" + listener.Addr().String(), Credentials: spaceliftapi.APIKey{ID: key.ID, Secret: key.Secret},
	})
	if err != nil {
		_ = server.Close()
		return nil, nil, err
	}
	return func() { _ = server.Close() }, api, nil
}

// until lets the run continue in Spacelift until it is in a state.
func (t *player) until(state spacelift.RunState) error {
	for range 100 {
		run, err := t.sim.Run(stack, t.ref.Run)
		if err != nil {
			return err
		}
		if run.State == state {
			return nil
		}
		t.clock.Advance(time.Second)
	}
	return fmt.Errorf("the run never reached %s", state)
}

// oneByOne lets the run continue until it is in a state, and sends a notification
// of each state on the way, except the lost ones, each in a signal of its own.
func (t *player) oneByOne(ctx context.Context, until spacelift.RunState, lost ...spacelift.RunState) error {
	for {
		run, err := t.sim.Run(stack, t.ref.Run)
		if err != nil {
			return err
		}
		for version := t.next; version < len(run.History); version++ {
			if slices.Contains(lost, run.History[version].State) {
				continue
			}
			if err := t.notify(ctx, version); err != nil {
				return err
			}
		}
		if run.State == until {
			return nil
		}
		if t.clock.Now().Sub(begin) > time.Hour {
			return fmt.Errorf("the run is in %s and never reached %s", run.State, until)
		}
		t.clock.Advance(time.Second)
	}
}

// notify sends the notifications of states, by version, in one signal, and
// waits until they are processed.
func (t *player) notify(ctx context.Context, versions ...int) error {
	return t.notifyBefore(ctx, versions, func() error { return nil })
}

// notifyBefore is notify with an action between the creation of the notifications
// and their arrival.
func (t *player) notifyBefore(ctx context.Context, versions []int, meanwhile func() error) error {
	run, err := t.sim.Run(stack, t.ref.Run)
	if err != nil {
		return err
	}
	var batch managed.RunEvents
	for _, v := range versions {
		batch.Events = append(batch.Events, notification(run.Run, v))
	}
	if err := meanwhile(); err != nil {
		return err
	}
	_, err = t.temporal.SignalWithStartWorkflow(ctx, managed.ManageRunID(t.ref), managed.RunEventsSignal, batch,
		client.StartWorkflowOptions{
			TaskQueue:             t.queue,
			WorkflowIDReusePolicy: enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
			TypedSearchAttributes: workflows.Typed(managed.StartAttributes(t.ref, batch.Events)),
			Memo:                  managed.StartMemo(t.ref, batch.Events, nil),
		}, managed.ManageRunType, managed.ManageRunInput{Run: t.ref})
	if err != nil {
		return fmt.Errorf("signal: %w", err)
	}
	t.notifications += len(versions)
	t.signals++
	newest := slices.Max(versions)
	t.next = max(t.next, newest+1)
	return t.shows(ctx, fmt.Sprintf("state version %d", newest), func(s managed.RunStatus) bool {
		// An end counts only once Spacelift's API has shown it.
		arrived := !s.LastEventAt.Before(batch.Events[len(batch.Events)-1].ReceivedAt)
		return arrived || slices.ContainsFunc(s.States, func(e managed.StateEntry) bool { return e.StateVersion == newest })
	})
}

// timeline waits until the run's timeline contains a text.
func (t *player) timeline(ctx context.Context, text string) error {
	return t.shows(ctx, "the timeline entry "+text, func(s managed.RunStatus) bool {
		return slices.ContainsFunc(s.Timeline, func(e managed.TimelineEntry) bool { return strings.Contains(e.Summary, text) })
	})
}

// shows waits until the execution's status is as wanted.
func (t *player) shows(ctx context.Context, what string, wanted func(managed.RunStatus) bool) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var s managed.RunStatus
		answer, err := t.temporal.QueryWorkflow(ctx, managed.ManageRunID(t.ref), "", managed.StatusQuery)
		if err == nil {
			err = answer.Get(&s)
		}
		if err != nil {
			return fmt.Errorf("query status: %w", err)
		}
		if wanted(s) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s, the run shows %s (%d) in phase %s: %w", what, s.State, s.StateVersion, s.Phase, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// history returns Temporal's history of an execution.
func (t *player) history(ctx context.Context, id string) (*history.History, error) {
	var all history.History
	events := t.temporal.GetWorkflowHistory(ctx, id, "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		e, err := events.Next()
		if err != nil {
			return nil, err
		}
		all.Events = append(all.Events, e)
	}
	return &all, nil
}

// notification returns Spacelift's notification of a run's state, in the form in
// which Gantry forwards it.
func notification(run spacelift.Run, version int) managed.RunEvent {
	entered := run.History[version]
	e := managed.RunEvent{
		Run: run.Ref, Type: run.Type, State: entered.State, StateVersion: version, At: entered.At, Note: entered.Note,
		Branch: run.Branch, Commit: run.Commit, TriggeredBy: run.TriggeredBy,
		StackName: run.StackName, Labels: spacelift.OurLabels(run.StackLabels),
		Source: managed.SourceWebhook, ReceivedAt: entered.At.Add(time.Second),
	}
	planning := slices.IndexFunc(run.History, func(t spacelift.Transition) bool { return t.State == spacelift.RunStatePlanning })
	if planning >= 0 && version > planning {
		e.Delta = run.Delta
	}
	return e
}
