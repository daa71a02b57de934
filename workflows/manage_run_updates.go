package workflows

import (
	"errors"
	"fmt"

	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/managed"
)

// listen lets people decide, stop and ask why. It is called when the events
// that wait have been taken: an approval that comes with the first of them is
// not to meet an empty record.
func (m *manager) listen(ctx workflow.Context) error {
	err := workflow.SetQueryHandler(ctx, managed.StatusQuery, func() (managed.RunStatus, error) { return m.status(ctx), nil })
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
			return m.judge(func() *decide.Refusal {
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
			return m.judge(func() *decide.Refusal { return m.known.RefuseStop(m.situation(ctx), wish) })
		},
	})
	if err != nil {
		return fmt.Errorf("take %s: %w", managed.StopUpdate, err)
	}
	return nil
}

// judge refuses somebody's wish at the door, unless the execution is busy, or
// Gantry's own code fails on it: then the wish is judged inside.
func (m *manager) judge(refuse func() *decide.Refusal) (err error) {
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
func guarded[W any](m *manager, take func(workflow.Context, W) (managed.RunStatus, error)) func(workflow.Context, W) (managed.RunStatus, error) {
	return func(ctx workflow.Context, wish W) (s managed.RunStatus, err error) {
		err = m.guard(ctx, func() error {
			s, err = take(ctx, wish)
			return err
		})
		return s, err
	}
}

// explain says why the run is where it is, whatever its record holds.
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
	return managed.Explain(m.situation(ctx))
}

func (m *manager) situation(ctx workflow.Context) managed.Situation {
	return m.known.Situation(workflow.Now(ctx).UTC())
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
	if objects && m.situation(ctx).Sending() {
		m.objecting++
		err := workflow.Await(ctx, func() bool { return !m.situation(ctx).Sending() })
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
func (m *manager) takeDecision(ctx workflow.Context, d managed.Decision) (managed.RunStatus, error) {
	told := m.told()
	if err := m.turn(ctx, d.Verdict != managed.Approve); err != nil {
		return managed.RunStatus{}, err
	}
	if no := m.known.RefuseDecision(m.situation(ctx), d, told); no != nil {
		return managed.RunStatus{}, asError(no)
	}
	if m.known.Keys.Remember(d.Key, d.Content()) {
		m.known.TakeDecision(workflow.Now(ctx).UTC(), d)
	}
	return m.answer(ctx)
}

// takeStop takes the wish to end the run, unless it has to be refused now, or
// Spacelift does.
func (m *manager) takeStop(ctx workflow.Context, wish managed.StopRequest) (managed.RunStatus, error) {
	if err := m.turn(ctx, true); err != nil {
		return managed.RunStatus{}, err
	}
	if no := m.known.RefuseStop(m.situation(ctx), wish); no != nil {
		return managed.RunStatus{}, asError(no)
	}
	var wanted *managed.Stopping
	if m.known.Keys.Remember(wish.Key, wish.Content()) {
		wanted = m.known.Stop(workflow.Now(ctx).UTC(), wish)
	}
	status, err := m.answer(ctx)
	switch {
	case err != nil || wanted == nil:
	case wanted.Not != "":
		return managed.RunStatus{}, asError(decide.Refuse(managed.ErrTypeNotStoppable, "the run was not stopped: %s", wanted.Not))
	default:
		wanted.Promised = true
	}
	return status, err
}

// answer waits until the execution has done what follows, as far as that is
// possible at once, and says where that led.
func (m *manager) answer(ctx workflow.Context) (managed.RunStatus, error) {
	m.asked++
	mine := m.asked
	if err := workflow.Await(ctx, func() bool { return m.answered >= mine }); err != nil {
		return managed.RunStatus{}, err
	}
	return m.status(ctx), nil
}
