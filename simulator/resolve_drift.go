package simulator

import (
	"context"
	"fmt"
	"slices"

	"github.com/graph-gophers/graphql-go"
)

type driftOut struct {
	Deleted     bool
	IgnoreState bool
	Reconcile   bool
	Schedule    []string
	Timezone    string
}

func (d DriftDetection) out() *driftOut {
	return &driftOut{IgnoreState: d.IgnoreState, Reconcile: d.Reconcile, Schedule: slices.Clone(d.Schedule), Timezone: d.Timezone}
}

type driftInput struct {
	IgnoreState *bool
	Reconcile   *bool
	Schedule    []string
	Timezone    *string
}

func (in driftInput) settings() DriftDetection {
	return DriftDetection{
		Schedule: in.Schedule, Reconcile: truth(in.Reconcile), IgnoreState: truth(in.IgnoreState), Timezone: deref(in.Timezone),
	}
}

type driftArgs struct {
	Stack graphql.ID
	Input driftInput
}

func onDrift(ctx context.Context, id graphql.ID, do func(*stack) (*driftOut, error)) (*driftOut, error) {
	return with(ctx, func(s *Simulator, _ actor) (*driftOut, error) {
		st, err := s.findStack(stackID(id))
		if err != nil {
			return nil, err
		}
		return do(st)
	})
}

// StackIntegrationDriftDetectionCreate takes stacks on the public worker pool,
// too: their schedules wait for a private one.
func (resolver) StackIntegrationDriftDetectionCreate(ctx context.Context, args driftArgs) (*driftOut, error) {
	return onDrift(ctx, args.Stack, func(st *stack) (*driftOut, error) {
		err := st.scheduleDrift(args.Input.settings(), false)
		return st.Drift.out(), err
	})
}

func (resolver) StackIntegrationDriftDetectionUpdate(ctx context.Context, args driftArgs) (*driftOut, error) {
	return onDrift(ctx, args.Stack, func(st *stack) (*driftOut, error) {
		err := st.scheduleDrift(args.Input.settings(), true)
		return st.Drift.out(), err
	})
}

func (resolver) StackIntegrationDriftDetectionDelete(ctx context.Context, args struct{ Stack graphql.ID }) (*driftOut, error) {
	return unlessGone(onDrift(ctx, args.Stack, func(st *stack) (*driftOut, error) {
		if st.Drift.none() {
			return nil, fmt.Errorf("drift detection of stack %s: %w", st.ID, ErrNotFound)
		}
		gone := st.Drift.out()
		gone.Deleted = true
		st.Drift = DriftDetection{}
		return gone, nil
	}))
}
