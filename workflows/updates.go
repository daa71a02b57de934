package workflows

import (
	"errors"
	"fmt"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// listen lets people decide, stop and ask why. It is called when the events
// that wait have been taken: an approval that comes with the first of them is
// not to meet an empty record.
func (m *manager) listen(ctx workflow.Context) error {
	err := workflow.SetQueryHandler(ctx, StatusQuery, func() (RunStatus, error) { return m.status(ctx), nil })
	if err != nil {
		return fmt.Errorf("answer %s: %w", StatusQuery, err)
	}
	err = workflow.SetQueryHandler(ctx, RecordQuery, func() (record, error) { return m.known, nil })
	if err != nil {
		return fmt.Errorf("answer %s: %w", RecordQuery, err)
	}
	err = workflow.SetQueryHandler(ctx, ExplainQuery, func() (Explanation, error) { return m.explain(ctx), nil })
	if err != nil {
		return fmt.Errorf("answer %s: %w", ExplainQuery, err)
	}
	err = workflow.SetUpdateHandlerWithOptions(ctx, DecideUpdate, guarded(m, m.takeDecision), workflow.UpdateHandlerOptions{
		Validator: func(ctx workflow.Context, d Decision) error {
			return m.judge(func() *refusal {
				s := m.situation(ctx)
				return m.known.refuseDecision(s, d, s.key())
			})
		},
	})
	if err != nil {
		return fmt.Errorf("take %s: %w", DecideUpdate, err)
	}
	err = workflow.SetUpdateHandlerWithOptions(ctx, StopUpdate, guarded(m, m.takeStop), workflow.UpdateHandlerOptions{
		Validator: func(ctx workflow.Context, wish StopRequest) error {
			return m.judge(func() *refusal { return m.known.refuseStop(m.situation(ctx), wish) })
		},
	})
	if err != nil {
		return fmt.Errorf("take %s: %w", StopUpdate, err)
	}
	return nil
}

// judge refuses somebody's wish at the door, unless the execution is busy, or
// Gantry's own code fails on it: then the wish is judged inside.
func (m *manager) judge(refuse func() *refusal) (err error) {
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

// guarded makes a bug in an update's handler a fault of the execution.
func guarded[W any](m *manager, take func(workflow.Context, W) (RunStatus, error)) func(workflow.Context, W) (RunStatus, error) {
	return func(ctx workflow.Context, wish W) (s RunStatus, err error) {
		err = m.guard(ctx, func() error {
			s, err = take(ctx, wish)
			return err
		})
		return s, err
	}
}

// explain says why the run is where it is, whatever its record holds.
func (m *manager) explain(ctx workflow.Context) (e Explanation) {
	defer func() {
		if recovered(recover()) != nil {
			s := m.known.bare()
			e = Explanation{
				Run: s.Run, State: s.State, Phase: s.Phase, Summary: s.WaitingFor.Reason, WaitingFor: s.WaitingFor,
				Unblock: []Unblock{{Who: s.WaitingFor.Who, How: s.WaitingFor.Next}},
			}
		}
	}()
	return explain(m.situation(ctx))
}

// asError returns a refusal as the error of an update; nil for a nil refusal.
func asError(no *refusal) error {
	if no == nil {
		return nil
	}
	return temporal.NewNonRetryableApplicationError(no.Reason, no.Type, nil)
}

func (m *manager) situation(ctx workflow.Context) situation {
	return m.known.situation(workflow.Now(ctx).UTC())
}

// busy reports whether the execution is in the middle of something that may
// change what a person is told: rules that are being read, an answer of
// Spacelift's that is about to come, events that came with the question. Then
// who asks is judged after it, and a refusal shows in the history.
func (m *manager) busy() bool { return !m.resting || m.eventsWait() }

// turn waits until somebody who asks can be judged. Who objects to what is being
// sent to Spacelift makes Gantry stop asking for it, and is judged when it is
// known what became of that.
func (m *manager) turn(ctx workflow.Context, objects bool) error {
	if objects && m.situation(ctx).claims() {
		m.objecting++
		err := workflow.Await(ctx, func() bool { return !m.situation(ctx).claims() })
		m.objecting--
		if err != nil {
			return err
		}
	}
	return workflow.Await(ctx, func() bool { return !m.busy() })
}

// hearObjections lets those be judged who made Gantry stop asking Spacelift,
// before it may want to ask again.
func (m *manager) hearObjections(ctx workflow.Context) error {
	if m.objecting == 0 {
		return nil
	}
	err := m.atRest(func() error { return workflow.Await(ctx, func() bool { return m.objecting == 0 }) })
	return errors.Join(err, ctx.Err())
}

// takeDecision counts a decision, unless it has to be refused now. Where its
// validator has judged already, nothing yields between the two. What comes to
// be known after the person decided is not what was decided about.
func (m *manager) takeDecision(ctx workflow.Context, d Decision) (RunStatus, error) {
	told := m.told()
	if err := m.turn(ctx, d.Verdict != Approve); err != nil {
		return RunStatus{}, err
	}
	if no := m.known.refuseDecision(m.situation(ctx), d, told); no != nil {
		return RunStatus{}, asError(no)
	}
	if m.known.Keys.use(d.Key) == "" {
		m.known.Keys.remember(d.Key, d.content())
		m.known.decided(workflow.Now(ctx).UTC(), d)
	}
	return m.answer(ctx)
}

// takeStop takes the wish to end the run, unless it has to be refused now, or
// Spacelift does.
func (m *manager) takeStop(ctx workflow.Context, wish StopRequest) (RunStatus, error) {
	if err := m.turn(ctx, true); err != nil {
		return RunStatus{}, err
	}
	if no := m.known.refuseStop(m.situation(ctx), wish); no != nil {
		return RunStatus{}, asError(no)
	}
	var wanted *stopping
	if m.known.Keys.use(wish.Key) == "" {
		m.known.Keys.remember(wish.Key, wish.content())
		wanted = m.known.stop(workflow.Now(ctx).UTC(), wish)
	}
	status, err := m.answer(ctx)
	switch {
	case err != nil || wanted == nil:
	case wanted.Not != "":
		return RunStatus{}, asError(refuse(ErrTypeNotStoppable, "the run was not stopped: %s", wanted.Not))
	default:
		wanted.Promised = true
	}
	return status, err
}

// answer waits until the execution has done what follows, as far as that is
// possible at once, and says where that led.
func (m *manager) answer(ctx workflow.Context) (RunStatus, error) {
	m.asked++
	mine := m.asked
	if err := workflow.Await(ctx, func() bool { return m.answered >= mine }); err != nil {
		return RunStatus{}, err
	}
	return m.status(ctx), nil
}
