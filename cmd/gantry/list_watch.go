package main

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/cmd/gantry/internal/output"
)

// watchPause is the time between two reads of a list that is watched. Tests shorten it.
var watchPause = 2 * time.Second

// listing is answering for a list: with --watch the command asks again and again.
func listing[T any](r *remote, cmd *cobra.Command, ask func(context.Context, *session, []string) (T, error), print func(*session, T) error) {
	watch := cmd.Flags().BoolP("watch", "w", false, "print the list again whenever it changes, until interrupted")
	once := answering(r, ask, print)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !*watch {
			return once(cmd, args)
		}
		s, err := r.connect(cmd)
		if err != nil {
			return err
		}
		return s.watchList(cmd.Context(), func(ctx context.Context, s *session) error {
			answer, err := ask(ctx, s, args)
			if err != nil {
				return err
			}
			return answered(s, answer, print)
		})
	}
}

// watchList prints a list and, until ctx ends, whenever it has changed. A terminal shows
// the latest alone. Once the list was printed, a Gantry that doesn't answer is asked again.
func (s *session) watchList(ctx context.Context, show func(context.Context, *session) error) error {
	last := ""
	for ctx.Err() == nil {
		text, err := s.shot(ctx, show)
		switch {
		case ctx.Err() != nil: // interrupted
		case err != nil && (last == "" || exitCode(err) == exitRefused):
			return err
		case err != nil:
			fmt.Fprintln(s.Err, "gantry: "+complaint(err))
		case text != last:
			if err := s.replace(last, text); err != nil {
				return err
			}
			last = text
		}
		_ = pause(ctx, watchPause) // only ctx ends it
	}
	return nil
}

// shot returns what a list looks like now.
func (s *session) shot(ctx context.Context, show func(context.Context, *session) error) (string, error) {
	var text bytes.Buffer
	err := show(ctx, s.onto(&text))
	return text.String(), err
}

// replace prints a text in the place of the one before.
func (s *session) replace(before, text string) error {
	switch {
	case output.OnTerminal(s.Out) && !s.Structured():
		return output.Redraw(s.Out, text)
	case before != "" && s.Format != output.Name && !s.Structured():
		text = "\n" + text
	}
	return output.Raw(s.Out, text)
}
