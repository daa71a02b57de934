package workflows_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/freeze"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/decide/reconcile"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/spacelift/spaceliftapi"
	"github.com/gantryhq/gantry/workflows"
)

const (
	interval      = 2 * time.Minute
	webhookSecret = "the-secret"
)

// opened is the time at which the account's stories begin: in the future like started, but
// within what a GraphQL Int can count in seconds.
var opened = time.Date(2037, 1, 1, 10, 0, 0, 0, time.UTC)

// anyArg matches any argument in the SDK's mocks.
const anyArg = "mock.Anything"

// accountRig is a simulated account, the executions that follow its runs, and
// Reconcile, tick by tick.
type accountRig struct {
	*testing.T
	sim    *simulator.Simulator
	clock  *simulator.ManualClock
	client *spaceliftapi.Client
	key    string
	in     reconcile.Input
	last   *reconcile.Report
	people people

	mu      sync.Mutex
	known   map[string]managed.RunStatus  // by workflow id
	lists   map[string]spacelift.RunState // what lists show instead
	knows   map[string]string             // the fingerprint that lists show instead
	stuck   map[string]bool               // executions that Temporal marks as failing
	lingers map[string]bool               // executions that are open though they know an end
	freezes []policy.Freeze
	rules   *policy.Definitions // the configuration of the worker; nil for none
	busy    bool                // runs are being notified of freezes
	mute    map[string]bool     // executions that do not answer
	away    bool                // Temporal's lists fail
	asked   int                 // queries of executions
	adopted []managed.ManageRunInput
	listed  []temporal.SearchAttributes // that the adopted began with
	sent    map[string][]managed.RunEvents
	refresh map[string]int // how often executions were notified of freezes
}

func newAccountRig(t *testing.T, stacks ...simulator.Stack) *accountRig {
	t.Helper()
	r := &accountRig{
		T: t, clock: simulator.NewManualClock(opened), in: reconcile.Input{Account: "acme", Interval: interval, Webhook: "gantry", Reenable: true},
		known: map[string]managed.RunStatus{}, lists: map[string]spacelift.RunState{}, mute: map[string]bool{}, sent: map[string][]managed.RunEvents{},
		knows: map[string]string{}, lingers: map[string]bool{}, stuck: map[string]bool{}, refresh: map[string]int{},
	}
	r.sim = simulator.New(simulator.Options{Account: "acme", Seed: 1, Clock: r.clock, Phases: simulator.Instant()})
	t.Cleanup(r.sim.Close)
	key := r.sim.AddAPIKey(simulator.APIKey{})
	r.key = key.ID
	r.must(r.sim.AddNamedWebhook(simulator.NamedWebhook{
		ID: "gantry", Name: "Gantry", Endpoint: "https://gantry.example/webhook", Secret: webhookSecret, Labels: []string{"gantry"}, RetryOnFailure: true,
	}))
	for _, s := range stacks {
		r.must(r.sim.AddStack(s))
	}
	var err error
	r.client, err = spaceliftapi.NewClient(spaceliftapi.Config{
		Account: "acme", Endpoint: "http://spacelift", HTTPClient: &http.Client{Transport: inProcess{r.sim}},
		Credentials: spaceliftapi.APIKey{ID: key.ID, Secret: key.Secret}, Timeout: 10 * time.Second,
	})
	r.must(err)
	return r
}

// inBubble gives a test a rig in a synctest bubble, where the pauses between the
// client's attempts take no time.
func inBubble(t *testing.T, test func(t *testing.T, r *accountRig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newAccountRig(t)) })
}

// inProcess hands requests to a handler without a network, so they also work in
// a synctest bubble.
type inProcess struct{ http.Handler }

func (h inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result(), nil
}

