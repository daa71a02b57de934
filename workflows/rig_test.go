package workflows_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/workflows"
)

var (
	run = spacelift.RunRef{Account: "acme", Stack: "network-prod", Run: "01KDX3V4T8Q2M5N7P9R1S3T5V7"}
	// Stories play in the future: the SDK measures the deadlines of local
	// activities by the real clock from a start in the story's time.
	started = time.Date(2090, 1, 1, 10, 0, 0, 0, time.UTC)

	auto   = []string{"env:prod", "gantry:confirm=auto", "gantry:managed"}
	manual = []string{"env:prod", "gantry:managed"}
)

// rig plays a story to ManageRun: a run in Spacelift moves, notifications of it
// arrive or don't, people act, Spacelift's API answers or doesn't.
type rig struct {
	*testing.T
	activities.Spacelift // ManageRun makes no other calls than those below
	env                  *testsuite.TestWorkflowEnvironment

	world world

	mu      sync.Mutex // activities call from goroutines of their own
	truth   spacelift.Run
	away    bool  // the API is not reachable
	broken  error // what the API answers to everything
	refuses error // what the API answers to confirmations
	loses   int   // how many answers to confirmations get lost
	lags    bool  // reads show the state before the newest
	shifts  bool  // the plan has another size whenever it is read
	leaves  int   // after how many more readings the API is away; 0: it stays

	deafToConfirms, deafToDiscards, deafToStops bool     // it is accepted, and changes nothing
	moreReviews                                 int      // how many its approval policy wants beside Gantry's
	confirmed                                   []string // notes of the confirmations that took effect
	asked                                       int      // confirmations that were sent, whatever became of them
	acted                                       []string // what else took effect in Spacelift, as "verb: note"
	log                                         string   // of the phase that failed
	updates                                     int      // that were sent
	checks                                      []func() // see later
	onConfirm                                   func(planVersion int)
	retryOf                                     *managed.RetryOf
	reads                                       int
	changes                                     []spacelift.Resource // of the plan; nil: as its counts say
	counts                                      *spacelift.Delta     // of the plan; nil: made up
	unlisted                                    bool                 // the API does not answer what the plan changes
	listed                                      int                  // how often the plan's resources were read

	others []spacelift.Stack // managed stacks of the account beside the run's own
	mute   bool              // the API does not list stacks

	parents map[spacelift.StackID]spacelift.Run // the newest run of stacks that go first
	queued  []spacelift.RunLine                 // runs of the run's stack that were triggered since
	listLag time.Duration                       // the answer to the first of those gets lost, and lists show them after this time

	acts *activities.Activities // what another configuration is given to
}

func newRig(t *testing.T, labels []string) *rig {
	t.Helper()
	r := &rig{T: t, env: newEnvironment()}
	r.truth = spacelift.Run{
		Ref: run, Type: spacelift.RunTypeTracked, Branch: "main", StackLabels: labels, StackName: "network / prod",
		Commit: spacelift.Commit{Hash: "9f2c1d7e4b8a06f35c21de90ab7741f6c3e85d12", Message: "Widen private subnets", AuthorName: "Jane Doe"},
	}
	r.env.SetStartTime(started)
	r.acts = &activities.Activities{
		Accounts:    map[spacelift.Account]activities.Spacelift{"acme": r},
		Definitions: theConfiguration, Temporal: temporalOf{world: &r.world}, Notifier: &r.world, Now: r.env.Now,
	}
	r.env.RegisterActivity(r.acts)
	return r
}

// newEnvironment is a Temporal without a server, in which a workflow that gets no
// processor for a while is not taken for a deadlock.
func newEnvironment() *testsuite.TestWorkflowEnvironment {
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(testLogger{})
	env := suite.NewTestWorkflowEnvironment()
	env.SetTestTimeout(time.Minute)
	env.SetWorkerOptions(worker.Options{DeadlockDetectionTimeout: time.Minute})
	return env
}

// at does something at a time of the story.
func (r *rig) at(d time.Duration, do func()) { r.env.RegisterDelayedCallback(do, d) }

