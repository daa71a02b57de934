// Command gantry-dev is the lab: an embedded Temporal with its UI, a simulated
// Spacelift account with a few stacks, and Gantry, in one process and with
// nothing else installed.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// version is stamped by the linker: -X main.version=1.2.3.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the next signal ends whatever the first one can't, such as the opening of a pipe
	defer stop()
	if err := newLabCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "gantry-dev: "+err.Error())
		os.Exit(1)
	}
}

func newLabCommand() *cobra.Command {
	var o labOptions
	cmd := &cobra.Command{
		Use:   "gantry-dev",
		Short: "Run Temporal, a simulated Spacelift and Gantry in one process",
		Long: `Runs everything needed to try Gantry: an embedded Temporal server with its UI,
a simulated Spacelift account with a few stacks, and Gantry with Swagger UI.
Nothing leaves this machine and you need no account.

It replaces ports that are taken by free ones.`,
		Version:       version,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runLab(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVar(&o.data, "data", "", "folder that keeps Temporal, the simulated account and the inbox across restarts; if the lab is killed, the last moment of the simulated account may be lost (default: nothing is kept)")
	cmd.Flags().IntVar(&o.port, "port", 8080, "port of Gantry")
	cmd.Flags().IntVar(&o.opsPort, "ops-port", 8081, "port of Gantry's metrics and profiles")
	cmd.Flags().IntVar(&o.simulatorPort, "simulator-port", 8090, "port of the simulated Spacelift")
	cmd.Flags().IntVar(&o.temporalPort, "temporal-port", 7233, "port of Temporal")
	cmd.Flags().IntVar(&o.uiPort, "temporal-ui-port", 8233, "port of Temporal's UI")
	cmd.Flags().Float64Var(&o.pace, "pace", 0.05, "how long simulated phases take, relative to a real small stack (1 is real time)")
	cmd.Flags().StringVar(&o.logLevel, "log-level", "info", "debug, info, warn or error")
	cmd.AddCommand(newPushCommand(), newLabelCommand(), newSimulatorCommand(), newHealthCommand())
	return cmd
}
