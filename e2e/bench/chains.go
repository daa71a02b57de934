package main

import (
	"context"
	"fmt"
	"os"

	"github.com/gantryhq/gantry/e2e/histories"
)

// chains runs a chain of 1,000 stacks and 4,600 labels, in ten layers.
func (b *bench) chains(ctx context.Context) error {
	cost, err := histories.RunWide(ctx, 10, 100, 5)
	if err != nil {
		return err
	}
	cost.Report(os.Stdout)
	fmt.Println("a decision at the bounds: go test ./workflows -run NONE -bench Chain (target < 20 ms)")
	return nil
}
