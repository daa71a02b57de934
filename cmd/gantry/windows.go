package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/cmd/gantry/internal/output"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/gen/gantry"
)

func newWindowsCommand() *cobra.Command {
	windows := &cobra.Command{Use: "windows", Short: "Show when plans may be confirmed"}
	r := remoteFlags(windows)
	windows.AddCommand(newWindowsListCommand(r))
	return windows
}

func newWindowsListCommand(r *remote) *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List when windows and freezes let Gantry confirm", Args: cobra.NoArgs,
		Long: `Lists, for the account, its profiles and its windows, whether Gantry may confirm plans now and when it next may. For one of
them, it lists each period of the days ahead. Whether people must approve depends on a plan.`,
		Example: "  gantry windows list\n  gantry windows list --stack network-prod --days 14",
	}
	account, f := accountFlag(r, cmd), cmd.Flags()
	stack := f.String("stack", "", "only this stack")
	profile := f.String("profile", "", "only this profile")
	window := f.String("window", "", "only this window")
	from := f.String("from", "", "when the periods begin, as a time or as a duration from now such as 2h; default: now")
	days := countFlag(cmd, "days", 7, "how many days they cover")
	completeStacks(r, cmd)
	cmd.MarkFlagsMutuallyExclusive("stack", "profile", "window")
	listing(r, cmd, noEvents, func(ctx context.Context, s *session, _ []string) (api.Calendar, error) {
		begin, err := timeOf("from", *from, now(), 1)
		if err != nil {
			return api.Calendar{}, err
		}
		account, err := s.theAccount(ctx, *account)
		if err != nil {
			return api.Calendar{}, err
		}
		calendar, err := gantry.Answer[api.Calendar](s.ListWindows(ctx, account, &api.ListWindowsParams{
			Stack: given(*stack), Profile: given(*profile), Window: given(*window), From: given(begin), Days: days,
		}))
		return calendar, s.ofStack(ctx, account, *stack, err)
	}, printCalendar)
	return cmd
}

// printCalendar prints a line for each row or, if there is one, for each of its periods.
func printCalendar(s *session, c api.Calendar) error {
	if len(c.Rows) == 1 {
		return printPeriods(s, c)
	}
	t := s.List("windows", []output.Column{{Title: "FOR"}, {Title: "NAME"}, {Title: "NOW", Tone: toneOf, Wraps: true}, {Title: "UNTIL"}, {Title: "NEXT"}, {Title: "WINDOWS", Wraps: true}})
	for _, row := range c.Rows {
		state := "open"
		if !row.Gate.Open {
			state = "closed: " + deref(row.Gate.Reason)
		}
		next := s.When(row.Next)
		if row.Gate.Open {
			next = ""
		}
		t.Row(row.Kind, row.Name, state, s.When(row.Gate.Until), next, strings.Join(row.Windows, ", "))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return warnOfProblems(s, c)
}

func printPeriods(s *session, c api.Calendar) error {
	row := c.Rows[0]
	if err := s.Sentence(row.Kind + " " + row.Name + ":"); err != nil {
		return err
	}
	t := s.List("periods", []output.Column{{Title: "FROM"}, {Title: "UNTIL"}, {Title: "GATE", Tone: toneOf}, {Title: "BECAUSE", Wraps: true}})
	for _, p := range row.Periods {
		gate := "closed"
		if p.Open {
			gate = "open"
		}
		var because []string
		for _, name := range p.Windows {
			because = append(because, "outside window "+name)
		}
		for _, id := range p.Freezes {
			i := slices.IndexFunc(c.Freezes, func(f api.Freeze) bool { return f.ID == id })
			if i >= 0 {
				because = append(because, "freeze: "+c.Freezes[i].Reason)
			}
		}
		t.Row(output.Stamp(&p.From), output.Stamp(&p.Until), gate, strings.Join(because, "; "))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return warnOfProblems(s, c)
}

func warnOfProblems(s *session, c api.Calendar) error {
	for _, row := range c.Rows {
		for _, p := range row.Problems {
			if err := s.Sentence(fmt.Sprintf("warning: %s %s, %s: %s; %s", row.Kind, row.Name, p.Label, p.Problem, p.Remedy)); err != nil {
				return err
			}
		}
	}
	return nil
}
