// Package doctor finds out why a Gantry doesn't work: it checks its configuration, Temporal,
// Spacelift and the Gantry itself, and names a fix for each problem. It changes nothing.
package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gantryhq/gantry/config"
	"github.com/gantryhq/gantry/deploy"
)

// Check answers one question about this machine, or about each account. Checks run
// in order, and each may use the state that earlier ones recorded.
type Check struct {
	ID       string
	Question string // the same as in docs/reference/doctor.md

	local   func(context.Context, *Machine) Finding
	account func(context.Context, *account) Finding
}

var checks = []Check{
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
	{"stacks-labels", "Can Gantry follow the `gantry:` labels of every stack, and is none misspelt?", nil, checkLabels},
	{"stacks-references", "Do the stacks that others follow exist and carry `gantry:managed`, and do the approving groups have members?", nil, checkReferences},
	{"stacks-enforced", "Does Spacelift refuse what labels forbid?", nil, checkEnforced},
	{"stacks-reach", "Do webhook and policy reach the space of every managed stack?", nil, checkReach},
}

// Checks returns the checks in the order in which they run.
func Checks() []Check { return slices.Clone(checks) }

// checkTimeout bounds one check; listing thousands of stacks takes the longest.
const checkTimeout = time.Minute

// Examine runs all checks of a machine and of its accounts. A check whose context ends is
// unknown or failed, as what it asks reports.
func Examine(ctx context.Context, p *Machine) Report {
	r := Report{Verdict: OK, Findings: []Finding{}}
	for _, c := range checks {
		if c.local != nil {
			r.add(ctx, c.ID, "", func(ctx context.Context) Finding { return c.local(ctx, p) })
		}
	}
	for _, configured := range p.Loaded.Accounts {
		r.examineAccount(ctx, configured, p, nil)
	}
	return r
}

// ExamineAccount runs those checks of an account that are named.
func ExamineAccount(ctx context.Context, p *Machine, configured config.Account, ids []string) Report {
	r := Report{Verdict: OK, Findings: []Finding{}}
	r.examineAccount(ctx, configured, p, ids)
	return r
}

// examineAccount runs the named checks of an account; all for nil.
func (r *Report) examineAccount(ctx context.Context, configured config.Account, p *Machine, ids []string) {
	a := newAccount(configured, p)
	for _, c := range checks {
		if c.account != nil && (ids == nil || slices.Contains(ids, c.ID)) {
			r.add(ctx, c.ID, a.Name, func(ctx context.Context) Finding { return c.account(ctx, a) })
		}
	}
}

// CanWork returns what the checks of Temporal found, or the first problem as an error.
func CanWork(ctx context.Context, p *Machine) (string, error) {
	var first string
	for _, c := range []func(context.Context, *Machine) Finding{checkTemporal, checkNamespace, checkSearchAttributes, checkWorker} {
		f := c(ctx, p)
		if f.Verdict != OK {
			return "", errors.New(f.Text)
		}
		first = cmp.Or(first, f.Text)
	}
	return fmt.Sprintf("%s; workflows run in namespace %s on task queue %s", first, p.namespace, p.Loaded.Temporal.TaskQueue), nil
}
