package reconcile

import (
	"fmt"
	"time"

	"github.com/gantryhq/gantry/spacelift"
)

// BypassedFor is the time for which a run that has ended remains a finding after it was
// confirmed or applied against its policy.
const BypassedFor = 24 * time.Hour

// BypassedRun is a run of which a plan was confirmed or applied against its policy.
type BypassedRun struct {
	Run     spacelift.RunRef
	Started time.Time
}

// Bypassed returns the finding about such runs, the newest first; ok is false if there are
// none. more says that there are more than these.
func Bypassed(runs []BypassedRun, more bool) (f Finding, ok bool) {
	if len(runs) == 0 {
		return f, false
	}
	f = Finding{
		Kind: FindingRunBypassed, Since: runs[len(runs)-1].Started,
		Fix: "gantry runs list --bypassed lists such runs, and gantry runs explain says what the policy demanded: check what they changed. gantry setup --enforce makes Spacelift refuse this",
	}
	names := make([]string, 0, maxNamed)
	for _, r := range runs[:min(len(runs), maxNamed)] {
		names = append(names, fmt.Sprintf("%s of %s", r.Run.Run, r.Run.Stack))
	}
	count := "1 run"
	if len(runs) > 1 || more {
		count = fmt.Sprintf("%d runs", len(runs))
	}
	if more {
		count = "more than " + count
	}
	f.Summary = fmt.Sprintf("%s of the last day went ahead against the policy in effect: %s", count, Counted(len(runs), names))
	return f, true
}

// maxNamed bounds the runs that a summary names.
const maxNamed = 3
