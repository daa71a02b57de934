package activities

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"go.temporal.io/api/serviceerror"
	"golang.org/x/sync/errgroup"
)

// TellInput asks to send a signal to each execution that a query finds.
type TellInput struct {
	Query   string `json:"query"` // https://docs.temporal.io/list-filter
	Signal  string `json:"signal"`
	Payload any    `json:"payload"`
	Limit   int    `json:"limit"` // executions at most
}

// Told says how many executions were told.
type Told struct {
	Executions int  `json:"executions"`
	Complete   bool `json:"complete"` // false: there were more than the limit
}

// tellers is how many signals are on their way at the same time: a declared
// freeze is no reason to keep Temporal from its other work.
const tellers = 8

// TellOfRules tells executions that what holds for them has changed, so that
// they look for themselves. Those that the visibility store does not list yet
// are missed; those that ended meanwhile need nothing.
func (a *Activities) TellOfRules(ctx context.Context, in TellInput) (Told, error) {
	found, complete, err := a.executions(ctx, in.Query, in.Limit)
	if err != nil {
		return Told{}, err
	}
	var told atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(tellers)
	for _, e := range found {
		group.Go(func() error {
			err := a.Temporal.SignalWorkflow(ctx, e.ID, "", in.Signal, in.Payload)
			if _, ended := errors.AsType[*serviceerror.NotFound](err); ended {
				return nil
			}
			if err != nil {
				return fmt.Errorf("tell %s: %w", e.ID, err)
			}
			told.Add(1)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return Told{}, err
	}
	return Told{Executions: int(told.Load()), Complete: complete}, nil
}
