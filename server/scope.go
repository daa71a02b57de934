package server

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/gantryhq/gantry/authority"
	genserver "github.com/gantryhq/gantry/gen/server"
	"github.com/gantryhq/gantry/spacelift"
)

// scope says how an operation is limited to what its caller may see or change.
type scope string

// The values of the member x-gantry-scope of an operation.
const (
	scopeStack  scope = "stack"  // the path names the stack, and authorize checks it
	scopeListed scope = "listed" // the handler shows and changes only what is in scope
	scopeCaller scope = "caller" // about the caller alone: it takes no role
)

// guard is the role that an operation takes, and how it is limited.
type guard struct {
	role  authority.Role
	scope scope
}

// authorize refuses operations that the caller has no role for. Where the path names a
// stack, the role must hold there.
func (h *handlers) authorize(c *contract) genserver.StrictMiddlewareFunc {
	return func(next genserver.StrictHandlerFunc, operation string) genserver.StrictHandlerFunc {
		needed, guarded := c.guards[operation]
		if !guarded || needed.scope == scopeCaller {
			return next
		}
		return h.check(needed, next)
	}
}

func (h *handlers) check(needed guard, next genserver.StrictHandlerFunc) genserver.StrictHandlerFunc {
	return func(ctx context.Context, w http.ResponseWriter, r *http.Request, request any) (any, error) {
		c, p := callOf(ctx), principalOf(ctx)
		switch {
		case !p.Has(needed.role):
			return nil, lacks(p, needed.role, "")
		case c.account != nil && !p.HasIn(needed.role, string(c.account.Name)):
			return nil, lacks(p, needed.role, "account "+string(c.account.Name))
		case needed.scope == scopeStack:
			if err := h.allow(ctx, needed.role, c.account.Name, c.stack); err != nil {
				return nil, err
			}
		}
		return next(ctx, w, r, request)
	}
}

// lacks returns the refusal of a caller without a role at a place; empty for any place.
func lacks(p authority.Principal, needed authority.Role, place string) error {
	if place == "" {
		return &refusal{problem("forbidden", fmt.Sprintf("%s has the roles %v; this needs %s", p.Person.Name, p.Roles(), needed))}
	}
	return &refusal{problem("forbidden", fmt.Sprintf("%s doesn't have the role %s for %s; GET /v1/me shows where your roles hold", p.Person.Name, needed, place))}
}

// allow refuses a caller who doesn't have a role for each of some stacks.
func (h *handlers) allow(ctx context.Context, role authority.Role, account spacelift.Account, stacks ...spacelift.StackID) error {
	may, err := h.scope(ctx, role, account)
	if err != nil {
		return err
	}
	for _, s := range stacks {
		if !may(account, s) {
			return lacks(principalOf(ctx), role, fmt.Sprintf("stack %s of account %s", s, account))
		}
	}
	return nil
}

// scope returns a function that reports whether the caller has a role for a stack of
// some accounts. Where that depends on spaces or labels, Spacelift's API says them, never
// the caller or a notification.
func (h *handlers) scope(ctx context.Context, role authority.Role, accounts ...spacelift.Account) (func(spacelift.Account, spacelift.StackID) bool, error) {
	p := principalOf(ctx)
	known, err := h.directoriesFor(ctx, role, accounts)
	if err != nil {
		return nil, err
	}
	return func(account spacelift.Account, stack spacelift.StackID) bool {
		return p.May(role, known.stack(account, stack))
	}, nil
}

// directoriesFor returns the managed stacks of the accounts where the caller's role depends on what
// Spacelift shows of them.
func (h *handlers) directoriesFor(ctx context.Context, role authority.Role, accounts []spacelift.Account) (directories, error) {
	p := principalOf(ctx)
	return h.directories(ctx, accounts, func(account string) bool { return dependsOnStacks(p, role, account) })
}

// dependsOnStacks reports whether a caller's role in an account depends on what Spacelift
// shows of its stacks.
func dependsOnStacks(p authority.Principal, role authority.Role, account string) bool {
	return !p.Rules(role, account) && p.Depends(role, account)
}

// directories are the managed stacks of some accounts, as far as they are known.
type directories map[spacelift.Account]map[spacelift.StackID]authority.Stack

// stack returns a stack: only its id, if no more is known.
func (d directories) stack(account spacelift.Account, id spacelift.StackID) authority.Stack {
	if s, ok := d[account][id]; ok {
		return s
	}
	return authority.Stack{Account: string(account), ID: string(id)}
}

// directories returns the managed stacks of accounts. Of an account that isn't needed it
// returns what this replica happens to know, and reads it for the next caller.
func (h *handlers) directories(ctx context.Context, accounts []spacelift.Account, needed func(account string) bool) (directories, error) {
	known := directories{}
	for _, name := range accounts {
		a := h.door.account(name)
		switch {
		case a == nil:
		case needed(string(name)):
			listed, err := a.directory.read(ctx, a.Stacks)
			if err != nil {
				return nil, err
			}
			known[name] = listed.scopes
		default:
			if listed := a.directory.peek(ctx, a.Stacks); listed != nil {
				known[name] = listed.scopes
			}
		}
	}
	return known, nil
}

// sees returns a function that reports whether the caller has a role for a delivery, by its
// run and reason, and the stacks that these can be of; nil if they can't be listed. A
// delivery of no account that is served is for callers whose role holds everywhere.
func (h *handlers) sees(ctx context.Context, role authority.Role) (func(spacelift.RunRef, string) bool, []spacelift.StackID, error) {
	p := principalOf(ctx)
	known, err := h.directoriesFor(ctx, role, h.served())
	if err != nil {
		return nil, nil, err
	}
	everywhere := p.HasEverywhere(role)
	return func(run spacelift.RunRef, reason string) bool {
		if !h.shows(run, reason) {
			return false
		}
		return everywhere || h.door.account(run.Account) != nil && p.May(role, known.stack(run.Account, run.Stack))
	}, known.visible(p, role), nil
}

// maxNamedStacks bounds the stacks that a query for deliveries names.
const maxNamedStacks = 1000

// visible returns all stacks for which a caller has a role; nil if patterns or whole accounts
// give it, or if there are very many.
func (d directories) visible(p authority.Principal, role authority.Role) []spacelift.StackID {
	names, all := p.StackNames(role)
	if !all {
		return nil
	}
	ids := map[spacelift.StackID]bool{}
	for _, n := range names {
		ids[spacelift.StackID(n)] = true
	}
	for _, stacks := range d {
		for id, s := range stacks {
			if p.May(role, s) {
				ids[id] = true
			}
		}
	}
	if len(ids) > maxNamedStacks {
		return nil
	}
	return slices.AppendSeq([]spacelift.StackID{}, maps.Keys(ids))
}

// served returns the names of the accounts that Gantry serves.
func (h *handlers) served() []spacelift.Account {
	all := make([]spacelift.Account, len(h.door.accounts))
	for i, a := range h.door.accounts {
		all[i] = a.Name
	}
	return all
}
