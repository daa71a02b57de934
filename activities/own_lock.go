package activities

import (
	"context"
	"sync"

	"github.com/gantryhq/gantry/spacelift"
)

// viewers remembers the ids of Gantry's API keys. A client keeps its key's id for
// as long as it lives.
type viewers struct {
	mu  sync.Mutex
	ids map[spacelift.Account]string
}

// ours reports whether a name is the one that Spacelift gives to Gantry's API
// key of an account.
//
// Assumption: a run's triggeredBy, a stack's lockedBy and the viewer's id spell
// it alike, as "api::<key id>".
func (a *Activities) ours(ctx context.Context, account spacelift.Account, name string) (bool, error) {
	if !spacelift.IsAPIKey(name) {
		return false, nil
	}
	id, err := a.viewerID(ctx, account)
	return err == nil && id == name, err
}

func (a *Activities) viewerID(ctx context.Context, account spacelift.Account) (string, error) {
	a.viewers.mu.Lock()
	id := a.viewers.ids[account]
	a.viewers.mu.Unlock()
	if id != "" {
		return id, nil
	}
	api, err := a.account(account)
	if err != nil {
		return "", err
	}
	viewer, err := api.Viewer(ctx)
	if err != nil {
		return "", classify(ctx, err)
	}
	a.viewers.mu.Lock()
	defer a.viewers.mu.Unlock()
	if a.viewers.ids == nil {
		a.viewers.ids = map[spacelift.Account]string{}
	}
	a.viewers.ids[account] = viewer.ID
	return viewer.ID, nil
}

// dropOwnLock removes a lock that Gantry's own key holds: it doesn't hold up Gantry.
// If Spacelift does not return the id of Gantry's key, the lock counts as another
// person's.
func (a *Activities) dropOwnLock(ctx context.Context, account spacelift.Account, brakes *spacelift.Brakes) {
	if brakes.Lock == nil {
		return
	}
	if us, err := a.ours(ctx, account, brakes.Lock.By); err == nil && us {
		brakes.Lock = nil
	}
}