// set changes the world while nobody looks.
func (r *rig) set(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
}

// goes moves the run on in Spacelift, without a notification.
func (r *rig) goes(states ...spacelift.RunState) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range states {
		r.enter(s, "", "")
	}
}

func (r *rig) enter(s spacelift.RunState, who, note string) {
	r.truth.State, r.truth.StateVersion = s, len(r.truth.History)
	r.truth.History = append(r.truth.History, spacelift.Transition{
		State: s, StateVersion: r.truth.StateVersion, At: r.env.Now().UTC().Truncate(time.Second), Username: who, Note: note,
	})
	if s == spacelift.RunStateUnconfirmed {
		r.truth.Delta = &spacelift.Delta{Added: 3, Changed: 1, Deleted: len(r.truth.History), Resources: 42}
		if r.counts != nil {
			r.truth.Delta = new(*r.counts)
		}
	}
}

// person makes somebody move the run on in Spacelift.
func (r *rig) person(who string, s spacelift.RunState, note string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.enter(s, who, note)
}

// notify sends a notification of the run's newest state.
func (r *rig) notify() { r.signal(r.notification(-1)) }

// notifyOf sends notifications of states by their version, in one signal.
func (r *rig) notifyOf(versions ...int) {
	var events []managed.RunEvent
	for _, v := range versions {
		events = append(events, r.notification(v))
	}
	r.signal(events...)
}

// moves moves the run on and sends a notification of each state.
func (r *rig) moves(states ...spacelift.RunState) {
	for _, s := range states {
		r.goes(s)
		r.notify()
	}
}

func (r *rig) signal(events ...managed.RunEvent) {
	r.env.SignalWorkflow(managed.RunEventsSignal, managed.RunEvents{Events: events})
}

// notification is the event that Spacelift sends when the run enters a state; -1 is the
// newest.
func (r *rig) notification(version int) managed.RunEvent {
	r.mu.Lock()
	defer r.mu.Unlock()
	if version < 0 {
		version = r.truth.StateVersion
	}
	h := r.truth.History[version]
	e := managed.RunEvent{
		Run: run, Type: r.truth.Type, State: h.State, StateVersion: version, At: h.At, Note: h.Note,
		Branch: r.truth.Branch, Commit: r.truth.Commit, DriftDetection: r.truth.DriftDetection, TriggeredBy: r.truth.TriggeredBy, StackName: r.truth.StackName,
		Labels: spacelift.OurLabels(r.truth.StackLabels), Source: managed.SourceWebhook, ReceivedAt: r.env.Now(),
	}
	if r.truth.Delta != nil {
		e.Delta = new(*r.truth.Delta)
	}
	return e
}

// Run answers like Spacelift's API.
func (r *rig) Run(_ context.Context, ref spacelift.RunRef) (spacelift.Run, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reads++
	switch {
	case r.away:
		return spacelift.Run{}, errors.New("dial tcp: connection refused")
	case r.broken != nil:
		return spacelift.Run{}, r.broken
	case ref != run && r.parents[ref.Stack].Ref == ref:
		return r.parents[ref.Stack], nil
	case ref != run, len(r.truth.History) == 0:
		return spacelift.Run{}, spacelift.ErrNotFound
	}
	if r.leaves > 0 {
		r.leaves--
		r.away = r.leaves == 0
	}
	shown := r.truth
	if r.shifts && shown.Delta != nil {
		shown.Delta = &spacelift.Delta{Added: r.reads}
	}
	if r.lags {
		last := shown.History[len(shown.History)-2]
		shown.History = shown.History[:len(shown.History)-1]
		shown.State, shown.StateVersion = last.State, last.StateVersion
	}
	shown.History = slices.Clone(shown.History)
	return shown, nil
}

// RunURL answers like Spacelift's client.
func (r *rig) RunURL(ref spacelift.RunRef) string {
	return fmt.Sprintf("https://acme.app.spacelift.io/stack/%s/run/%s", ref.Stack, ref.Run)
}

