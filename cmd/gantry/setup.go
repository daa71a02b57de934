package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gantryhq/gantry/cmd/gantry/internal/output"
	"github.com/gantryhq/gantry/deploy"
	"github.com/gantryhq/gantry/doctor"
	"github.com/gantryhq/gantry/spacelift"
)

type setupOptions struct {
	account, url, space, webhook, policy string
	sendSecrets, yes, check              bool

	enforce, noEnforce, replace bool
	reviewers                   []string
	certificate                 string // what is odd about Gantry's own; empty for nothing
}

func newSetupCommand() *cobra.Command {
	var o setupOptions
	cmd := &cobra.Command{
		Use:   "setup",
		Short: "Set up webhook and policy in Spacelift",
		Long: `Compares the named webhook and the notification policy in Spacelift with those
that Gantry needs, and prints what would change and why. With --yes it makes the
changes; running it again changes nothing.

It reads the same configuration as gantry serve: the webhook gets the first of
the account's webhook secrets, and the secret header if one is configured.
Labels that others gave the webhook stay, and stacks are never changed: their own
label, gantry:managed, makes them managed.

It sends a signed notification that starts nothing to the address, and refuses an
address where something other than Gantry's webhook answers. It asks Spacelift
what other notification policies send to the webhook. With GANTRY_TOKEN or
GANTRY_TOKEN_FILE it reads which notifications Gantry accepted and refused.

With --enforce it also creates the policies by which Spacelift refuses to confirm a
plan of a managed stack before Gantry's review; --no-enforce deletes them.

It overwrites nothing that Gantry did not write, unless you add --replace: it
shows what would be lost, and keeps it in a file of the working directory.

The API key must be an admin of the space. Exit codes: 0 fine, 1 an error; with
--check 3 if something differs, and 6 if nothing seems to differ but some of it
could not be checked.`,
		Example: `  gantry setup --url https://gantry.example.com/webhook
  gantry setup --url https://gantry.example.com/webhook --yes
  gantry setup --url https://gantry.example.com/webhook --enforce --yes
  gantry setup --url https://gantry.example.com/webhook --check`,
		Args: cobra.NoArgs,
	}
	file, flags := configFlag(cmd), output.AddFormatFlags(cmd, cmd.Flags(), output.Table, output.JSON, output.YAML)
	f := cmd.Flags()
	f.StringVar(&o.account, "account", "", "account, when several are configured")
	f.StringVar(&o.url, "url", "", "address at which Spacelift reaches Gantry's webhook")
	f.StringVar(&o.space, "space", "", "id of the space for both (default: the current one; root for new ones)")
	f.StringVar(&o.webhook, "webhook-name", deploy.DefaultName, "name of the webhook")
	f.StringVar(&o.policy, "policy-name", deploy.DefaultName, "name of the policy; one policy serves several webhooks")
	f.BoolVar(&o.sendSecrets, "send-secrets", false, "send secret and secret header even where Spacelift doesn't show that they differ")
	f.BoolVar(&o.yes, "yes", false, "make the changes")
	f.BoolVar(&o.check, "check", false, "change nothing; exit with 3 if something differs, with 6 if something could not be checked")
	f.BoolVar(&o.enforce, "enforce", false, "create the policies that make Gantry's decisions binding in Spacelift")
	f.BoolVar(&o.noEnforce, "no-enforce", false, "delete them: people may confirm in Spacelift, whatever Gantry decides")
	f.StringSliceVar(&o.reviewers, "reviewer", nil, "id of the API key that gantry serve uses, if setup uses another; repeat it for several")
	f.BoolVar(&o.replace, "replace", false, "overwrite a webhook or policy of that name that Gantry did not write")
	cmd.MarkFlagsMutuallyExclusive("yes", "check")
	cmd.MarkFlagsMutuallyExclusive("enforce", "no-enforce")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		out, err := flags.Printer(cmd, now())
		if err != nil {
			return err
		}
		return prepareSetup(cmd.Context(), file, o, out)
	}
	return cmd
}

// gantry returns the Gantry that the webhook is to reach.
func (o setupOptions) gantry() doctor.Gantry {
	return doctor.Gantry{Webhook: o.url, Account: o.account, Version: version, Token: environmentToken}
}

// prepareSetup reads the configuration of the account and sets it up.
func prepareSetup(ctx context.Context, file configFile, o setupOptions, out *output.Printer) error {
	if o.url == "" {
		return errors.New("--url is missing: give the address at which Spacelift reaches Gantry, such as https://gantry.example.com/webhook")
	}
	loaded, err := file.load(nil)
	if err != nil {
		return err
	}
	a, err := chooseAccount(loaded.Accounts, o.account)
	if err != nil {
		return err
	}
	known, err := doctor.ReadSecrets(a)
	if err != nil {
		return fmt.Errorf("account %s: %w", a.Name, err)
	}
	api, err := a.NewClient(version, nil)
	if err != nil {
		return err
	}
	o.account, o.certificate = a.Name, doctor.CertificateNote(loaded.TLS, deploy.NormalAddress(o.url))
	return runSetup(ctx, api, o, known, out)
}

