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

func (d DriftDetection) out(*Simulator, actor) *driftOut {
	return &driftOut{IgnoreState: d.IgnoreState, Reconcile: d.Reconcile, Schedule: slices.Clone(d.Schedule), Timezone: d.Timezone}
}

type driftArgs struct {
	Stack graphql.ID
	Input struct {
		IgnoreState flag
		Reconcile   flag
		Schedule    []string
		Timezone    *string
	}
}

// schedule sets the drift checks that the input asks for: the stack's first
// ones, or others in place of those that exist.
func (args driftArgs) schedule(ctx context.Context, exists bool) (*driftOut, error) {
	return answer(ctx, func(s *Simulator, _ actor) (DriftDetection, error) {
		st, err := s.findStack(stackID(args.Stack))
		if err != nil {
			return DriftDetection{}, err
		}
		in := args.Input
		err = st.scheduleDrift(DriftDetection{
			Schedule: in.Schedule, Reconcile: bool(in.Reconcile), IgnoreState: bool(in.IgnoreState), Timezone: deref(in.Timezone),
		}, exists)
		return st.Drift, err
	})
}

// StackIntegrationDriftDetectionCreate takes stacks on the public worker pool,
// too: their schedules wait for a private one.
func (resolver) StackIntegrationDriftDetectionCreate(ctx context.Context, args driftArgs) (*driftOut, error) {
	return args.schedule(ctx, false)
}

func (resolver) StackIntegrationDriftDetectionUpdate(ctx context.Context, args driftArgs) (*driftOut, error) {
	return args.schedule(ctx, true)
}

func (resolver) StackIntegrationDriftDetectionDelete(ctx context.Context, args struct{ Stack graphql.ID }) (*driftOut, error) {
	gone, err := orNull(ctx, func(s *Simulator, _ actor) (gone DriftDetection, err error) {
		st, err := s.findStack(stackID(args.Stack))
		if err == nil && st.Drift.none() {
			err = fmt.Errorf("drift detection of stack %s: %w", st.ID, ErrNotFound)
		}
		if err == nil {
			gone, st.Drift = st.Drift, DriftDetection{}
		}
		return gone, err
	})
	if gone != nil {
		gone.Deleted = true
	}
	return gone, err
}
