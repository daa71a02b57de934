package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/cmd/gantry/internal/output"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/gen/gantry"
)

func newStacksCommand() *cobra.Command {
	stacks := &cobra.Command{Use: "stacks", Short: "Show managed stacks and their policies"}
	r := remoteFlags(stacks)
	stacks.AddCommand(newStacksListCommand(r), newStacksPolicyCommand(r), newStacksTriggerCommand(r))
	return stacks
}

func newStacksListCommand(r *remote) *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List the stacks labelled gantry:managed", Args: cobra.NoArgs,
		Example: "  gantry stacks list --problems\n  gantry stacks list --search network --space production",
	}
	account, f := accountFlag(r, cmd), cmd.Flags()
	search := f.String("search", "", "only stacks whose id, name or labels contain this")
	label := f.String("label", "", "only stacks with this label")
	space := f.String("space", "", "only stacks in this space or below it")
	enforcement := choiceFlag(cmd, "enforcement", "only stacks whose policy Spacelift enforces so", "enforced", "advisory", "void")
	problems := f.Bool("problems", false, "only stacks with problems")
	limit := pagingFlags(cmd)
	listing(r, cmd, noEvents, func(ctx context.Context, s *session, _ []string) (api.StackList, error) {
		return s.stacks(ctx, *account, api.ListStacksParams{
			Search: given(*search), Label: given(*label), Space: given(*space), Enforcement: given(api.ListStacksParamsEnforcement(*enforcement)), Problems: given(*problems),
		}, limit.most())
	}, printStacks)
	return cmd
}

func printStacks(s *session, list api.StackList) error {
	t := s.List("stacks", []output.Column{{Title: "STACK"}, {Title: "CONFIRM"}, {Title: "APPROVALS"}, {Title: "ENFORCEMENT", Drop: 1}, {Title: "GATE", Wraps: true, Tone: toneOf}, {Title: "PROBLEMS", Wraps: true, Tone: always(output.Bad)}})
	for _, stack := range list.Stacks {
		gate := "open"
		if !stack.Gate.Open {
			gate = "closed: " + deref(stack.Gate.Reason)
		}
		problems := names(stack.Problems, func(p api.PolicyProblem) string { return p.Label })
		confirm, approvals := confirmColumns(stack.Policy)
		t.Row(stack.Account+"/"+stack.Stack, confirm, approvals, deref(stack.Enforcement).Level, gate, strings.Join(problems, ", "))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, stack := range list.Stacks {
		for _, w := range stack.Warnings {
			if err := s.Sentence("warning: " + stack.Account + "/" + stack.Stack + ", " + w.Label + ": " + w.Problem + "; " + w.Remedy); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *session) stacks(ctx context.Context, named string, p api.ListStacksParams, limit int) (all api.StackList, err error) {
	account, err := s.theAccount(ctx, named)
	if err != nil {
		return all, err
	}
	all.Stacks, all.NextPageToken, err = pages(limit, func(size *int, token *string) ([]api.Stack, *string, error) {
		p.PageSize, p.PageToken = size, token
		page, err := gantry.Answer[api.StackList](s.ListStacks(ctx, account, &p))
		all.Total, all.Counts, all.At = page.Total, page.Counts, page.At
		return page.Stacks, page.NextPageToken, err
	})
	return all, err
}

// confirmColumns returns who confirms plans and how many approvals that takes.
// Without approvals people decide in Spacelift what Gantry doesn't confirm
// automatically, and Gantry only watches.
func confirmColumns(policy []api.PolicyValue) (confirm, approvals string) {
	confirm, approvals = valueOf(policy, "confirm"), valueOf(policy, "approvals")
	if approvals != "0" {
		return confirm, approvals
	}
	if confirm == "manual" {
		confirm = "watches"
	}
	return confirm, "-"
}

func valueOf(policy []api.PolicyValue, name string) string {
	for _, v := range policy {
		if v.Name == name {
			return v.Value
		}
	}
	return ""
}

func newStacksPolicyCommand(r *remote) *cobra.Command {
	cmd := &cobra.Command{
		Use: "policy STACK", Short: "Show the policy that rules and labels resolve to for a stack", Args: cobra.ExactArgs(1), ValidArgsFunction: r.completing(stackNames, true),
		Example: "  gantry stacks policy network-prod",
	}
	account := accountFlag(r, cmd)
	cmd.RunE = answering(r, func(ctx context.Context, s *session, args []string) (api.Stack, error) {
		return s.policy(ctx, *account, args[0])
	}, printStack)
	return cmd
}

// stackName reads the name of a stack: its id, or ACCOUNT/STACK.
func (s *session) stackName(ctx context.Context, account, named string) (in, stack string, err error) {
	if a, id, ok := strings.Cut(named, "/"); ok {
		return a, id, nil
	}
	in, err = s.theAccount(ctx, account)
	return in, named, err
}

// policy returns the policy of a stack.
func (s *session) policy(ctx context.Context, account, named string) (api.Stack, error) {
	in, stack, err := s.stackName(ctx, account, named)
	if err != nil {
		return api.Stack{}, err
	}
	found, err := gantry.Answer[api.Stack](s.GetStackPolicy(ctx, in, stack))
	return found, s.ofStack(ctx, in, stack, err)
}

func printStack(s *session, stack api.Stack) error {
	t := s.Facts()
	t.Fact("Stack", stack.Account+"/"+stack.Stack)
	t.Fact("Name", stack.Name)
	t.Fact("Labels", strings.Join(stack.Labels, ", "))
	if !stack.Managed {
		t.Fact("Managed", "no: it lacks the label gantry:managed, so Gantry ignores it")
	}
	if e := stack.Enforcement; e != nil {
		t.Fact("Enforcement", e.Level+": "+e.Reason)
	}
	if g := stack.Gate; !g.Open {
		t.Fact("Gate", "closed: "+deref(g.Reason))
		t.Fact("  until", s.When(g.Until))
	}
	for _, p := range stack.Problems {
		t.Fact("Problem", p.Label+": "+p.Problem+"; "+p.Remedy)
	}
	for _, w := range stack.Warnings {
		t.Fact("Warning", w.Label+": "+w.Problem+"; "+w.Remedy)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(s.Out)
	return printPolicy(s, stack.Policy)
}

// printPolicy prints the values of a policy and their origin. Defaults take --all.
func printPolicy(s *session, policy []api.PolicyValue) error {
	hidden := 0
	t := s.Table([]output.Column{{Title: "POLICY"}, {Title: "VALUE", Wraps: true}, {Title: "FROM", Wraps: true}, {Wraps: true}})
	for _, v := range policy {
		if !s.All && v.Origin == "default" && v.Problem == nil && len(v.Overruled) == 0 {
			hidden++
			continue
		}
		t.Row(v.Name, v.Value, v.Origin, deref(v.Problem))
		for _, o := range v.Overruled {
			t.Row("", "not "+o.Value, o.Origin, o.Reason)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return s.hint(hidden, "defaults")
}

// hint says how many rows only --all shows.
func (s *session) hint(hidden int, what string) error {
	if hidden == 0 {
		return nil
	}
	return s.Styled(s.In(output.Dim, fmt.Sprintf("and %d %s; --all shows them", hidden, what)))
}
