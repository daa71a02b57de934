package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/cmd/internal/health"
	"github.com/gantryhq/gantry/config"
)

func newHealthCommand() *cobra.Command {
	var wait time.Duration
	var worker bool
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Ask the Gantry on this machine whether it accepts events",
		Long: `Asks the Gantry on this machine whether it is ready: it is while its inbox can
store events, also when Temporal is away. With --worker it must also be able to
run workflows: Temporal answers, the namespace has Gantry's search attributes,
and a Gantry works on the task queue.

It reads the same configuration as gantry serve. Exit codes: 0 ready, 1 not.`,
		Example: `  gantry health
  gantry health --worker --wait 2m`,
		Args: cobra.NoArgs,
	}
	load := configFlag(cmd)
	cmd.Flags().DurationVar(&wait, "wait", 0, "how long to wait for it to become so (default: ask once)")
	cmd.Flags().BoolVar(&worker, "worker", false, "it must be able to run workflows as well")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		loaded, err := load()
		if err != nil {
			return err
		}
		address, err := health.Local(loaded.Listen)
		if err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		var says string
		err = health.Await(cmd.Context(), wait, func(ctx context.Context) (err error) {
			if says, err = readiness(ctx, address); err == nil && worker {
				var more string
				more, err = canWork(ctx, loaded)
				says += "\n" + more
			}
			return err
		})
		if err != nil {
			return err
		}
		fmt.Fprintln(cmd.OutOrStdout(), says)
		return nil
	}
	return cmd
}

// readiness asks for /readyz and says in one line what it answered.
func readiness(ctx context.Context, address string) (string, error) {
	answer, err := health.Ask(ctx, "http://"+address+"/readyz")
	if err != nil {
		return "", err
	}
	var ready struct {
		Status     string
		Inbox      struct{ Pending int64 }
		Forwarding struct {
			Down    bool
			Problem *string
		}
	}
	if err := json.Unmarshal([]byte(answer), &ready); err != nil || ready.Status == "" {
		return "", fmt.Errorf("%s answers, but it is no Gantry", address)
	}
	if ready.Forwarding.Down {
		return fmt.Sprintf("%s: Temporal is away: %s; %d events wait", ready.Status, text(ready.Forwarding.Problem), ready.Inbox.Pending), nil
	}
	return ready.Status, nil
}

// canWork returns an error unless everything the doctor checks of Temporal is
// well.
func canWork(ctx context.Context, loaded config.Loaded) (string, error) {
	p := &patient{loaded: loaded}
	defer p.close()
	var found string
	for _, c := range []func(context.Context, *patient) finding{checkTemporal, checkNamespace, checkSearchAttributes, checkWorker} {
		f := c(ctx, p)
		if f.Verdict != verdictOK {
			return "", errors.New(f.Text)
		}
		if found == "" {
			found = f.Text
		}
	}
	return fmt.Sprintf("%s; workflows run in namespace %s on task queue %s", found, p.namespace, loaded.Temporal.TaskQueue), nil
}
