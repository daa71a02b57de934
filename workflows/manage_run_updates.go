package workflows

import (
	"fmt"

	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/managed"
)

// listen registers the queries and updates. Call it after takeEvents: an approval
// that arrives with the first events must not meet an empty record.
func (m *manager) listen(ctx workflow.Context) error {
	err := workflow.SetQueryHandler(ctx, managed.StatusQuery, func() (*managed.RunStatus, error) { return m.status(ctx), nil })
	if err != nil {
		return fmt.Errorf("answer %s: %w", managed.StatusQuery, err)
	}
	err = workflow.SetQueryHandler(ctx, managed.RecordQuery, func() (managed.Record, error) { return m.known, nil })
	if err != nil {
		return fmt.Errorf("answer %s: %w", managed.RecordQuery, err)
	}
	err = workflow.SetQueryHandler(ctx, managed.ExplainQuery, func() (managed.Explanation, error) { return m.explain(ctx), nil })
	if err != nil {
		return fmt.Errorf("answer %s: %w", managed.ExplainQuery, err)
	}
	err = workflow.SetUpdateHandlerWithOptions(ctx, managed.DecideUpdate, guarded(m, m.takeDecision), workflow.UpdateHandlerOptions{
		Validator: func(ctx workflow.Context, d managed.Decision) error {
			return m.validate(func() *decide.Refusal {
				s := m.situation(ctx)
				return m.known.RefuseDecision(s, d, s.Key())
			})
		},
	})
	if err != nil {
		return fmt.Errorf("take %s: %w", managed.DecideUpdate, err)
	}
	err = workflow.SetUpdateHandlerWithOptions(ctx, managed.StopUpdate, guarded(m, m.takeStop), workflow.UpdateHandlerOptions{
		Validator: func(ctx workflow.Context, wish managed.StopRequest) error {
			return m.validate(func() *decide.Refusal { return m.known.RefuseStop(m.situation(ctx), wish) })
		},
	})
	if err != nil {
		return fmt.Errorf("take %s: %w", managed.StopUpdate, err)
	}
	return nil
}

// validate refuses an update before it enters the history, unless the execution
// is busy or Gantry's own code fails on it: then the update's handler judges it.
func (m *manager) validate(refuse func() *decide.Refusal) (err error) {
	if m.busy() {
		return nil
	}
	defer func() {
		if recovered(recover()) != nil {
			err = nil
		}
	}()
	return asError(refuse())
}

// guarded records a bug in an update's handler as a fault of the execution.
func guarded[W any](m *manager, take func(workflow.Context, W) (*managed.RunStatus, error)) func(workflow.Context, W) (*managed.RunStatus, error) {
	return func(ctx workflow.Context, wish W) (s *managed.RunStatus, err error) {
		err = m.guard(ctx, func() error {
			s, err = take(ctx, wish)
			return err
		})
		return s, err
	}
}

// explain returns why the run is where it is, whatever its record holds.
func (m *manager) explain(ctx workflow.Context) (e managed.Explanation) {
	defer func() {
		if recovered(recover()) != nil {
			s := m.known.Bare()
			e = managed.Explanation{
				Run: s.Run, State: s.State, Phase: s.Phase, Summary: s.WaitingFor.Reason, WaitingFor: s.WaitingFor,
				Unblock: []managed.Unblock{{Who: s.WaitingFor.Who, How: s.WaitingFor.Next}},
			}
		}
	}()
	return m.situation(ctx).Explain()
}

// busy reports whether the execution is in the middle of something that may
// change the answer to an update: it reads rules, waits for Spacelift, or has
// events to take that came with the update. Then the update is judged afterwards,
// and a refusal shows in the history.
func (m *manager) busy() bool { return !m.idle || m.eventsWait() }

// awaitTurn blocks until an update can be judged. One that objects to what is
// being sent to Spacelift makes Gantry stop asking for it, and is judged when the
// result is known.
func (m *manager) awaitTurn(ctx workflow.Context, objects bool) error {
	if objects && m.situation(ctx).Sending() {
		m.objections++
		err := workflow.Await(ctx, func() bool { return !m.situation(ctx).Sending() })
		m.objections--
		if err != nil {
			return err
		}
	}
	return workflow.Await(ctx, func() bool { return !m.busy() })
}

// awaitObjections blocks until every reject, revoke or stop that interrupted a
// call has been judged, so the call isn't sent again first.
func (m *manager) awaitObjections(ctx workflow.Context) error {
	if m.objections == 0 {
		return nil
	}
	return m.await(ctx, func() bool { return m.objections == 0 })
}

// takeDecision counts a decision, or refuses it. Nothing yields between its
// validator and this, if the validator judged it. The decision is about the state
// that was known when the person decided, not about what became known since.
func (m *manager) takeDecision(ctx workflow.Context, d managed.Decision) (*managed.RunStatus, error) {
	meant := m.newest()
	if err := m.awaitTurn(ctx, d.Verdict != managed.Approve); err != nil {
		return nil, err
	}
	if r := m.known.RefuseDecision(m.situation(ctx), d, meant); r != nil {
		return nil, asError(r)
	}
	m.known.TakeDecision(workflow.Now(ctx).UTC(), d)
	return m.answer(ctx)
}

// takeStop takes the wish to stop the run, unless Gantry or Spacelift refuses it.
func (m *manager) takeStop(ctx workflow.Context, wish managed.StopRequest) (*managed.RunStatus, error) {
	if err := m.awaitTurn(ctx, true); err != nil {
		return nil, err
	}
	if r := m.known.RefuseStop(m.situation(ctx), wish); r != nil {
		return nil, asError(r)
	}
	wanted := m.known.Stop(workflow.Now(ctx).UTC(), wish)
	status, err := m.answer(ctx)
	switch {
	case err != nil || wanted == nil:
	case wanted.Not != "":
		return nil, asError(decide.Refuse(managed.ErrTypeNotStoppable, "the run was not stopped: %s", wanted.Not))
	default:
		wanted.Promised = true
	}
	return status, err
}

// answer waits until the execution has done what follows from an update, as far
// as that is possible now, and returns the status that it led to.
func (m *manager) answer(ctx workflow.Context) (*managed.RunStatus, error) {
	m.requests++
	mine := m.requests
	if err := workflow.Await(ctx, func() bool { return m.handled >= mine }); err != nil {
		return nil, err
	}
	return m.status(ctx), nil
}
