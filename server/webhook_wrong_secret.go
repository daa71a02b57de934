package server

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/gantryhq/gantry/decide/reconcile"
	"github.com/gantryhq/gantry/spacelift"
)

// A burst of signatures that no secret made, with nothing authentic between
// them, is what a webhook with another secret looks like. Spacelift switches it
// off after ten, so five must be enough to say so.
const (
	burstSize   = 5
	burstWithin = 5 * time.Minute
	burstStays  = time.Hour // without another mismatch
)

// TestUserAgent begins the user agent of tests that gantry doctor and gantry
// setup send. They show nothing about what Spacelift's webhook signs with.
const TestUserAgent = "gantry-doctor"

// mismatchDetector reports when an account's webhook seems to sign with a secret that is
// not configured. It can't know whose the refused requests are, so it suspects
// each account that nothing authentic came from meanwhile.
type mismatchDetector struct {
	accounts []Account
	log      *slog.Logger

	mu          sync.Mutex
	refused     [burstSize]time.Time // the latest; next is the oldest
	next        int
	authenticAt map[spacelift.Account]time.Time // when something authentic came last
	since       map[spacelift.Account]time.Time // of those suspected
}

func newMismatchDetector(accounts []Account, log *slog.Logger) *mismatchDetector {
	return &mismatchDetector{accounts: accounts, log: log, authenticAt: map[spacelift.Account]time.Time{}, since: map[spacelift.Account]time.Time{}}
}

// authentic notes a request that one of the account's secrets signed.
func (d *mismatchDetector) authentic(account spacelift.Account, at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.authenticAt[account] = at
	delete(d.since, account)
}

// mismatch notes a signature that no secret made.
func (d *mismatchDetector) mismatch(at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refused[d.next] = at
	d.next = (d.next + 1) % burstSize
	first := d.refused[d.next]
	if first.IsZero() || at.Sub(first) > burstWithin {
		return
	}
	for _, a := range d.accounts {
		if _, known := d.since[a.Name]; known || !d.authenticAt[a.Name].Before(first) {
			continue
		}
		d.since[a.Name] = first
		d.log.Error("guardian: "+mismatchSummary(a.Name), "account", a.Name, "kind", reconcile.FindingSecretMismatch, "fix", mismatchFix)
	}
}

// finding returns what is suspected of an account, if anything is.
func (d *mismatchDetector) finding(account spacelift.Account, now time.Time) (reconcile.Finding, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	since, known := d.since[account]
	latest := d.refused[(d.next+burstSize-1)%burstSize]
	if !known || now.Sub(latest) > burstStays {
		delete(d.since, account)
		return reconcile.Finding{}, false
	}
	return reconcile.Finding{Kind: reconcile.FindingSecretMismatch, Since: since, Summary: mismatchSummary(account), Fix: mismatchFix}, true
}

func mismatchSummary(account spacelift.Account) string {
	return fmt.Sprintf("this replica refused %d signatures within %s that no configured secret made, and took nothing from account %s meanwhile",
		burstSize, burstWithin, account)
}

const mismatchFix = "compare the webhook's secret in Spacelift with the account's webhookSecrets; if they are the same, /v1/deliveries?outcome=refused shows other senders"
