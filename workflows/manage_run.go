package workflows

import (
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/decide/managed"
)

// ManageRun follows one Spacelift run to its end and acts where the stack's
// policy wants it. There is one execution per run, under ManageRunID, started by
// the run's first events and fed through RunEventsSignal. People decide through
// DecideUpdate and StopUpdate.
//
// StatusQuery answers with a RunStatus at any time, also when the execution has
// closed; the last one is its result. ExplainQuery says why it is where it is.
// ManageRun fails only when it is canceled, or started for a run that cannot
// exist.
func ManageRun(ctx workflow.Context, in managed.ManageRunInput) (managed.RunStatus, error) {
	m, err := newManager(ctx, in)
	if err != nil {
		return managed.RunStatus{}, err
	}
	if in.Reopened && in.Known == nil {
		if err := m.recall(ctx); err != nil {
			return managed.RunStatus{}, err
		}
	}
	if m.known.Fault != nil {
		if err := m.guard(ctx, func() error { return m.resume(ctx) }); err != nil && !m.faulty {
			return managed.RunStatus{}, err
		}
	}
	for !m.faulty {
		done, err := m.round(ctx)
		switch {
		case m.faulty:
		case err != nil:
			return managed.RunStatus{}, err
		case done:
			return m.status(ctx), nil
		}
	}
	return managed.RunStatus{}, m.restart(ctx)
}

// round takes what has come in, decides, and does what was decided. It reports
// whether the execution is done. Its error is that the execution is canceled, or
// goes on as a new one.
func (m *manager) round(ctx workflow.Context) (done bool, err error) {
	err = m.guard(ctx, func() error {
		done, err = m.proceed(ctx)
		return err
	})
	return done, err
}

func (m *manager) proceed(ctx workflow.Context) (done bool, err error) {
	if err := m.hearObjections(ctx); err != nil {
		return false, err
	}
	m.takeEvents(ctx)
	n := m.decide(ctx)
	fullHistory := workflow.GetInfo(ctx).GetContinueAsNewSuggested()
	if carryOut := m.step(n.Do); carryOut != nil && !fullHistory {
		return false, carryOut(ctx, n)
	}
	m.known.DecidesAgain(workflow.Now(ctx).UTC())
	m.post()
	if err := index(ctx, m.status(ctx), m.quiet.asked > 0); err != nil {
		return false, err
	}
	// Nothing was yielded since takeEvents, so no event is left behind: one
	// that arrives now makes Temporal refuse this task and repeat it.
	switch {
	case n.Do == managed.DoFinish:
		done, err := m.leave(ctx)
		if err == nil && done && m.known.Again != nil {
			return false, workflow.NewContinueAsNewError(ctx, ManageRun, m.known.NextAttempt())
		}
		return done, err
	case fullHistory:
		return false, m.continueAsNew(ctx)
	}
	return false, m.rest(ctx, n)
}

// continueAsNew goes on as a new execution, unless something comes in meanwhile.
// Messages that are on their way arrive first, or are called off: the next
// execution sends those that wait, and none twice.
func (m *manager) continueAsNew(ctx workflow.Context) error {
	now := workflow.Now(ctx)
	if m.leaveBy.IsZero() {
		m.leaveBy = now.Add(closingWait)
	}
	if len(m.sending.to) > 0 && now.Before(m.leaveBy) {
		err := m.atRest(func() error {
			m.answered = m.asked
			_, err := workflow.AwaitWithTimeout(ctx, m.leaveBy.Sub(now), func() bool { return len(m.sending.to) == 0 || m.eventsWait() })
			return err
		})
		if err != nil || m.eventsWait() {
			return err
		}
	}
	if err := m.sending.callOff(ctx); err != nil {
		return ctx.Err()
	}
	if err := m.answerAll(ctx); err != nil {
		return ctx.Err()
	}
	if m.eventsWait() {
		return nil
	}
	return workflow.NewContinueAsNewError(ctx, ManageRun, managed.ManageRunInput{Run: m.known.Run, Known: &m.known})
}

