package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/deploy"
	"github.com/gantryhq/gantry/spacelift"
)

func (a *account) managed() []spacelift.Stack {
	return slices.DeleteFunc(slices.Clone(a.stacks.Items), func(s spacelift.Stack) bool { return !spacelift.Managed(s.Labels) })
}

// ofAll returns a Finding about all stacks, unless it is good and there are more
// stacks than could be listed.
func (a *account) ofAll(f Finding) Finding {
	if f.Verdict != OK || a.stacks.Complete {
		return f
	}
	return unknown("check the others in Spacelift", "the account has more stacks than the %d that could be listed; those are fine", len(a.stacks.Items))
}

func checkManaged(_ context.Context, a *account) Finding {
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

func checkLabels(_ context.Context, a *account) Finding {
	if a.stacks == nil || a.rules == nil {
		return leftOut
	}
	var held, idle []string
	for _, s := range a.stacks.Items {
		for _, p := range policy.Misspelt(s.Labels) {
			idle = append(idle, fmt.Sprintf("%s, %s: %s; %s", s.ID, p.Label, p.Problem, p.Remedy))
		}
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
		f = warn("correct the labels", "some labels of stacks have no effect")
	}
	f.Details = append(held, idle...)
	return f
}

// checkReferences checks that what labels refer to exists in the account.
func checkReferences(_ context.Context, a *account) Finding {
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
func checkEnforced(_ context.Context, a *account) Finding {
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
func unenforced(a *account, texts policy.PolicyTexts) (weak []string, promise int) {
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

func checkReach(_ context.Context, a *account) Finding {
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
