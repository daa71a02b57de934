package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/cmd/internal/config"
	"github.com/gantryhq/gantry/deploy"
	"github.com/gantryhq/gantry/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// accountPatient is one Spacelift account, and what the checks have learned of
// it; what is nil is not known.
type accountPatient struct {
	config.Account
	wanted deploy.Wanted // as gantry setup would have it
	fix    string        // the command that sets the account up

	known      secrets
	secretsErr error

	api     *spacelift.Client
	viewer  *spacelift.Viewer
	hook    *spacelift.NamedWebhook
	policy  *spacelift.Policy
	plan    *deploy.Plan
	planErr error // why it can't be told what to change
	spaces  []spacelift.Space
	stacks  *spacelift.Listing[spacelift.Stack]
	rules   *policy.Rules // nil if the configuration has mistakes
}

func newAccountPatient(c config.Account, p *patient) *accountPatient {
	rules, _ := p.loaded.Rules() // the configuration has a check of its own
	a := &accountPatient{Account: c, rules: rules, wanted: deploy.Wanted{Webhook: p.webhook, Policy: p.policy, Endpoint: p.url}}
	if a.known, a.secretsErr = readSecrets(c); a.secretsErr == nil {
		a.wanted.Secret, a.wanted.Header, a.wanted.HeaderValue = a.known.live[0], a.known.header, a.known.headerValue
	}
	a.fix = "gantry setup --account " + c.Name
	if p.webhook != deploy.DefaultName {
		a.fix += " --webhook-name " + p.webhook
	}
	if p.policy != deploy.DefaultName {
		a.fix += " --policy-name " + p.policy
	}
	a.fix += " --yes --url " + cmp.Or(p.url, "(address of the webhook)")
	return a
}

var accountChecks = []check[*accountPatient]{
	{"spacelift-key", "Does Spacelift know the API key?", checkKey},
	{"spacelift-rights", "May the key read what Gantry reads?", checkRights},
	{"clock", "Does this machine's clock agree with Spacelift's?", checkClock},
	{"webhook-present", "Is there a named webhook?", checkPresent(deploy.ItemWebhook)},
	{"webhook-enabled", "Is it on?", checkSetting(deploy.ItemWebhookEnabled, "it is on")},
	{"webhook-address", "Does it point at `--url`?", checkAddress},
	{"webhook-retry", "Does Spacelift send again what Gantry could not store?", checkSetting(deploy.ItemWebhookRetry, "what fails is sent again")},
	{"webhook-label", "Does it have the label by which the policy picks it?", checkSetting(deploy.ItemWebhookLabels, "it is labelled "+deploy.WebhookLabel)},
	{"webhook-secret", "Does it sign with a secret that Gantry knows?", checkSecret},
	{"webhook-header", "Does it send the secret header that Gantry asks for?", checkHeader},
	{"policy-present", "Is there a notification policy?", checkPresent(deploy.ItemPolicy)},
	{"policy-current", "Is it the policy of this version of Gantry, on the engine it is written for?", checkPolicyCurrent},
	{"policy-routes", "Asked by simulation: does it route a labelled stack to the webhook, and no other?", checkRoutes},
	{"single-delivery", "Does every notification come once?", checkSingle},
	{"stacks-managed", "Does any stack have the label `gantry:managed`?", checkManaged},
	{"stacks-labels", "Can Gantry follow the `gantry:` labels of every stack?", checkLabels},
	{"stacks-reach", "Do webhook and policy reach the space of every managed stack?", checkReach},
	{"gantry-signature", "Does the Gantry at `--url` take a signed notification for authentic?", checkSignature},
}

func checkKey(ctx context.Context, a *accountPatient) finding {
	const fix = "check endpoint, apiKeyId and the secret of the key; in Spacelift: Organization settings, API keys"
	api, err := newSpaceliftClient(a.Account)
	if err != nil {
		return fail(fix, "%s", err)
	}
	viewer, err := api.Viewer(ctx)
	switch {
	case errors.Is(err, spacelift.ErrUnauthorized):
		return fail(fix, "Spacelift refuses it: %s", err)
	case errors.Is(err, spacelift.ErrSchemaMismatch):
		return fail("is the endpoint Spacelift's? A self-hosted one may be too old", "%s", err)
	case err != nil:
		return fail("check the endpoint and the way to it", "%s", err)
	}
	a.api, a.viewer = api, &viewer
	return ok("%s", viewer.Name)
}

