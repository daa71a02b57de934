package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/config"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/server"
	"github.com/gantryhq/gantry/spacelift"
)

func newLintCommand() *cobra.Command {
	var file string
	var labels []string
	cmd := &cobra.Command{
		Use:   "lint",
		Short: "Check a configuration and labels, offline",
		Long: `Checks a configuration file without starting anything or asking anybody, and,
with --labels, shows what the labels of a stack come to under it and where each
value comes from. What the labels refer to in an account, such as the stacks
they follow, is for gantry doctor and gantry stacks. Accounts may be missing, since each place may give its own by
the environment. It ends with 1 if something can't be followed.`,
		Example: `  gantry lint --config gantry.yaml
  gantry lint --config gantry.yaml --labels gantry:managed,gantry:profile=production`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				file = os.Getenv("GANTRY_CONFIG")
			}
			if file == "" && !cmd.Flags().Changed("labels") {
				return errors.New("nothing to check: give --config, --labels or both")
			}
			return lint(cmd.OutOrStdout(), file, labels, cmd.Flags().Changed("labels"))
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "configuration file (GANTRY_CONFIG)")
	cmd.Flags().StringSliceVar(&labels, "labels", nil, "labels of a stack, with commas between; one that holds a comma in double quotes")
	return cmd
}

func lint(w io.Writer, file string, labels []string, withLabels bool) error {
	loaded, err := config.Load(file, os.Environ(), nil)
	if err != nil {
		return err
	}
	if err := loaded.ValidateShared(); err != nil {
		return fmt.Errorf("configuration:\n%w", err)
	}
	if file != "" {
		fmt.Fprintf(w, "%s can be used.\n", file)
	}
	for _, doubt := range loaded.Warnings() {
		fmt.Fprintln(w, "warning: "+clean(doubt))
	}
	if !withLabels {
		return nil
	}
	rules, err := loaded.Rules()
	if err != nil {
		return fmt.Errorf("configuration:\n%w", err)
	}
	if file != "" {
		fmt.Fprintln(w)
	}
	p := rules.Resolve(labels)
	if err := lintLabels(w, p, labels); err != nil {
		return err
	}
	// Without a file nothing is known of tokens; of stacks nothing is known offline.
	if file != "" {
		for _, bad := range p.References(policy.Known{Approvers: server.Approvers(loaded.TokensAndPeople())}) {
			if strings.HasPrefix(bad.Label, "profile ") {
				continue // the file's own warning
			}
			fmt.Fprintf(w, "warning: %s: %s; %s\n", clean(bad.Label), clean(bad.Problem), clean(bad.Remedy))
		}
	}
	return nil
}

// lintLabels prints a policy, or what keeps labels from being followed.
func lintLabels(w io.Writer, p policy.Policy, labels []string) error {
	if len(p.Problems) > 0 {
		problems := make([]string, len(p.Problems))
		for i, problem := range p.Problems {
			problems[i] = fmt.Sprintf("%s: %s; %s", clean(problem.Label), clean(problem.Problem), clean(problem.Remedy))
		}
		return fmt.Errorf("labels that can't be followed, so that Gantry would hold the stack's plans:\n%s", strings.Join(problems, "\n"))
	}
	t := newTable(w, "SETTING", "VALUE", "FROM")
	for _, v := range p.Values() {
		t.row(v.Name, v.Value, v.Origin)
	}
	if err := t.flush(); err != nil {
		return err
	}
	if !spacelift.Managed(labels) {
		fmt.Fprintf(w, "\nThe stack is not managed: that takes the label %s.\n", spacelift.LabelManaged)
	}
	return nil
}
