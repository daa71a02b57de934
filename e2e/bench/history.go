package main

import (
	"context"
	"errors"
	"os"

	"github.com/gantryhq/gantry/e2e/histories"
)

// history counts Temporal's events of the standard stories.
func (b *bench) history(ctx context.Context) error {
	costs, err := histories.Record(ctx, "", histories.Standard()...)
	return errors.Join(err, histories.Report(os.Stdout, costs))
}
