// Command gantry is the product: `gantry serve` runs it, and the other commands are
// for its operators and users. It links neither the embedded Temporal server nor the
// simulator; those are in gantry-dev.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/cmd/gantry/internal/output"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/gen/gantry"
)

// now is the clock that ages count from. Tests stop it.
var now = time.Now

// version is stamped by the linker: -X main.version=1.2.3.
var version = "dev"

func main() {
	// A file that can't grow is an error to answer with 503, not a reason to exit.
	signal.Ignore(syscall.SIGXFSZ)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the next signal ends whatever the first one can't, such as the opening of a pipe
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run runs the program and returns its exit code.
func run(ctx context.Context, args []string, in io.Reader, out, complaints io.Writer) int {
	root := newRootCommand()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(output.Printable{Out: out})
	root.SetErr(output.Printable{Out: complaints})
	err := root.ExecuteContext(ctx)
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		err = &exitError{exitInterrupted, errors.New("interrupted")}
	}
	if err != nil {
		err = explainFlags(err)
		fmt.Fprintln(root.ErrOrStderr(), "gantry: "+complaint(err))
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
	addCommands(root)
	output.AddColourFlag(root)
	root.InitDefaultCompletionCmd()
	explainUsage(root)
	return root
}

// addCommands adds the commands, under the headings of the help.
func addCommands(root *cobra.Command) {
	for _, group := range []struct {
		title    string
		commands []*cobra.Command
	}{
		{"Decide about runs", []*cobra.Command{newWaitingCommand(), newTopDecideCommand(0), newTopDecideCommand(1), newRunsCommand()}},
		{"See and steer", []*cobra.Command{newStacksCommand(), newChainsCommand(), newFreezesCommand(), newWindowsCommand(), newAccountsCommand(), newFindingsCommand(), newEventsCommand(), newDeliveriesCommand(), newAuditCommand()}},
		{"Run Gantry", []*cobra.Command{newServeCommand(), newSetupCommand(), newDoctorCommand(), newHealthCommand(), newLintCommand(), newSchemaCommand(), newChannelsCommand(), newTokenCommand()}},
		{"Use this program", []*cobra.Command{newLoginCommand(), newLogoutCommand(), newContextCommand(), newWhoamiCommand(), newVersionCommand(), newManCommand()}},
	} {
		root.AddGroup(&cobra.Group{ID: group.title, Title: group.title + ":"})
		for _, c := range group.commands {
			c.GroupID = group.title
			root.AddCommand(c)
		}
		root.SetHelpCommandGroupID(group.title)
		root.SetCompletionCommandGroupID(group.title)
	}
}

// The exit codes besides 0, and 1 for any other error. They are a contract with
// scripts; docs/reference/cli.md lists them.
const (
	exitDrift     = 3 // gantry setup --check: something differs
	exitRefused   = 4 // Gantry refused the request
	exitNotInTime = 5 // --timeout passed before the run had ended
	exitUnchecked = 6 // gantry setup --check: nothing seems to differ, but some of it could not be checked
	exitEnded     = 19

	exitInterrupted = 130 // Ctrl-C, as shells say it
)

// exitOfState maps the state in which a run ended to the exit code; other states
// are exitEnded.
var exitOfState = map[string]int{"FINISHED": 0, "FAILED": 10, "DISCARDED": 11, "CANCELED": 12, "STOPPED": 13, "SKIPPED": 14}

// endedAs returns how a run ended as an error; nil if it finished.
func endedAs(run api.Run) error {
	code, known := exitOfState[run.State]
	if !known {
		code = exitEnded
	}
	if code == 0 {
		return nil
	}
	return &exitError{code, fmt.Errorf("%s ended as %s: %s",
		runName{run.Account, run.Stack, run.Run}, output.Clean(run.State), output.Clean(deref(run.Outcome)))}
}

// exitError ends the process with an exit code.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// exitCode returns the exit code of the process: 1 for an error without its own.
func exitCode(err error) int {
	if err == nil {
		return 0
	}
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.code
	}
	if p, ok := errors.AsType[*gantry.Problem](err); ok && refuses(p) {
		return exitRefused
	}
	return 1
}

// refuses reports whether Gantry would refuse the request again.
func refuses(p *gantry.Problem) bool {
	return p.Kind() != "" && p.Status < http.StatusInternalServerError && p.Status != http.StatusTooManyRequests
}

// complaint returns an error in words, with the remedy that this program knows.
func complaint(err error) string {
	p, answered := errors.AsType[*gantry.Problem](err)
	switch {
	case errors.Is(err, errTimeout):
		return errTimeout.Error()
	case errors.Is(err, gantry.ErrUnreached):
		return err.Error() + "; check that Gantry runs and that --url or GANTRY_URL is right"
	case answered && p.Kind() == "":
		return err.Error() + " (--url or GANTRY_URL)"
	}
	return err.Error()
}
