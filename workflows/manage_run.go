package workflows

import (
	"fmt"

	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// ManageRun follows one Spacelift run to its end and acts where the stack's
// policy wants it. There is one execution per run, under ManageRunID, started by
// the run's first events and fed through RunEventsSignal.
//
// StatusQuery answers with a RunStatus at any time, also when the execution has
// closed; the last one is its result. It fails only when it is canceled, or
// started for a run that cannot exist.
func ManageRun(ctx workflow.Context, in ManageRunInput) (RunStatus, error) {
	m, err := newManager(ctx, in)
	if err != nil {
		return RunStatus{}, err
	}
	for {
		m.takeEvents(ctx)
		n := m.decide(ctx)
		fullHistory := workflow.GetInfo(ctx).GetContinueAsNewSuggested()
		if n.Do == doConfirm && !fullHistory {
			if err := m.confirm(ctx); err != nil {
				return RunStatus{}, err
			}
			continue
		}
		if err := index(ctx, m.known.status(), m.quiet.asked > 0); err != nil {
			return RunStatus{}, err
		}
		// Nothing was yielded since takeEvents, so no event is left behind: one
		// that arrives now makes Temporal refuse this task and repeat it.
		switch {
		case n.Do == doFinish:
			return m.known.status(), nil
		case fullHistory:
			return RunStatus{}, workflow.NewContinueAsNewError(ctx, ManageRun, ManageRunInput{Run: in.Run, Known: &m.known})
		}
		if err := m.wait(ctx, n.Phase); err != nil {
			return RunStatus{}, err
		}
	}
}

// ErrTypeImpossibleRun is the type of the error for a run that cannot exist.
const ErrTypeImpossibleRun = "ImpossibleRun"

// manager is an execution of ManageRun at work.
type manager struct {
	known  record
	events workflow.ReceiveChannel
	quiet  quiet
	log    log.Logger
}

func newManager(ctx workflow.Context, in ManageRunInput) (*manager, error) {
	if err := in.Run.Validate(); err != nil {
		return nil, temporal.NewNonRetryableApplicationError(fmt.Sprintf("manage run %s: %v", in.Run, err), ErrTypeImpossibleRun, err)
	}
	m := &manager{
		known:  record{Run: in.Run, StartedAt: workflow.GetInfo(ctx).WorkflowStartTime.UTC()},
		events: workflow.GetSignalChannel(ctx, RunEventsSignal),
		log:    workflow.GetLogger(ctx),
	}
	m.quiet.since = m.known.StartedAt
	if in.Known != nil {
		m.known = *in.Known
	}
	if len(in.Events) > 0 {
		m.known.take(workflow.Now(ctx).UTC(), in.Events)
	}
	err := workflow.SetQueryHandler(ctx, StatusQuery, func() (RunStatus, error) { return m.known.status(), nil })
	if err != nil {
		return nil, fmt.Errorf("answer %s: %w", StatusQuery, err)
	}
	return m, nil
}

func (m *manager) eventsWait() bool { return m.events.Len() > 0 }

// takeEvents folds all events that wait, before anything is decided on less
// than what is known.
func (m *manager) takeEvents(ctx workflow.Context) {
	for waiting := m.events.Len(); waiting > 0; waiting = m.events.Len() {
		var batch RunEvents // fresh each time: decoding leaves absent fields alone
		ok := m.events.ReceiveAsync(&batch)
		unreadable := waiting - m.events.Len()
		if ok {
			unreadable--
		}
		if unreadable > 0 {
			m.known.note(workflow.Now(ctx).UTC(), KindNote, "%d signals could not be read and were dropped", unreadable)
		}
		m.known.take(workflow.Now(ctx).UTC(), batch.Events)
		if batch.GiveUp != "" {
			m.known.giveUp(workflow.Now(ctx).UTC(), batch.GiveUp)
		}
		m.quiet.broken(workflow.Now(ctx))
	}
}

// decide decides, and writes the decision to the journal if it is another than
// before and worth it.
func (m *manager) decide(ctx workflow.Context) next {
	s := m.known.facts()
	n := decide(s)
	if n.Do == doFinish {
		m.log.Info("run ended", "run", s.Run.String(), "state", s.State, "outcome", n.Reason)
		return n
	}
	decided := fmt.Sprintf("%d %s %s", s.StateVersion, n.Do, n.Reason)
	if !n.Journal || decided == m.known.Decided {
		return n
	}
	m.known.Decided = decided
	m.known.note(workflow.Now(ctx).UTC(), KindDecision, "%s: %s", n.Do, n.Reason)
	if n.Phase == PhaseFollowing {
		m.log.Warn("run is followed without acting", "run", s.Run.String(), "type", s.Type, "state", s.State, "reason", n.Reason)
	} else {
		m.log.Info("decided", "run", s.Run.String(), "state", s.State, "stateVersion", s.StateVersion, "decision", n.Do, "reason", n.Reason)
	}
	return n
}
