package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/cmd/gantry/internal/output"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/gen/gantry"
)

func newFindingsCommand() *cobra.Command {
	findings := &cobra.Command{Use: "findings", Short: "Show what is wrong with accounts, and how to fix it"}
	r := remoteFlags(findings)
	list := &cobra.Command{Use: "list", Short: "List findings, the critical ones first", Args: cobra.NoArgs}
	account := accountFilter(r, list)
	listing(r, list, accountEvents, func(ctx context.Context, s *session, _ []string) (api.FindingList, error) {
		return gantry.Answer[api.FindingList](s.ListFindings(ctx, &api.ListFindingsParams{Account: given(cmp.Or(*account, s.account))}))
	}, printFindings)
	findings.AddCommand(list)
	return findings
}

func printFindings(s *session, list api.FindingList) error {
	t := s.List("findings", []output.Column{{Title: "SEVERITY", Tone: toneOf}, {Title: "ACCOUNT"}, {Title: "FINDING"}, {Title: "SINCE"}, {Title: "SUMMARY", Wraps: true}})
	for _, f := range list.Findings {
		t.Row(string(f.Severity), f.Account, f.Kind, s.When(&f.Since), f.Summary)
		t.Row("", "", "", "", "  fix: "+f.Fix)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, r := range list.Replicas {
		if r.Problem != nil {
			fmt.Fprintf(s.Err, "gantry: without what %s noticed: %s\n", output.Clean(r.Name), output.Clean(*r.Problem))
		}
	}
	if len(list.Unknown) > 0 {
		fmt.Fprintf(s.Err, "gantry: the findings of these accounts are unknown now: %s\n", output.Clean(strings.Join(list.Unknown, ", ")))
	}
	return nil
}
