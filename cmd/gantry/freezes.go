package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/gen/api"
)

func newFreezesCommand() *cobra.Command {
	freezes := &cobra.Command{
		Use: "freezes", Short: "Keep Gantry from confirming anything for a time",
		Long: `While a freeze holds, Gantry confirms nothing in the account or in the stacks that it names. Runs follow their plans
and wait; people can still confirm in Spacelift.`,
	}
	r := remoteFlags(freezes)
	freezes.AddCommand(newFreezesListCommand(r), newFreezesDeclareCommand(r), newFreezesLiftCommand(r))
	return freezes
}

func newFreezesListCommand(r *remote) *cobra.Command {
	var account string
	cmd := &cobra.Command{
		Use: "list", Short: "List the freezes that hold or will", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := r.connect(cmd)
			if err != nil {
				return err
			}
			list, err := s.freezes(cmd.Context(), account)
			if err != nil {
				return err
			}
			if s.json {
				return printJSON(s.out, list)
			}
			return showFreezes(s, list.Freezes)
		},
	}
	accountFlag(r, cmd, &account)
	return cmd
}

func (s *session) freezes(ctx context.Context, named string) (api.FreezeList, error) {
	account, err := s.theAccount(ctx, named)
	if err != nil {
		return api.FreezeList{}, err
	}
	return ask[api.FreezeList](ctx, func(ctx context.Context) (*http.Response, error) { return s.ListFreezes(ctx, account) })
}

func showFreezes(s *session, freezes []api.Freeze) error {
	t := newTable(s.out, "FREEZE", "FROM", "UNTIL", "STACKS", "BY", "REASON")
	for _, f := range freezes {
		until, stacks := "lifted", "all"
		if f.Until != nil {
			until = when(f.Until)
		}
		if len(f.Stacks) > 0 {
			stacks = strings.Join(f.Stacks, ", ")
		}
		t.row(f.ID, when(&f.From), until, stacks, f.DeclaredBy, f.Reason)
	}
	return t.flush()
}

// warnOfStacks names stacks that Gantry doesn't manage: a freeze of them keeps it
// from nothing. The freeze is declared by then: what can't be listed now is no
// reason to be without it.
func (s *session) warnOfStacks(ctx context.Context, account string, stacks []string) {
	if len(stacks) == 0 {
		return
	}
	list, err := s.stacks(ctx, account)
	if err != nil || !list.Complete {
		return
	}
	managed := make([]string, len(list.Stacks))
	for i, stack := range list.Stacks {
		managed[i] = stack.Stack
	}
	for _, name := range stacks {
		if slices.Contains(managed, name) {
			continue
		}
		meant := ""
		if near, ok := policy.Nearest(name, managed); ok {
			meant = " (meant " + near + "?)"
		}
		fmt.Fprintln(s.err, clean("gantry: warning: "+account+" has no managed stack "+name+meant+": the freeze keeps Gantry from nothing there"))
	}
}

func newFreezesDeclareCommand(r *remote) *cobra.Command {
	var account, reason, from, until string
	var stacks []string
	cmd := &cobra.Command{
		Use: "declare", Short: "Declare a freeze", Args: cobra.NoArgs,
		Example: "  gantry freezes declare --reason 'an incident' --until 2h",
		RunE: func(cmd *cobra.Command, _ []string) error {
			body := api.FreezeRequest{Reason: reason, Stacks: stacks}
			begin, err := timeOf("from", from, time.Now(), 1)
			if err != nil {
				return err
			}
			end, err := timeOf("until", until, time.Now(), 1)
			if err != nil {
				return err
			}
			body.From, body.Until = given(begin), given(end)
			s, err := r.connect(cmd)
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			account, err := s.theAccount(ctx, account)
			if err != nil {
				return err
			}
			freeze, err := change[api.Freeze](ctx, s, func(ctx context.Context, key *string) (*http.Response, error) {
				return s.DeclareFreeze(ctx, account, &api.DeclareFreezeParams{IdempotencyKey: key}, body)
			})
			if err != nil {
				return err
			}
			s.warnOfStacks(ctx, account, stacks)
			if s.json {
				return printJSON(s.out, freeze)
			}
			return showFreezes(s, []api.Freeze{freeze})
		},
	}
	accountFlag(r, cmd, &account)
	cmd.Flags().StringVar(&reason, "reason", "", "why, for everybody who waits")
	cmd.Flags().StringArrayVar(&stacks, "stack", nil, "freeze this stack alone (repeatable); without it all of the account")
	cmd.Flags().StringVar(&from, "from", "", "from when, as a time or a span from now such as 2h; without it from now on")
	cmd.Flags().StringVar(&until, "until", "", "until when, as a time or a span from now such as 2h; without it until it is lifted")
	_ = cmd.MarkFlagRequired("reason") // fails for unknown flags alone
	return cmd
}

func newFreezesLiftCommand(r *remote) *cobra.Command {
	var account string
	cmd := &cobra.Command{
		Use: "lift FREEZE", Short: "Lift a freeze before its time", Args: cobra.ExactArgs(1), ValidArgsFunction: r.completeFreezes,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := r.connect(cmd)
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			account, err := s.theAccount(ctx, account)
			if err != nil {
				return err
			}
			freeze, err := change[api.Freeze](ctx, s, func(ctx context.Context, key *string) (*http.Response, error) {
				return s.LiftFreeze(ctx, account, args[0], &api.LiftFreezeParams{IdempotencyKey: key})
			})
			if err != nil {
				return err
			}
			if s.json {
				return printJSON(s.out, freeze)
			}
			fmt.Fprintf(s.out, "%s no longer holds (%s)\n", freeze.ID, clean(freeze.Reason))
			return nil
		},
	}
	accountFlag(r, cmd, &account)
	return cmd
}
