package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/cmd/gantry/internal/output"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/gen/gantry"
)

func newFreezesCommand() *cobra.Command {
	freezes := &cobra.Command{
		Use: "freezes", Short: "Stop Gantry from confirming anything for a while",
		Long: `During a freeze, Gantry confirms nothing in the account or in the named stacks. Runs still plan, and then wait; people
can still confirm in Spacelift.`,
	}
	r := remoteFlags(freezes)
	freezes.AddCommand(newFreezesListCommand(r), newFreezesDeclareCommand(r), newFreezesLiftCommand(r))
	return freezes
}

func newFreezesListCommand(r *remote) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List current and future freezes", Args: cobra.NoArgs}
	account := accountFlag(r, cmd)
	listing(r, cmd, noEvents, func(ctx context.Context, s *session, _ []string) (api.FreezeList, error) {
		return s.freezes(ctx, *account)
	},
		func(s *session, list api.FreezeList) error { return printFreezes(s, list.Freezes...) })
	return cmd
}

func (s *session) freezes(ctx context.Context, named string) (api.FreezeList, error) {
	account, err := s.theAccount(ctx, named)
	if err != nil {
		return api.FreezeList{}, err
	}
	return gantry.Answer[api.FreezeList](s.ListFreezes(ctx, account))
}

func printFreezes(s *session, freezes ...api.Freeze) error {
	t := s.List("freezes", []output.Column{{Title: "FROM"}, {Title: "UNTIL"}, {Title: "STACKS", Wraps: true}, {Title: "BY"}, {Title: "REASON", Wraps: true}, {Title: "FREEZE", Drop: 1}})
	for _, f := range freezes {
		until, stacks := "lifted", "all"
		if f.Until != nil {
			until = s.When(f.Until)
		}
		if len(f.Stacks) > 0 {
			stacks = strings.Join(f.Stacks, ", ")
		}
		t.Row(s.When(&f.From), until, stacks, f.DeclaredBy, f.Reason, f.ID)
	}
	return t.Flush()
}

func newFreezesDeclareCommand(r *remote) *cobra.Command {
	cmd := &cobra.Command{
		Use: "declare", Short: "Declare a freeze", Args: cobra.NoArgs,
		Example: "  gantry freezes declare --reason 'an incident' --until 2h",
	}
	account, f := accountFlag(r, cmd), cmd.Flags()
	reason := f.String("reason", "", "why, for everyone who waits")
	stacks := f.StringArray("stack", nil, "freeze only this stack (repeatable); default: the whole account")
	completeStacks(r, cmd)
	unmatched := f.Bool("allow-unmatched", false, "freeze stacks too that Gantry doesn't manage yet")
	from := f.String("from", "", "when it begins, as a time or as a duration from now such as 2h; default: now")
	until := f.String("until", "", "when it ends, as a time or as a duration from now such as 2h; default: when it is lifted")
	_ = cmd.MarkFlagRequired("reason") // fails for unknown flags alone
	cmd.RunE = answering(r, func(ctx context.Context, s *session, _ []string) (api.Freeze, error) {
		begin, err := timeOf("from", *from, time.Now(), 1)
		if err != nil {
			return api.Freeze{}, err
		}
		end, err := timeOf("until", *until, time.Now(), 1)
		if err != nil {
			return api.Freeze{}, err
		}
		account, err := s.theAccount(ctx, *account)
		if err != nil {
			return api.Freeze{}, err
		}
		return gantry.Answer[api.Freeze](s.DeclareFreeze(ctx, account, nil,
			api.FreezeRequest{Reason: *reason, Stacks: *stacks, AllowUnmatched: unmatched, From: given(begin), Until: given(end)}))
	}, func(s *session, freeze api.Freeze) error { return printFreezes(s, freeze) })
	return cmd
}

func newFreezesLiftCommand(r *remote) *cobra.Command {
	cmd := &cobra.Command{
		Use: "lift FREEZE", Short: "Lift a freeze before its time", Args: cobra.ExactArgs(1), ValidArgsFunction: r.completing(freezeNames, true),
	}
	account := accountFlag(r, cmd)
	cmd.RunE = answering(r, func(ctx context.Context, s *session, args []string) (api.Freeze, error) {
		account, err := s.theAccount(ctx, *account)
		if err != nil {
			return api.Freeze{}, err
		}
		return gantry.Answer[api.Freeze](s.LiftFreeze(ctx, account, args[0], nil))
	}, func(s *session, freeze api.Freeze) error {
		_, err := fmt.Fprintf(s.Out, "%s is lifted (%s)\n", freeze.ID, output.Clean(freeze.Reason))
		return err
	})
	return cmd
}
