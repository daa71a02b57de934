package server

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/deploy"
	"github.com/gantryhq/gantry/spacelift"
)

// A directory is fresh for directoryAge, so that a change of a stack in Spacelift counts
// within that time. Without an answer of Spacelift's it serves for directoryPatience.
const (
	directoryAge      = 15 * time.Second
	directoryPatience = 5 * time.Minute
)

// directory keeps the stacks of an account as Spacelift listed them last. Scopes, lists
// and checks of names all read it, so that many callers cost Spacelift one list.
type directory struct {
	mu      sync.Mutex
	last    *listed
	tried   time.Time
	err     error         // of the last attempt
	reading chan struct{} // closed once the attempt in progress has ended; nil without one
}

// listed is one list of an account's stacks. It must not be changed.
type listed struct {
	at       time.Time
	managed  []spacelift.Stack // by id
	presence map[spacelift.StackID]policy.Presence
	scopes   map[spacelift.StackID]authority.Stack // of the managed ones
	spaces   []spacelift.Space
	texts    policy.PolicyTexts

	once    sync.Once
	entries []stackEntry // see handlers.entries
}

// read returns the list, and asks Spacelift for one if the last is not fresh. Its error
// is a *spaceliftError.
func (d *directory) read(ctx context.Context, from Stacks) (*listed, error) {
	d.mu.Lock()
	now := time.Now()
	if d.last != nil && now.Sub(d.last.at) < directoryPatience && now.Sub(d.tried) < directoryAge && d.reading == nil {
		defer d.mu.Unlock()
		return d.last, nil
	}
	d.begin(ctx, from, now)
	reading := d.reading
	d.mu.Unlock()
	select {
	case <-reading:
	case <-ctx.Done():
		return nil, &spaceliftError{fmt.Errorf("list stacks: %w", ctx.Err())}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil && (d.last == nil || time.Since(d.last.at) >= directoryPatience) {
		return nil, &spaceliftError{d.err}
	}
	return d.last, nil
}

// peek returns the last list without waiting for Spacelift, however old it is, or nil. It
// has Spacelift asked for the next caller after directoryPatience: what lists show with it
// allows nothing.
func (d *directory) peek(ctx context.Context, from Stacks) *listed {
	if from == nil { // there is no Spacelift
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if now := time.Now(); now.Sub(d.tried) >= directoryPatience {
		d.begin(ctx, from, now)
	}
	return d.last
}

// begin has Spacelift asked for a list, unless it is being asked. The caller holds the lock.
func (d *directory) begin(ctx context.Context, from Stacks, now time.Time) {
	if d.reading == nil {
		d.tried, d.reading = now, make(chan struct{})
		go d.refresh(context.WithoutCancel(ctx), from) // it serves other callers too
	}
}

func (d *directory) refresh(ctx context.Context, from Stacks) {
	ctx, cancel := context.WithTimeout(ctx, stacksTimeout)
	defer cancel()
	l, err := listStacks(ctx, from)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err = err; err == nil {
		d.last = l
	}
	close(d.reading)
	d.reading = nil
}

func listStacks(ctx context.Context, from Stacks) (*listed, error) {
	l := &listed{at: time.Now(), presence: map[spacelift.StackID]policy.Presence{}, scopes: map[spacelift.StackID]authority.Stack{}}
	all, err := from.StacksAtOnce(ctx)
	if err != nil {
		return nil, err
	}
	if l.spaces, err = from.Spaces(ctx); err != nil {
		return nil, err
	}
	for _, s := range all {
		l.presence[s.ID] = policy.PresenceUnmanaged
		if spacelift.Managed(s.Labels) {
			l.presence[s.ID] = policy.PresenceManaged
			l.managed = append(l.managed, s)
			l.scopes[s.ID] = authority.Stack{Account: string(s.Account), ID: string(s.ID), Known: true, Spaces: spacelift.SpacesAbove(s.Space, l.spaces), Labels: s.Labels}
		}
	}
	slices.SortFunc(l.managed, func(a, b spacelift.Stack) int { return cmp.Compare(a.ID, b.ID) })
	l.texts = textsOf(ctx, from, l.managed...)
	return l, nil
}

// textsOf checks the texts of the enforcing policies. Texts that can't be read prove
// nothing.
func textsOf(ctx context.Context, from Stacks, stacks ...spacelift.Stack) policy.PolicyTexts {
	holds := make([]spacelift.Hold, len(stacks))
	for i, s := range stacks {
		holds[i] = s.Hold
	}
	texts, err := deploy.ReadTexts(ctx, from, holds...)
	if err != nil {
		return policy.UnreadTexts()
	}
	return texts
}

// knows returns which of the stacks that a policy names exist and are managed. A stack that
// the list lacks doesn't exist, or Gantry's key may not read it.
func (l *listed) knows(named []spacelift.StackID) map[spacelift.StackID]policy.Presence {
	known := map[spacelift.StackID]policy.Presence{}
	for _, s := range l.managed { // a remedy can name the one that a label may mean
		known[s.ID] = policy.PresenceManaged
	}
	for _, id := range named {
		if p, there := l.presence[id]; there {
			known[id] = p
		} else {
			known[id] = policy.PresenceMissing
		}
	}
	return known
}

// directory returns the stacks of a call's account, as Spacelift listed them last.
func (h *handlers) directory(ctx context.Context, account *Account) (*listed, error) {
	return h.door.account(account.Name).directory.read(ctx, account.Stacks)
}
