// Command gantry is the product: `gantry serve` runs it, and the other commands are
// for its operators and users. It links neither the embedded Temporal server nor the
// simulator; those are in gantry-dev.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// version is stamped by the linker: -X main.version=1.2.3.
var version = "dev"

func main() {
	// A file that can't grow is an error to answer with 503, not a reason to exit.
	signal.Ignore(syscall.SIGXFSZ)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run runs the program and returns its exit code.
func run(ctx context.Context, args []string, out, complaints io.Writer) int {
	root := newRootCommand()
	root.SetArgs(args)
	root.SetOut(printable{out})
	root.SetErr(printable{complaints})
	err := root.ExecuteContext(ctx)
	if err != nil {
		fmt.Fprintln(root.ErrOrStderr(), "gantry: "+err.Error())
	}
	return exitCode(err)
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "gantry",
		Short: "Manage Spacelift runs with Temporal, and explain every step",
		Long: `Gantry follows every run of a labelled Spacelift stack from its first
notification to its end, acts for you where the stack's labels allow it, and
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
			return unknownCommand(c, args) // the reason why the flag is unknown
		}
		return err
	})
	return root
}

// refuseUnknown makes an unknown subcommand an error: cobra alone would print help
// and exit with 0, as if it had run.
func refuseUnknown(c *cobra.Command) {
	c.Args = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return unknownCommand(c, args)
	}
	c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
}

// unknownCommand returns the error that cobra returns for the program itself.
func unknownCommand(c *cobra.Command, args []string) error {
	c.SuggestionsMinimumDistance = 2
	text := fmt.Sprintf("unknown command %q for %q", args[0], c.CommandPath())
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		text += "\n\nDid you mean this?\n\t" + strings.Join(near, "\n\t") + "\n"
	}
	return errors.New(text)
}
