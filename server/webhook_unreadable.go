package server

import (
	"fmt"
	"sync"
	"time"

	"github.com/gantryhq/gantry/decide/reconcile"
	"github.com/gantryhq/gantry/inbox/archive"
	"github.com/gantryhq/gantry/spacelift"
)

// unreadableStays is the time after which an unreadable event is no finding any
// more, if no other follows.
const unreadableStays = 24 * time.Hour

// unreadableEvents counts the authentic events that this replica could not read,
// by the account that signed them.
type unreadableEvents struct {
	mu       sync.Mutex
	accounts map[spacelift.Account]unreadable
}

type unreadable struct {
	count         int
	since, latest time.Time
	example       string // the latest delivery
	detail        string
}

func newUnreadableEvents() *unreadableEvents {
	return &unreadableEvents{accounts: map[spacelift.Account]unreadable{}}
}

func (u *unreadableEvents) add(d archive.Delivery) {
	u.mu.Lock()
	defer u.mu.Unlock()
	e := u.accounts[d.Run.Account]
	if d.ReceivedAt.Sub(e.latest) > unreadableStays {
		e = unreadable{since: d.ReceivedAt}
	}
	e.count++
	e.latest, e.example, e.detail = d.ReceivedAt, d.ID, d.Detail
	u.accounts[d.Run.Account] = e
}

func (u *unreadableEvents) finding(account spacelift.Account, now time.Time) (reconcile.Finding, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	e := u.accounts[account]
	if e.count == 0 || now.Sub(e.latest) > unreadableStays {
		return reconcile.Finding{}, false
	}
	return reconcile.Finding{
		Kind: reconcile.FindingUnreadableEvents, Since: e.since,
		Summary: fmt.Sprintf("this replica could not read %d authentic notifications of account %s; the latest is delivery %s: %s", e.count, account, e.example, e.detail),
		Fix:     "see the body with gantry deliveries show; upgrade Gantry if Spacelift has changed it, then run gantry deliveries redeliver",
	}, true
}
