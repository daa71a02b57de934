package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/gen/api"
)

func newChainsCommand() *cobra.Command {
	chains := &cobra.Command{
		Use: "chains", Short: "Follow and mend chains of stacks that follow each other",
		Long: `When a run finishes, the stacks that follow its stack (gantry:after) are released one by one as their runs finish: a
chain, named by the run that began it. A run that does not finish stops what follows it, until a retry finishes or
somebody skips its stack.`,
	}
	r := remoteFlags(chains)
	chains.AddCommand(newChainsListCommand(r), newChainsShowCommand(r), newChainsSkipCommand(r), newChainsStopCommand(r))
	return chains
}

func newChainsListCommand(r *remote) *cobra.Command {
	var account, stack, phase string
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List chains, newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := r.connect(cmd)
			if err != nil {
				return err
			}
			list, err := s.chains(cmd.Context(), account, api.ListChainsParams{Stack: given(stack), Phase: given(api.ChainPhase(phase))}, limit)
			if err != nil {
				return err
			}
			if s.json {
				return printJSON(s.out, list)
			}
			t := newTable(s.out, "RUN", "STACK", "PHASE", "BEGAN", "ENDED")
			for _, c := range list.Chains {
				t.row(c.Run, c.Stack, string(c.Phase), when(&c.StartedAt), when(c.EndedAt))
			}
			return t.flush()
		},
	}
	accountFlag(r, cmd, &account)
	cmd.Flags().StringVar(&stack, "stack", "", "only chains that a run of this stack began")
	cmd.Flags().StringVar(&phase, "phase", "", "only chains in this phase: moving, held or done")
	cmd.Flags().IntVar(&limit, "limit", defaultLimit, "how many to list at most")
	complete(cmd, "phase", string(api.ChainPhaseMoving), string(api.ChainPhaseHeld), string(api.ChainPhaseDone))
	return cmd
}

func (s *session) chains(ctx context.Context, named string, p api.ListChainsParams, limit int) (all api.ChainList, err error) {
	account, err := s.theAccount(ctx, named)
	if err != nil {
		return all, err
	}
	all.Chains, all.NextPageToken, err = pages(limit, func(size *int, token *string) ([]api.ChainSummary, *string, error) {
		p.PageSize, p.PageToken = size, token
		page, err := ask[api.ChainList](ctx, func(ctx context.Context) (*http.Response, error) { return s.ListChains(ctx, account, &p) })
		return page.Chains, page.NextPageToken, err
	})
	return all, err
}

func newChainsShowCommand(r *remote) *cobra.Command {
	var account string
	cmd := &cobra.Command{
		Use: "show RUN", Short: "Show the chain that a run began", Args: cobra.ExactArgs(1), ValidArgsFunction: r.completeChains,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := r.connect(cmd)
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			account, run, err := s.chainName(ctx, account, args[0])
			if err != nil {
				return err
			}
			chain, err := ask[api.Chain](ctx, func(ctx context.Context) (*http.Response, error) { return s.GetChain(ctx, account, run) })
			if err != nil {
				return err
			}
			return showChain(s, chain)
		},
	}
	accountFlag(r, cmd, &account)
	return cmd
}

// chainName reads which chain is meant: a run alone, or with its account and
// stack as other commands name runs.
func (s *session) chainName(ctx context.Context, account, named string) (in, run string, err error) {
	if strings.Contains(named, "/") {
		name, err := runNameOf(named)
		return name.account, name.run, err
	}
	in, err = s.theAccount(ctx, account)
	return in, named, err
}

