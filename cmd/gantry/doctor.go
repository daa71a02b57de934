package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/config"
	"github.com/gantryhq/gantry/deploy"
)

// verdict is how a check ended, worst last. The words are a contract with
// scripts.
type verdict string

const (
	verdictOK      verdict = "ok"
	verdictUnknown verdict = "unknown" // it could not be checked
	verdictWarn    verdict = "warn"    // it works, but somebody should look
	verdictFail    verdict = "fail"    // it doesn't work
)

// finding is what a check found. One without a verdict was left out: it doesn't
// apply, or what it needs has failed a check before.
type finding struct {
	Check   string   `json:"check"`
	Account string   `json:"account,omitempty"`
	Verdict verdict  `json:"verdict"`
	Text    string   `json:"text"`
	Details []string `json:"details,omitempty"`
	Fix     string   `json:"fix,omitempty"`
}

func ok(format string, args ...any) finding {
	return finding{Verdict: verdictOK, Text: fmt.Sprintf(format, args...)}
}

func unknown(fix, format string, args ...any) finding {
	return finding{Verdict: verdictUnknown, Text: "could not be checked: " + fmt.Sprintf(format, args...), Fix: fix}
}

func warn(fix, format string, args ...any) finding {
	return finding{Verdict: verdictWarn, Text: fmt.Sprintf(format, args...), Fix: fix}
}

func fail(fix, format string, args ...any) finding {
	return finding{Verdict: verdictFail, Text: fmt.Sprintf(format, args...), Fix: fix}
}

var leftOut finding

// check is one thing the doctor looks at. Checks run in the order of their list,
// and each may use what those before have learned about the patient.
type check[P any] struct {
	id   string
	asks string // what it asks, as docs/reference/doctor.md has it
	run  func(context.Context, P) finding
}

// checkTimeout bounds one check; listing thousands of stacks takes the longest.
const checkTimeout = time.Minute

func newDoctorCommand() *cobra.Command {
	p := &patient{}
	var account string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what keeps Gantry from working",
		Long: `Checks the configuration, Spacelift's side, Temporal and this machine, and
names the fix for whatever it finds. It changes nothing. With --url it also asks
a running Gantry, and sends it a signed notification that starts nothing; that
one shows up as ignored in its delivery log. With GANTRY_TOKEN or
GANTRY_TOKEN_FILE as well it looks at what that Gantry took and refused.

It reads the same configuration as gantry serve; run it where serve runs, because
the inbox it looks at is this machine's. Exit codes: 0 if no check failed
(neither warnings nor what could not be checked are failures), 1 if one did.`,
		Example: `  gantry doctor
  gantry doctor --url https://gantry.example.com/webhook -o json`,
		Args: cobra.NoArgs,
	}
	file, asJSON := configFlag(cmd), outputFlag(cmd, cmd.Flags())
	f := cmd.Flags()
	f.StringVar(&account, "account", "", "check this account alone")
	f.StringVar(&p.url, "url", "", "where Spacelift reaches Gantry's webhook")
	f.StringVar(&p.webhook, "webhook-name", deploy.DefaultName, "name of the webhook")
	f.StringVar(&p.policy, "policy-name", deploy.DefaultName, "name of the policy")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		inJSON, err := asJSON()
		if err != nil {
			return err
		}
		if p.url != "" {
			if _, err := webhookAddress(p.url); err != nil {
				return err
			}
			p.url = deploy.NormalAddress(p.url)
		}
		p.loaded, p.loadErr = file.load(nil)
		if p.loadErr == nil && account != "" {
			chosen, err := chooseAccount(p.loaded.Accounts, account)
			if err != nil {
				return err
			}
			p.loaded.Accounts = []config.Account{chosen}
		}
		return examine(cmd.Context(), p, inJSON, cmd.OutOrStdout())
	}
	return cmd
}

// examine runs all checks and prints what they found.
func examine(ctx context.Context, p *patient, asJSON bool, out io.Writer) error {
	r := doctorReport{Verdict: verdictOK, Findings: []finding{}}
	runAll(ctx, &r, "", p, hereChecks)
	defer p.close()
	for _, a := range p.loaded.Accounts {
		runAll(ctx, &r, a.Name, newAccountPatient(a, p), accountChecks)
	}
	var err error
	if asJSON {
		err = printJSON(out, r)
	} else {
		err = r.print(out)
	}
	if n := r.count(verdictFail); n > 0 {
		err = errors.Join(err, fmt.Errorf("%d of %d checks failed", n, len(r.Findings)))
	}
	return err
}

func runAll[P any](ctx context.Context, r *doctorReport, account string, p P, checks []check[P]) {
	for _, c := range checks {
		ctx, cancel := context.WithTimeout(ctx, checkTimeout)
		f := c.run(ctx, p)
		cancel()
		f.Check, f.Account = c.id, account
		r.add(f)
	}
}

// doctorReport is what doctor prints. It holds no secrets.
type doctorReport struct {
	Verdict  verdict   `json:"verdict"` // the worst of all
	Findings []finding `json:"findings"`
	LeftOut  []string  `json:"leftOut,omitempty"` // checks that don't apply, or whose needs have failed
}

func (r *doctorReport) add(f finding) {
	if f.Verdict == "" {
		name := f.Check
		if f.Account != "" {
			name += " of " + f.Account
		}
		r.LeftOut = append(r.LeftOut, name)
		return
	}
	r.Findings = append(r.Findings, f)
	worst := []verdict{verdictOK, verdictUnknown, verdictWarn, verdictFail}
	if slices.Index(worst, f.Verdict) > slices.Index(worst, r.Verdict) {
		r.Verdict = f.Verdict
	}
}

func (r *doctorReport) count(v verdict) (n int) {
	for _, f := range r.Findings {
		if f.Verdict == v {
			n++
		}
	}
	return n
}

// maxDetails bounds the table; JSON has them all.
const maxDetails = 10

func (r *doctorReport) print(out io.Writer) error {
	t := newTable(out, "CHECK", "ACCOUNT", "VERDICT", "FINDING")
	for _, f := range r.Findings {
		t.row(f.Check, f.Account, string(f.Verdict), f.Text)
		for i, d := range f.Details {
			if i == maxDetails {
				t.row("", "", "", fmt.Sprintf("  and %d more", len(f.Details)-i))
				break
			}
			t.row("", "", "", "  "+d)
		}
		if f.Fix != "" {
			t.row("", "", "", "  fix: "+f.Fix)
		}
	}
	if err := t.flush(); err != nil {
		return err
	}
	if len(r.LeftOut) > 0 {
		fmt.Fprintf(out, "\nleft out: %s\n", strings.Join(r.LeftOut, ", "))
	}
	return nil
}
