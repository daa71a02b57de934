package spaceliftapi

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/spacelift/spaceliftapi/internal/operations"
)

// Stack reads a stack. It returns ErrNotFound when the stack doesn't exist.
func (c *Client) Stack(ctx context.Context, id spacelift.StackID) (spacelift.Stack, error) {
	data, err := operations.Stack(ctx, c.api, string(id))
	if err == nil && data.Stack == nil {
		err = spacelift.ErrNotFound
	}
	if err != nil {
		return spacelift.Stack{}, fmt.Errorf("read stack %s: %w", id, err)
	}
	return c.fromStackDetails(*data.Stack), nil
}

// StacksByLabel finds the stacks with exactly this label.
//
// Assumption: Spacelift doesn't document whether the search compares whole labels
// or parts; either way it finds all that we want, and we drop the others.
func (c *Client) StacksByLabel(ctx context.Context, label string) (spacelift.Listing[spacelift.Stack], error) {
	found, err := c.searchStacks(ctx,
		[]operations.QueryPredicate{{Field: "label", Constraint: operations.QueryFieldConstraint{StringMatches: []string{label}}}},
		func(s spacelift.Stack) bool { return slices.Contains(s.Labels, label) })
	if err != nil {
		return found, fmt.Errorf("search stacks labelled %q: %w", label, err)
	}
	return found, nil
}

// Stacks lists every stack that the key can see.
func (c *Client) Stacks(ctx context.Context) (spacelift.Listing[spacelift.Stack], error) {
	found, err := c.searchStacks(ctx, nil, nil)
	if err != nil {
		return found, fmt.Errorf("list stacks: %w", err)
	}
	return found, nil
}

func (c *Client) searchStacks(ctx context.Context, predicates []operations.QueryPredicate, keep func(spacelift.Stack) bool) (spacelift.Listing[spacelift.Stack], error) {
	return searchPages(maxPages, predicates, keep, func(input operations.SearchInput) ([]spacelift.Stack, operations.PageInfo, error) {
		data, err := operations.SearchStacks(ctx, c.api, input)
		if err != nil {
			return nil, operations.PageInfo{}, err
		}
		var stacks []spacelift.Stack
		for _, edge := range data.SearchStacks.Edges {
			stacks = append(stacks, c.fromStackDetails(edge.Node))
		}
		return stacks, data.SearchStacks.PageInfo, nil
	})
}

func (c *Client) fromStackDetails(s operations.StackDetails) spacelift.Stack {
	stack := spacelift.Stack{
		Account:        c.account,
		ID:             spacelift.StackID(s.Id),
		Name:           s.Name,
		State:          s.State,
		Labels:         s.Labels,
		Space:          s.Space,
		Branch:         s.Branch,
		Repository:     s.Repository,
		Administrative: s.Administrative,
		Brakes:         fromStackBrakes(s.StackBrakes),
		Hold:           fromStackEnforcement(s.StackEnforcement),
	}
	if s.TrackedCommit != nil {
		stack.TrackedCommit = s.TrackedCommit.Hash
	}
	return stack
}

func fromStackBrakes(s operations.StackBrakes) spacelift.Brakes {
	b := spacelift.Brakes{Disabled: s.IsDisabled, Deleting: s.Deleting}
	if by := orZero(s.LockedBy); by != "" {
		b.Lock = &spacelift.Lock{By: by, Since: unixTime(orZero(s.LockedAt)), Note: orZero(s.LockNote)}
	}
	if s.Blocker != nil {
		b.Blocker = spacelift.RunID(s.Blocker.Id)
	}
	return b
}

// fromStackEnforcement keeps the types of policies that hold plans back.
//
// Assumption: attachedPolicies lists those attached by label too, as
// attachedContexts does.
func fromStackEnforcement(s operations.StackEnforcement) spacelift.Hold {
	h := spacelift.Hold{Autodeploy: s.Autodeploy, CanWrite: s.CanWrite}
	for _, p := range s.AttachedPolicies {
		switch p.PolicyType {
		case spacelift.PolicyTypeApproval:
		case spacelift.PolicyTypePlan, "TERRAFORM_PLAN": // its name in older installations
			p.PolicyType = spacelift.PolicyTypePlan
		default:
			continue
		}
		h.Policies = append(h.Policies, spacelift.AttachedPolicy{ID: p.PolicyId, Name: p.PolicyName, Type: p.PolicyType})
	}
	return h
}

