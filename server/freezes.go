package server

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/decide/freeze"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/gen/api"
	genserver "github.com/gantryhq/gantry/gen/server"
	"github.com/gantryhq/gantry/spacelift"
)

// ListFreezes returns the account's current and future freezes.
func (h *handlers) ListFreezes(ctx context.Context, _ genserver.ListFreezesRequestObject) (genserver.ListFreezesResponseObject, error) {
	account := callOf(ctx).account.Name
	freezes, err := h.freezes(ctx, account)
	if err != nil {
		return nil, err
	}
	if freezes, err = h.freezesInScope(ctx, account, freezes); err != nil {
		return nil, err
	}
	return genserver.ListFreezes200JSONResponse{Freezes: toAPIList(freezes, toAPIFreeze)}, nil
}

// freezesInScope returns the freezes of an account that the caller may see.
func (h *handlers) freezesInScope(ctx context.Context, account spacelift.Account, freezes []policy.Freeze) ([]policy.Freeze, error) {
	if principalOf(ctx).Rules(authority.RoleViewer, string(account)) {
		return freezes, nil
	}
	may, err := h.scope(ctx, authority.RoleViewer, account)
	if err != nil {
		return nil, err
	}
	return visible(freezes, func(stack string) bool { return may(account, spacelift.StackID(stack)) }), nil
}

// freezes returns an account's freezes. There is no execution before the first one.
func (h *handlers) freezes(ctx context.Context, account spacelift.Account) ([]policy.Freeze, error) {
	freezes, err := ask[[]policy.Freeze](ctx, h, freeze.ID(account), freeze.Query)
	if is[*serviceerror.NotFound](err) {
		return nil, nil
	}
	return freezes, err
}

// DeclareFreeze sends a freeze to the account's execution, which begins with the first
// freeze.
func (h *handlers) DeclareFreeze(ctx context.Context, req genserver.DeclareFreezeRequestObject) (genserver.DeclareFreezeResponseObject, error) {
	c := callOf(ctx)
	wish := fromAPIFreezeRequest(*req.Body)
	if err := h.mayFreeze(ctx, wish.Stacks); err != nil {
		return nil, err
	}
	if allowed := req.Body.AllowUnmatched; allowed == nil || !*allowed {
		if err := h.matchesStacks(ctx, c.account, wish.Stacks); err != nil {
			return nil, err
		}
	}
	wish.ID, wish.By, wish.Key = c.resourceID(), c.by.Name, c.key
	freeze, err := h.declare(ctx, c, wish)
	c.note = []any{"freeze", freeze.ID}
	noteTo(ctx).on = "freeze " + freeze.ID
	location := relative(depth(ctx), "v1/accounts/"+url.PathEscape(req.Account)+"/freezes/"+url.PathEscape(freeze.ID))
	return genserver.DeclareFreeze201JSONResponse{
		Body: toAPIFreeze(freeze), Headers: genserver.DeclareFreeze201ResponseHeaders{Location: &location},
	}, err
}

// freezeCheckTimeout bounds how long a freeze waits for Spacelift. In an incident it
// must not wait long.
const freezeCheckTimeout = 3 * time.Second

// matchesStacks refuses stacks that aren't managed: they are probably misspelt, and a
// freeze of them would freeze nothing. While Spacelift can't list the managed stacks,
// Gantry can't tell, and the freeze is declared.
func (h *handlers) matchesStacks(ctx context.Context, account *Account, stacks []string) error {
	if len(stacks) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, freezeCheckTimeout)
	defer cancel()
	found, err := h.directory(ctx, account)
	if err != nil {
		return nil
	}
	managed := toAPIList(found.managed, func(s spacelift.Stack) string { return string(s.ID) })
	var unmatched []string
	for _, stack := range stacks {
		if slices.Contains(managed, stack) {
			continue
		}
		if near, ok := policy.Nearest(stack, managed); ok {
			stack += " (meant " + near + "?)"
		}
		unmatched = append(unmatched, stack)
	}
	if len(unmatched) == 0 {
		return nil
	}
	return &refusal{problem("unmatched-freeze", "account "+string(account.Name)+" has no managed stack "+strings.Join(unmatched, ", ")+
		"; correct the name, or set allowUnmatched for a stack of the future")}
}

