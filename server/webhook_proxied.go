package server

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/gantryhq/gantry/decide/reconcile"
	"github.com/gantryhq/gantry/spacelift"
)

// proxiedStays is the time after which a notification through an untrusted proxy is no
// finding any more, if no other follows.
const proxiedStays = time.Hour

// untrustedProxies records authentic notifications that came through a proxy which
// trustedProxies doesn't list, by the account that signed them.
type untrustedProxies struct {
	mu       sync.Mutex
	accounts map[spacelift.Account]proxied
}

type proxied struct {
	since, latest time.Time
	proxy         string // the latest
}

// record adds a notification, and logs the first of each account.
func (u *untrustedProxies) record(r *request, log *slog.Logger) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.accounts == nil {
		u.accounts = map[spacelift.Account]proxied{}
	}
	for _, s := range r.signers {
		p, known := u.accounts[s.Name]
		if !known {
			log.Warn("notifications arrive through a proxy that trustedProxies doesn't list: all of its clients count as one source",
				"account", s.Name, "proxy", r.delivery.Source)
		}
		if r.delivery.ReceivedAt.Sub(p.latest) > proxiedStays {
			p.since = r.delivery.ReceivedAt
		}
		p.latest, p.proxy = r.delivery.ReceivedAt, r.delivery.Source
		u.accounts[s.Name] = p
	}
}

func (u *untrustedProxies) finding(account spacelift.Account, now time.Time) (reconcile.Finding, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	p := u.accounts[account]
	if p.proxy == "" || now.Sub(p.latest) > proxiedStays {
		return reconcile.Finding{}, false
	}
	return reconcile.Finding{
		Kind: reconcile.FindingUntrustedProxy, Since: p.since,
		Summary: fmt.Sprintf("this replica receives notifications of account %s through the proxy %s, which trustedProxies doesn't list: all of its clients count as one source, and strangers behind it share one limit",
			account, p.proxy),
		Fix: "add " + p.proxy + ", or the network of your proxies, to trustedProxies; if it is no proxy of yours, let it drop X-Forwarded-For and Forwarded",
	}, true
}