// LabelsOfStacks lists the labels and traits of every stack that the key can see, in one
// call however many there are.
//
// Assumption: the list has no limit. It takes no cursor, and Spacelift's own
// collection of requests reads it as a whole.
func (c *Client) LabelsOfStacks(ctx context.Context) ([]spacelift.LabelledStack, error) {
	data, err := operations.LabelsOfStacks(ctx, c.api)
	if err == nil && data.Stacks == nil { // an empty list isn't nil
		err = errors.New("spacelift sent an empty answer")
	}
	if err != nil {
		return nil, fmt.Errorf("list the labels of stacks: %w", err)
	}
	stacks := make([]spacelift.LabelledStack, len(data.Stacks))
	for i, s := range data.Stacks {
		stacks[i] = spacelift.LabelledStack{ID: spacelift.StackID(s.Id), Labels: s.Labels, StackTraits: spacelift.StackTraits{Space: s.Space, Branch: s.Branch, Administrative: s.Administrative}}
	}
	return stacks, nil
}

// HoldsOfStacks lists the settings of every stack that hold its plans back, in one call. See
// LabelsOfStacks.
func (c *Client) HoldsOfStacks(ctx context.Context) ([]spacelift.HeldStack, error) {
	data, err := operations.HoldsOfStacks(ctx, c.api)
	if err == nil && data.Stacks == nil { // an empty list isn't nil
		err = errors.New("spacelift sent an empty answer")
	}
	if err != nil {
		return nil, fmt.Errorf("list the policies of stacks: %w", err)
	}
	stacks := make([]spacelift.HeldStack, len(data.Stacks))
	for i, s := range data.Stacks {
		stacks[i] = spacelift.HeldStack{
			LabelledStack: spacelift.LabelledStack{ID: spacelift.StackID(s.Id), Labels: s.Labels}, Hold: fromStackEnforcement(s.StackEnforcement),
		}
	}
	return stacks, nil
}

// StacksAtOnce lists every stack that the key can see, in one call. See LabelsOfStacks.
func (c *Client) StacksAtOnce(ctx context.Context) ([]spacelift.Stack, error) {
	data, err := operations.StacksAtOnce(ctx, c.api)
	if err == nil && data.Stacks == nil { // an empty list isn't nil
		err = errors.New("spacelift sent an empty answer")
	}
	if err != nil {
		return nil, fmt.Errorf("list stacks: %w", err)
	}
	stacks := make([]spacelift.Stack, len(data.Stacks))
	for i, s := range data.Stacks {
		stacks[i] = c.fromStackDetails(s)
	}
	return stacks, nil
}

// DependenciesOfStacks lists, for every stack that depends on others in Spacelift itself,
// those others, in one call. See LabelsOfStacks.
func (c *Client) DependenciesOfStacks(ctx context.Context) (map[spacelift.StackID][]spacelift.StackID, error) {
	data, err := operations.DependenciesOfStacks(ctx, c.api)
	if err == nil && data.Stacks == nil { // an empty list isn't nil
		err = errors.New("spacelift sent an empty answer")
	}
	if err != nil {
		return nil, fmt.Errorf("list the dependencies of stacks: %w", err)
	}
	all := map[spacelift.StackID][]spacelift.StackID{}
	for _, s := range data.Stacks {
		for _, d := range s.DependsOn {
			all[spacelift.StackID(s.Id)] = append(all[spacelift.StackID(s.Id)], spacelift.StackID(d.DependsOnStack.Id))
		}
	}
	return all, nil
}

// Viewer reads who we are: the cheapest call that proves the API key.
func (c *Client) Viewer(ctx context.Context) (spacelift.Viewer, error) {
	data, err := operations.Viewer(ctx, c.api)
	if err == nil && data.Viewer == nil {
		err = spacelift.ErrUnauthorized
	}
	if err != nil {
		return spacelift.Viewer{}, fmt.Errorf("read viewer: %w", err)
	}
	return spacelift.Viewer{ID: data.Viewer.Id, Name: data.Viewer.Name, Admin: data.Viewer.Admin}, nil
}

// Spaces lists the spaces that the key can see.
func (c *Client) Spaces(ctx context.Context) ([]spacelift.Space, error) {
	data, err := operations.Spaces(ctx, c.api)
	if err != nil {
		return nil, fmt.Errorf("list spaces: %w", err)
	}
	var spaces []spacelift.Space
	for _, s := range data.Spaces {
		spaces = append(spaces, spacelift.Space{ID: s.Id, Name: s.Name, Parent: orZero(s.ParentSpace), Inherits: s.InheritEntities})
	}
	return spaces, nil
}
