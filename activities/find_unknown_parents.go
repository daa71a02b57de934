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
	Count int      `json:"count"`           // labels
	First []string `json:"first,omitempty"` // what is wrong with some, as sentences
	Fix   string   `json:"fix,omitempty"`   // what to do about the first

	Unenforced Unenforced `json:"unenforced,omitzero"`
}

// Unenforced lists the stacks whose labels promise people, windows or limits that
// Spacelift doesn't wait for.
type Unenforced struct {
	Count int      `json:"count,omitempty"` // stacks
	First []string `json:"first,omitempty"` // why some aren't enforced, as sentences
}

const (
	parentsNamed = 3   // labels that are described
	maxSentence  = 600 // bytes of a description
)

// FindUnknownParents compares the labels of all managed stacks with the stacks that
// exist, and with what Spacelift enforces. It costs one call to Spacelift, and one for
// every 50 policies where Gantry's approval policy is attached.
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
			if found.Count++; found.Count == 1 {
				found.Fix = shorten(bad.Remedy, maxSentence)
			}
			if len(found.First) < parentsNamed {
				found.First = append(found.First, shorten(fmt.Sprintf("%s carries %s, and %s", stacks[i].ID, bad.Label, bad.Problem), maxSentence))
			}
		}
	}
	found.Unenforced, err = unenforced(ctx, api, stacks, policies)
	return found, err
}

func unenforced(ctx context.Context, api Spacelift, stacks []spacelift.HeldStack, policies []policy.Policy) (found Unenforced, err error) {
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
			if found.Count++; len(found.First) < parentsNamed {
				found.First = append(found.First, shorten(fmt.Sprintf("%s is %s: %s", s.ID, e.Level, e.Reason), maxSentence))
			}
		}
	}
	return found, nil
}
