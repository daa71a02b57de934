package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/cmd/internal/health"
	"github.com/gantryhq/gantry/simulator"
)

func newHealthCommand() *cobra.Command {
	var address string
	var alone bool
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Check whether a lab or a simulated Spacelift is ready",
		Long: `Checks whether the Gantry of a lab on this machine is ready or, with --simulator,
a simulated Spacelift that runs alone. Exit codes: 0 ready, 1 not.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			path := "/readyz"
			if alone {
				path = simulator.Control + "/clock"
				if !cmd.Flags().Changed("address") {
					address = "127.0.0.1:8090"
				}
			}
			local, err := health.Local(address)
			if err != nil {
				return err
			}
			return health.Await(cmd.Context(), wait, func(ctx context.Context) error {
				_, err := health.Ask(ctx, "http://"+local+path)
				return err
			})
		},
	}
	cmd.Flags().StringVar(&address, "address", "127.0.0.1:8080", "address of Gantry; 127.0.0.1:8090 with --simulator")
	cmd.Flags().BoolVar(&alone, "simulator", false, "check a simulated Spacelift")
	cmd.Flags().DurationVar(&wait, "wait", 0, "how long to wait until it is ready (default: check once)")
	return cmd
}
