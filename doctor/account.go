package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gantryhq/gantry/config"
	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/deploy"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/spacelift/spaceliftapi"
)

// account holds what the checks know of one Spacelift account; what is nil is
// unknown.
type account struct {
	config.Account
	wanted   deploy.Wanted // as gantry setup would have it
	command  string        // gantry setup for the account
	guardian string        // id of the webhook that the guardian watches; empty if none
	watches  bool          // whether there is a guardian

	gantry     Gantry // at --url
	known      Secrets
	secretsErr error

	evidence Evidence
	reply    Reply // of the address at --url

	api     *spaceliftapi.Client
	viewer  *spacelift.Viewer
	found   *deploy.Found
	hook    *spacelift.NamedWebhook
	policy  *spacelift.Policy
	plan    *deploy.Plan
	planErr error // why the two can't be compared
	spaces  []spacelift.Space
	stacks  *spacelift.Listing[spacelift.Stack]
	rules   *policy.Definitions // nil if the configuration has mistakes

	approvers []decide.Person
}

func newAccount(c config.Account, p *Machine) *account {
	rules, _ := p.Loaded.Definitions() // the configuration has a check of its own
	a := &account{
		gantry:  Gantry{Webhook: p.URL, Account: c.Name, Version: p.Version, Token: p.Token},
		Account: c, rules: rules, approvers: p.Loaded.Approvers(),
		wanted:   deploy.Wanted{Webhook: p.Webhook, Policy: p.Policy, Endpoint: p.URL},
		guardian: p.Loaded.Guardian.Webhook, watches: p.Loaded.Reconcile.Interval > 0,
	}
	if a.known, a.secretsErr = ReadSecrets(c); a.secretsErr == nil {
		a.wanted.Secret, a.wanted.Header, a.wanted.HeaderValue = a.known.Live[0], a.known.Header, a.known.HeaderValue
	}
	a.command = "gantry setup --account " + c.Name
	if p.Webhook != deploy.DefaultName {
		a.command += " --webhook-name " + p.Webhook
	}
	if p.Policy != deploy.DefaultName {
		a.command += " --policy-name " + p.Policy
	}
	return a
}

// fix returns the command that sets the account up, with more flags. It names
// the address at --url only if Gantry answers there.
func (a *account) fix(flags ...string) string {
	command := strings.Join(append([]string{a.command}, flags...), " ") + " --yes --url "
	switch {
	case a.wanted.Endpoint == "":
		return command + "(address of the webhook)"
	case !a.reply.gantrys():
		return "see gantry-signature first: Gantry's webhook doesn't answer at --url; then " + command + "(the address at which it does)"
	}
	return command + a.wanted.Endpoint
}

func checkKey(ctx context.Context, a *account) Finding {
	const fix = "check endpoint, apiKeyId and the secret of the key; in Spacelift: Organization settings, API keys"
	api, err := a.NewClient(a.gantry.Version, nil)
	if err != nil {
		return fail(fix, "%s", err)
	}
	viewer, err := api.Viewer(ctx)
	switch {
	case errors.Is(err, spacelift.ErrUnauthorized):
		return fail(fix, "Spacelift refuses it: %s", err)
	case errors.Is(err, spacelift.ErrSchemaMismatch):
		return fail("check that the endpoint is Spacelift's; a self-hosted one may be too old", "%s", err)
	case err != nil:
		return fail("check the endpoint and the network path to it", "%s", err)
	}
	a.api, a.viewer = api, &viewer
	return ok("%s", viewer.Name)
}

// rights are those of a role for everything that Gantry does to runs.
// https://docs.spacelift.io/concepts/authorization/rbac-system
const rights = "space:read, run:confirm, run:discard, run:review, run:trigger, run:retry, run:stop, run:cancel"

func checkRights(ctx context.Context, a *account) Finding {
	if a.viewer == nil {
		return leftOut
	}
	var problems []string
	try := func(err error) bool {
		if err != nil {
			problems = append(problems, err.Error())
		}
		return err == nil
	}
	if found, err := deploy.Inspect(ctx, a.api, a.wanted); try(err) {
		a.found, a.hook, a.policy = &found, found.Webhook(a.wanted.Webhook), found.Policy(a.wanted.Policy)
		plan, err := deploy.Compare(a.wanted, found)
		a.plan, a.planErr = &plan, err
	}
	if spaces, err := a.api.Spaces(ctx); try(err) {
		a.spaces = spaces
	}
	if stacks, err := a.api.Stacks(ctx); try(err) {
		a.stacks = &stacks
	}
	if len(problems) > 0 {
		f := fail("give the key a role with "+rights+" in the spaces of the stacks", "not everything can be read")
		f.Details = problems
		return f
	}
	count := fmt.Sprintf("%d stacks", len(a.stacks.Items))
	if len(a.stacks.Items) == 1 {
		count = "1 stack"
	}
	if !a.stacks.Complete {
		count = "more than " + count
	}
	if len(a.stacks.Items) == 0 {
		return warn("give the key a role in the spaces of the stacks, or create one", "the key sees no stack")
	}
	return ok("it reads %s", count)
}

func checkActs(_ context.Context, a *account) Finding {
	switch {
	case a.viewer == nil:
		return leftOut
	case a.viewer.Admin:
		return ok("it is an admin's")
	}
	return unknown("give the key a role with "+rights+"; a run reports it if Spacelift refuses the confirmation",
		"Spacelift has no query for what the key may do to runs; it shows only when Gantry acts. gantry setup needs a space admin")
}

// Skews beyond these are a warning and a failure: deadlines and the times of a
// timeline are off by as much.
const (
	skewWarn = 5 * time.Second
	skewFail = 5 * time.Minute
)

func checkClock(_ context.Context, a *account) Finding {
	if a.api == nil {
		return leftOut
	}
	skew, known := a.api.ClockSkew()
	if !known {
		return unknown("synchronize this machine's clock (NTP)", "Spacelift's answers carry no time")
	}
	apart := skew.Abs().Round(time.Second)
	const fix = "synchronize this machine's clock (NTP)"
	switch {
	case apart > skewFail:
		return fail(fix, "it is %s apart: deadlines are off by as much", apart)
	case apart > skewWarn:
		return warn(fix, "it is %s apart: deadlines are off by as much", apart)
	}
	return ok("to within %s", skewWarn)
}