// ConfirmRun answers like Spacelift's API.
func (r *rig) ConfirmRun(_ context.Context, ref spacelift.RunRef, note string) (spacelift.RunOutcome, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked++
	switch {
	case r.away:
		return spacelift.RunOutcome{}, errors.New("dial tcp: connection refused")
	case r.refuses != nil:
		return spacelift.RunOutcome{}, r.refuses
	case r.truth.State != spacelift.RunStateUnconfirmed:
		return spacelift.RunOutcome{}, illegal("run is not in UNCONFIRMED")
	}
	if r.onConfirm != nil {
		r.onConfirm(r.truth.StateVersion)
	}
	if r.deafToConfirms {
		return spacelift.RunOutcome{Ref: ref, State: r.truth.State}, nil
	}
	r.enter(spacelift.RunStateConfirmed, "api::gantry", note)
	r.confirmed = append(r.confirmed, spacelift.Unsigned(note))
	if r.loses > 0 {
		r.loses--
		return spacelift.RunOutcome{}, fmt.Errorf("confirm run %s: %w", ref, spacelift.ErrAmbiguous)
	}
	return spacelift.RunOutcome{Ref: ref, State: spacelift.RunStateConfirmed}, nil
}

func illegal(message string) error {
	return &spacelift.IllegalStateError{Refusal: &spacelift.GraphQLError{Messages: []string{message}}}
}

// status asks the execution, at any point of a story.
func (r *rig) status() managed.RunStatus {
	r.Helper()
	var s managed.RunStatus
	answer, err := r.env.QueryWorkflow(managed.StatusQuery)
	if err == nil {
		err = answer.Get(&s)
	}
	if err != nil {
		r.Errorf("query status: %v", err)
	}
	return s
}

// wants checks what an execution says it is doing.
func (r *rig) wants(phase managed.Phase, reason string) {
	r.Helper()
	s := r.status()
	if s.Phase != phase {
		r.Errorf("phase is %s, want %s", s.Phase, phase)
	}
	if s.WaitingFor == nil || !strings.Contains(s.WaitingFor.Reason, reason) {
		r.Errorf("waits for %+v, want a reason with %q", s.WaitingFor, reason)
	}
}

// manage runs the execution to its end.
func (r *rig) manage() managed.RunStatus {
	r.Helper()
	return r.manageFrom(r.input())
}

// input starts an execution as the inbox does.
func (r *rig) input() managed.ManageRunInput {
	return managed.ManageRunInput{Run: run, RetryOf: r.retryOf}
}

func (r *rig) manageFrom(in managed.ManageRunInput) managed.RunStatus {
	r.Helper()
	r.env.ExecuteWorkflow(workflows.ManageRun, in)
	for _, check := range r.checks {
		check()
	}
	if !r.env.IsWorkflowCompleted() {
		r.Fatal("the execution has not ended")
	}
	var s managed.RunStatus
	if err := r.env.GetWorkflowResult(&s); err != nil {
		r.Fatalf("the execution failed: %v", err)
	}
	return s
}

// timeline returns the entries of some kinds, each as "kind: summary".
func timeline(s managed.RunStatus, kinds ...managed.TimelineKind) []string {
	var list []string
	for _, e := range s.Timeline {
		if slices.Contains(kinds, e.Kind) {
			list = append(list, string(e.Kind)+": "+e.Summary)
		}
	}
	return list
}

// mentions checks that the timeline holds a text among entries of a kind.
func (r *rig) mentions(s managed.RunStatus, kind managed.TimelineKind, text string) {
	r.Helper()
	for _, e := range timeline(s, kind) {
		if strings.Contains(e, text) {
			return
		}
	}
	r.Errorf("no %s in the timeline mentions %q:\n%s", kind, text, strings.Join(timeline(s, kind), "\n"))
}

// testLogger silences the SDK; what matters shows in a status.
type testLogger struct{}

func (testLogger) Debug(string, ...any) {}
func (testLogger) Info(string, ...any)  {}
func (testLogger) Warn(string, ...any)  {}
func (testLogger) Error(string, ...any) {}
