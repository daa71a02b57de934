package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"go.temporal.io/sdk/client"

	"github.com/gantryhq/gantry/cmd/gantry/internal/output"
	"github.com/gantryhq/gantry/config"
	"github.com/gantryhq/gantry/deploy"
	"github.com/gantryhq/gantry/doctor"
	"github.com/gantryhq/gantry/service"
)

func newDoctorCommand() *cobra.Command {
	p := machine()
	var account string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Find out why Gantry doesn't work",
		Long: `Checks the configuration, Spacelift, Temporal and this machine, and names a fix
for each problem. It changes nothing. With --url it also checks a running Gantry,
and sends it a signed notification that starts nothing and shows up as ignored in
its delivery log. With GANTRY_TOKEN or GANTRY_TOKEN_FILE it also reads which
notifications that Gantry accepted and refused.

It reads the same configuration as gantry serve. Run it where serve runs, because
it checks the inbox of this machine. Exit codes: 0 if no check failed (warnings
and checks that could not be made are not failures), 1 if one did.`,
		Example: `  gantry doctor
  gantry doctor --url https://gantry.example.com/webhook -o json`,
		Args: cobra.NoArgs,
	}
	file, flags := configFlag(cmd), output.AddFormatFlags(cmd, cmd.Flags(), output.Table, output.JSON, output.YAML)
	f := cmd.Flags()
	f.StringVar(&account, "account", "", "check only this account")
	f.StringVar(&p.URL, "url", "", "address at which Spacelift reaches Gantry's webhook")
	f.StringVar(&p.Webhook, "webhook-name", deploy.DefaultName, "name of the webhook")
	f.StringVar(&p.Policy, "policy-name", deploy.DefaultName, "name of the policy")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		out, err := flags.Printer(cmd, now())
		if err != nil {
			return err
		}
		if p.URL != "" {
			if _, err := webhookAddress(p.URL); err != nil {
				return err
			}
			p.URL = deploy.NormalAddress(p.URL)
		}
		p.Loaded, p.LoadErr = file.load(nil)
		if p.LoadErr == nil && account != "" {
			chosen, err := chooseAccount(p.Loaded.Accounts, account)
			if err != nil {
				return err
			}
			p.Loaded.Accounts = []config.Account{chosen}
		}
		defer p.Close()
		r := doctor.Examine(cmd.Context(), p)
		if out.Structured() {
			err = out.Encode(r)
		} else {
			err = printReport(out, r)
		}
		if n := r.Count(doctor.Fail); n > 0 {
			err = errors.Join(err, fmt.Errorf("%d of %d checks failed", n, len(r.Findings)))
		}
		return err
	}
	return cmd
}

// machine returns what the doctor needs of this program.
func machine() *doctor.Machine {
	return &doctor.Machine{
		Version: version, Token: environmentToken,
		Startable: func(c config.Config) error { return service.Check(c, version) },
		Neighbours: func(ctx context.Context, c client.Client, accounts []config.Account) ([]string, error) {
			return service.OtherAccounts(ctx, c, accounts)
		},
	}
}

// environmentToken returns the token of the environment.
func environmentToken() (string, error) { return readToken("") }

// maxDetails bounds the details of a finding in the table; JSON has them all.
const maxDetails = 10

func printReport(out *output.Printer, r doctor.Report) error {
	t := out.Table([]output.Column{{Title: "CHECK"}, {Title: "ACCOUNT"}, {Title: "VERDICT", Tone: toneOf}, {Title: "FINDING", Wraps: true}})
	for _, f := range r.Findings {
		t.Row(f.Check, f.Account, string(f.Verdict), f.Text)
		for i, d := range f.Details {
			if i == maxDetails {
				t.Row("", "", "", fmt.Sprintf("  and %d more", len(f.Details)-i))
				break
			}
			t.Row("", "", "", "  "+d)
		}
		if f.Fix != "" {
			t.Row("", "", "", "  fix: "+f.Fix)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if len(r.LeftOut) > 0 {
		fmt.Fprintln(out.Out)
		return out.Sentence("left out: " + strings.Join(r.LeftOut, ", "))
	}
	return nil
}