// manager is an execution of ManageRun at work.
type manager struct {
	known   managed.Record
	events  workflow.ReceiveChannel
	arrived arrivals
	quiet   quiet
	log     log.Logger

	// asked counts what people asked for, and answered how many of them the
	// execution has done all for that it can at once.
	asked, answered int

	// resting says that the execution waits for something to come in: who asks
	// now meets all that is known, decided and done.
	resting bool

	// objecting counts people who want to take back what is being sent to
	// Spacelift.
	objecting int

	sending sending
	leaveBy time.Time // until when an execution with a full history waits for its messages

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
		events:  workflow.GetSignalChannel(ctx, managed.RunEventsSignal),
		log:     workflow.GetLogger(ctx),
		sending: newSending(ctx),
	}
	m.quiet.since = m.known.StartedAt
	m.known.Join(in.Chains)
	if in.Known != nil {
		m.known = *in.Known
	}
	m.arrived.batches = append(m.arrived.batches, in.Late...)
	if len(in.Events) > 0 {
		m.arrived.batches = append(m.arrived.batches, managed.RunEvents{Events: in.Events})
	}
	m.takeEvents(ctx)
	return m, m.listen(ctx)
}

// status is what can be said of the run, whatever its record holds.
func (m *manager) status(ctx workflow.Context) (s managed.RunStatus) {
	defer func() {
		if recovered(recover()) != nil {
			s = m.known.Bare()
		}
	}()
	return m.known.Status(workflow.Now(ctx).UTC())
}

// disturbed reports whether something came in that may change what to do.
func (m *manager) disturbed() bool { return m.eventsWait() || m.asked > m.answered || m.faulty }

// atRest waits for something to come in, and lets those be answered meanwhile
// who ask: they meet all that is known, decided and done.
func (m *manager) atRest(wait func() error) error {
	m.resting = true
	defer func() { m.resting = false }()
	return wait()
}

// decide decides, and writes the decision to the journal if it is another than
// before and worth it.
func (m *manager) decide(ctx workflow.Context) managed.Next {
	m.known.Recount(workflow.Now(ctx).UTC())
	s := m.situation(ctx)
	n := managed.Decide(s)
	if n.Do == managed.DoFinish {
		m.known.Released = new(s.Key())
		m.log.Info("run ended", "run", s.Run.String(), "state", s.State, "outcome", n.Reason)
		return n
	}
	if n.Do == managed.DoHold && s.Fresh() {
		m.known.NotifyHeld(s.Now, n)
	}
	decided := fmt.Sprintf("%d %s %s", s.StateVersion, n.Do, n.Reason)
	if !n.Journal || decided == m.known.Decided {
		return n
	}
	m.known.Decided = decided
	m.known.Note(s.Now, managed.KindDecision, "%s: %s", n.Do, n.Reason)
	if n.Phase == managed.PhaseFollowing {
		m.log.Warn("run is followed without acting", "run", s.Run.String(), "type", s.Type, "state", s.State, "reason", n.Reason)
	} else {
		m.log.Info("decided", "run", s.Run.String(), "state", s.State, "stateVersion", s.StateVersion, "decision", n.Do, "reason", n.Reason)
	}
	return n
}

// answerAll lets everybody who asked for something have their answer, and waits
// until they do or events come in: those who ask then are answered after them.
func (m *manager) answerAll(ctx workflow.Context) error {
	err := m.atRest(func() error {
		return workflow.Await(ctx, func() bool {
			m.answered = m.asked
			return workflow.AllHandlersFinished(ctx) || m.eventsWait()
		})
	})
	return errors.Join(err, ctx.Err())
}

// closingWait is how long the end waits for messages that have not arrived.
// Those that still have not are given up: a channel that does not answer is not
// to keep executions open.
const closingWait = time.Minute

// leave makes ready to end, and reports whether nothing came in meanwhile that
// may change that.
func (m *manager) leave(ctx workflow.Context) (bool, error) {
	m.known.SendFarewell(workflow.Now(ctx).UTC())
	m.post()
	if len(m.known.Outbox) > 0 {
		err := m.atRest(func() error {
			_, err := workflow.AwaitWithTimeout(ctx, closingWait, func() bool { return len(m.known.Outbox) == 0 || m.disturbed() })
			return err
		})
		if err != nil {
			return false, err
		}
	}
	if err := m.answerAll(ctx); err != nil {
		return false, ctx.Err()
	}
	return !m.eventsWait(), nil
}
