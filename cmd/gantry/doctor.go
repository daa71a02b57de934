package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/cmd/gantry/internal/output"
	"github.com/gantryhq/gantry/config"
	"github.com/gantryhq/gantry/deploy"
)

// verdict is the result of a check. The words are a contract with scripts.
type verdict string

const (
	verdictOK      verdict = "ok"
	verdictUnknown verdict = "unknown" // it could not be checked
	verdictWarn    verdict = "warn"    // it works, but needs attention
	verdictFail    verdict = "fail"    // it doesn't work
)

// finding is the result of a check. Without a verdict the check was left out: it
// doesn't apply, or an earlier check that it depends on has failed.
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

// check answers one question about this machine, or about each account. Checks run
// in order, and each may use the state that earlier ones recorded.
type check struct {
	id       string
	question string // the same as in docs/reference/doctor.md
	local    func(context.Context, *localState) finding
	account  func(context.Context, *accountState) finding
}

var checks = []check{
	{"configuration", "Would `gantry serve` start with it, and can its secrets be read?", checkConfiguration, nil},
	{"inbox", "Can the folder of the inbox be written?", checkInbox, nil},
	{"temporal-reachable", "Does Temporal answer?", checkTemporal, nil},
	{"temporal-namespace", "Does the namespace exist?", checkNamespace, nil},
	{"temporal-search-attributes", "Does the namespace have Gantry's search attributes?", checkSearchAttributes, nil},
	{"temporal-worker", "Does a worker poll the task queue?", checkWorker, nil},
	{"temporal-shared", "Does another Gantry use the namespace?", checkShared, nil},
	{"gantry-certificate", "Does the certificate of `tls.certFile` fit `--url`, and does it last?", checkCertificate, nil},
	{"gantry-ready", "Does the Gantry at `--url` say it is ready?", checkReady, nil},
	{"spacelift-key", "Does Spacelift know the API key?", nil, checkKey},
	{"spacelift-rights", "May the key read what Gantry reads?", nil, checkRights},
	{"spacelift-acts", "May the key do what Gantry does to runs?", nil, checkActs},
	{"clock", "Does this machine's clock agree with Spacelift's?", nil, checkClock},
	{"gantry-signature", "Does the Gantry at `--url` accept a signed notification?", nil, checkSignature},
	{"gantry-proxy", "Does that Gantry know the proxy in front of it?", nil, checkProxy},
	{"webhook-present", "Is there a named webhook?", nil, checkPresent(deploy.ItemWebhook)},
	{"webhook-enabled", "Is it on?", nil, checkSetting(deploy.ItemWebhookEnabled, "it is on")},
	{"webhook-address", "Does it point at `--url`?", nil, checkAddress},
	{"webhook-retry", "Does Spacelift retry what Gantry could not store?", nil, checkSetting(deploy.ItemWebhookRetry, "Spacelift retries what fails")},
	{"webhook-label", "Does it have the label that the policy selects it by?", nil, checkSetting(deploy.ItemWebhookLabels, "it is labelled "+deploy.WebhookLabel)},
	{"webhook-secret", "Does it sign with a secret that Gantry knows?", nil, checkSecret},
	{"webhook-header", "Does it send the secret header that Gantry requires?", nil, checkHeader},
	{"policy-present", "Is there a notification policy?", nil, checkPresent(deploy.ItemPolicy)},
	{"policy-current", "Is it this version's policy, on the engine it is written for?", nil, checkPolicyCurrent},
	{"policy-routes", "By simulation: does it route a labelled stack to the webhook, and no other?", nil, checkRoutes},
	{"single-delivery", "By simulation: does every notification come once?", nil, checkSingle},
	{"delivery-form", "By simulation: does every policy send Spacelift's own notification, by POST?", nil, checkForm},
	{"guardian-webhook", "Does `guardian.webhook` name the webhook that points here?", nil, checkGuardian},
	{"stacks-managed", "Does any stack have the label `gantry:managed`?", nil, checkManaged},
	{"stacks-labels", "Can Gantry follow the `gantry:` labels of every stack?", nil, checkLabels},
	{"stacks-references", "Do the stacks that others follow exist and carry `gantry:managed`, and do the approving groups have members?", nil, checkReferences},
	{"stacks-enforced", "Does Spacelift refuse what labels forbid?", nil, checkEnforced},
	{"stacks-reach", "Do webhook and policy reach the space of every managed stack?", nil, checkReach},
}

// checkTimeout bounds one check; listing thousands of stacks takes the longest.
const checkTimeout = time.Minute

func newDoctorCommand() *cobra.Command {
	p := &localState{}
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
	f.StringVar(&p.url, "url", "", "address at which Spacelift reaches Gantry's webhook")
	f.StringVar(&p.webhook, "webhook-name", deploy.DefaultName, "name of the webhook")
	f.StringVar(&p.policy, "policy-name", deploy.DefaultName, "name of the policy")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		out, err := flags.Printer(cmd, now())
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
		return examine(cmd.Context(), p, out)
	}
	return cmd
}

// examine runs all checks and prints their findings.
func examine(ctx context.Context, p *localState, out *output.Printer) error {
	r := doctorReport{Verdict: verdictOK, Findings: []finding{}}
	defer p.close()
	for _, c := range checks {
		if c.local != nil {
			r.add(ctx, c.id, "", func(ctx context.Context) finding { return c.local(ctx, p) })
		}
	}
	for _, configured := range p.loaded.Accounts {
		a := newAccountState(configured, p)
		for _, c := range checks {
			if c.account != nil {
				r.add(ctx, c.id, a.Name, func(ctx context.Context) finding { return c.account(ctx, a) })
			}
		}
	}
	var err error
	if out.Structured() {
		err = out.Encode(r)
	} else {
		err = r.print(out)
	}
	if n := r.count(verdictFail); n > 0 {
		err = errors.Join(err, fmt.Errorf("%d of %d checks failed", n, len(r.Findings)))
	}
	return err
}

// doctorReport lists the findings. It holds no secrets.
type doctorReport struct {
	Verdict  verdict   `json:"verdict"` // the worst of all
	Findings []finding `json:"findings"`
	LeftOut  []string  `json:"leftOut,omitempty"` // checks that don't apply, or depend on one that failed
}

// add runs a check and adds its finding.
func (r *doctorReport) add(ctx context.Context, id, account string, run func(context.Context) finding) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	f := run(ctx)
	f.Check, f.Account = id, account
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

// maxDetails bounds the details of a finding in the table; JSON has them all.
const maxDetails = 10

func (r *doctorReport) print(out *output.Printer) error {
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
