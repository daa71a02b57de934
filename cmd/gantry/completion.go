package main

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/gen/api"
)

// completeTimeout bounds how long a shell waits for a completion.
const completeTimeout = 2 * time.Second

// complete makes shells offer fixed words for a flag.
func complete(cmd *cobra.Command, flag string, words ...string) {
	// It fails for unknown flags alone.
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

// accountFlag adds --account to a command that is about one account.
func accountFlag(r *remote, cmd *cobra.Command, account *string) {
	cmd.Flags().StringVar(account, "account", "", "account that is meant; needed when Gantry serves several")
	_ = cmd.RegisterFlagCompletionFunc("account", r.completing(func(ctx context.Context, s *session, _ *cobra.Command) ([]string, error) {
		list, err := ask[api.AccountList](ctx, func(ctx context.Context) (*http.Response, error) { return s.ListAccounts(ctx) })
		return names(list.Accounts, func(a api.Account) string { return a.Name }), err
	}, false))
}

func (r *remote) completeRuns(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return r.completing(func(ctx context.Context, s *session, _ *cobra.Command) ([]string, error) {
		list, err := s.runs(ctx, api.ListRunsParams{}, maxPage)
		return names(list.Runs, func(run api.RunSummary) string {
			return runName{run.Account, run.Stack, run.Run}.String() + "\t" + clean(run.State)
		}), err
	}, true)(cmd, args, prefix)
}

func (r *remote) completeStacks(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return r.completing(func(ctx context.Context, s *session, cmd *cobra.Command) ([]string, error) {
		list, err := s.stacks(ctx, accountOf(cmd))
		return names(list.Stacks, func(stack api.Stack) string { return stack.Stack }), err
	}, true)(cmd, args, prefix)
}

func (r *remote) completeFreezes(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return r.completing(func(ctx context.Context, s *session, cmd *cobra.Command) ([]string, error) {
		list, err := s.freezes(ctx, accountOf(cmd))
		return names(list.Freezes, func(f api.Freeze) string { return f.ID + "\t" + clean(f.Reason) }), err
	}, true)(cmd, args, prefix)
}

func (r *remote) completeDeliveries(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return r.completing(func(ctx context.Context, s *session, _ *cobra.Command) ([]string, error) {
		list, err := s.deliveries(ctx, api.ListDeliveriesParams{}, maxPage)
		return names(list.Deliveries, func(d api.Delivery) string { return d.ID + "\t" + string(d.Outcome) }), err
	}, true)(cmd, args, prefix)
}

func accountOf(cmd *cobra.Command) string {
	account, _ := cmd.Flags().GetString("account") // such commands have the flag
	return account
}

func names[T any](items []T, name func(T) string) []string {
	all := make([]string, len(items))
	for i, item := range items {
		all[i] = name(item)
	}
	return all
}

// completing offers what Gantry knows. Without a token or an answer it offers
// nothing: a shell has no use for an error. once is for commands that take one
// argument.
func (r *remote) completing(find func(context.Context, *session, *cobra.Command) ([]string, error), once bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if once && len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		s, err := r.connect(cmd)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		s.err = io.Discard
		ctx, cancel := context.WithTimeout(cmd.Context(), completeTimeout)
		defer cancel()
		found, err := find(ctx, s, cmd)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return found, cobra.ShellCompDirectiveNoFileComp
	}
}
