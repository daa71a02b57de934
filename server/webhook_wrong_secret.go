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
	burstStays  = time.Hour // without another knock
)

// TestUserAgent begins the user agent of tests that gantry doctor and gantry
// setup send. They show nothing about what Spacelift's webhook signs with.
const TestUserAgent = "gantry-doctor"

// knocks notices when an account's webhook seems to sign with a secret that is
// not configured. It can't know whose the refused requests are, so it suspects
// each account that nothing authentic came from meanwhile.
type knocks struct {
	accounts []Account
	log      *slog.Logger

	mu      sync.Mutex
	refused [burstSize]time.Time // the latest; next is the oldest
	next    int
	heard   map[spacelift.Account]time.Time // when something authentic came last
	since   map[spacelift.Account]time.Time // of those suspected
}

func newKnocks(accounts []Account, log *slog.Logger) *knocks {
	return &knocks{accounts: accounts, log: log, heard: map[spacelift.Account]time.Time{}, since: map[spacelift.Account]time.Time{}}
}

// authentic notes a request that one of the account's secrets signed.
func (k *knocks) authentic(account spacelift.Account, at time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.heard[account] = at
	delete(k.since, account)
}

// mismatch notes a signature that no secret made.
func (k *knocks) mismatch(at time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.refused[k.next] = at
	k.next = (k.next + 1) % burstSize
	first := k.refused[k.next]
	if first.IsZero() || at.Sub(first) > burstWithin {
		return
	}
	for _, a := range k.accounts {
		if _, known := k.since[a.Name]; known || !k.heard[a.Name].Before(first) {
			continue
		}
		k.since[a.Name] = first
		k.log.Error("guardian: "+mismatchSummary(a.Name), "account", a.Name, "kind", reconcile.FindingSecretMismatch, "fix", mismatchFix)
	}
}

// finding returns what is suspected of an account, if anything is.
func (k *knocks) finding(account spacelift.Account, now time.Time) (reconcile.Finding, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	since, known := k.since[account]
	latest := k.refused[(k.next+burstSize-1)%burstSize]
	if !known || now.Sub(latest) > burstStays {
		delete(k.since, account)
		return reconcile.Finding{}, false
	}
	return reconcile.Finding{Kind: reconcile.FindingSecretMismatch, Since: since, Summary: mismatchSummary(account), Fix: mismatchFix}, true
}

func mismatchSummary(account spacelift.Account) string {
	return fmt.Sprintf("this replica refused %d signatures within %s that no configured secret made, and took nothing from account %s meanwhile",
		burstSize, burstWithin, account)
}

const mismatchFix = "compare the webhook's secret in Spacelift with the account's webhookSecrets; if they are the same, look at /v1/deliveries?outcome=refused for who else is sending"