func (r *accountRig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// push starts a run whose plan has changes, and lets time pass until nothing
// about it is new.
func (r *accountRig) push(stack spacelift.StackID) spacelift.RunRef {
	r.Helper()
	id, err := r.sim.Push(stack, simulator.Commit{}, simulator.Plan{Delta: spacelift.Delta{Added: 1}})
	r.must(err)
	r.clock.Advance(time.Minute)
	return spacelift.RunRef{Account: "acme", Stack: stack, Run: id}
}

// pushes starts a run on each of n stacks of the same labels.
func (r *accountRig) pushes(n int, labels ...string) (refs []spacelift.RunRef) {
	r.Helper()
	for i := range n {
		stack := spacelift.StackID(fmt.Sprintf("stack-%03d", i))
		r.must(r.sim.AddStack(simulator.Stack{ID: stack, Labels: labels}))
		id, err := r.sim.Push(stack, simulator.Commit{}, simulator.Plan{Delta: spacelift.Delta{Added: 1}})
		r.must(err)
		refs = append(refs, spacelift.RunRef{Account: "acme", Stack: stack, Run: id})
	}
	r.clock.Advance(time.Minute)
	return refs
}

// discard ends a run that waits for confirmation.
func (r *accountRig) discard(ref spacelift.RunRef) {
	r.Helper()
	r.must(r.sim.Discard("jane", ref.Stack, ref.Run, ""))
	r.clock.Advance(time.Minute)
}

// follows makes an execution that knows all that happened with a run so far,
// but for some states.
func (r *accountRig) follows(ref spacelift.RunRef, but ...spacelift.RunState) {
	r.Helper()
	now, err := r.sim.Run(ref.Stack, ref.Run)
	r.must(err)
	var s managed.RunStatus
	for _, h := range now.History {
		if !slices.Contains(but, h.State) {
			s = inState(s, h.State, h.StateVersion, managed.SourceWebhook)
		}
	}
	s.Labels, s.NeedsApproval, s.Block = spacelift.OurLabels(now.StackLabels), now.NeedsApproval, now.Brakes.ConfirmBlock(now.Ref.Run)
	r.known[managed.ManageRunID(ref)] = s
}

// set changes what the execution of a run says.
func (r *accountRig) set(ref spacelift.RunRef, change func(*managed.RunStatus)) {
	id := managed.ManageRunID(ref)
	s := r.known[id]
	change(&s)
	r.known[id] = s
}

// waits makes the execution of a run be in a phase.
func (r *accountRig) waits(ref spacelift.RunRef, in managed.Phase) {
	r.set(ref, func(s *managed.RunStatus) { s.Phase = in })
}

func inState(s managed.RunStatus, state spacelift.RunState, version int, from managed.EventSource) managed.RunStatus {
	s.States = append(slices.DeleteFunc(slices.Clone(s.States), func(e managed.StateEntry) bool {
		return e.State == state && e.StateVersion == version
	}), managed.StateEntry{State: state, StateVersion: version, Source: from})
	return newest(s)
}

// newest makes the newest state that is known the run's.
func newest(s managed.RunStatus) managed.RunStatus {
	s.State, s.StateVersion = "", -1
	for _, e := range s.States {
		if later := e.State.Terminal() || !s.State.Terminal() && e.StateVersion >= s.StateVersion; later {
			s.State, s.StateVersion = e.State, e.StateVersion
		}
	}
	switch {
	case s.State.Terminal():
		s.Phase = managed.PhaseDone
	case s.Phase == "" || s.Phase == managed.PhaseDone:
		s.Phase = managed.PhaseQueued
	}
	return s
}

// environment is one for the next tick.
func (r *accountRig) environment() *testsuite.TestWorkflowEnvironment {
	r.Helper()
	env := newEnvironment()
	env.SetStartTime(r.clock.Now())
	if r.last != nil {
		env.SetLastCompletionResult(*r.last)
	}
	env.RegisterWorkflow(workflows.Reconcile)
	env.RegisterActivity(&activities.Activities{
		Accounts:       map[spacelift.Account]activities.Spacelift{"acme": r.client},
		WebhookSecrets: map[spacelift.Account]func() string{"acme": func() string { return webhookSecret }},
		Temporal:       r,
		Notifier:       &r.people,
		Definitions:    r.definitions,
	})
	return env
}

func (r *accountRig) definitions() *policy.Definitions { return r.rules }

// tick runs Reconcile once, as its schedule does, and lets the interval pass.
func (r *accountRig) tick() reconcile.Report {
	r.Helper()
	env := r.environment()
	env.RegisterWorkflowWithOptions(r.adopt, workflow.RegisterOptions{Name: managed.ManageRunType})
	env.OnSignalExternalWorkflow(anyArg, anyArg, anyArg, anyArg, anyArg).Return(r.signal).Maybe()
	env.ExecuteWorkflow(workflows.Reconcile, r.in)
	var report reconcile.Report
	r.must(env.GetWorkflowResult(&report))
	r.last = &report
	r.clock.Advance(interval)
	return report
}

// adopt is ManageRun as far as Reconcile is concerned.
func (r *accountRig) adopt(ctx workflow.Context, in managed.ManageRunInput) (managed.RunStatus, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.adopted = append(r.adopted, in)
	r.listed = append(r.listed, workflow.GetTypedSearchAttributes(ctx))
	s := managed.RunStatus{Run: in.Run}
	for _, e := range in.Events {
		s = inState(s, e.State, e.StateVersion, e.Source)
		s.Labels, s.NeedsApproval, s.Block = e.Labels, e.NeedsApproval, e.Block
	}
	r.known[managed.ManageRunID(in.Run)] = s
	return s, nil
}

func (r *accountRig) signal(_, id, _, name string, arg any) error {
	batch, _ := arg.(managed.RunEvents)
	r.mu.Lock()
	defer r.mu.Unlock()
	s, ok := r.known[id]
	if !ok || s.Phase == managed.PhaseDone && !r.lingers[id] || name != managed.RunEventsSignal {
		return errors.New("unknown external workflow execution")
	}
	for _, e := range batch.Events {
		s = inState(s, e.State, e.StateVersion, e.Source)
		s.Labels, s.NeedsApproval, s.Block = e.Labels, e.NeedsApproval, e.Block
	}
	if len(batch.Denied) > 0 {
		s.States = slices.DeleteFunc(s.States, func(e managed.StateEntry) bool {
			return slices.ContainsFunc(batch.Denied, func(d managed.StateKey) bool { return d.State == e.State && d.StateVersion == e.StateVersion })
		})
		s = newest(s)
	}
	if batch.GiveUp != "" {
		s.Phase = managed.PhaseDone
	}
	r.known[id] = s
	r.sent[id] = append(r.sent[id], batch)
	return nil
}

const (
	openRuns    = "WorkflowType = 'ManageRun' AND GantryAccount = 'acme' AND ExecutionStatus = 'Running'"
	waitingRuns = "WorkflowType = 'ManageRun' AND GantryAccount = 'acme' AND GantryPhase IN ('waiting', 'holding') AND ExecutionStatus = 'Running'"
	stuckOnes   = "(GantryAccount = 'acme' OR WorkflowId = 'freezes/acme' OR WorkflowId STARTS_WITH 'retry/acme/')" +
		" AND ExecutionStatus = 'Running' AND TemporalReportedProblems IS NOT NULL"
)

// ListWorkflow is Temporal's visibility store.
func (r *accountRig) ListWorkflow(_ context.Context, req *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.away {
		return nil, serviceerror.NewUnavailable("temporal is away")
	}
	if strings.Contains(req.GetQuery(), "'Chain'") {
		return &workflowservice.ListWorkflowExecutionsResponse{}, nil // no chain is open
	}
	var page workflowservice.ListWorkflowExecutionsResponse
	switch req.GetQuery() {
	case openRuns, waitingRuns:
	case stuckOnes:
		for _, id := range slices.Sorted(maps.Keys(r.stuck)) {
			page.Executions = append(page.Executions, &workflowpb.WorkflowExecutionInfo{Execution: &commonpb.WorkflowExecution{WorkflowId: id}})
		}
		return &page, nil
	default:
		return nil, serviceerror.NewInvalidArgument("the query is " + req.GetQuery())
	}
	for _, id := range slices.Sorted(maps.Keys(r.known)) {
		s := r.known[id]
		waits := s.Phase == managed.PhaseWaiting || s.Phase == managed.PhaseHolding
		if s.Phase == managed.PhaseDone && !r.lingers[id] || req.GetQuery() == waitingRuns && !waits {
			continue
		}
		state := s.State
		if lagging, ok := r.lists[id]; ok {
			state = lagging
		}
		fingerprint := policy.Facts{State: s.State, Labels: s.Labels, NeedsApproval: s.NeedsApproval, Block: s.Block}.Fingerprint()
		if s.Gate != nil && waits {
			fingerprint += "/" + s.Gate.Fingerprint()
		}
		if lagging, ok := r.knows[id]; ok {
			fingerprint = lagging
		}
		fields := map[string]*commonpb.Payload{}
		for key, value := range map[string]string{
			managed.AttrRunState: string(state), managed.AttrPhase: string(s.Phase), managed.AttrFingerprint: fingerprint,
		} {
			payload, err := converter.GetDefaultDataConverter().ToPayload(value)
			if err != nil {
				return nil, err
			}
			fields[key] = payload
		}
		page.Executions = append(page.Executions, &workflowpb.WorkflowExecutionInfo{
			Execution: &commonpb.WorkflowExecution{WorkflowId: id}, SearchAttributes: &commonpb.SearchAttributes{IndexedFields: fields},
		})
	}
	return &page, nil
}

// QueryWorkflow asks an execution, open or closed.
func (r *accountRig) QueryWorkflow(_ context.Context, id, _, query string, _ ...any) (converter.EncodedValue, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var value any
	switch s, ok := r.known[id]; {
	case id == freeze.ID("acme") && query == freeze.Query:
		value = r.freezes
	case id == freeze.ID("acme") && query == freeze.NotifyingQuery:
		value = r.busy
	case r.mute[id]:
		r.asked++
		return nil, serviceerror.NewQueryFailed("the execution is stuck")
	case !ok || query != managed.StatusQuery:
		r.asked++
		return nil, serviceerror.NewNotFound("no execution " + id)
	default:
		r.asked++
		value = s
	}
	payloads, err := converter.GetDefaultDataConverter().ToPayloads(value)
	return encoded{payloads}, err
}

// SignalWorkflow makes an execution look at its gate. No tick signals anything
// else from an activity.
func (r *accountRig) SignalWorkflow(_ context.Context, id, _, _ string, arg any) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if batch, ok := arg.(map[string]any); !ok || batch["rulesChanged"] != true {
		return serviceerror.NewUnimplemented(fmt.Sprintf("signal to %s: %+v", id, arg))
	}
	r.refresh[id]++
	s := r.known[id]
	gate := (*policy.Definitions)(nil).Gate(policy.Policy{}, strings.Split(id, "/")[2], r.freezes, r.clock.Now())
	s.Gate = &gate
	r.known[id] = s
	return nil
}

