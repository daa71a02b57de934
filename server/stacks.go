package server

import (
	"context"
	"strings"
	"time"

	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/deploy"
	"github.com/gantryhq/gantry/gen/api"
	genserver "github.com/gantryhq/gantry/gen/server"
	"github.com/gantryhq/gantry/spacelift"
)

// Stacks is the subset of a Spacelift client that the server uses.
type Stacks interface {
	Stack(context.Context, spacelift.StackID) (spacelift.Stack, error)
	StacksAtOnce(context.Context) ([]spacelift.Stack, error)
	DependenciesOfStacks(context.Context) (map[spacelift.StackID][]spacelift.StackID, error)
	PlannedResources(ctx context.Context, ref spacelift.RunRef) (spacelift.PlannedResources, error)
	Spaces(context.Context) ([]spacelift.Space, error)
	deploy.PolicyReader
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
	resolved := h.policies().Resolve(policy.StackOf(stack, tree)).Of(stack.ID)
	known := policy.Known{Approvers: h.keys.approvers()}
	if l, err := h.directory(ctx, account); err == nil {
		known.Stacks = l.knows(policy.Parents(resolved))
	}
	result := h.toAPIStack(h.entry(stack, resolved, known, textsOf(ctx, account.Stacks, stack)), freezes, time.Now())
	return genserver.GetStackPolicy200JSONResponse(result), nil
}

// spaces returns the spaces of an account, if rules select stacks by space.
func (h *handlers) spaces(ctx context.Context, account *Account) ([]spacelift.Space, error) {
	if !h.policies().NeedsSpaces() {
		return nil, nil
	}
	tree, err := account.Stacks.Spaces(ctx)
	if err != nil {
		return nil, &spaceliftError{err}
	}
	return tree, nil
}

// stackEntry is a stack with the policy that its labels resolve to.
type stackEntry struct {
	spacelift.Stack
	policy      policy.Policy
	warnings    []policy.Problem
	enforcement *policy.Enforcement // nil for a stack that isn't managed
	rank        stackRank
	text        string // what a search compares, in lower case
}

// stackRank orders stacks by what an operator should look at first.
type stackRank int

const (
	rankProblems stackRank = iota
	rankWarnings
	rankUnenforced // the policy promises what Spacelift doesn't enforce
	rankFine
)

func (h *handlers) entry(s spacelift.Stack, p policy.Policy, known policy.Known, texts policy.PolicyTexts) stackEntry {
	e := stackEntry{Stack: s, policy: p, rank: rankFine, text: strings.ToLower(strings.Join(append([]string{string(s.ID), s.Name}, s.Labels...), "\n"))}
	e.warnings = policy.Misspelt(s.Labels)
	if spacelift.Managed(s.Labels) {
		e.enforcement = new(policy.EnforcementBy(s.Hold, texts))
		e.warnings = append(e.warnings, p.References(known)...)
	}
	switch {
	case len(p.Problems) > 0:
		e.rank = rankProblems
	case len(e.warnings) > 0:
		e.rank = rankWarnings
	case e.enforcement != nil && e.enforcement.Level != policy.Enforced && len(p.Promises()) > 0:
		e.rank = rankUnenforced
	}
	return e
}

// entries returns the managed stacks with their policies, by id. They are computed once
// for each list.
func (h *handlers) entries(l *listed) []stackEntry {
	l.once.Do(func() {
		approvers := h.keys.approvers()
		policies := toAPIList(l.managed, func(s spacelift.Stack) policy.Policy {
			return h.policies().Resolve(policy.StackOf(s, l.spaces)).Of(s.ID)
		})
		known := policy.Known{Stacks: l.knows(policy.Parents(policies...)), Approvers: approvers}
		for i, s := range l.managed {
			l.entries = append(l.entries, h.entry(s, policies[i], known, l.texts))
		}
	})
	return l.entries
}

func (h *handlers) toAPIStack(e stackEntry, freezes []policy.Freeze, now time.Time) api.Stack {
	stack := api.Stack{
		Account: string(e.Account), Stack: string(e.ID), Name: e.Name, Space: nonEmpty(e.Space), State: nonEmpty(e.State), Branch: nonEmpty(e.Branch),
		Managed: spacelift.Managed(e.Labels),
		Labels:  append([]string{}, spacelift.OurLabels(e.Labels)...), Policy: toAPIPolicyValues(e.policy), Problems: toAPIList(e.policy.Problems, toAPIPolicyProblem),
		Gate: toAPIGate(h.policies().Gate(e.policy, string(e.ID), freezes, now)),
	}
	if e.enforcement != nil {
		stack.Enforcement = new(toAPIEnforcement(*e.enforcement))
	}
	if len(e.warnings) > 0 {
		stack.Warnings = toAPIList(e.warnings, toAPIPolicyProblem)
	}
	return stack
}

// spaceliftError is an error of Spacelift's API during a caller's request.
type spaceliftError struct{ err error }

func (e *spaceliftError) Error() string { return e.err.Error() }

func (e *spaceliftError) Unwrap() error { return e.err }
