// Command gantry is the product: `gantry serve` runs it, the other commands are
// for the people around it. It links neither the embedded Temporal server nor
// the simulator; those are in gantry-dev.
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
	// A file that may not grow is an error to answer with 503, not a reason to die.
	signal.Ignore(syscall.SIGXFSZ)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRootCommand()
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "gantry: "+err.Error())
		os.Exit(exitCode(err))
	}
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "gantry",
		Short: "Manages Spacelift runs with Temporal, and can always say why",
		Long: `Gantry follows every run of a labelled Spacelift stack from its first
notification to its end, acts for you where the stack's labels say so, and
explains what it did.`,
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(newServeCommand(), newSetupCommand(), newDoctorCommand(), newHealthCommand(), newTokenCommand(),
		newRunsCommand(), newStacksCommand(), newFreezesCommand(), newChainsCommand(), newDeliveriesCommand(), newLintCommand())
	return root
}
