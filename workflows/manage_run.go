package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/managed"
)

// ManageRun follows one Spacelift run to its end and acts where the stack's
// policy wants it. There is one execution per run, under ManageRunID, started by
// the run's first events and fed through RunEventsSignal. People decide through
// DecideUpdate and StopUpdate.
//
// StatusQuery answers with a RunStatus at any time, even when the execution has
// closed; the last one is its result. ExplainQuery answers why the run is where
// it is. ManageRun fails only when it is canceled, or started for a run that
// cannot exist.
//
// The status is a pointer because an execution that waits keeps the frame of this function.
func ManageRun(ctx workflow.Context, in managed.ManageRunInput) (*managed.RunStatus, error) {
	m, err := newManager(ctx, in)
	if err != nil {
		return nil, err
	}
	err = m.guard(ctx, func() error { return m.manage(ctx) })
	switch {
	case m.faulty:
		return nil, m.restart(ctx)
	case err != nil:
		return nil, err
	}
	return m.status(ctx), nil
}

// manage takes what came in, decides, acts on the decision and waits, until the
// run is finished. Its error is that the execution is canceled, or continues as
// a new one.
func (m *manager) manage(ctx workflow.Context) error {
	if err := m.pauseAfterFault(ctx); err != nil {
		return err
	}
	for !m.faulty {
		if err := m.awaitObjections(ctx); err != nil {
			return err
		}
		m.takeEvents(ctx)
		next := m.decide(ctx)
		if do := m.step(ctx, next); do != nil {
			if err := do(ctx, next); err != nil {
				return err
			}
			continue
		}
		if done, err := m.settle(ctx, next); done || err != nil {
			return err
		}
	}
	return nil
}

// settle publishes where the run is when there is nothing left to do, and ends
// the execution, continues it as a new one, or waits. It reports whether the
// execution is done.
func (m *manager) settle(ctx workflow.Context, next managed.Next) (done bool, err error) {
	m.known.DecidesAgain(workflow.Now(ctx).UTC())
	m.sendMessages()
	if err := m.publish(ctx, m.silence.unchanged > 0); err != nil {
		return false, err
	}
	// Nothing has yielded since takeEvents, so no event is left behind: one
	// that arrives now makes Temporal refuse this task and repeat it.
	switch {
	case next.Do == managed.DoFinish:
		done, err := m.finish(ctx)
		if err == nil && done && m.known.Again != nil {
			return false, workflow.NewContinueAsNewError(ctx, ManageRun, m.known.NextAttempt())
		}
		return done, err
	case m.fullHistory(ctx):
		return false, m.continueAsNew(ctx)
	}
	return false, m.wait(ctx, next)
}

// manager is an execution of ManageRun at work.
type manager struct {
	known   managed.Record
	events  workflow.ReceiveChannel
	arrived arrivals
	silence silence
	log     log.Logger
	began   int // size of the history at the first task

	// requests counts the updates that were accepted, and handled how many of
	// them the execution has done everything for that it can do now.
	requests, handled int

	// idle is true while the execution waits for something to come in: the
	// record is up to date and nothing is in flight.
	idle bool

	// objections counts the updates that want to take back what is being sent to
	// Spacelift.
	objections int

	sender  sender
	closeBy time.Time // until when an execution with a full history waits for its messages

	waiting *activities.Waiting // what waits for the end that was just read; nil: not known

	faulty bool // Gantry's own code failed
}

func newManager(ctx workflow.Context, in managed.ManageRunInput) (*manager, error) {
	if err := in.Run.Validate(); err != nil {
		return nil, temporal.NewNonRetryableApplicationError(fmt.Sprintf("manage run %s: %v", in.Run, err), managed.ErrTypeImpossibleRun, err)
	}
	m := &manager{
		known: managed.Record{
			Run: in.Run, StartedAt: workflow.GetInfo(ctx).WorkflowStartTime.UTC(), RetryOf: in.RetryOf, Behind: in.Behind,
		},
		events: workflow.GetSignalChannel(ctx, managed.RunEventsSignal),
		log:    workflow.GetLogger(ctx),
		began:  workflow.GetInfo(ctx).GetCurrentHistorySize(),
		sender: newSender(ctx),
	}
	m.silence.reset(m.known.StartedAt)
	m.known.Join(in.Chains)
	if in.Known != nil {
		m.known.Inherit(in.Known)
	}
	m.arrived.batches = append(m.arrived.batches, in.Late...)
	if len(in.Events) > 0 {
		m.arrived.batches = append(m.arrived.batches, managed.RunEvents{Events: in.Events})
	}
	m.takeEvents(ctx)
	if err := m.listen(ctx); err != nil {
		return nil, err
	}
	if in.Reopened && in.Known == nil {
		return m, m.readEarlier(ctx)
	}
	return m, nil
}

