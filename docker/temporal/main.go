// Command temporal-server is a Temporal server in one process, built from
// Temporal's Go module: docker/compose.yaml runs it unless configured to use
// Temporal's own images. It keeps its data in a SQLite file or in PostgreSQL,
// and makes the namespace and the search attributes that Gantry needs.
//
// It has no authentication: anyone who reaches its ports can do everything.
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
	defer stop()
	if err := newRootCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "temporal-server: "+err.Error())
		os.Exit(1)
	}
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "temporal-server",
		Short:         "A Temporal server in one process, ready for Gantry",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(newServeCommand(), newHealthCommand())
	return root
}
