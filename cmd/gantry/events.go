package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/cmd/gantry/internal/output"
	"github.com/gantryhq/gantry/gen/api"
)

func newEventsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "events", Short: "Follow every change that you may see", Args: cobra.NoArgs,
		Long: `Prints a line for each change of a run, a chain or an account, until interrupted; with -o json, each line is the event with the
new form of what has changed. After a lost connection it continues where it was.`,
		Example: "  gantry events --stack 'network-*'\n  gantry events --jq 'select(.event == \"run\") | .data.stack + \" \" + .data.state'",
	}
	r := remoteFlags(cmd)
	account := accountFilter(r, cmd)
	stack := cmd.Flags().String("stack", "", "only those of stacks with this id, and of chains that their runs began; * stands for any text")
	completeStacks(r, cmd)
	limit := cmd.Flags().Duration("timeout", 0, "how long to follow them at most; 0 for no limit")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := r.connect(cmd)
		if err != nil {
			return err
		}
		ctx, cancel := withTimeout(cmd.Context(), *limit)
		defer cancel()
		for e, err := range s.Events(ctx, &api.StreamEventsParams{Account: given(cmp.Or(*account, s.account)), Stack: given(*stack)}) {
			if ctx.Err() != nil {
				return nil // interrupted, or it is time
			}
			if err == nil {
				err = s.printEvent(event{e.Kind, e.ID, e.Data})
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	return cmd
}

// event is an event as gantry events prints it for programs.
type event struct {
	Event string          `json:"event"`
	ID    string          `json:"id"`
	Data  json.RawMessage `json:"data"`
}

// printEvent prints an event on one line.
func (s *session) printEvent(e event) error {
	switch {
	case e.Event == "ready":
		return nil
	case e.Event == "reset":
		fmt.Fprintln(s.Err, "gantry: some changes may be missing; list what you need to know anew")
		return nil
	case s.Structured():
		return s.EncodeLine(e)
	}
	at, name, text := now(), "", ""
	switch e.Event {
	case "run":
		var run api.RunSummary
		_ = json.Unmarshal(e.Data, &run) // what it doesn't know is left out
		at, name = *cmp.Or(run.ChangedAt, &at), nameOf(run).String()
		text = strings.TrimSpace(run.State + "  " + string(run.Phase) + "  " + deref(run.WaitingFor).Reason)
	case "chain":
		var c api.ChainSummary
		_ = json.Unmarshal(e.Data, &c)
		name, text = runName{c.Account, c.Stack, c.Run}.String(), string(c.Phase)
	case "account":
		var a api.Account
		_ = json.Unmarshal(e.Data, &a)
		name, text = a.Name, fmt.Sprintf("%d findings", len(a.Findings))
	}
	return s.printEventLine(e.Event, at, name, text)
}

func (s *session) printEventLine(kind string, at time.Time, name, text string) error {
	if s.Format == output.Name {
		_, err := fmt.Fprintln(s.Out, output.Clean(name))
		return err
	}
	_, err := fmt.Fprintln(s.Out, output.Clean(fmt.Sprintf("%s  %-7s  %s  %s", output.Stamp(&at), kind, name, text)))
	return err
}
