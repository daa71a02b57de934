package main

import (
	"context"
	"os"

	"github.com/gantryhq/gantry/e2e/histories"
)

// reconcile measures a tick that finds nothing over 2,000 managed stacks, against
// one stack.
func (b *bench) reconcile(ctx context.Context) error {
	one, err := histories.RunTick(ctx, 1)
	if err != nil {
		return err
	}
	many, err := histories.RunTick(ctx, 2000)
	if err != nil {
		return err
	}
	many.Report(os.Stdout, one)
	return nil
}
