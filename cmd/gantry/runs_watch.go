package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/gen/api"
)

func newRunsWatchCommand(r *remote) *cobra.Command {
	cmd := &cobra.Command{
		Use: "watch RUN", Short: "Follow a run to its end", Args: cobra.ExactArgs(1), ValidArgsFunction: r.completeRuns,
		Long: `Prints a line for each change until the run has ended, with -o json the whole run on a line. The exit code says how it
ended: 0 FINISHED, 10 FAILED, 11 DISCARDED, 12 CANCELED, 13 STOPPED, 14 SKIPPED, 19 otherwise, and 5 when --timeout
passed before.

A run that Gantry doesn't know yet is awaited for up to 30 seconds: its first notification may be on its way. With
--until it ends, with exit code 0, as soon as the run is in that phase.`,
		Example: "  gantry runs watch acme/network-prod/01KDX3V4T8Q2M5N7P9R1S3T5V7 --until waiting",
	}
	timeout := cmd.Flags().Duration("timeout", 0, "how long to follow it at most; 0 for as long as it takes")
	phase := cmd.Flags().String("until", "", "phase to stop at, such as waiting")
	completePhases(cmd, "until")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		stopAt := api.Phase(*phase)
		if *phase != "" && !stopAt.Valid() {
			return fmt.Errorf("--until: %q is no phase; give one of %s", *phase, strings.Join(phases, ", "))
		}
		s, name, err := r.about(cmd, args)
		if err != nil {
			return err
		}
		ctx, cancel := patience(cmd.Context(), *timeout)
		defer cancel()
		run, err := s.follow(ctx, name, func(run api.Run) error {
			if err := s.line(run); err != nil || run.Phase != stopAt {
				return err
			}
			return errReached
		})
		switch {
		case errors.Is(err, errReached):
			return nil
		case err != nil:
			return err
		}
		return endedAs(run)
	}
	return cmd
}

// errReached ends the watching of a run that has reached the phase of --until.
var errReached = errors.New("the phase is reached")

// line prints a run on one line.
func (s *session) line(run api.Run) error {
	if s.json {
		return json.NewEncoder(s.out).Encode(run)
	}
	why := deref(run.Outcome)
	if run.WaitingFor != nil {
		why = run.WaitingFor.Reason
	}
	fmt.Fprintf(s.out, "%s  %s  %s  %s\n", when(cmp.Or(run.LastEventAt, &run.StartedAt)), clean(run.State), run.Phase, clean(why))
	return nil
}

// waiting is what --wait and --timeout ask for.
type waiting struct {
	wait    *bool
	timeout *time.Duration
}

func waitFlags(cmd *cobra.Command) waiting {
	return waiting{
		wait:    cmd.Flags().Bool("wait", false, "wait until the run has ended; the exit code says how, as with gantry runs watch"),
		timeout: cmd.Flags().Duration("timeout", 0, "how long to wait at most; 0 for as long as it takes"),
	}
}

// after says what a change did, and waits for the end of the run if asked to.
func (w waiting) after(ctx context.Context, s *session, name runName, run api.Run, done string) error {
	if !*w.wait && s.json {
		return printJSON(s.out, run)
	}
	if !s.json {
		fmt.Fprintf(s.out, "%s: %s\n", name, done)
		if err := s.line(run); err != nil {
			return err
		}
	}
	if !*w.wait {
		return nil
	}
	ctx, cancel := patience(ctx, *w.timeout)
	defer cancel()
	return until(ctx, s, name, &run)
}

// until waits for the end of a run, printing its changes from the one that was
// shown last.
func until(ctx context.Context, s *session, name runName, shown *api.Run) error {
	last, err := s.follow(ctx, name, func(run api.Run) error {
		if s.json || shown != nil && shown.State == run.State && shown.Phase == run.Phase {
			return nil
		}
		shown = &run
		return s.line(run)
	})
	if err != nil {
		return err
	}
	if s.json {
		if err := printJSON(s.out, last); err != nil {
			return err
		}
	}
	return endedAs(last)
}

