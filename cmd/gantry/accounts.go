package main

import (
	"context"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/cmd/gantry/internal/output"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/gen/gantry"
)

func newAccountsCommand() *cobra.Command {
	accounts := &cobra.Command{Use: "accounts", Short: "Show the Spacelift accounts that Gantry serves"}
	r := remoteFlags(accounts)
	list := &cobra.Command{Use: "list", Short: "List accounts, their webhooks and the last Reconcile", Args: cobra.NoArgs}
	listing(r, list, accountEvents, func(ctx context.Context, s *session, _ []string) (api.AccountList, error) {
		return gantry.Answer[api.AccountList](s.ListAccounts(ctx))
	}, printAccounts)
	accounts.AddCommand(list)
	return accounts
}

func printAccounts(s *session, list api.AccountList) error {
	t := s.List("accounts", []output.Column{
		{Title: "ACCOUNT"}, {Title: "WEBHOOK", Tone: toneOf}, {Title: "RECONCILED"}, {Title: "OUTCOME", Tone: toneOf, Wraps: true}, {Title: "RUNS"}, {Title: "FINDINGS", Tone: always(output.Bad)},
		{Title: "UNKNOWN", Wraps: true, Drop: 1, Tone: always(output.Warn)},
	})
	for _, a := range list.Accounts {
		webhook, reconciled, outcome, runs, findings := "", "", "", "", ""
		if w := a.Webhook; w != nil {
			webhook = map[bool]string{true: "on", false: "off"}[w.Enabled]
		}
		if r := a.LastReconcile; r != nil {
			reconciled, runs = s.When(&r.At), strconv.Itoa(r.InProgress)
			outcome = r.Outcome
			if r.Reason != nil {
				outcome += ": " + *r.Reason
			}
		}
		if n := len(a.Findings); n > 0 {
			findings = strconv.Itoa(n)
		}
		t.Row(a.Name, webhook, reconciled, outcome, runs, findings, strings.Join(a.Unknown, ", "))
	}
	return t.Flush()
}