// rights are those of a role that does all Gantry does to runs.
// https://docs.spacelift.io/concepts/authorization/rbac-system
const rights = "space:read, run:confirm, run:discard, run:review, run:trigger, run:retry, run:stop, run:cancel"

func checkRights(ctx context.Context, a *accountPatient) finding {
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
	if found, err := deploy.Look(ctx, a.api, a.wanted); try(err) {
		a.hook, a.policy = found.Webhook(a.wanted.Webhook), found.Policy(a.wanted.Policy)
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
	seen := fmt.Sprintf("%d stacks", len(a.stacks.Items))
	if !a.stacks.Complete {
		seen = "more than " + seen
	}
	switch {
	case len(a.stacks.Items) == 0:
		return warn("give the key a role in the spaces of the stacks, or create one", "the key sees no stack")
	case a.viewer.Admin:
		return ok("an admin key, sees %s", seen)
	}
	return ok("reads %s; what it may do to runs can't be told before it does (%s), and gantry setup takes a space admin", seen, rights)
}

// Skews beyond these are worth a warning, and a failure: deadlines and the times
// of a timeline are off by as much.
const (
	skewWarn = 5 * time.Second
	skewFail = 5 * time.Minute
)

func checkClock(_ context.Context, a *accountPatient) finding {
	if a.api == nil {
		return leftOut
	}
	skew, known := a.api.ClockSkew()
	if !known {
		return warn("", "Spacelift's answers carry no time")
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

// checkPresent reports whether there is a webhook, or a policy.
func checkPresent(item deploy.Item) func(context.Context, *accountPatient) finding {
	return func(_ context.Context, a *accountPatient) finding {
		switch {
		case a.plan == nil:
			return leftOut
		case a.planErr != nil:
			return fail("choose the names of webhook and policy with --webhook-name and --policy-name", "%s", a.planErr)
		}
		if c := a.plan.Change(item); c != nil {
			return fail(a.fix, "there is no %s %s: %s", item, c.Name, c.Why)
		}
		return ok("it is there")
	}
}

// checkSetting reports what gantry setup would change of a webhook that is there.
func checkSetting(item deploy.Item, fine string) func(context.Context, *accountPatient) finding {
	return func(_ context.Context, a *accountPatient) finding {
		if !a.compared() || a.hook == nil {
			return leftOut
		}
		if c := a.plan.Change(item); c != nil {
			return fail(a.fix, "it is %s; wanted is %s: %s", c.Now, c.Wanted, c.Why)
		}
		return ok("%s", fine)
	}
}

func (a *accountPatient) compared() bool { return a.plan != nil && a.planErr == nil }

func checkAddress(_ context.Context, a *accountPatient) finding {
	switch {
	case !a.compared() || a.hook == nil:
		return leftOut
	case a.wanted.Endpoint == "":
		return ok("it points at %s; give --url to have it compared", a.hook.Endpoint)
	}
	if c := a.plan.Change(deploy.ItemWebhookEndpoint); c != nil {
		return fail(a.fix, "it points at %s", c.Now)
	}
	return ok("%s", a.hook.Endpoint)
}

func checkSecret(ctx context.Context, a *accountPatient) finding {
	if !a.compared() || a.hook == nil || a.secretsErr != nil {
		return leftOut
	}
	for i, secret := range a.known.live {
		same, shown, err := a.api.NamedWebhookSecretIs(ctx, a.hook.ID, string(secret))
		switch {
		case err != nil:
			return warn("", "%s", err)
		case !shown:
			return ok("not compared, as Spacelift doesn't show it to this key")
		case same && i == 0:
			return ok("it signs with the first one configured")
		case same:
			return warn(a.fix, "it signs with an older one: a rotation is not done yet in Spacelift")
		}
	}
	return fail(a.fix, "it signs with one that is not configured: Gantry refuses every notification, and ten in a row switch the webhook off")
}

func checkHeader(_ context.Context, a *accountPatient) finding {
	switch {
	case !a.compared() || a.hook == nil:
		return leftOut
	case a.plan.Change(deploy.ItemWebhookHeader) != nil:
		return fail(a.fix, "%s is missing: Gantry refuses every notification, and ten in a row switch the webhook off", a.known.header)
	case a.known.header == "":
		return ok("none is asked for")
	}
	return ok("%s is sent; Spacelift doesn't show its value", a.known.header)
}

func checkPolicyCurrent(_ context.Context, a *accountPatient) finding {
	if !a.compared() || a.policy == nil {
		return leftOut
	}
	for _, item := range []deploy.Item{deploy.ItemPolicyBody, deploy.ItemPolicyEngine} {
		if c := a.plan.Change(item); c != nil {
			return warn(a.fix, "it is %s; wanted is %s: %s", c.Now, c.Wanted, c.Why)
		}
	}
	return ok("it is")
}

func checkRoutes(ctx context.Context, a *accountPatient) finding {
	if a.policy == nil || a.hook == nil {
		return leftOut
	}
	labelled, err := deploy.Routes(ctx, a.api, a.policy.Body, *a.hook, spacelift.LabelManaged)
	if err != nil {
		return warn("let the key simulate policies, or try the policy in Spacelift's workbench", "can't be told: %s", err)
	}
	unlabelled, err := deploy.Routes(ctx, a.api, a.policy.Body, *a.hook, "env:sample")
	switch {
	case err != nil:
		return warn("let the key simulate policies, or try the policy in Spacelift's workbench", "can't be told: %s", err)
	case !labelled:
		return fail(a.fix, "a labelled stack is not routed to webhook %s: Gantry hears of nothing", a.hook.Name)
	case unlabelled:
		return warn(a.fix, "stacks without the label are routed too: Gantry ignores them, at the cost of traffic")
	}
	return ok("labelled stacks are routed to it, others are not")
}

func checkSingle(_ context.Context, a *accountPatient) finding {
	if !a.compared() {
		return leftOut
	}
	f := warn("remove what is too much; Gantry recognizes repeats, so this costs traffic only", "perhaps twice")
	for _, n := range a.plan.Notes {
		if n.Kind == deploy.NoteDouble {
			f.Details = append(f.Details, n.Text)
		}
	}
	if len(f.Details) > 0 {
		return f
	}
	return ok("nothing is seen that would double them")
}

func (a *accountPatient) managed() []spacelift.Stack {
	return slices.DeleteFunc(slices.Clone(a.stacks.Items), func(s spacelift.Stack) bool { return !spacelift.Managed(s.Labels) })
}

func checkManaged(_ context.Context, a *accountPatient) finding {
	if a.stacks == nil {
		return leftOut
	}
	n := len(a.managed())
	if n == 0 {
		return warn("label stacks "+spacelift.LabelManaged, "no stack is labelled %s: Gantry has nothing to do", spacelift.LabelManaged)
	}
	return ok("%d of %d stacks", n, len(a.stacks.Items))
}

func checkLabels(_ context.Context, a *accountPatient) finding {
	if a.stacks == nil || a.rules == nil {
		return leftOut
	}
	var held, idle []string
	for _, s := range a.stacks.Items {
		ours, managed := slices.DeleteFunc(spacelift.OurLabels(s.Labels), func(l string) bool { return !spacelift.IsOurs(l) }), spacelift.Managed(s.Labels)
		if len(ours) == 0 {
			continue
		}
		list := &idle
		if managed {
			list = &held
		}
		problems := a.rules.Resolve(s.Labels).Problems
		for _, p := range problems {
			*list = append(*list, fmt.Sprintf("%s, %s: %s; %s", s.ID, p.Label, p.Problem, p.Remedy))
		}
		if !managed && len(problems) == 0 {
			idle = append(idle, fmt.Sprintf("%s has %s, but not %s: it is not managed", s.ID, strings.Join(ours, ", "), spacelift.LabelManaged))
		}
	}
	f := ok("all of them")
	switch {
	case len(held) > 0:
		f = fail("correct the labels", "plans of these stacks are held, because a label may have been meant to forbid them")
	case len(idle) > 0:
		f = warn("correct the labels", "some stacks have Gantry's labels to no effect")
	}
	f.Details = append(held, idle...)
	return f
}

func checkReach(_ context.Context, a *accountPatient) finding {
	if a.stacks == nil || a.spaces == nil || a.hook == nil || a.policy == nil {
		return leftOut
	}
	beyond := []string{}
	for _, s := range a.managed() {
		for _, from := range []struct{ what, space string }{{"webhook", a.hook.Space}, {"policy", a.policy.Space}} {
			if !deploy.Reaches(a.spaces, from.space, s.Space) {
				beyond = append(beyond, fmt.Sprintf("%s in space %s: the %s in %s has no effect there", s.ID, s.Space, from.what, from.space))
			}
		}
	}
	if len(beyond) == 0 {
		return ok("they reach all")
	}
	f := fail("let these spaces inherit from the one above, or move webhook and policy up with gantry setup --space", "Gantry hears nothing of some managed stacks")
	f.Details = beyond
	return f
}
