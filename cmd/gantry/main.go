// Command gantry is the product: `gantry serve` runs it, the other commands are
// for the people around it. It links neither the embedded Temporal server nor
// the simulator; those are in gantry-dev.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
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
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.HasSubCommands() {
			refuseUnknown(c)
		}
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		if args := c.Flags().Args(); c.HasSubCommands() && len(args) > 0 {
			return unknownCommand(c, args) // it is why nobody knows the flag
		}
		return err
	})
	return root
}

// refuseUnknown makes a word that is none of a command's subcommands an error:
// by itself cobra would print help and exit with 0, as if it had been done.
func refuseUnknown(c *cobra.Command) {
	c.Args = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return unknownCommand(c, args)
	}
	c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
}

// unknownCommand says so as cobra does for the program itself.
func unknownCommand(c *cobra.Command, args []string) error {
	c.SuggestionsMinimumDistance = 2
	said := fmt.Sprintf("unknown command %q for %q", args[0], c.CommandPath())
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		said += "\n\nDid you mean this?\n\t" + strings.Join(near, "\n\t") + "\n"
	}
	return errors.New(said)
}
