package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"reflect"
	"time"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/cmd/gantry/internal/output"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/gen/gantry"
)

// listing is answering for a list. With --watch the command asks again after events of a
// kind.
func listing[T any](r *remote, cmd *cobra.Command, kind string, ask func(context.Context, *session, []string) (T, error), print func(*session, T) error) {
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
		first, err := ask(cmd.Context(), s, args)
		if err != nil {
			return err
		}
		hasty := *s
		hasty.Client = s.With(gantry.WithPatience(0)) // it is asked again anyway
		w := &watchedList[T]{session: s, print: print, latest: first, ask: func(ctx context.Context) (T, error) { return ask(ctx, &hasty, args) }}
		if s.live() {
			w.screen = output.NewScreen(s.Out)
		}
		return w.follow(cmd.Context(), s.changes(cmd.Context(), kind, api.StreamEventsParams{
			Account: given(cmp.Or(flagValue(cmd, "account"), s.account)), Stack: given(flagValue(cmd, "stack")),
		}))
	}
}

// flagValue returns the value of a flag; empty if the command has no such flag.
func flagValue(cmd *cobra.Command, name string) string {
	if f := cmd.Flags().Lookup(name); f != nil {
		return f.Value.String()
	}
	return ""
}

// live reports whether a person watches a list on a terminal.
func (s *session) live() bool { return output.OnTerminal(s.Out) && !s.Structured() }

// watchedList is a list that is printed whenever it changes. A terminal shows the latest
// alone, with ages that are true.
type watchedList[T any] struct {
	*session
	ask    func(context.Context) (T, error)
	print  func(*session, T) error
	screen *output.Screen // nil where lists are printed below each other

	latest    T
	shown     string // what was printed last; empty at the beginning
	complaint string // of the last reading; empty if it was answered
}

// Intervals at which a list is printed and read without news. Tests shorten them.
var (
	agePause   = time.Second
	longestAge = time.Minute
)

// follow prints the list until ctx ends. A Gantry that doesn't answer is asked again; a
// refusal is an error.
func (w *watchedList[T]) follow(ctx context.Context, news <-chan struct{}) error {
	if err := w.show(); err != nil {
		return err
	}
	read, ages, again := time.NewTicker(longestAge), time.NewTicker(agePause), time.NewTimer(0)
	defer read.Stop()
	defer ages.Stop()
	defer again.Stop()
	again.Stop()
	for {
		select {
		case <-ctx.Done():
			if w.screen != nil { // behind the terminal's ^C
				fmt.Fprintln(w.Out)
			}
			return nil
		case <-ages.C:
			if w.screen == nil {
				continue
			}
			if err := w.show(); err != nil {
				return err
			}
			continue
		case <-news:
		case <-read.C:
		case <-again.C:
		}
		if err := w.read(ctx); err != nil {
			return err
		}
		if w.complaint != "" {
			again.Reset(pollPause)
		}
	}
}

// read reads the list, and prints it if it has changed.
func (w *watchedList[T]) read(ctx context.Context) error {
	answer, err := w.ask(ctx)
	switch {
	case ctx.Err() != nil:
		return nil //nolint:nilerr // it was interrupted
	case err != nil && exitCode(err) == exitRefused:
		return err
	case err != nil:
		return w.complain("gantry: " + complaint(err))
	}
	w.complaint = ""
	if w.screen == nil && reflect.DeepEqual(answer, w.latest) {
		return nil
	}
	w.latest = answer
	return w.show()
}

// complain says why the list isn't known now, once.
func (w *watchedList[T]) complain(text string) error {
	if text == w.complaint {
		return nil
	}
	w.complaint = text
	if w.screen != nil {
		return w.show()
	}
	_, err := fmt.Fprintln(w.Err, text)
	return err
}

// show prints the list as it is now, unless it looks like the one before. A screen shows the
// complaint below it.
func (w *watchedList[T]) show() error {
	var text bytes.Buffer
	s := *w.session
	s.Printer = w.Onto(&text, now())
	if err := answered(&s, w.latest, w.print); err != nil {
		return err
	}
	if w.screen != nil && w.complaint != "" {
		if err := s.Sentence(w.complaint); err != nil {
			return err
		}
	}
	before, printed := w.shown, text.String()
	if printed == before {
		return nil
	}
	w.shown = printed
	switch {
	case w.screen != nil:
		return w.screen.Show(printed)
	case before != "" && w.Format != output.Name && !w.Structured():
		printed = "\n" + printed
	}
	return output.Raw(w.Out, printed)
}
