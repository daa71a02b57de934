package server

import (
	"fmt"
	"time"

	"github.com/gantryhq/gantry/decide/reconcile"
	"github.com/gantryhq/gantry/inbox/archive"
	"github.com/gantryhq/gantry/spacelift"
)

// unreadableStays is the time after which unreadable events are no finding any more, if
// no other follows: their runs have ended, and nobody may ever be able to read them.
const unreadableStays = 30 * 24 * time.Hour

func unreadableEvents(account spacelift.Account, u archive.Unreadable) reconcile.Finding {
	return reconcile.Finding{
		Kind: reconcile.FindingUnreadableEvents, Since: u.First,
		Summary: fmt.Sprintf("this replica keeps the bodies of authentic notifications of account %s that it could not read: %d, the first at %s, the last at %s as delivery %s: %s",
			account, u.Count, u.First.UTC().Format(time.RFC3339), u.Newest.ReceivedAt.UTC().Format(time.RFC3339), u.Newest.ID, u.Newest.Detail),
		Fix: "see the bodies with gantry deliveries list --outcome ignored and gantry deliveries show; if Spacelift has changed them, upgrade Gantry, then run gantry deliveries redeliver for each",
	}
}
