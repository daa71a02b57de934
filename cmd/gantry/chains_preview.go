package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/cmd/gantry/internal/output"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/gen/gantry"
)

func newChainsPreviewCommand(r *remote) *cobra.Command {
	cmd := &cobra.Command{
		Use: "preview STACK", Short: "Show which stacks the end of a run would release", Args: cobra.ExactArgs(1), ValidArgsFunction: r.completing(stackNames, true),
		Long: `Shows which stacks Gantry would trigger, in which order, if a run of a stack finished now with changes, and why it leaves out
others. It triggers nothing.`,
	}
	account := accountFlag(r, cmd)
	cmd.RunE = answering(r, func(ctx context.Context, s *session, args []string) (api.FollowersPreview, error) {
		in, stack, err := s.stackName(ctx, *account, args[0])
		if err != nil {
			return api.FollowersPreview{}, err
		}
		preview, err := gantry.Answer[api.FollowersPreview](s.PreviewFollowers(ctx, in, stack))
		return preview, s.ofStack(ctx, in, stack, err)
	}, printPreview)
	return cmd
}

func printPreview(s *session, p api.FollowersPreview) error {
	if err := s.Sentence(p.Summary); err != nil {
		return err
	}
	t := s.Table([]output.Column{{Title: "STAGE"}, {Title: "STACK"}, {Title: "AFTER", Wraps: true}, {Title: "GATE", Tone: toneOf, Wraps: true}, {Title: "WHY", Wraps: true}})
	for _, f := range p.Followers {
		stage, gate := "-", ""
		if f.Stage != nil {
			stage = strconv.Itoa(*f.Stage)
		}
		if g := f.Gate; g != nil && !g.Open {
			gate = "closed: " + deref(g.Reason)
		}
		t.Row(stage, f.Stack, strings.Join(f.After, ", "), gate, f.Reason)
	}
	if t.Len() > 0 {
		fmt.Fprintln(s.Out)
	}
	if err := t.Flush(); err != nil || len(p.Excluded)+len(p.Native) == 0 {
		return err
	}
	fmt.Fprintln(s.Out)
	facts := s.Facts()
	for _, e := range p.Excluded {
		stacks := strings.Join(e.Stacks, ", ")
		if e.More != nil {
			stacks += fmt.Sprintf(" and %d more", *e.More)
		}
		facts.Fact("Not "+stacks, e.Reason)
	}
	facts.Fact("Spacelift triggers", strings.Join(p.Native, ", "))
	return facts.Flush()
}
