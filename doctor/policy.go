package doctor

import (
	"context"
	"slices"

	"github.com/gantryhq/gantry/deploy"
	"github.com/gantryhq/gantry/spacelift"
)

func checkPolicyCurrent(_ context.Context, a *account) Finding {
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

func checkRoutes(ctx context.Context, a *account) Finding {
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

func checkSingle(_ context.Context, a *account) Finding {
	if !a.compared() {
		return leftOut
	}
	if double := a.plan.Of(deploy.NoteDouble); len(double) > 0 {
		return withNotes(warn("remove the duplicates; Gantry recognizes repeats, so they only cost traffic", "some notifications come twice"), double, a.plan.Of(deploy.NoteNotAsked))
	}
	return a.unlessUnasked(ok("nothing else sends them"))
}

func checkForm(_ context.Context, a *account) Finding {
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

// unlessUnasked returns a Finding, unless some policies could not be simulated.
func (a *account) unlessUnasked(f Finding) Finding {
	if unasked := a.plan.Of(deploy.NoteNotAsked); len(unasked) > 0 {
		return withNotes(warn(simulateFix, "could not be checked for all policies"), unasked)
	}
	return f
}

func withNotes(f Finding, lists ...[]deploy.Note) Finding {
	for _, n := range slices.Concat(lists...) {
		f.Details = append(f.Details, n.Text)
	}
	return f
}
