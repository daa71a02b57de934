package server

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/gantryhq/gantry/decide/reconcile"
	"github.com/gantryhq/gantry/spacelift"
)

// A burst of wrong signatures over notifications of an account, with nothing
// authentic between them, is what a webhook with another secret looks like.
// Spacelift switches it off after ten, so five must be enough to report it.
const (
	burstSize   = 5
	burstWithin = 5 * time.Minute
	burstStays  = time.Hour // without another mismatch
)

// TestUserAgent begins the user agent of tests that gantry doctor and gantry
// setup send. They show nothing about the secret that Spacelift's webhook has.
const TestUserAgent = "gantry-doctor"

// mismatchDetector reports when an account's webhook seems to sign with a secret that is
// not configured. Only requests whose body names the account count: anybody can
// send the others.
type mismatchDetector struct {
	log *slog.Logger

	mu       sync.Mutex
	accounts map[spacelift.Account]*mismatches
}

// mismatches are those of one account since something authentic came from it.
type mismatches struct {
	refused [burstSize]time.Time // the latest; next is the oldest
	next    int
	since   time.Time // when the burst began; zero without one
}

func newMismatchDetector(accounts []Account, log *slog.Logger) *mismatchDetector {
	d := &mismatchDetector{accounts: map[spacelift.Account]*mismatches{}, log: log}
	for _, a := range accounts {
		d.accounts[a.Name] = &mismatches{}
	}
	return d
}

// authentic records a request that one of the account's secrets signed.
func (d *mismatchDetector) authentic(account spacelift.Account) {
	d.mu.Lock()
	defer d.mu.Unlock()
	*d.accounts[account] = mismatches{}
}

// mismatch records a body that names a configured account and that no secret
// signed.
func (d *mismatchDetector) mismatch(account spacelift.Account, at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := d.accounts[account]
	m.refused[m.next] = at
	m.next = (m.next + 1) % burstSize
	first := m.refused[m.next]
	if first.IsZero() || at.Sub(first) > burstWithin || !m.since.IsZero() {
		return
	}
	m.since = first
	d.log.Error("guardian: "+mismatchSummary(account), "account", account, "kind", reconcile.FindingSecretMismatch, "fix", mismatchFix)
}

// finding returns what is suspected of an account, if anything is.
func (d *mismatchDetector) finding(account spacelift.Account, now time.Time) (reconcile.Finding, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := d.accounts[account]
	if latest := m.refused[(m.next+burstSize-1)%burstSize]; now.Sub(latest) > burstStays {
		m.since = time.Time{}
	}
	if m.since.IsZero() {
		return reconcile.Finding{}, false
	}
	return reconcile.Finding{Kind: reconcile.FindingSecretMismatch, Since: m.since, Summary: mismatchSummary(account), Fix: mismatchFix}, true
}

func mismatchSummary(account spacelift.Account) string {
	return fmt.Sprintf("this replica refused %d notifications that name account %s within %s, because no configured secret made their signatures, and received nothing authentic from it meanwhile",
		burstSize, account, burstWithin)
}

const mismatchFix = "compare the webhook's secret in Spacelift with the account's webhookSecrets; if they are the same, /v1/deliveries?outcome=refused shows other senders"
