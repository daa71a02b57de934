package server

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/gen/api"
	genserver "github.com/gantryhq/gantry/gen/server"
	"github.com/gantryhq/gantry/spacelift"
)

// PreviewFollowers returns what a finished run of a stack would release.
func (h *handlers) PreviewFollowers(ctx context.Context, req genserver.PreviewFollowersRequestObject) (genserver.PreviewFollowersResponseObject, error) {
	account, root := callOf(ctx).account, spacelift.StackID(req.Stack)
	ctx, cancel := context.WithTimeout(ctx, stacksTimeout)
	defer cancel()
	l, err := h.directory(ctx, account)
	if err != nil {
		return nil, err
	}
	if l.presence[root] == policy.PresenceUnknown {
		return nil, &spaceliftError{fmt.Errorf("read stack %s: %w", root, spacelift.ErrNotFound)}
	}
	freezes, err := h.freezes(ctx, account.Name)
	if err != nil {
		return nil, err
	}
	may, err := h.scope(ctx, authority.RoleViewer, account.Name)
	if err != nil {
		return nil, err
	}
	native, err := account.Stacks.DependenciesOfStacks(ctx)
	if err != nil {
		return nil, &spaceliftError{err}
	}
	stacks, err := h.previewed(ctx, account, l)
	if err != nil {
		return nil, err
	}
	p := chain.PreviewOf(root, stacks)
	answer := genserver.PreviewFollowers200JSONResponse(toAPIPreview(root, p, native))
	answer.Account, answer.At = string(account.Name), l.at
	now := time.Now()
	for i := range answer.Followers {
		f := &answer.Followers[i]
		f.Gate = new(toAPIGate(h.policies().Gate(stacks[spacelift.StackID(f.Stack)].Policy, f.Stack, freezes, now)))
	}
	previewInScope((*api.FollowersPreview)(&answer), func(stack string) bool { return !may(account.Name, spacelift.StackID(stack)) })
	return answer, nil
}

// toAPIPreview converts a preview. native holds the stacks that each stack depends on in
// Spacelift itself.
func toAPIPreview(root spacelift.StackID, p chain.Preview, native map[spacelift.StackID][]spacelift.StackID) api.FollowersPreview {
	follows := map[spacelift.StackID]bool{root: true}
	for _, s := range p.Steps {
		follows[s.Stack] = true
	}
	shown := api.FollowersPreview{
		Stack: string(root), Summary: p.Summary(root),
		Followers: toAPIList(p.Steps, func(s chain.Step) api.PreviewedFollower {
			parents := slices.DeleteFunc(slices.Clone(native[s.Stack]), func(p spacelift.StackID) bool { return !follows[p] })
			return api.PreviewedFollower{
				Stack: string(s.Stack), After: words(s.After), Stage: nonEmpty(s.Stage), Released: s.Released, Reason: s.Reason, Native: words(parents),
			}
		}),
		Excluded: toAPIList(p.Excluded, func(e chain.Exclusion) api.ExcludedStacks {
			return api.ExcludedStacks{Stacks: words(e.Stacks), More: nonEmpty(e.More), Reason: e.Reason}
		}),
	}
	for s, parents := range native {
		if slices.Contains(parents, root) && !follows[s] {
			shown.Native = append(shown.Native, string(s))
		}
	}
	slices.Sort(shown.Native)
	return shown
}

// previewInScope leaves out the stacks that the caller may not see.
func previewInScope(p *api.FollowersPreview, hidden func(stack string) bool) {
	p.Native = slices.DeleteFunc(p.Native, hidden)
	followers, excluded := len(p.Followers), p.Excluded
	p.Followers = slices.DeleteFunc(p.Followers, func(f api.PreviewedFollower) bool { return hidden(f.Stack) })
	for i := range p.Followers {
		f := &p.Followers[i]
		f.After, f.Native = slices.DeleteFunc(f.After, hidden), slices.DeleteFunc(f.Native, hidden)
	}
	p.Excluded = []api.ExcludedStacks{}
	secret := len(p.Followers) < followers
	for _, e := range excluded {
		named := len(e.Stacks)
		e.Stacks = slices.DeleteFunc(e.Stacks, hidden)
		if secret = secret || len(e.Stacks) < named; len(e.Stacks) > 0 {
			p.Excluded = append(p.Excluded, e)
		}
	}
	if !secret {
		return
	}
	const others = "stacks that you may not see follow too"
	p.Summary = "this shows the stacks that you may see; others follow too"
	for i := range p.Followers {
		p.Followers[i].Reason = others
	}
	for i := range p.Excluded {
		p.Excluded[i].Reason = others
	}
}

// previewed returns the managed stacks of a list, as a chain would meet them. Gantry's own
// locks don't hold up Gantry.
func (h *handlers) previewed(ctx context.Context, account *Account, l *listed) (map[spacelift.StackID]chain.Previewed, error) {
	us, asked := "", false
	stacks := map[spacelift.StackID]chain.Previewed{}
	for _, e := range h.entries(l) {
		if e.Lock != nil && !asked {
			viewer, err := account.Stacks.Viewer(ctx)
			if err != nil {
				return nil, &spaceliftError{err}
			}
			us, asked = viewer.ID, true
		}
		if e.Lock != nil && us != "" && e.Lock.By == us {
			e.Lock = nil
		}
		stacks[e.ID] = chain.Previewed{Stack: e.Stack, Policy: e.policy}
	}
	return stacks, nil
}
