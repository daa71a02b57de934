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
	err := workflow.SetQueryHandler(ctx, StatusQuery, func() (RunStatus, error) {
		return m.known.status(workflow.Now(ctx).UTC()), nil
	})
	if err != nil {
		return fmt.Errorf("answer %s: %w", StatusQuery, err)
	}
	err = workflow.SetQueryHandler(ctx, ExplainQuery, func() (Explanation, error) {
		return explain(m.known.situation(workflow.Now(ctx).UTC())), nil
	})
	if err != nil {
		return fmt.Errorf("answer %s: %w", ExplainQuery, err)
	}
	err = workflow.SetUpdateHandlerWithOptions(ctx, DecideUpdate, m.takeDecision, workflow.UpdateHandlerOptions{
		Validator: func(ctx workflow.Context, d Decision) error {
			if m.busy() {
				return nil
			}
			s := m.situation(ctx)
			return m.known.refuseDecision(s, d, s.key()).asError()
		},
	})
	if err != nil {
		return fmt.Errorf("take %s: %w", DecideUpdate, err)
	}
	err = workflow.SetUpdateHandlerWithOptions(ctx, StopUpdate, m.takeStop, workflow.UpdateHandlerOptions{
		Validator: func(ctx workflow.Context, wish StopRequest) error {
			if m.busy() {
				return nil
			}
			return m.known.refuseStop(m.situation(ctx), wish).asError()
		},
	})
	if err != nil {
		return fmt.Errorf("take %s: %w", StopUpdate, err)
	}
	return nil
}

// asError is what the person gets who asked. A nil refusal is none.
func (no *refusal) asError() error {
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
		return RunStatus{}, no.asError()
	}
	if m.known.Keys.use(d.Key) == "" {
		m.known.Keys.remember(d.Key, fingerprint(d))
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
		return RunStatus{}, no.asError()
	}
	var wanted *stopping
	if m.known.Keys.use(wish.Key) == "" {
		m.known.Keys.remember(wish.Key, fingerprint(wish))
		wanted = m.known.stop(workflow.Now(ctx).UTC(), wish)
	}
	status, err := m.answer(ctx)
	switch {
	case err != nil || wanted == nil:
	case wanted.Not != "":
		return RunStatus{}, refuse(ErrTypeNotStoppable, "the run was not stopped: %s", wanted.Not).asError()
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
	return m.known.status(workflow.Now(ctx).UTC()), nil
}
