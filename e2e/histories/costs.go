package histories

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"text/tabwriter"
)

// limits are the history events that the standard stories may cost on a real
// Temporal. Each event is an entry in a database; the size of an installation
// depends on them.
var limits = map[string]int{
	"auto-nine-notifications": 45,
	"auto-coalesced":          20,
	"no-changes":              32,
	"reconcile-quiet":         8,
	"reconcile-adopts":        16,

	"freezes-declared-and-lifted": 60,
	"retry-of-a-failed-run":       26,

	"approved-by-two":  92, // includes four messages of six events each
	"rejected":         54,
	"revoked":          82, // three decisions, each of which lists show
	"review-passed-on": 74, // two actions that people decided
	"retried":          52,
	"stopped":          46,

	"chain-begun":    56, // ten notifications, and five events for the chain
	"chain-of-three": 56,
}

// Cost is the cost of one story in Temporal.
type Cost struct {
	Story string
	// Notifications is the number that the execution received, in Signals signals.
	// Both are 0 for an execution that isn't a run's.
	Notifications, Signals int
	Events                 int
	Limit                  int // 0 for a story that isn't a standard one
}

// Missed reports whether the story cost more than its limit.
func (c Cost) Missed() bool { return c.Limit > 0 && c.Events > c.Limit }

// Standard returns the names of the stories with a limit, in the order in which
// they are played.
func Standard() []string {
	var names []string
	for _, s := range all() {
		if limits[s.name] > 0 {
			names = append(names, s.name)
		}
	}
	return names
}

// Report prints the costs as a table. The number of notifications is the
// baseline: only coalescing can save those events.
func Report(w io.Writer, costs []Cost) error {
	dash := func(n int) string {
		if n == 0 {
			return "–"
		}
		return strconv.Itoa(n)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "story\tnotifications\tsignals\tevents\t× notifications\ttarget\t")
	for _, c := range costs {
		ratio, target, verdict := "–", "–", ""
		if c.Notifications > 0 {
			ratio = fmt.Sprintf("%.1f", float64(c.Events)/float64(c.Notifications))
		}
		if c.Limit > 0 {
			target, verdict = fmt.Sprintf("≤ %d", c.Limit), "pass"
		}
		if c.Missed() {
			verdict = "MISS"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%s\t%s\t%s\n", c.Story, dash(c.Notifications), dash(c.Signals), c.Events, ratio, target, verdict)
	}
	return table.Flush()
}

func all() []story { return slices.Concat(unattended, people, freezesAndRetries, chained, behind) }