func showChain(s *session, c api.Chain) error {
	if s.json {
		return printJSON(s.out, c)
	}
	t := newTable(s.out)
	t.fact("Chain", fmt.Sprintf("%s/%s/%s", c.Account, c.Stack, c.Run))
	t.fact("Phase", string(c.Phase))
	t.fact("Summary", c.Summary)
	t.fact("Began", when(&c.StartedAt))
	t.fact("Held since", when(c.HeldSince))
	t.fact("Given up at", when(c.GivesUpAt))
	t.fact("Ended", when(c.EndedAt))
	if err := t.flush(); err != nil {
		return err
	}
	fmt.Fprintln(s.out)
	t = newTable(s.out, "STACK", "STATE", "RUN", "AFTER", "REASON")
	for _, n := range c.Nodes {
		t.row(n.Stack, n.State, deref(n.Run), strings.Join(n.After, ", "), n.Reason)
	}
	if err := t.flush(); err != nil {
		return err
	}
	fmt.Fprintln(s.out)
	t = newTable(s.out, "WHEN", "WHO", "WHAT")
	for _, e := range c.Timeline {
		t.row(when(&e.At), deref(e.Actor), e.Summary)
	}
	return t.flush()
}

func newChainsSkipCommand(r *remote) *cobra.Command {
	var account, note string
	cmd := &cobra.Command{
		Use: "skip RUN STACK", Short: "Let a chain go on as if a stack's run had finished", Args: cobra.ExactArgs(2), ValidArgsFunction: r.completeChains,
		Example: "  gantry chains skip 01KDX3V4T8Q2M5N7P9R1S3T5V7 app-prod --note 'applied by hand'",
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.changeChain(cmd, account, args[0], func(ctx context.Context, s *session, account, run string, key *string) (*http.Response, error) {
				return s.SkipChainStack(ctx, account, run, &api.SkipChainStackParams{IdempotencyKey: key}, api.SkipRequest{Stack: args[1], Note: given(note)})
			})
		},
	}
	accountFlag(r, cmd, &account)
	cmd.Flags().StringVar(&note, "note", "", "why, for the timeline")
	return cmd
}

func newChainsStopCommand(r *remote) *cobra.Command {
	var account, note string
	cmd := &cobra.Command{
		Use: "stop RUN", Short: "End a chain, so that nothing more is triggered", Args: cobra.ExactArgs(1), ValidArgsFunction: r.completeChains,
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.changeChain(cmd, account, args[0], func(ctx context.Context, s *session, account, run string, key *string) (*http.Response, error) {
				return s.StopChain(ctx, account, run, &api.StopChainParams{IdempotencyKey: key}, api.ActionRequest{Note: given(note)})
			})
		},
	}
	accountFlag(r, cmd, &account)
	cmd.Flags().StringVar(&note, "note", "", "why, for the timeline")
	return cmd
}

// changeChain sends a change of a chain and shows the chain after it.
func (r *remote) changeChain(cmd *cobra.Command, account, named string,
	send func(ctx context.Context, s *session, account, run string, key *string) (*http.Response, error),
) error {
	s, err := r.connect(cmd)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	account, run, err := s.chainName(ctx, account, named)
	if err != nil {
		return err
	}
	chain, err := change[api.Chain](ctx, s, func(ctx context.Context, key *string) (*http.Response, error) { return send(ctx, s, account, run, key) })
	if err != nil {
		return err
	}
	return showChain(s, chain)
}

func (r *remote) completeChains(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return r.completing(func(ctx context.Context, s *session, cmd *cobra.Command) ([]string, error) {
		list, err := s.chains(ctx, accountOf(cmd), api.ListChainsParams{}, maxPage)
		return names(list.Chains, func(c api.ChainSummary) string { return c.Run + "\t" + clean(c.Stack) + " " + string(c.Phase) }), err
	}, true)(cmd, args, prefix)
}

// showChains tells which chains a run is part of.
func showChains(t *table, run string, refs []api.ChainRef) {
	for _, c := range refs {
		if c.Run == run {
			t.fact("Chain", "it began one: gantry chains show "+c.Run)
			continue
		}
		t.fact("Chain", fmt.Sprintf("%s of %s began it, and this follows %s", c.Run, c.Stack, strings.Join(c.After, ", ")))
	}
}
