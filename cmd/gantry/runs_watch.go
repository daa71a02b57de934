package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/cmd/gantry/internal/output"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/gen/gantry"
)

func newRunsWatchCommand(r *remote) *cobra.Command {
	cmd := &cobra.Command{
		Use: "watch RUN", Short: "Follow a run to its end", Args: cobra.ExactArgs(1), ValidArgsFunction: r.completing(runOrStackNames, true),
		Long: `Prints a line for each change until the run has ended; with -o json, each line is the whole run. The exit code says how
the run ended: 0 FINISHED, 10 FAILED, 11 DISCARDED, 12 CANCELED, 13 STOPPED, 14 SKIPPED, 19 otherwise, and 5 if --timeout
passed first.

If Gantry doesn't know the run yet, the command waits up to 30 seconds for the run's first notification. With --until
it exits with 0 as soon as the run is in that phase.`,
		Example: "  gantry runs watch acme/network-prod/01KDX3V4T8Q2M5N7P9R1S3T5V7 --until waiting",
	}
	timeout := cmd.Flags().Duration("timeout", 0, "how long to follow it at most; 0 for no limit")
	phase := choiceFlag(cmd, "until", "phase to stop at, such as waiting", phases...)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, name, err := r.about(cmd, args, newest)
		if err != nil {
			return err
		}
		ctx, cancel := withTimeout(cmd.Context(), *timeout)
		defer cancel()
		var last api.Run
		for run, err := range s.watch(ctx, name) {
			if err == nil {
				err = s.printLine(run)
			}
			if err != nil {
				return err
			}
			if *phase != "" && string(run.Phase) == *phase {
				return nil
			}
			last = run
		}
		return endedAs(last)
	}
	return cmd
}

// printLine prints a run on one line.
func (s *session) printLine(run api.Run) error {
	if s.Structured() {
		return s.EncodeLine(run)
	}
	why := deref(run.Outcome)
	if run.WaitingFor != nil {
		why = run.WaitingFor.Reason
	}
	_, err := fmt.Fprintf(s.Out, "%s  %s  %s  %s\n", output.Stamp(cmp.Or(run.LastEventAt, &run.StartedAt)), output.Clean(run.State), run.Phase, output.Clean(why))
	return err
}

// waitFor holds --wait and --timeout.
type waitFor struct {
	wait    *bool
	timeout *time.Duration
}

func waitFlags(cmd *cobra.Command) waitFor {
	return waitFor{
		wait:    cmd.Flags().Bool("wait", false, "wait until the run has ended; the exit code says how, as with gantry runs watch"),
		timeout: cmd.Flags().Duration("timeout", 0, "how long to wait at most; 0 for no limit"),
	}
}

// after prints what a change did and, with --wait, waits for the end of the run.
func (w waitFor) after(ctx context.Context, s *session, name runName, run api.Run, done string) error {
	switch {
	case s.Structured():
	case s.Format == output.Name:
		fmt.Fprintln(s.Out, name)
	default:
		fmt.Fprintf(s.Out, "%s: %s\n", name, done)
		if err := s.printLine(run); err != nil {
			return err
		}
	}
	switch {
	case *w.wait:
		ctx, cancel := withTimeout(ctx, *w.timeout)
		defer cancel()
		return s.awaitEnd(ctx, name, &run)
	case s.Structured():
		return s.Encode(run)
	}
	return nil
}

// awaitEnd waits for the end of a run. It prints the changes since the run that
// was printed last, or with -o json only the run at its end.
func (s *session) awaitEnd(ctx context.Context, name runName, printed *api.Run) error {
	var last api.Run
	for run, err := range s.watch(ctx, name) {
		if err == nil && !s.Structured() && (printed == nil || printed.State != run.State || printed.Phase != run.Phase) {
			err, printed = s.printLine(run), &run
		}
		if err != nil {
			return err
		}
		last = run
	}
	if s.Structured() {
		if err := s.Encode(last); err != nil {
			return err
		}
	}
	return endedAs(last)
}

var errTimeout = &exitError{exitNotInTime, errors.New("the run has not ended in time")}

// withTimeout bounds how long to wait for a run; 0 is no bound. The cause of a
// context that ends by it is errTimeout.
func withTimeout(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if timeout == 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, timeout, errTimeout)
}

// appearance bounds the wait for a run that Gantry doesn't know yet, and
// appearancePause is the time between attempts. Tests shorten the first.
var appearance = 30 * time.Second

const appearancePause = 200 * time.Millisecond

// watch returns the run as it is and after each change, until it has ended. A run that
// Gantry doesn't know yet is awaited. The error, if any, comes last.
func (s *session) watch(ctx context.Context, name runName) iter.Seq2[api.Run, error] {
	return func(yield func(api.Run, error) bool) {
		giveUp := time.Now().Add(appearance)
		for first := true; s.follow(ctx, name, giveUp, yield); first = false {
			if first {
				fmt.Fprintf(s.Err, "gantry: Gantry does not know %s yet; waiting up to %s for its first notification\n", name, appearance)
			}
			if err := pause(ctx, appearancePause); err != nil {
				yield(api.Run{}, err)
				return
			}
		}
	}
}

// follow yields what follows a run. It reports whether Gantry doesn't know the run, and it
// is too early to give up.
func (s *session) follow(ctx context.Context, name runName, giveUp time.Time, yield func(api.Run, error) bool) (unknown bool) {
	known := false
	for run, err := range s.FollowRun(ctx, name.account, name.stack, name.run) {
		if !known && gantry.IsProblem(err, "not-found") && time.Now().Before(giveUp) {
			return true
		}
		if known = true; !yield(run, err) {
			return false
		}
	}
	return false
}

// pause waits, unless ctx ends first.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
