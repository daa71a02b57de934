package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/cmd/gantry/internal/output"
	"github.com/gantryhq/gantry/config"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/deploy"
	"github.com/gantryhq/gantry/doctor"
	"github.com/gantryhq/gantry/spacelift"
)

func newLintCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lint",
		Short: "Check a configuration and labels, before Gantry runs with them",
		Long: `Checks a configuration file without starting anything or connecting to anything.
It accepts and refuses the same configurations as gantry serve, but doesn't read
files of secrets. With --labels it also shows the policy that a stack's labels
resolve to, and the origin of each value; with --plan, what Gantry would do with a
plan.

With --account and without --labels it connects to Spacelift and checks all stacks of
the account: whether Gantry can follow their labels, whether what they refer to
exists, and whether Spacelift enforces what they promise. Exit codes: 0 fine, 1 if
something is wrong or can't be checked.`,
		Example: `  gantry lint --config gantry.yaml
  gantry lint --config gantry.yaml --without-accounts --stack network-prod --labels gantry:managed,gantry:profile=production
  terraform show -json tfplan >plan.json &&
    gantry lint --config gantry.yaml --labels gantry:managed,gantry:profile=production --plan plan.json
  gantry lint --config gantry.yaml --account acme`,
		Args: cobra.NoArgs,
	}
	file := configFlag(cmd)
	shared := cmd.Flags().Bool("without-accounts", false, "the accounts are set elsewhere, such as in the environment of each installation")
	labels := cmd.Flags().StringSlice("labels", nil, "labels of a stack, separated by commas; put a label that contains a comma in double quotes")
	plan := cmd.Flags().String("plan", "", "file with a plan of the stack: the output of terraform show -json, or of gantry runs resources -o json")
	var stack policy.Stack
	f := cmd.Flags()
	f.StringVar((*string)(&stack.Account), "account", "", "account whose stacks to check; with --labels, account of the stack, for rules")
	f.StringVar((*string)(&stack.ID), "stack", "", "id of the stack, for rules")
	f.StringSliceVar(&stack.Spaces, "spaces", nil, "ids of the stack's space and of those above it, separated by commas, for rules")
	f.StringVar(&stack.Branch, "branch", "", "branch of the stack, for rules")
	f.BoolVar(&stack.Administrative, "administrative", false, "the stack is administrative, for rules")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		stack.Labels = *labels
		out := output.Plain(cmd, now())
		withLabels := cmd.Flags().Changed("labels")
		whole := stack.Account != "" && !withLabels
		switch {
		case file.name() == "" && !withLabels && !whole:
			return errors.New("nothing to check: give --config, --labels or --account")
		case whole && *shared:
			return errors.New("--account: it needs the account's settings; leave --without-accounts out")
		}
		if *plan != "" && !withLabels {
			return errors.New("--plan: give the --labels of its stack as well")
		}
		if err := lint(out, file, *shared, stack, withLabels, *plan); err != nil || !whole {
			return err
		}
		return lintAccount(cmd.Context(), out, file, string(stack.Account))
	}
	return cmd
}

// lintedChecks are the doctor's checks of an account's stacks, and those that they
// depend on.
var lintedChecks = []string{"spacelift-key", "spacelift-rights", "stacks-labels", "stacks-references", "stacks-enforced"}

// lintAccount checks the stacks of an account. A warning counts: what labels promise must
// hold.
func lintAccount(ctx context.Context, w *output.Printer, given configFile, name string) error {
	loaded, err := given.load(nil)
	if err != nil {
		return err
	}
	chosen, err := chooseAccount(loaded.Accounts, name)
	if err != nil {
		return err
	}
	m := machine()
	m.Loaded, m.Webhook, m.Policy = loaded, deploy.DefaultName, deploy.DefaultName
	r := doctor.ExamineAccount(ctx, m, chosen, lintedChecks)
	fmt.Fprintln(w)
	if err := printReport(w, r); err != nil {
		return err
	}
	if good := r.Count(doctor.OK); good < len(lintedChecks) {
		return fmt.Errorf("%d of %d checks of account %s found something, or could not be made", len(lintedChecks)-good, len(lintedChecks), name)
	}
	return nil
}

func lint(w *output.Printer, given configFile, shared bool, stack policy.Stack, withLabels bool, planFile string) error {
	file := given.name()
	load := func() (config.Loaded, error) { return given.load(nil) }
	if shared || file == "" {
		load = given.loadShared
	}
	loaded, err := load()
	if err != nil {
		return err
	}
	if file != "" {
		fmt.Fprintf(w, "%s is valid.\n", file)
	}
	for _, warning := range loaded.Warnings() {
		fmt.Fprintln(w, "warning: "+output.Clean(warning))
	}
	if !withLabels {
		return nil
	}
	rules, err := loaded.Definitions()
	if err != nil {
		return fmt.Errorf("configuration:\n%w", err)
	}
	if file != "" {
		fmt.Fprintln(w)
	}
	p := rules.Resolve(stack).Of(stack.ID)
	if err := lintLabels(w, p, stack.Labels); err != nil {
		return err
	}
	// Only a file knows tokens, and nothing offline knows stacks.
	if file != "" {
		for _, bad := range p.References(policy.Known{Approvers: loaded.Approvers()}) {
			if origin, _, _ := strings.Cut(bad.Label, " "); origin == "profile" || origin == "rule" || origin == "defaultProfile" {
				continue // the file's own warning
			}
			fmt.Fprintf(w, "warning: %s: %s; %s\n", output.Clean(bad.Label), output.Clean(bad.Problem), output.Clean(bad.Remedy))
		}
	}
	if planFile == "" {
		return nil
	}
	plan, err := readPlan(planFile, stack.Labels)
	if err != nil {
		return err
	}
	return lintPlan(w, rules, p, plan, time.Now())
}

// lintLabels prints a policy, or returns why Gantry can't follow the labels.
func lintLabels(w *output.Printer, p policy.Policy, labels []string) error {
	if len(p.Problems) > 0 {
		problems := make([]string, len(p.Problems))
		for i, problem := range p.Problems {
			problems[i] = fmt.Sprintf("%s: %s; %s", output.Clean(problem.Label), output.Clean(problem.Problem), output.Clean(problem.Remedy))
		}
		return fmt.Errorf("Gantry can't follow some labels, and would hold the stack's plans:\n%s", strings.Join(problems, "\n"))
	}
	t := w.Table([]output.Column{{Title: "SETTING"}, {Title: "VALUE", Wraps: true}, {Title: "FROM", Wraps: true}})
	for _, v := range p.Values() {
		t.Row(v.Name, v.Value, v.Origin)
		for _, o := range p.Overruled {
			if o.Setting == v.Name {
				t.Row("", "not "+o.Value, o.Origin+": "+o.Reason)
			}
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, wrong := range policy.Misspelt(labels) {
		fmt.Fprintf(w, "\nWarning: %s: %s; %s.\n", output.Clean(wrong.Label), wrong.Problem, output.Clean(wrong.Remedy))
	}
	if !spacelift.Managed(labels) {
		fmt.Fprintf(w, "\nThe stack is not managed: it lacks the label %s.\n", spacelift.LabelManaged)
	}
	return nil
}
