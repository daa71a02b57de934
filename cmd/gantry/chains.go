package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/cmd/gantry/internal/output"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/gen/gantry"
)

func newChainsCommand() *cobra.Command {
	chains := &cobra.Command{
		Use: "chains", Short: "Follow and repair chains of stacks that follow each other",
		Long: `When a run finishes, Gantry triggers the stacks that follow its stack (gantry:after), and then the stacks that follow
those. That is a chain, named after the run that began it. A run that doesn't finish holds the stacks after it until a
retry finishes or an operator skips its stack.`,
	}
	r := remoteFlags(chains)
	chains.AddCommand(newChainsListCommand(r), newChainsShowCommand(r), newChainsPreviewCommand(r), newChainsSkipCommand(r), newChainsStopCommand(r))
	return chains
}

func newChainsListCommand(r *remote) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List chains, newest first", Args: cobra.NoArgs}
	account, f := accountFlag(r, cmd), cmd.Flags()
	stack := f.String("stack", "", "only chains that a run of this stack began")
	phase := choiceFlag(cmd, "phase", "only chains in this phase: moving, held or done", string(api.ChainPhaseMoving), string(api.ChainPhaseHeld), string(api.ChainPhaseDone))
	completeStacks(r, cmd)
	limit := pagingFlags(cmd)
	listing(r, cmd, chainEvents, func(ctx context.Context, s *session, _ []string) (api.ChainList, error) {
		return s.chains(ctx, *account, api.ListChainsParams{Stack: given(*stack), Phase: given(api.ChainPhase(*phase))}, limit.most())
	}, func(s *session, list api.ChainList) error {
		t := s.List("chains", []output.Column{{Title: "STACK"}, {Title: "PHASE", Tone: toneOf}, {Title: "BEGAN"}, {Title: "ENDED"}, {Title: "RUN", Drop: 1}})
		for _, c := range list.Chains {
			t.Row(c.Account+"/"+c.Stack, string(c.Phase), s.When(&c.StartedAt), s.When(c.EndedAt), c.Run)
		}
		return t.Flush()
	})
	return cmd
}

func (s *session) chains(ctx context.Context, named string, p api.ListChainsParams, limit int) (all api.ChainList, err error) {
	account, err := s.theAccount(ctx, named)
	if err != nil {
		return all, err
	}
	all.Chains, all.NextPageToken, err = pages(limit, func(size *int, token *string) ([]api.ChainSummary, *string, error) {
		p.PageSize, p.PageToken = size, token
		page, err := gantry.Answer[api.ChainList](s.ListChains(ctx, account, &p))
		return page.Chains, page.NextPageToken, err
	})
	return all, err
}

func newChainsShowCommand(r *remote) *cobra.Command {
	cmd := &cobra.Command{
		Use: "show RUN", Short: "Show the chain that a run began", Args: cobra.ExactArgs(1), ValidArgsFunction: r.completing(chainNames, true),
	}
	account := accountFlag(r, cmd)
	cmd.RunE = answering(r, func(ctx context.Context, s *session, args []string) (api.Chain, error) {
		account, run, err := s.chainName(ctx, *account, args[0])
		if err != nil {
			return api.Chain{}, err
		}
		return gantry.Answer[api.Chain](s.GetChain(ctx, account, run))
	}, printChain)
	return cmd
}

// chainName reads the name of a chain: the id of a run, or the name that other
// commands take.
func (s *session) chainName(ctx context.Context, account, named string) (in, run string, err error) {
	if strings.Contains(named, "/") {
		name, err := runNameOf(named)
		return name.account, name.run, err
	}
	in, err = s.theAccount(ctx, account)
	return in, named, err
}

func printChain(s *session, c api.Chain) error {
	t := s.Facts()
	t.Fact("Chain", fmt.Sprintf("%s/%s/%s", c.Account, c.Stack, c.Run))
	t.Fact("Phase", string(c.Phase))
	t.Fact("Summary", c.Summary)
	t.Fact("Began", s.When(&c.StartedAt))
	t.Fact("Held since", s.When(c.HeldSince))
	t.Fact("Given up at", s.When(c.GivesUpAt))
	t.Fact("Ended", s.When(c.EndedAt))
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(s.Out)
	t = s.Table([]output.Column{{Title: "STACK"}, {Title: "STATE", Tone: toneOf}, {Title: "AFTER", Wraps: true}, {Title: "REASON", Wraps: true}, {Title: "RUN", Drop: 1}})
	for _, n := range c.Nodes {
		t.Row(n.Stack, n.State, strings.Join(n.After, ", "), n.Reason, deref(n.Run))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(s.Out)
	t = s.Table([]output.Column{{Title: "WHEN"}, {Title: "WHO"}, {Title: "WHAT", Wraps: true}})
	for _, e := range c.Timeline {
		t.Row(s.When(&e.At), deref(e.Actor), e.Summary)
	}
	return t.Flush()
}

func newChainsSkipCommand(r *remote) *cobra.Command {
	return newChainChangeCommand(r, &cobra.Command{
		Use: "skip RUN STACK", Short: "Continue a chain as if a stack's run had finished", Args: cobra.ExactArgs(2),
		Example: "  gantry chains skip 01KDX3V4T8Q2M5N7P9R1S3T5V7 app-prod --note 'applied by hand'",
	}, func(ctx context.Context, s *session, account, run string, args []string, note *string) (*http.Response, error) {
		return s.SkipChainStack(ctx, account, run, nil, api.SkipRequest{Stack: args[1], Note: note})
	})
}

func newChainsStopCommand(r *remote) *cobra.Command {
	return newChainChangeCommand(r, &cobra.Command{
		Use: "stop RUN", Short: "End a chain, so that Gantry triggers nothing more", Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, s *session, account, run string, _ []string, note *string) (*http.Response, error) {
		return s.StopChain(ctx, account, run, nil, api.ActionRequest{Note: note})
	})
}

// newChainChangeCommand completes a command that changes a chain and prints it.
func newChainChangeCommand(r *remote, cmd *cobra.Command,
	send func(ctx context.Context, s *session, account, run string, args []string, note *string) (*http.Response, error),
) *cobra.Command {
	account, note := accountFlag(r, cmd), noteFlag(cmd, "why, for the timeline")
	cmd.ValidArgsFunction = r.completing(chainNames, true)
	cmd.RunE = answering(r, func(ctx context.Context, s *session, args []string) (api.Chain, error) {
		account, run, err := s.chainName(ctx, *account, args[0])
		if err != nil {
			return api.Chain{}, err
		}
		return gantry.Answer[api.Chain](send(ctx, s, account, run, args, given(*note)))
	}, printChain)
	return cmd
}

// addChains adds the chains that a run belongs to.
func addChains(t *output.Rows, run string, refs []api.ChainRef) {
	for _, c := range refs {
		if c.Run == run {
			t.Fact("Chain", "began with this run: gantry chains show "+c.Run)
			continue
		}
		t.Fact("Chain", fmt.Sprintf("began with %s of %s; this run follows %s", c.Run, c.Stack, strings.Join(c.After, ", ")))
	}
}
