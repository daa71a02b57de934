package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/config"
	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/deploy"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/spacelift/spaceliftapi"
)

// accountState holds what the checks know of one Spacelift account; what is nil is
// unknown.
type accountState struct {
	config.Account
	wanted   deploy.Wanted // as gantry setup would have it
	command  string        // gantry setup for the account
	guardian string        // id of the webhook that the guardian watches; empty if none
	watches  bool          // whether there is a guardian

	known      secrets
	secretsErr error

	evidence evidence
	reply    reply // of the address at --url

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

func newAccountState(c config.Account, p *localState) *accountState {
	rules, _ := p.loaded.Definitions() // the configuration has a check of its own
	a := &accountState{
		Account: c, rules: rules, approvers: p.loaded.Approvers(),
		wanted:   deploy.Wanted{Webhook: p.webhook, Policy: p.policy, Endpoint: p.url},
		guardian: p.loaded.Guardian.Webhook, watches: p.loaded.Reconcile.Interval > 0,
	}
	if a.known, a.secretsErr = readSecrets(c); a.secretsErr == nil {
		a.wanted.Secret, a.wanted.Header, a.wanted.HeaderValue = a.known.live[0], a.known.header, a.known.headerValue
	}
	a.command = "gantry setup --account " + c.Name
	if p.webhook != deploy.DefaultName {
		a.command += " --webhook-name " + p.webhook
	}
	if p.policy != deploy.DefaultName {
		a.command += " --policy-name " + p.policy
	}
	return a
}

// fix returns the command that sets the account up, with more flags. It names
// the address at --url only if Gantry answers there.
func (a *accountState) fix(flags ...string) string {
	command := strings.Join(append([]string{a.command}, flags...), " ") + " --yes --url "
	switch {
	case a.wanted.Endpoint == "":
		return command + "(address of the webhook)"
	case !a.reply.gantrys():
		return "see gantry-signature first: Gantry's webhook doesn't answer at --url; then " + command + "(the address at which it does)"
	}
	return command + a.wanted.Endpoint
}

func checkKey(ctx context.Context, a *accountState) finding {
	const fix = "check endpoint, apiKeyId and the secret of the key; in Spacelift: Organization settings, API keys"
	api, err := a.NewClient(version, nil)
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

func checkRights(ctx context.Context, a *accountState) finding {
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

func checkActs(_ context.Context, a *accountState) finding {
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

func checkClock(_ context.Context, a *accountState) finding {
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

// checkPresent reports whether there is a webhook, or a policy.
func checkPresent(item deploy.Item) func(context.Context, *accountState) finding {
	return func(_ context.Context, a *accountState) finding {
		switch {
		case a.plan == nil:
			return leftOut
		case a.planErr != nil:
			return fail("choose the names of webhook and policy with --webhook-name and --policy-name", "%s", a.planErr)
		}
		if c := a.plan.Change(item); c != nil {
			return fail(a.fix(), "there is no %s %s: %s", item, c.Name, c.Why)
		}
		return ok("it is there")
	}
}

// checkSetting reports what gantry setup would change of a webhook that is there.
func checkSetting(item deploy.Item, fine string) func(context.Context, *accountState) finding {
	return func(_ context.Context, a *accountState) finding {
		if !a.compared() || a.hook == nil {
			return leftOut
		}
		if c := a.plan.Change(item); c != nil {
			return fail(a.fix(), "it is %s instead of %s: %s", c.Now, c.Wanted, c.Why)
		}
		return ok("%s", fine)
	}
}

func (a *accountState) compared() bool { return a.plan != nil && a.planErr == nil }

func checkAddress(_ context.Context, a *accountState) finding {
	switch {
	case !a.compared() || a.hook == nil:
		return leftOut
	case a.wanted.Endpoint == "":
		return unknown("give --url, the address at which Spacelift reaches Gantry", "it points at %s", a.hook.Endpoint)
	}
	if c := a.plan.Change(deploy.ItemWebhookEndpoint); c != nil {
		return fail(a.fix(), "it points at %s: %s", c.Now, c.Why)
	}
	return ok("%s", a.hook.Endpoint)
}

func checkSecret(ctx context.Context, a *accountState) finding {
	switch {
	case !a.compared() || a.hook == nil:
		return leftOut
	case a.secretsErr != nil:
		return unknown("correct the account's webhook secrets", "%s", a.secretsErr)
	}
	for i, secret := range a.known.live {
		same, shown, err := a.api.NamedWebhookSecretIs(ctx, a.hook.ID, string(secret))
		switch {
		case err != nil:
			return unknown("try again with an admin's key", "%s", err)
		case !shown:
			return a.hiddenSecret()
		case same && i == 0:
			return ok("it signs with the first one configured")
		case same:
			return warn(a.fix(), "it signs with an older one: a rotation is not finished in Spacelift")
		}
	}
	return fail(a.fix(), "it signs with one that is not configured: Gantry refuses every notification, and ten in a row switch the webhook off")
}

// hiddenSecret judges a secret that Spacelift doesn't show by what Gantry refuses.
// What it accepted proves nothing: another tool may have erased the secret since.
func (a *accountState) hiddenSecret() finding {
	fix := a.fix("--send-secrets")
	if a.evidence.mismatch != "" {
		return fail(fix, "Spacelift shows none, and Gantry refuses notifications: %s", a.evidence.mismatch)
	}
	f := unknown(fix, "it was not compared: Spacelift hides it from this key, or there is none and Gantry refuses everything; %s",
		a.evidence)
	f.Verdict = verdictWarn
	return f
}

func checkHeader(_ context.Context, a *accountState) finding {
	switch {
	case !a.compared() || a.hook == nil:
		return leftOut
	case a.plan.Change(deploy.ItemWebhookHeader) != nil:
		return fail(a.fix(), "%s is missing: Gantry refuses every notification, and ten in a row switch the webhook off", a.known.header)
	case a.secretsErr != nil:
		return unknown("correct the account's secrets", "%s", a.secretsErr)
	case a.known.header == "":
		return ok("none is configured")
	case a.evidence.proves():
		return ok("%s is sent; %s", a.known.header, a.evidence)
	}
	return unknown("wait for the next notification and try again with GANTRY_TOKEN set; or send it again: "+a.fix("--send-secrets"),
		"%s is sent, but Spacelift never shows its value; %s", a.known.header, a.evidence)
}

func checkPolicyCurrent(_ context.Context, a *accountState) finding {
	if !a.compared() || a.policy == nil {
		return leftOut
	}
	for _, item := range []deploy.Item{deploy.ItemPolicyBody, deploy.ItemPolicyEngine} {
		if c := a.plan.Change(item); c != nil {
			return warn(a.fix(), "it is %s instead of %s: %s", c.Now, c.Wanted, c.Why)
		}
	}
	return ok("it is")
}

const simulateFix = "let the key simulate policies, or try them in Spacelift's workbench"

func checkRoutes(ctx context.Context, a *accountState) finding {
	if a.policy == nil || a.hook == nil {
		return leftOut
	}
	labelled, err := deploy.Routes(ctx, a.api, a.policy.Body, *a.hook, spacelift.LabelManaged)
	unlabelled := false
	if err == nil {
		unlabelled, err = deploy.Routes(ctx, a.api, a.policy.Body, *a.hook, "env:sample")
	}
	switch {
	case err != nil:
		return warn(simulateFix, "could not be checked: %s", err)
	case !labelled:
		return fail(a.fix(), "a labelled stack is not routed to webhook %s: Gantry receives nothing", a.hook.Name)
	case unlabelled:
		return warn(a.fix(), "stacks without the label are routed too: Gantry ignores them, at the cost of traffic")
	}
	return ok("labelled stacks are routed to it, others are not")
}

func checkSingle(_ context.Context, a *accountState) finding {
	if !a.compared() {
		return leftOut
	}
	if double := a.plan.Of(deploy.NoteDouble); len(double) > 0 {
		return withNotes(warn("remove the duplicates; Gantry recognizes repeats, so they only cost traffic", "some notifications come twice"), double, a.plan.Of(deploy.NoteNotAsked))
	}
	return a.unlessUnasked(ok("nothing else sends them"))
}

func checkForm(_ context.Context, a *accountState) finding {
	if !a.compared() {
		return leftOut
	}
	refused, payload := a.plan.Of(deploy.NoteRefused), a.plan.Of(deploy.NotePayload)
	switch {
	case len(refused) > 0:
		return withNotes(fail("remove the webhook from these policies; Gantry's own policy serves it", "Gantry refuses what some policies send, and ten failures in a row switch the webhook off"), refused, payload)
	case len(payload) > 0:
		return withNotes(warn("remove the webhook from these policies; Gantry's own policy serves it", "Gantry can't read what some policies send"), payload)
	}
	return a.unlessUnasked(ok("they do"))
}

// unlessUnasked returns a finding, unless some policies could not be simulated.
func (a *accountState) unlessUnasked(f finding) finding {
	if unasked := a.plan.Of(deploy.NoteNotAsked); len(unasked) > 0 {
		return withNotes(warn(simulateFix, "could not be checked for all policies"), unasked)
	}
	return f
}

func withNotes(f finding, lists ...[]deploy.Note) finding {
	for _, n := range slices.Concat(lists...) {
		f.Details = append(f.Details, n.Text)
	}
	return f
}

// checkGuardian compares the webhook that the guardian watches with the account.
func checkGuardian(_ context.Context, a *accountState) finding {
	if a.found == nil || !a.watches {
		return leftOut
	}
	i := slices.IndexFunc(a.found.Webhooks, func(h spacelift.NamedWebhook) bool { return h.ID == a.guardian })
	switch {
	case a.guardian == "":
		return warn("set guardian.webhook to the id of the webhook", "Gantry watches none, and will not notice when Spacelift switches the webhook off")
	case i < 0 && !a.found.Complete:
		return unknown("check it in Spacelift", "the account has more webhooks than could be listed")
	case i < 0 && a.hook != nil:
		return fail("set guardian.webhook to "+a.hook.ID, "there is no webhook with the id %s: Gantry will not notice when Spacelift switches %s off", a.guardian, a.hook.Name)
	case i < 0:
		return fail(a.fix(), "there is no webhook with the id %s", a.guardian)
	}
	watched := a.found.Webhooks[i]
	here := cmp.Or(a.wanted.Endpoint, watched.Endpoint)
	if a.hook != nil && a.wanted.Endpoint == "" {
		here = a.hook.Endpoint
	}
	if !deploy.SameAddress(watched.Endpoint, here) {
		return warn("set guardian.webhook to the id of the webhook that points here", "%s points at %s", a.guardian, watched.Endpoint)
	}
	return ok("%s", a.guardian)
}

func (a *accountState) managed() []spacelift.Stack {
	return slices.DeleteFunc(slices.Clone(a.stacks.Items), func(s spacelift.Stack) bool { return !spacelift.Managed(s.Labels) })
}

// ofAll returns a finding about all stacks, unless it is good and there are more
// stacks than could be listed.
func (a *accountState) ofAll(f finding) finding {
	if f.Verdict != verdictOK || a.stacks.Complete {
		return f
	}
	return unknown("check the others in Spacelift", "the account has more stacks than the %d that could be listed; those are fine", len(a.stacks.Items))
}

func checkManaged(_ context.Context, a *accountState) finding {
	if a.stacks == nil {
		return leftOut
	}
	n := len(a.managed())
	if n == 0 && !a.stacks.Complete {
		return a.ofAll(ok(""))
	}
	if n == 0 {
		return warn("label stacks "+spacelift.LabelManaged, "no stack is labelled %s: Gantry has nothing to do", spacelift.LabelManaged)
	}
	return ok("%d of %d stacks", n, len(a.stacks.Items))
}

func checkLabels(_ context.Context, a *accountState) finding {
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
		problems := a.rules.Resolve(policy.StackOf(s, a.spaces)).Of(s.ID).Problems
		for _, p := range problems {
			*list = append(*list, fmt.Sprintf("%s, %s: %s; %s", s.ID, p.Label, p.Problem, p.Remedy))
		}
		if !managed && len(problems) == 0 {
			idle = append(idle, fmt.Sprintf("%s has %s, but not %s: it is not managed", s.ID, strings.Join(ours, ", "), spacelift.LabelManaged))
		}
	}
	f := a.ofAll(ok("all of them"))
	switch {
	case len(held) > 0:
		f = fail("correct the labels", "plans of these stacks are held, because a label may be meant to forbid them")
	case len(idle) > 0:
		f = warn("correct the labels", "some stacks have Gantry's labels to no effect")
	}
	f.Details = append(held, idle...)
	return f
}

// checkReferences checks that what labels refer to exists in the account.
func checkReferences(_ context.Context, a *accountState) finding {
	if a.stacks == nil || a.rules == nil {
		return leftOut
	}
	known := policy.Known{Stacks: map[spacelift.StackID]policy.Presence{}, Approvers: a.approvers}
	policies := map[spacelift.StackID]policy.Policy{}
	for _, s := range a.stacks.Items {
		known.Stacks[s.ID] = policy.PresenceUnmanaged
		if spacelift.Managed(s.Labels) {
			known.Stacks[s.ID], policies[s.ID] = policy.PresenceManaged, a.rules.Resolve(policy.StackOf(s, a.spaces))
		}
	}
	if a.stacks.Complete {
		for _, parent := range policy.Parents(slices.Collect(maps.Values(policies))...) {
			if known.Stacks[parent] == policy.PresenceUnknown {
				known.Stacks[parent] = policy.PresenceMissing
			}
		}
	}
	var dangling []string
	for _, id := range slices.Sorted(maps.Keys(policies)) {
		for _, bad := range policies[id].References(known) {
			dangling = append(dangling, fmt.Sprintf("%s, %s: %s; %s", id, bad.Label, bad.Problem, bad.Remedy))
		}
	}
	if len(dangling) == 0 {
		return a.ofAll(ok("all of them"))
	}
	f := warn("correct the labels, or what they refer to", "some labels refer to something that does not exist, and have no effect")
	f.Details = dangling
	return f
}

// checkEnforced names the stacks whose labels promise people or times that Spacelift
// doesn't wait for.
func checkEnforced(_ context.Context, a *accountState) finding {
	if a.stacks == nil || a.rules == nil || a.found == nil {
		return leftOut
	}
	weak, promise := unenforced(a, deploy.TextsOf(a.found.Holds, a.found.Viewer))
	switch {
	case len(weak) > 0:
		f := warn(a.fix("--enforce"), "%d of %d stacks promise more than Spacelift holds", len(weak), promise)
		f.Details = weak
		return f
	case promise == 0:
		return ok("no stack's labels promise anything")
	}
	return a.ofAll(ok("all of them"))
}

// unenforced lists the managed stacks that promise something and aren't enforced, and
// counts those that promise something.
func unenforced(a *accountState, texts policy.PolicyTexts) (weak []string, promise int) {
	for _, s := range a.stacks.Items {
		if !spacelift.Managed(s.Labels) || len(a.rules.Resolve(policy.StackOf(s, a.spaces)).Promises()) == 0 {
			continue
		}
		promise++
		if e := policy.EnforcementBy(s.Hold, texts); e.Level != policy.Enforced {
			weak = append(weak, fmt.Sprintf("%s is %s: %s", s.ID, e.Level, e.Reason))
		}
	}
	return weak, promise
}

func checkReach(_ context.Context, a *accountState) finding {
	if a.stacks == nil || a.spaces == nil || a.hook == nil || a.policy == nil {
		return leftOut
	}
	var beyond, unclear []string
	for _, s := range a.managed() {
		for _, from := range []struct{ what, space string }{{"webhook", a.hook.Space}, {"policy", a.policy.Space}} {
			switch {
			case deploy.Reaches(a.spaces, from.space, s.Space):
			case !deploy.WayIsKnown(a.spaces, s.Space):
				unclear = append(unclear, fmt.Sprintf("%s in space %s: the key can't see every space on the way to the %s in %s", s.ID, s.Space, from.what, from.space))
			default:
				beyond = append(beyond, fmt.Sprintf("%s in space %s: the %s in %s has no effect there", s.ID, s.Space, from.what, from.space))
			}
		}
	}
	f := a.ofAll(ok("they reach all"))
	switch {
	case len(beyond) > 0:
		f = fail("let these spaces inherit from the one above, or move webhook and policy up with gantry setup --space", "Gantry receives nothing about some managed stacks")
	case len(unclear) > 0:
		f = unknown("give the key space:read in the spaces above", "some spaces can't be seen")
	}
	f.Details = append(beyond, unclear...)
	return f
}