func (h *handlers) declare(ctx context.Context, c *call, wish freeze.Declare) (declared policy.Freeze, err error) {
	ctx, cancel := context.WithTimeout(ctx, updateTimeout)
	defer cancel()
	id := freeze.ID(c.account.Name)
	opening := freeze.Opening(c.account.Name, h.pages)
	handle, err := h.temporal.UpdateWithStartWorkflow(ctx, client.UpdateWithStartWorkflowOptions{
		StartWorkflowOperation: h.temporal.NewWithStartWorkflowOperation(client.StartWorkflowOptions{
			ID: id, TaskQueue: h.taskQueue, WorkflowIDConflictPolicy: enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
			StaticSummary: opening.Summary, StaticDetails: opening.Details,
		}, freeze.Type, freeze.Input{Account: c.account.Name}),
		UpdateOptions: updateOptions(id, c.change, freeze.DeclareUpdate, wish),
	})
	if err == nil {
		err = handle.Get(ctx, &declared)
	}
	return declared, answered(err, c.key)
}

// LiftFreeze ends a freeze early.
func (h *handlers) LiftFreeze(ctx context.Context, req genserver.LiftFreezeRequestObject) (genserver.LiftFreezeResponseObject, error) {
	c := callOf(ctx)
	if err := h.mayLift(ctx, req.Freeze); err != nil {
		return nil, err
	}
	lift := freeze.Lift{ID: req.Freeze, By: c.by.Name, Key: c.key}
	lifted, err := update[policy.Freeze](ctx, h, freeze.ID(c.account.Name), c.change, freeze.LiftUpdate, lift, func(context.Context, error) error {
		return &refusal{problem("unknown-freeze", "no freeze was ever declared in account "+req.Account)}
	})
	return genserver.LiftFreeze200JSONResponse(toAPIFreeze(lifted)), err
}

// visible returns the freezes of all stacks, and those of stacks that the caller may see,
// without the others that they name.
func visible(freezes []policy.Freeze, may func(stack string) bool) (all []policy.Freeze) {
	for _, f := range freezes {
		named := len(f.Stacks) > 0
		f.Stacks = slices.DeleteFunc(slices.Clone(f.Stacks), func(s string) bool { return !may(s) })
		if !named || len(f.Stacks) > 0 {
			all = append(all, f)
		}
	}
	return all
}

// mayFreeze refuses a caller who isn't an operator of all stacks that a freeze names; of
// the whole account if it names none.
func (h *handlers) mayFreeze(ctx context.Context, stacks []string) error {
	account := callOf(ctx).account.Name
	if len(stacks) == 0 && !principalOf(ctx).Rules(authority.RoleOperator, string(account)) {
		return lacks(principalOf(ctx), authority.RoleOperator, "all of account "+string(account)+"; name the stacks that the freeze is for")
	}
	return h.allow(ctx, authority.RoleOperator, account, toAPIList(stacks, func(s string) spacelift.StackID { return spacelift.StackID(s) })...)
}

// mayLift refuses a caller who may not declare the freeze either.
func (h *handlers) mayLift(ctx context.Context, id string) error {
	account := callOf(ctx).account.Name
	if principalOf(ctx).Rules(authority.RoleOperator, string(account)) {
		return nil
	}
	freezes, err := h.freezes(ctx, account)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(freezes, func(f policy.Freeze) bool { return f.ID == id })
	if i < 0 {
		return &refusal{problem("unknown-freeze", "the account has no current or future freeze with this id")}
	}
	return h.mayFreeze(ctx, freezes[i].Stacks)
}

func fromAPIFreezeRequest(r api.FreezeRequest) freeze.Declare {
	return freeze.Declare{Reason: r.Reason, Stacks: r.Stacks, From: deref(r.From), Until: deref(r.Until)}
}

func toAPIFreeze(f policy.Freeze) api.Freeze {
	return api.Freeze{
		ID: f.ID, Reason: f.Reason, Stacks: f.Stacks, From: f.From, Until: nonZero(f.Until), DeclaredBy: f.DeclaredBy, DeclaredAt: f.DeclaredAt,
	}
}