// Times between attempts to connect to a stream that broke.
const (
	reconnectFirst = time.Second
	reconnectMost  = 30 * time.Second
)

// appearance bounds how long a run is awaited that Gantry doesn't know yet, and
// appearancePause is the time between attempts. Tests shorten the first.
var appearance = 30 * time.Second

const appearancePause = 200 * time.Millisecond

var errNotInTime = &exitError{exitNotInTime, errors.New("it has not ended in time")}

// patience bounds how long to wait for a run; 0 is no bound. A context that
// ended so has errNotInTime for its cause.
func patience(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if timeout == 0 {
		return ctx, func() {}
	}
	return context.WithTimeoutCause(ctx, timeout, errNotInTime)
}

// follow calls tell with the run as it is and after each change, until the run
// has ended. It connects again after a stream breaks or Gantry is away: each
// stream begins with the run as it is. A run that Gantry doesn't know yet is
// awaited until appearance has passed.
func (s *session) follow(ctx context.Context, name runName, tell func(api.Run) error) (last api.Run, err error) {
	wait, everHeard, giveUp := reconnectFirst, false, time.Time{}
	for {
		ended, heard, err := s.stream(ctx, name, &last, tell)
		if cause := context.Cause(ctx); cause != nil && !ended {
			return last, cause
		}
		everHeard = everHeard || heard
		if !everHeard && unknownRun(err) {
			if giveUp.IsZero() {
				giveUp = time.Now().Add(appearance)
				fmt.Fprintf(s.err, "gantry: Gantry does not know %s yet; waiting up to %s for its first notification\n", name, appearance)
			}
			if time.Now().After(giveUp) {
				return last, err
			}
			if err := pause(ctx, appearancePause); err != nil {
				return last, err
			}
			continue
		}
		if ended || err != nil && !passes(err, everHeard) {
			return last, err
		}
		if heard {
			wait = reconnectFirst
		}
		if err := pause(ctx, wait); err != nil {
			return last, err
		}
		wait = min(2*wait, reconnectMost)
	}
}

// unknownRun reports whether Gantry answered that there is no such run.
func unknownRun(err error) bool {
	p, ok := errors.AsType[*problemError](err)
	return ok && p.is("not-found")
}

// passes reports whether an error of a stream may be over soon. Once something
// was heard the address is right, and whatever answers in Gantry's place does so
// while it is started anew.
func passes(err error, heard bool) bool {
	if p, ok := errors.AsType[*problemError](err); ok {
		return p.Status == http.StatusTooManyRequests || p.Status == http.StatusServiceUnavailable
	}
	_, said := errors.AsType[*tellError](err)
	return heard && !said
}

// tellError is an error of who is told, not of the stream.
type tellError struct{ err error }

func (e *tellError) Error() string { return e.err.Error() }
func (e *tellError) Unwrap() error { return e.err }

// stream tells of the events of one stream, and whether it heard any.
func (s *session) stream(ctx context.Context, name runName, last *api.Run, tell func(api.Run) error) (ended, heard bool, err error) {
	response, err := s.StreamRun(ctx, name.account, name.stack, name.run)
	if err != nil {
		return false, false, notReached(err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		body, err := io.ReadAll(io.LimitReader(response.Body, maxResponse))
		if err != nil {
			return false, false, err
		}
		return false, false, problemIn(response, body)
	}
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, maxResponse)
	var event string
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "event":
			event = value
		case "data":
			var run api.Run
			if err := json.Unmarshal([]byte(value), &run); err != nil {
				return false, heard, notGantry(response)
			}
			*last, heard = run, true
			if err := tell(run); err != nil {
				return false, heard, &tellError{err}
			}
			if event == "end" {
				return true, heard, nil
			}
		}
	}
	return false, heard, lines.Err()
}
