package main

import (
	"context"
	"errors"
	"os"

	"github.com/gantryhq/gantry/e2e/stories"
)

// history counts the events that Temporal keeps of the standard stories.
func (b *bench) history(ctx context.Context) error {
	costs, err := stories.Record(ctx, "", stories.Standard()...)
	return errors.Join(err, stories.Report(os.Stdout, costs))
}