func runSetup(ctx context.Context, api deploy.Spacelift, o setupOptions, known doctor.Secrets, out *output.Printer) error {
	given := o.url
	o.url = deploy.NormalAddress(given)
	odd, err := webhookAddress(o.url)
	if err != nil {
		return err
	}
	if o.url != given {
		odd = append(odd, "the address is used as "+o.url)
	}
	if o.certificate != "" {
		odd = append(odd, o.certificate)
	}
	seen := o.gantry().Evidence(ctx) // before Gantry is sent a test
	unasked, err := checkAnswers(ctx, o, known)
	if err != nil {
		return fmt.Errorf("account %s: %w", o.account, err)
	}
	plan, err := planSetup(ctx, api, o, known, seen)
	if err != nil {
		return fmt.Errorf("account %s: %w", o.account, err)
	}
	plan.Notes = append(plan.Notes, unasked...)
	for _, text := range odd {
		plan.Notes = append(plan.Notes, deploy.Note{Kind: noteAddress, Text: text})
	}
	report := setupReport{Account: o.account, Plan: plan, Applied: []string{}}
	text := out.Out
	if out.Structured() {
		text = io.Discard
	}
	report.print(text)
	if o.yes {
		err = report.apply(ctx, api, o, text)
	}
	return report.conclude(o, err, out, text)
}

// apply makes the changes. What they overwrite goes into files first.
func (r *setupReport) apply(ctx context.Context, api deploy.Spacelift, o setupOptions, text io.Writer) error {
	if foreign := r.Foreign(); len(foreign) > 0 && !o.replace {
		return fmt.Errorf("%s: written by somebody else; choose another name, or add --replace to overwrite", strings.Join(foreign, ", "))
	}
	for _, c := range r.Changes {
		file, err := keepOld(c)
		if err != nil {
			return fmt.Errorf("keep what %s %s was: %w; run setup in a folder that can be written", c.Item, c.Name, err)
		}
		if file != "" {
			r.Kept = append(r.Kept, file)
			fmt.Fprintln(text, output.Clean("kept: "+file))
		}
	}
	return deploy.Apply(ctx, api, r.Plan, func(what string) {
		r.Applied = append(r.Applied, what)
		fmt.Fprintln(text, output.Clean("done: "+what))
	})
}

// keepOld writes what a change overwrites into a new file of the working directory,
// and returns its name; empty if nothing is lost.
func keepOld(c deploy.Change) (string, error) {
	if c.Old == "" {
		return "", nil
	}
	object, _, _ := strings.Cut(string(c.Item), ".")
	kind := ".rego"
	if object == "webhook" {
		kind = ".json"
	}
	name := unsafeInNames.ReplaceAllString(object+"-"+c.Name, "-")
	for i := 1; ; i++ {
		file := fmt.Sprintf("%s.old-%d%s", name, i, kind)
		f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		switch {
		case errors.Is(err, fs.ErrExist) && i < 1000:
			continue
		case err != nil:
			return "", err
		}
		_, err = f.WriteString(c.Old)
		return file, errors.Join(err, f.Close())
	}
}

var unsafeInNames = regexp.MustCompile(`[^A-Za-z0-9_-]+`)

// conclude prints the result, and returns the error for the exit code.
func (r *setupReport) conclude(o setupOptions, err error, out *output.Printer, text io.Writer) error {
	plan := r.Plan
	unchecked, refused := append(plan.Unchecked(), plan.Of(noteUnanswered)...), plan.Of(deploy.NoteRefused)
	switch {
	case err != nil:
		err = fmt.Errorf("account %s: %w", o.account, err)
	case o.check && !plan.Empty():
		err = &exitError{exitDrift, fmt.Errorf("account %s differs from what Gantry needs in %d places", o.account, len(plan.Changes))}
	case o.check && len(refused) > 0:
		err = &exitError{exitDrift, fmt.Errorf("account %s: Gantry refuses notifications; the notes say why", o.account)}
	case o.check && len(unchecked) > 0:
		err = &exitError{exitUnchecked, fmt.Errorf("account %s: nothing seems to differ, but %d things could not be checked; see the notes", o.account, len(unchecked))}
	case plan.Empty() && len(unchecked) > 0:
		fmt.Fprintln(text, "nothing to do, as far as it could be checked")
	case plan.Empty():
		fmt.Fprintln(text, "nothing to do")
	case o.yes:
		fmt.Fprintf(text, "\nLabel stacks %s to have their runs managed. gantry doctor checks everything else.\n", spacelift.LabelManaged)
	default:
		fmt.Fprintln(text, "\nNothing was changed. Add --yes to make these changes.")
	}
	if out.Structured() {
		err = errors.Join(err, out.Encode(r))
	}
	return err
}

