package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/gen/api"
)

func newStacksCommand() *cobra.Command {
	stacks := &cobra.Command{Use: "stacks", Short: "See managed stacks and their policies"}
	r := remoteFlags(stacks)
	stacks.AddCommand(newStacksListCommand(r), newStacksPolicyCommand(r))
	return stacks
}

func newStacksListCommand(r *remote) *cobra.Command {
	var account string
	cmd := &cobra.Command{
		Use: "list", Short: "List the stacks that carry gantry:managed", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := r.connect(cmd)
			if err != nil {
				return err
			}
			list, err := s.stacks(cmd.Context(), account)
			if err != nil {
				return err
			}
			if s.json {
				return printJSON(s.out, list)
			}
			t := newTable(s.out, "STACK", "CONFIRM", "APPROVALS", "GATE", "PROBLEMS")
			for _, stack := range list.Stacks {
				gate := "open"
				if !stack.Gate.Open {
					gate = "closed: " + deref(stack.Gate.Reason)
				}
				var problems []string
				for _, p := range stack.Problems {
					problems = append(problems, p.Label)
				}
				confirm, approvals := whoConfirms(stack.Policy)
				t.row(stack.Account+"/"+stack.Stack, confirm, approvals, gate, strings.Join(problems, ", "))
			}
			if !list.Complete {
				t.row("… and more than Gantry reads at once")
			}
			if err := t.flush(); err != nil {
				return err
			}
			for _, stack := range list.Stacks {
				for _, w := range stack.Warnings {
					fmt.Fprintln(s.out, clean("warning: "+stack.Account+"/"+stack.Stack+", "+w.Label+": "+w.Problem+"; "+w.Remedy))
				}
			}
			return nil
		},
	}
	accountFlag(r, cmd, &account)
	return cmd
}

func (s *session) stacks(ctx context.Context, named string) (api.StackList, error) {
	account, err := s.theAccount(ctx, named)
	if err != nil {
		return api.StackList{}, err
	}
	return ask[api.StackList](ctx, func(ctx context.Context) (*http.Response, error) { return s.ListStacks(ctx, account) })
}

// whoConfirms says who confirms plans, and how many approvals that takes. Where
// no approvals are counted there is nobody to ask through Gantry: what it does
// not confirm alone is decided in Spacelift, and it only watches.
func whoConfirms(policy []api.PolicyValue) (confirm, approvals string) {
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
	var account string
	cmd := &cobra.Command{
		Use: "policy STACK", Short: "Show what the labels of a stack come to", Args: cobra.ExactArgs(1), ValidArgsFunction: r.completeStacks,
		Example: "  gantry stacks policy network-prod",
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := r.connect(cmd)
			if err != nil {
				return err
			}
			stack, err := s.policy(cmd.Context(), account, args[0])
			if err != nil {
				return err
			}
			if s.json {
				return printJSON(s.out, stack)
			}
			return showStack(s, stack)
		},
	}
	accountFlag(r, cmd, &account)
	return cmd
}

// policy asks for the policy of a stack, named alone or behind its account.
func (s *session) policy(ctx context.Context, account, stack string) (api.Stack, error) {
	if a, id, ok := strings.Cut(stack, "/"); ok {
		account, stack = a, id
	}
	account, err := s.theAccount(ctx, account)
	if err != nil {
		return api.Stack{}, err
	}
	return ask[api.Stack](ctx, func(ctx context.Context) (*http.Response, error) { return s.GetStackPolicy(ctx, account, stack) })
}

func showStack(s *session, stack api.Stack) error {
	t := newTable(s.out)
	t.fact("Stack", stack.Account+"/"+stack.Stack)
	t.fact("Name", stack.Name)
	t.fact("Labels", strings.Join(stack.Labels, ", "))
	if !stack.Managed {
		t.fact("Managed", "no: it lacks the label gantry:managed, so Gantry leaves it alone")
	}
	if g := stack.Gate; !g.Open {
		t.fact("Gate", "closed: "+deref(g.Reason))
		t.fact("  until", when(g.Until))
	}
	for _, p := range stack.Problems {
		t.fact("Problem", p.Label+": "+p.Problem+"; "+p.Remedy)
	}
	for _, w := range stack.Warnings {
		t.fact("Warning", w.Label+": "+w.Problem+"; "+w.Remedy)
	}
	if err := t.flush(); err != nil {
		return err
	}
	fmt.Fprintln(s.out)
	return showPolicy(s, stack.Policy)
}

// showPolicy shows each value of a policy and where it comes from.
func showPolicy(s *session, policy []api.PolicyValue) error {
	t := newTable(s.out, "POLICY", "VALUE", "FROM", "")
	for _, v := range policy {
		t.row(v.Name, v.Value, v.Origin, deref(v.Problem))
	}
	return t.flush()
}
