package activities

import (
	"context"
	"fmt"

	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/deploy"
	"github.com/gantryhq/gantry/spacelift"
)

// ParentsInput names an account whose labels to check.
type ParentsInput struct {
	Account spacelift.Account `json:"account"`
}

// UnknownParents lists labels that name stacks which don't exist or aren't managed.
type UnknownParents struct {
	Faults

	// Unenforced are the stacks whose labels promise people, windows or limits that
	// Spacelift doesn't wait for.
	Unenforced Faults `json:"unenforced,omitzero"`

	// Misspelt are labels without effect that were probably meant for Gantry.
	Misspelt Faults `json:"misspelt,omitzero"`
}

// Faults counts labels or stacks, and describes the first.
type Faults struct {
	Count int      `json:"count,omitempty"`
	First []string `json:"first,omitempty"` // what is wrong with some, as sentences
	Fix   string   `json:"fix,omitempty"`   // what to do about the first
}

func (f *Faults) add(fix, format string, args ...any) {
	if f.Count++; f.Count == 1 {
		f.Fix = shorten(fix, maxSentence)
	}
	if len(f.First) < parentsNamed {
		f.First = append(f.First, shorten(fmt.Sprintf(format, args...), maxSentence))
	}
}

const (
	parentsNamed = 3   // labels that are described
	maxSentence  = 600 // bytes of a description
)

// FindUnknownParents compares the labels of all managed stacks with the stacks that
// exist, and with what Spacelift enforces, and those of all stacks with Gantry's. It costs
// one call to Spacelift, and one for every 50 policies where Gantry's approval policy is
// attached.
func (a *Activities) FindUnknownParents(ctx context.Context, in ParentsInput) (UnknownParents, error) {
	api, err := a.account(in.Account)
	if err != nil {
		return UnknownParents{}, err
	}
	stacks, err := api.HoldsOfStacks(ctx)
	if err != nil {
		return UnknownParents{}, classify(ctx, err)
	}
	known := policy.Known{Stacks: map[spacelift.StackID]policy.Presence{}}
	policies := make([]policy.Policy, len(stacks))
	for i, s := range stacks {
		known.Stacks[s.ID] = policy.PresenceUnmanaged
		if spacelift.Managed(s.Labels) {
			known.Stacks[s.ID], policies[i] = policy.PresenceManaged, a.definitions().Resolve(policy.Labelled(s.Labels))
		}
	}
	for _, parent := range policy.Parents(policies...) {
		if known.Stacks[parent] == policy.PresenceUnknown {
			known.Stacks[parent] = policy.PresenceMissing
		}
	}
	var found UnknownParents
	for i, p := range policies {
		for _, bad := range p.References(known) {
			found.add(bad.Remedy, "%s carries %s, and %s", stacks[i].ID, bad.Label, bad.Problem)
		}
	}
	for _, s := range stacks {
		for _, bad := range a.misspelt(s) {
			found.Misspelt.add(bad.Remedy, "%s carries %s: %s", s.ID, bad.Label, bad.Problem)
		}
	}
	found.Unenforced, err = unenforced(ctx, api, stacks, policies)
	return found, err
}

// misspelt returns the labels of a stack that were probably meant for Gantry and have no
// effect. Those of a managed stack that begin with its prefix hold its runs, which say so.
func (a *Activities) misspelt(s spacelift.HeldStack) []policy.Problem {
	all := policy.Misspelt(s.Labels)
	if !spacelift.Managed(s.Labels) {
		all = append(all, a.definitions().Resolve(policy.Labelled(s.Labels)).Problems...)
	}
	return all
}

func unenforced(ctx context.Context, api Spacelift, stacks []spacelift.HeldStack, policies []policy.Policy) (found Faults, err error) {
	var holds []spacelift.Hold
	for _, s := range stacks {
		if spacelift.Managed(s.Labels) {
			holds = append(holds, s.Hold)
		}
	}
	texts, err := deploy.ReadTexts(ctx, api, holds...)
	switch {
	case err != nil && finalType(err) != "": // a key that may not read policies
		texts = policy.UnreadTexts()
	case err != nil:
		return found, classify(ctx, err)
	}
	for i, s := range stacks {
		if !spacelift.Managed(s.Labels) || len(policies[i].Promises()) == 0 {
			continue
		}
		if e := policy.EnforcementBy(s.Hold, texts); e.Level != policy.Enforced {
			found.add("", "%s is %s: %s", s.ID, e.Level, e.Reason)
		}
	}
	return found, nil
}
