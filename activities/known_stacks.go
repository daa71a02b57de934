package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// traitsGood is the age up to which a replica uses what it knows of a stack and of the
// spaces of an account, to resolve rules. ConfirmRun reads the stack itself, so nothing
// is confirmed by outdated traits.
const traitsGood = time.Minute

// maxKnownStacks bounds the stacks that a replica remembers.
const maxKnownStacks = 10_000

// knownStacks is a replica's knowledge of the stacks that rules select.
type knownStacks struct {
	mu     sync.Mutex
	stacks map[stackKey]knownStack
	spaces map[spacelift.Account]knownSpaces
}

type stackKey struct {
	account spacelift.Account
	stack   spacelift.StackID
}

type knownStack struct {
	labels []string
	traits spacelift.StackTraits
	at     time.Time
}

type knownSpaces struct {
	tree []spacelift.Space
	at   time.Time
}

// remember keeps what a run was read with, so that the stack need not be read again.
func (a *Activities) remember(run spacelift.Run) {
	if a.definitions().NeedsStacks() {
		a.known.put(stackKey{run.Ref.Account, run.Ref.Stack}, knownStack{run.StackLabels, run.Stack, a.now()})
	}
}

func (k *knownStacks) put(key stackKey, s knownStack) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.stacks == nil || len(k.stacks) >= maxKnownStacks {
		k.stacks = map[stackKey]knownStack{}
	}
	k.stacks[key] = s
}

// resolve returns the policy of a stack with the given labels of Gantry's. If rules
// select by more than that, it reads the stack, unless the replica knows it. Not
// knowing is an error, since a rule may forbid the act.
func (a *Activities) resolve(ctx context.Context, by *policy.Definitions, account spacelift.Account, stack spacelift.StackID, labels []string) (policy.Policy, error) {
	if !by.NeedsStacks() {
		return by.Resolve(policy.Stack{Account: account, ID: stack, Labels: labels}).Of(stack), nil
	}
	key := stackKey{account, stack}
	a.known.mu.Lock()
	s, ok := a.known.stacks[key]
	a.known.mu.Unlock()
	if !ok || a.now().Sub(s.at) >= traitsGood {
		read, err := a.readStack(ctx, account, stack)
		if err != nil {
			return policy.Policy{}, err
		}
		s = knownStack{read.Labels, read.Traits(), a.now()}
		a.known.put(key, s)
	}
	return a.resolveWith(ctx, by, account, stack, slices.Concat(labels, spacelift.OtherLabels(s.labels)), s.traits)
}

// readStack reads a stack. One that doesn't exist has no traits.
func (a *Activities) readStack(ctx context.Context, account spacelift.Account, stack spacelift.StackID) (spacelift.Stack, error) {
	api, err := a.account(account)
	if err != nil {
		return spacelift.Stack{}, err
	}
	read, err := api.Stack(ctx, stack)
	if err != nil && !errors.Is(err, spacelift.ErrNotFound) {
		return spacelift.Stack{}, classify(ctx, fmt.Errorf("read the stack for the rules: %w", err))
	}
	return read, nil
}

// resolveWith returns the policy of a stack of which everything is known but the spaces
// above its own.
func (a *Activities) resolveWith(ctx context.Context, by *policy.Definitions, account spacelift.Account, stack spacelift.StackID, labels []string, traits spacelift.StackTraits) (policy.Policy, error) {
	tree, err := a.spaces(ctx, by, account)
	if err != nil {
		return policy.Policy{}, err
	}
	return by.Resolve(policy.Labelled(labels).With(account, stack, traits, tree)).Of(stack), nil
}

// spaces returns the spaces of an account, if rules select by space.
func (a *Activities) spaces(ctx context.Context, by *policy.Definitions, account spacelift.Account) ([]spacelift.Space, error) {
	if !by.NeedsSpaces() {
		return nil, nil
	}
	a.known.mu.Lock()
	s, ok := a.known.spaces[account]
	a.known.mu.Unlock()
	if ok && a.now().Sub(s.at) < traitsGood {
		return s.tree, nil
	}
	api, err := a.account(account)
	if err != nil {
		return nil, err
	}
	tree, err := api.Spaces(ctx)
	if err != nil {
		return nil, classify(ctx, fmt.Errorf("read the spaces for the rules: %w", err))
	}
	a.known.mu.Lock()
	defer a.known.mu.Unlock()
	if a.known.spaces == nil {
		a.known.spaces = map[spacelift.Account]knownSpaces{}
	}
	a.known.spaces[account] = knownSpaces{tree, a.now()}
	return tree, nil
}