type encoded struct{ payloads *commonpb.Payloads }

func (encoded) HasValue() bool { return true }
func (e encoded) Get(into any) error {
	return converter.GetDefaultDataConverter().FromPayloads(e.payloads, into)
}

// calls counts what the API was asked, but for tokens, and how much of that was
// about the webhook.
func (r *accountRig) calls() (all, webhook int) {
	for _, q := range r.sim.Requests() {
		if !slices.Contains(q.Fields, "apiKeyUser") {
			all++
		}
		if slices.ContainsFunc(q.Fields, func(f string) bool { return strings.HasPrefix(f, "namedWebhook") }) {
			webhook++
		}
	}
	return all, webhook
}

// apiCalls counts what the API was asked.
func (r *accountRig) apiCalls() int {
	all, _ := r.calls()
	return all
}

// did is a summary of a tick, for comparison. Calls are those to list and read runs.
type did struct {
	Outcome                            reconcile.Outcome
	Adopted, Repaired, Finished, Calls int
}

// ticks runs Reconcile and checks what it did.
func (r *accountRig) ticks(want did) reconcile.Report {
	r.Helper()
	before, watched := r.calls()
	report := r.tick()
	after, watches := r.calls()
	if got := (did{report.Outcome, report.Adopted, report.Repaired, report.Finished, after - before - (watches - watched)}); got != want {
		r.Errorf("the tick did %+v, want %+v (%s)", got, want, report.Reason)
	}
	if made := after - before; made != report.APICalls {
		r.Errorf("the report says %d API calls, Spacelift saw %d", report.APICalls, made)
	}
	return report
}

// finds checks which findings a report holds.
func (r *accountRig) finds(report reconcile.Report, kinds ...reconcile.FindingKind) {
	r.Helper()
	var got []reconcile.FindingKind
	for _, f := range report.Findings {
		got = append(got, f.Kind)
		if f.Summary == "" || f.Fix == "" || f.Since.IsZero() {
			r.Errorf("finding %+v does not say all there is to say", f)
		}
	}
	if !slices.Equal(got, kinds) {
		r.Errorf("found %v, want %v", got, kinds)
	}
}

// signaledStates returns the states that an execution was signaled.
func (r *accountRig) signaledStates(ref spacelift.RunRef) string {
	var list []string
	for _, batch := range r.sent[managed.ManageRunID(ref)] {
		for _, e := range batch.Events {
			list = append(list, string(e.State))
		}
	}
	return strings.Join(list, " ")
}
