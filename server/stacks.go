package server

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/deploy"
	"github.com/gantryhq/gantry/gen/api"
	genserver "github.com/gantryhq/gantry/gen/server"
	"github.com/gantryhq/gantry/spacelift"
)

// Stacks is the subset of a Spacelift client that the server uses.
type Stacks interface {
	Stack(context.Context, spacelift.StackID) (spacelift.Stack, error)
	StacksByLabel(ctx context.Context, label string) (spacelift.Listing[spacelift.Stack], error)
	PlannedResources(ctx context.Context, ref spacelift.RunRef) (spacelift.PlannedResources, error)
	Spaces(context.Context) ([]spacelift.Space, error)
	deploy.PolicyReader
}

// Policies resolves the rules and labels of a stack to a policy, and knows profiles and
// windows: a *policy.Definitions.
type Policies interface {
	NeedsSpaces() bool
	Resolve(s policy.Stack) policy.Policy
	Gate(p policy.Policy, stack string, freezes []policy.Freeze, at time.Time) policy.Gate
	Calendar(p policy.Policy, stack string, freezes []policy.Freeze, from, until time.Time) []policy.Period
	Profile(name string) policy.Policy
	Profiles() []string
	Windows() []string
	Zone(window string) string
}

// stacksTimeout bounds how long a caller waits for Spacelift.
const stacksTimeout = 15 * time.Second

// GetStackPolicy returns the policy that the rules for a stack and its labels resolve to
// now.
func (h *handlers) GetStackPolicy(ctx context.Context, req genserver.GetStackPolicyRequestObject) (genserver.GetStackPolicyResponseObject, error) {
	account := callOf(ctx).account
	ctx, cancel := context.WithTimeout(ctx, stacksTimeout)
	defer cancel()
	stack, err := account.Stacks.Stack(ctx, spacelift.StackID(req.Stack))
	if err != nil {
		return nil, &spaceliftError{err}
	}
	freezes, err := h.freezes(ctx, account.Name)
	if err != nil {
		return nil, err
	}
	tree, err := h.spaces(ctx, account)
	if err != nil {
		return nil, err
	}
	resolved := h.policies.Resolve(policy.StackOf(stack, tree))
	known := h.known(ctx, account, nil, policy.Parents(resolved))
	result := h.toAPIStack(stack, resolved, known, freezes, time.Now())
	result.Enforcement = enforcementOf(stack, textsOf(ctx, account, stack))
	return genserver.GetStackPolicy200JSONResponse(result), nil
}

// ListStacks lists the managed stacks with their policies.
func (h *handlers) ListStacks(ctx context.Context, _ genserver.ListStacksRequestObject) (genserver.ListStacksResponseObject, error) {
	account := callOf(ctx).account
	ctx, cancel := context.WithTimeout(ctx, stacksTimeout)
	defer cancel()
	found, err := account.Stacks.StacksByLabel(ctx, spacelift.LabelManaged)
	if err != nil {
		return nil, &spaceliftError{err}
	}
	freezes, err := h.freezes(ctx, account.Name)
	if err != nil {
		return nil, err
	}
	may, err := h.scope(ctx, authority.RoleViewer, account.Name)
	if err != nil {
		return nil, err
	}
	found.Items = slices.DeleteFunc(found.Items, func(s spacelift.Stack) bool { return !may(account.Name, s.ID) })
	slices.SortFunc(found.Items, func(a, b spacelift.Stack) int { return cmp.Compare(a.ID, b.ID) })
	tree, err := h.spaces(ctx, account)
	if err != nil {
		return nil, err
	}
	policies := toAPIList(found.Items, func(s spacelift.Stack) policy.Policy { return h.policies.Resolve(policy.StackOf(s, tree)) })
	known, now := h.known(ctx, account, found.Items, policy.Parents(policies...)), time.Now()
	texts := textsOf(ctx, account, found.Items...)
	stacks := make([]api.Stack, len(found.Items))
	for i, s := range found.Items {
		stacks[i] = h.toAPIStack(s, policies[i], known, freezes, now)
		stacks[i].Enforcement = enforcementOf(s, texts)
	}
	return genserver.ListStacks200JSONResponse{Stacks: stacks, Complete: found.Complete}, nil
}

