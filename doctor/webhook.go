package doctor

import (
	"cmp"
	"context"
	"slices"

	"github.com/gantryhq/gantry/deploy"
	"github.com/gantryhq/gantry/spacelift"
)

// checkPresent reports whether there is a webhook, or a policy.
func checkPresent(item deploy.Item) func(context.Context, *account) Finding {
	return func(_ context.Context, a *account) Finding {
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
func checkSetting(item deploy.Item, fine string) func(context.Context, *account) Finding {
	return func(_ context.Context, a *account) Finding {
		if !a.compared() || a.hook == nil {
			return leftOut
		}
		if c := a.plan.Change(item); c != nil {
			return fail(a.fix(), "it is %s instead of %s: %s", c.Now, c.Wanted, c.Why)
		}
		return ok("%s", fine)
	}
}

func (a *account) compared() bool { return a.plan != nil && a.planErr == nil }

func checkAddress(_ context.Context, a *account) Finding {
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

func checkSecret(ctx context.Context, a *account) Finding {
	switch {
	case !a.compared() || a.hook == nil:
		return leftOut
	case a.secretsErr != nil:
		return unknown("correct the account's webhook secrets", "%s", a.secretsErr)
	}
	for i, secret := range a.known.Live {
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
func (a *account) hiddenSecret() Finding {
	fix := a.fix("--send-secrets")
	if a.evidence.Mismatch != "" {
		return fail(fix, "Spacelift shows none, and Gantry refuses notifications: %s", a.evidence.Mismatch)
	}
	f := unknown(fix, "it was not compared: Spacelift hides it from this key, or there is none and Gantry refuses everything; %s",
		a.evidence)
	f.Verdict = Warn
	return f
}

func checkHeader(_ context.Context, a *account) Finding {
	switch {
	case !a.compared() || a.hook == nil:
		return leftOut
	case a.plan.Change(deploy.ItemWebhookHeader) != nil:
		return fail(a.fix(), "%s is missing: Gantry refuses every notification, and ten in a row switch the webhook off", a.known.Header)
	case a.secretsErr != nil:
		return unknown("correct the account's secrets", "%s", a.secretsErr)
	case a.known.Header == "":
		return ok("none is configured")
	case a.evidence.Proves():
		return ok("%s is sent; %s", a.known.Header, a.evidence)
	}
	return unknown("wait for the next notification and try again with GANTRY_TOKEN set; or send it again: "+a.fix("--send-secrets"),
		"%s is sent, but Spacelift never shows its value; %s", a.known.Header, a.evidence)
}

// checkGuardian compares the webhook that the guardian watches with the account.
func checkGuardian(_ context.Context, a *account) Finding {
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
