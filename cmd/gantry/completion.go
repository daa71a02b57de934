package main

import (
	"context"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/cmd/gantry/internal/output"
	"github.com/gantryhq/gantry/gen/api"
)

// completionTimeout bounds how long a shell waits for a completion.
const completionTimeout = 2 * time.Second

func runNames(ctx context.Context, s *session, _ string) ([]string, error) {
	list, err := s.runs(ctx, api.ListRunsParams{}, maxPage)
	return names(list.Runs, func(run api.RunSummary) string {
		return runName{run.Account, run.Stack, run.Run}.String() + "\t" + output.Clean(run.State)
	}), err
}

func stackNames(ctx context.Context, s *session, account string) ([]string, error) {
	list, err := s.stacks(ctx, account, api.ListStacksParams{}, maxPage)
	return names(list.Stacks, func(stack api.Stack) string { return stack.Stack }), err
}

func freezeNames(ctx context.Context, s *session, account string) ([]string, error) {
	list, err := s.freezes(ctx, account)
	return names(list.Freezes, func(f api.Freeze) string { return f.ID + "\t" + output.Clean(f.Reason) }), err
}

func chainNames(ctx context.Context, s *session, account string) ([]string, error) {
	list, err := s.chains(ctx, account, api.ListChainsParams{}, maxPage)
	return names(list.Chains, func(c api.ChainSummary) string { return c.Run + "\t" + output.Clean(c.Stack) + " " + string(c.Phase) }), err
}

func deliveryNames(ctx context.Context, s *session, _ string) ([]string, error) {
	list, err := s.deliveries(ctx, api.ListDeliveriesParams{}, maxPage)
	return names(list.Deliveries, func(d api.Delivery) string { return d.ID + "\t" + string(d.Outcome) }), err
}

func names[T any](items []T, name func(T) string) []string {
	all := make([]string, len(items))
	for i, item := range items {
		all[i] = name(item)
	}
	return all
}

// completing completes the argument of a command, or with argument false a flag,
// with names from Gantry; find is given the --account. Without a token or an
// answer it offers nothing: a shell has no use for an error.
func (r *remote) completing(find func(ctx context.Context, s *session, account string) ([]string, error), argument bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if argument && len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		s, err := r.connect(cmd)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		s.Err = io.Discard
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
		defer cancel()
		account := ""
		if f := cmd.Flags().Lookup("account"); f != nil {
			account = f.Value.String()
		}
		found, err := find(ctx, s, account)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return found, cobra.ShellCompDirectiveNoFileComp
	}
}