// spaces returns the spaces of an account, if rules select stacks by space.
func (h *handlers) spaces(ctx context.Context, account *Account) ([]spacelift.Space, error) {
	if !h.policies.NeedsSpaces() {
		return nil, nil
	}
	tree, err := account.Stacks.Spaces(ctx)
	if err != nil {
		return nil, &spaceliftError{err}
	}
	return tree, nil
}

// textsOf checks the texts of the enforcing policies. Texts that can't be read say
// nothing: then the attached policies count by their names.
func textsOf(ctx context.Context, account *Account, stacks ...spacelift.Stack) policy.PolicyTexts {
	holds := make([]spacelift.Hold, len(stacks))
	for i, s := range stacks {
		holds[i] = s.Hold
	}
	texts, err := deploy.ReadTexts(ctx, account.Stacks, holds...)
	if err != nil {
		return policy.PolicyTexts{}
	}
	return texts
}

// enforcementOf returns the worth of a managed stack's policy; nil for another stack.
func enforcementOf(s spacelift.Stack, texts policy.PolicyTexts) *api.Enforcement {
	if !spacelift.Managed(s.Labels) {
		return nil
	}
	return new(toAPIEnforcement(policy.EnforcementBy(s.Hold, texts)))
}

// maxParentReads bounds how many stacks that others follow are read for one answer.
// References to stacks beyond it are not checked.
const maxParentReads = 20

// known reports which of the stacks that others follow exist and are managed. It reads
// those that aren't among the managed ones one by one, and lists the managed ones if the
// caller hasn't.
func (h *handlers) known(ctx context.Context, account *Account, managed []spacelift.Stack, parents []spacelift.StackID) policy.Known {
	known := policy.Known{Stacks: map[spacelift.StackID]policy.Presence{}, Approvers: h.keys.approvers()}
	add := func(stacks []spacelift.Stack) {
		for _, s := range stacks {
			known.Stacks[s.ID] = policy.PresenceManaged
		}
	}
	add(managed)
	reads := 0
	for _, id := range parents {
		if known.Stacks[id] != policy.PresenceUnknown || reads == maxParentReads {
			continue
		}
		reads++
		stack, err := account.Stacks.Stack(ctx, id)
		switch {
		case errors.Is(err, spacelift.ErrNotFound):
			known.Stacks[id] = policy.PresenceMissing
		case err != nil: // unknown
		case spacelift.Managed(stack.Labels):
			known.Stacks[id] = policy.PresenceManaged
		default:
			known.Stacks[id] = policy.PresenceUnmanaged
		}
		if p := known.Stacks[id]; managed == nil && p != policy.PresenceManaged && p != policy.PresenceUnknown {
			// A remedy can name the managed stack that the label may mean.
			if found, err := account.Stacks.StacksByLabel(ctx, spacelift.LabelManaged); err == nil {
				managed = found.Items
				add(managed)
			}
		}
	}
	return known
}

func (h *handlers) toAPIStack(s spacelift.Stack, p policy.Policy, known policy.Known, freezes []policy.Freeze, now time.Time) api.Stack {
	labels := spacelift.OurLabels(s.Labels)
	p = p.Of(s.ID)
	stack := api.Stack{
		Account: string(s.Account), Stack: string(s.ID), Name: s.Name, Managed: spacelift.Managed(s.Labels),
		Labels: append([]string{}, labels...), Policy: toAPIPolicyValues(p), Problems: toAPIList(p.Problems, toAPIPolicyProblem),
		Gate: toAPIGate(h.policies.Gate(p, string(s.ID), freezes, now)),
	}
	if !stack.Managed {
		return stack
	}
	if warnings := p.References(known); len(warnings) > 0 {
		stack.Warnings = toAPIList(warnings, toAPIPolicyProblem)
	}
	return stack
}

// spaceliftError is an error of Spacelift's API during a caller's request.
type spaceliftError struct{ err error }

func (e *spaceliftError) Error() string { return e.err.Error() }

func (e *spaceliftError) Unwrap() error { return e.err }
