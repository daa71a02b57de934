package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/cmd/internal/health"
	"github.com/gantryhq/gantry/config"
	"github.com/gantryhq/gantry/doctor"
)

func newHealthCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Check whether the Gantry on this machine is ready",
		Long: `Checks whether the Gantry on this machine is ready: its inbox can store events,
even while Temporal is down. With --worker it must also be able to run workflows:
Temporal answers, the namespace has Gantry's search attributes, and a worker
polls the task queue.

It reads the same configuration as gantry serve. Exit codes: 0 ready, 1 not.`,
		Example: `  gantry health
  gantry health --worker --wait 2m`,
		Args: cobra.NoArgs,
	}
	file := configFlag(cmd)
	wait := cmd.Flags().Duration("wait", 0, "how long to wait until it is ready (default: check once)")
	worker := cmd.Flags().Bool("worker", false, "also require that it can run workflows")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		loaded, err := file.load(nil)
		if err != nil {
			return err
		}
		// The operations listener says what is wrong, and has no TLS.
		address, err := health.Local(cmp.Or(loaded.OpsListen, loaded.Listen))
		if err != nil {
			return fmt.Errorf("opsListen, listen: %w", err)
		}
		url := "http://" + address
		if loaded.OpsListen == "" && loaded.TLS.CertFile != "" {
			url = "https://" + address
		}
		var report string
		err = health.Await(cmd.Context(), *wait, func(ctx context.Context) (err error) {
			if report, err = readiness(ctx, url); err == nil && *worker {
				var more string
				more, err = canWork(ctx, loaded)
				report += "\n" + more
			}
			return err
		})
		if err != nil {
			return err
		}
		fmt.Fprintln(cmd.OutOrStdout(), report)
		return nil
	}
	return cmd
}

// readiness returns the answer of /readyz in one line.
func readiness(ctx context.Context, url string) (string, error) {
	answer, err := health.Ask(ctx, url+"/readyz")
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
		return "", fmt.Errorf("%s answers, but it is not Gantry", url)
	}
	if ready.Forwarding.Down {
		return fmt.Sprintf("%s: Temporal is down: %s; %d events wait", ready.Status, doctor.Problem(ready.Forwarding.Problem), ready.Inbox.Pending), nil
	}
	return ready.Status, nil
}

// canWork returns an error unless the doctor's checks of Temporal succeed.
func canWork(ctx context.Context, loaded config.Loaded) (string, error) {
	m := machine()
	m.Loaded = loaded
	defer m.Close()
	return doctor.CanWork(ctx, m)
}