// planSetup compares the account with what Gantry needs. What Spacelift doesn't
// show, it infers from the notifications that Gantry accepted and refused.
func planSetup(ctx context.Context, api deploy.Spacelift, o setupOptions, known doctor.Secrets, seen doctor.Evidence) (deploy.Plan, error) {
	wanted := deploy.Wanted{
		Webhook: o.webhook, Policy: o.policy, Space: o.space, Endpoint: o.url, Secret: known.Live[0],
		Header: known.Header, HeaderValue: known.HeaderValue, SendSecrets: o.sendSecrets, Replace: o.replace,
	}
	switch {
	case o.enforce:
		wanted.Enforce = deploy.EnforceOn
	case o.noEnforce:
		wanted.Enforce = deploy.EnforceOff
	}
	for _, key := range o.reviewers {
		wanted.Reviewers = append(wanted.Reviewers, "api::"+strings.TrimPrefix(key, "api::"))
	}
	found, err := deploy.Inspect(ctx, api, wanted)
	if err != nil {
		return deploy.Plan{}, err
	}
	if found.Secret == deploy.SecretNotShown && seen.Mismatch != "" {
		found.Secret = deploy.SecretRefused
	}
	if seen.Proves() {
		found.Header = deploy.SecretSame
	}
	return deploy.Compare(wanted, found)
}

// checkAnswers checks that Gantry's webhook is at the address. It fails where
// something else answers. An address that can't be reached from here becomes a
// note, because Spacelift may reach it.
func checkAnswers(ctx context.Context, o setupOptions, known doctor.Secrets) ([]deploy.Note, error) {
	r := o.gantry().Probe(ctx, known)
	switch r.Kind {
	case doctor.Accepted:
		return nil, nil
	case doctor.Refused:
		if strings.HasSuffix(r.Reason, "-mismatch") {
			return []deploy.Note{{Kind: deploy.NoteRefused, Text: "Gantry at " + o.url + " has another configuration: " + r.Text}}, nil
		}
		return []deploy.Note{{Kind: noteUnanswered, Text: "whether Gantry at " + o.url + " accepts notifications could not be checked: " + r.Text}}, nil
	case doctor.Foreign:
		if there := o.gantry().Below(ctx, known); there != "" {
			return nil, fmt.Errorf("--url: %s is not Gantry's webhook: %s; Gantry answers at %s", o.url, r.Text, there)
		}
		return nil, fmt.Errorf("--url: %s is not Gantry's webhook: %s; give the address of the webhook", o.url, r.Text)
	}
	return []deploy.Note{{Kind: noteUnanswered, Text: "whether Gantry answers at " + o.url + " could not be checked from here: " + r.Text}}, nil
}

// noteUnanswered concerns an address that could not be checked.
const noteUnanswered deploy.NoteKind = "unanswered"

// noteAddress concerns the address given; deploy's notes concern what is in
// Spacelift.
const noteAddress deploy.NoteKind = "address"

// setupReport lists what setup found and did. It holds no secrets.
type setupReport struct {
	Account string `json:"account"`
	deploy.Plan
	Applied []string `json:"applied"`
	Kept    []string `json:"kept,omitempty"` // files with what was overwritten
}

func (r setupReport) print(out io.Writer) {
	line := func(format string, args ...any) { fmt.Fprintln(out, output.Clean(fmt.Sprintf(format, args...))) }
	line("account %s", r.Account)
	fmt.Fprintln(out)
	for _, c := range r.Changes {
		object, setting, found := strings.Cut(string(c.Item), ".")
		switch {
		case c.Item == deploy.ItemPolicyGone:
			line("- %s %s: %s", object, c.Name, c.Now)
		case found:
			line("~ %s %s, %s: %s → %s", object, c.Name, setting, cmp.Or(c.Now, "none"), c.Wanted)
		default:
			line("+ %s %s: %s", object, c.Name, c.Wanted)
		}
		line("    %s", c.Why)
		for l := range strings.Lines(c.Diff) {
			line("    %s", strings.TrimRight(l, "\n"))
		}
		if c.Foreign {
			line("    somebody else wrote it: add --replace to overwrite it")
		}
	}
	for _, n := range r.Notes {
		line("note: %s", n.Text)
	}
}
