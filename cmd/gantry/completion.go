package main

import (
	"context"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/cmd/gantry/internal/output"
	"github.com/gantryhq/gantry/gen/api"
)

// completionTimeout bounds how long a shell waits for a completion.
const completionTimeout = 2 * time.Second

// completion is the beginning of a word that a shell completes, and the --account beside it.
type completion struct{ typed, account string }

// runNames offers runs by their whole names and, once something was typed, by their ids.
func runNames(ctx context.Context, s *session, c completion) ([]string, error) {
	return namesOfRuns(ctx, s, c, api.ListRunsParams{}, false)
}

// runOrStackNames offers the stacks of runs as well.
func runOrStackNames(ctx context.Context, s *session, c completion) ([]string, error) {
	return namesOfRuns(ctx, s, c, api.ListRunsParams{}, true)
}

// waitingNames offers what the caller may decide about.
func waitingNames(ctx context.Context, s *session, c completion) ([]string, error) {
	return namesOfRuns(ctx, s, c, api.ListRunsParams{CanDecide: new(api.ListRunsParamsCanDecideMe)}, true)
}

func namesOfRuns(ctx context.Context, s *session, c completion, p api.ListRunsParams, stacks bool) ([]string, error) {
	p.Account = given(s.account)
	list, err := s.runs(ctx, p, maxPage)
	var all []string
	for _, run := range list.Runs {
		what := "\t" + output.Clean(run.State)
		all = append(all, nameOf(run).String()+what)
		if c.typed != "" {
			all = append(all, run.Run+what+" "+output.Clean(run.Stack))
		}
		if c.typed != "" && stacks {
			all = append(all, run.Stack)
		}
	}
	slices.Sort(all)
	return slices.Compact(all), err
}

func stackNames(ctx context.Context, s *session, c completion) ([]string, error) {
	list, err := s.stacks(ctx, c.account, api.ListStacksParams{}, maxPage)
	return names(list.Stacks, func(stack api.Stack) string { return stack.Stack }), err
}

func freezeNames(ctx context.Context, s *session, c completion) ([]string, error) {
	list, err := s.freezes(ctx, c.account)
	return names(list.Freezes, func(f api.Freeze) string { return f.ID + "\t" + output.Clean(f.Reason) }), err
}

func chainNames(ctx context.Context, s *session, c completion) ([]string, error) {
	list, err := s.chains(ctx, c.account, api.ListChainsParams{}, maxPage)
	return names(list.Chains, func(c api.ChainSummary) string { return c.Run + "\t" + output.Clean(c.Stack) + " " + string(c.Phase) }), err
}

func deliveryNames(ctx context.Context, s *session, _ completion) ([]string, error) {
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

// completeStacks completes --stack.
func completeStacks(r *remote, cmd *cobra.Command) {
	_ = cmd.RegisterFlagCompletionFunc("stack", r.completing(stackNames, false)) // fails for unknown flags alone
}

// completing completes the argument of a command, or with argument false a flag,
// with names from Gantry. Without a token or an
// answer it offers nothing: a shell has no use for an error.
func (r *remote) completing(find func(context.Context, *session, completion) ([]string, error), argument bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
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
		found, err := find(ctx, s, completion{typed, flagValue(cmd, "account")})
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return found, cobra.ShellCompDirectiveNoFileComp
	}
}