// status returns what Gantry can say of the run, whatever its record holds.
func (m *manager) status(ctx workflow.Context) (s *managed.RunStatus) {
	defer func() {
		if recovered(recover()) != nil {
			s = m.known.Bare()
		}
	}()
	return m.known.Status(workflow.Now(ctx).UTC())
}

// publish shows where the run is: in the details that Temporal's pages query, and in the
// search attributes of lists.
func (m *manager) publish(ctx workflow.Context, stays bool) error {
	s := m.status(ctx)
	workflow.SetCurrentDetails(ctx, managed.Details(s, m.explain(ctx), pagesOf(ctx)))
	return index(ctx, s, stays)
}

func (m *manager) situation(ctx workflow.Context) *managed.Situation {
	return m.known.Situation(workflow.Now(ctx).UTC())
}

// decide decides what to do next. The log names decisions that are new.
func (m *manager) decide(ctx workflow.Context) managed.Next {
	n, isNew := m.known.Decide(workflow.Now(ctx).UTC())
	s := m.situation(ctx)
	switch {
	case n.Do == managed.DoFinish:
		m.log.Info("run ended", "run", s.Run.String(), "state", s.State, "outcome", n.Reason)
	case !isNew:
	case n.Phase == managed.PhaseFollowing:
		m.log.Warn("run is followed without acting", "run", s.Run.String(), "type", s.Type, "state", s.State, "reason", n.Reason)
	default:
		m.log.Info("decided", "run", s.Run.String(), "state", s.State, "stateVersion", s.StateVersion, "decision", n.Do, "reason", n.Reason)
	}
	return n
}

// closingWait is the time that an execution gives its messages to arrive before
// it ends. Later it gives them up: a channel that does not answer must not keep
// executions open. It waits for alarms until those are tooOld.
const closingWait = time.Minute

// waitForMessages is the summary of that time.
const waitForMessages = "Time for messages to arrive before this execution ends"

// finish prepares the end, and reports whether nothing came in meanwhile that
// may change it.
func (m *manager) finish(ctx workflow.Context) (bool, error) {
	m.known.SendFarewell(workflow.Now(ctx).UTC())
	m.sendMessages()
	m.handled = m.requests // the end answers them
	for _, wait := range []struct {
		most time.Duration
		of   func() bool
	}{
		{closingWait, func() bool { return len(m.known.Outbox) > 0 }},
		{tooOld, m.known.Alarms},
	} {
		if !wait.of() {
			continue
		}
		if _, err := m.awaitFor(ctx, wait.most, waitForMessages, func() bool { return !wait.of() || m.hasNews() }); err != nil {
			return false, err
		}
		if m.hasNews() {
			return false, nil
		}
	}
	if err := m.answerAll(ctx); err != nil {
		return false, err
	}
	return !m.eventsWait() && m.situation(ctx).Next().Do == managed.DoFinish, nil
}

// fullHistory reports whether the execution should continue as a new one.
func fullHistory(ctx workflow.Context) bool { return workflow.GetInfo(ctx).GetContinueAsNewSuggested() }

// maxGrowth is the size of history, in bytes beyond the first task's, from which an
// execution continues as a new one. Few runs need that: it takes some 500 events. But a worker
// replays many executions at the same time, and has their histories in memory meanwhile.
// Another size is another decision of open executions: it needs a version.
const maxGrowth = 256 << 10

// fullHistory is fullHistory with the limit that many executions share.
func (m *manager) fullHistory(ctx workflow.Context) bool {
	return fullHistory(ctx) || workflow.GetInfo(ctx).GetCurrentHistorySize() > m.began+maxGrowth
}

// continueAsNew continues the run in a new execution, unless something comes in
// meanwhile. Messages that are being sent arrive first or are called off, so the
// next execution sends those that wait, and none twice.
func (m *manager) continueAsNew(ctx workflow.Context) error {
	now := workflow.Now(ctx)
	if m.closeBy.IsZero() {
		m.closeBy = now.Add(closingWait)
	}
	if m.sender.busy() && now.Before(m.closeBy) {
		m.handled = m.requests
		_, err := m.awaitFor(ctx, m.closeBy.Sub(now), waitForMessages, func() bool { return !m.sender.busy() || m.eventsWait() })
		if err != nil || m.eventsWait() {
			return err
		}
	}
	if err := m.sender.callOff(ctx); err != nil {
		return err
	}
	if err := m.answerAll(ctx); err != nil {
		return err
	}
	if m.eventsWait() {
		return nil
	}
	return workflow.NewContinueAsNewError(ctx, ManageRun, managed.ManageRunInput{Run: m.known.Run, Known: &m.known})
}

// answerAll lets all updates return, and waits until they have or events come
// in: updates that come then return after those events.
func (m *manager) answerAll(ctx workflow.Context) error {
	return m.await(ctx, func() bool {
		m.handled = m.requests
		return workflow.AllHandlersFinished(ctx) || m.eventsWait()
	})
}
