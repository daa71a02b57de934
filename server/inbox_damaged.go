package server

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/gantryhq/gantry/decide/reconcile"
	"github.com/gantryhq/gantry/inbox"
	"github.com/gantryhq/gantry/spacelift"
)

// maxDamagedNamed bounds the damaged files that a finding names.
const maxDamagedNamed = 3

// inboxDamaged returns the finding about damaged files of the inbox, without its folder:
// not everyone who sees an account may know that.
func inboxDamaged(replica string, account spacelift.Account, damage []inbox.Damage) reconcile.Finding {
	var since time.Time
	var names []string
	for _, d := range damage {
		if since.IsZero() || d.Since.Before(since) {
			since = d.Since
		}
		names = append(names, filepath.Base(d.File))
	}
	files := strings.Join(names[:min(len(names), maxDamagedNamed)], ", ")
	if more := len(names) - maxDamagedNamed; more > 0 {
		files += fmt.Sprintf(" and %d more", more)
	}
	return reconcile.Finding{
		Kind: reconcile.FindingInboxDamaged, Since: since,
		Summary: fmt.Sprintf("replica %s found damage in its inbox and kept what was readable; events of account %s, or entries of the list of deliveries, may be lost (damaged files: %s)",
			replica, account, files),
		Fix: "check the replica's disk, and see with gantry accounts list that Reconcile runs and what it repaired: it finds the runs whose events were lost; then delete the files *.damaged-* from the folder of the inbox",
	}
}
