package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"go.temporal.io/sdk/worker"

	"github.com/gantryhq/gantry/workflows"
)

// What a managed run may cost in history events, on a real Temporal. Each is an
// entry in a database, and what the size of an installation is planned by.
var limits = map[string]int{
	"auto-nine-notifications": 45,
	"auto-coalesced":          20,
	"no-changes":              32,
	"reconcile-quiet":         8,
	"reconcile-adopts":        16,

	"freezes-declared-and-lifted": 60,
	"retry-of-a-failed-run":       26,

	"approved-by-two":  84, // and four messages, six events each
	"rejected":         48,
	"revoked":          70,
	"review-passed-on": 62,
	"retried":          52,
	"stopped":          40,

	"chain-begun":    56, // ten notifications, and five events for the chain
	"chain-of-three": 50,
}

func TestCostOfAManagedRun(t *testing.T) {
	dir := t.TempDir()
	for story, limit := range limits {
		results, err := record(t.Context(), dir, story)
		if err != nil {
			t.Fatal(err)
		}
		if got := results[0].events; got > limit {
			t.Errorf("%s: %d notifications in %d signals cost %d events, more than %d", story, results[0].notifications, results[0].signals, got, limit)
		}

		replayer := worker.NewWorkflowReplayer()
		replayer.RegisterWorkflow(workflows.ManageRun)
		replayer.RegisterWorkflow(workflows.Reconcile)
		replayer.RegisterWorkflow(workflows.Freezes)
		replayer.RegisterWorkflow(workflows.RetryRun)
		replayer.RegisterWorkflow(workflows.Rollout)
		if err := replayer.ReplayWorkflowHistoryFromJSONFile(nil, dir+"/"+story+".json"); err != nil {
			t.Errorf("%s: the recorded history does not replay: %v", story, err)
		}
	}
}

func TestRecordRefusesUnknownStories(t *testing.T) {
	if _, err := record(t.Context(), t.TempDir(), "no-such-story"); err == nil || !strings.Contains(err.Error(), "no such story") {
		t.Errorf("error is %v", err)
	}
}

func TestStoriesHaveNamesOfTheirOwn(t *testing.T) {
	var names []string
	for _, s := range slices.Concat(stories, people, apart, chained) {
		if slices.Contains(names, s.name) {
			t.Errorf("%s is told twice", s.name)
		}
		names = append(names, s.name)
	}
}

func TestReport(t *testing.T) {
	var out bytes.Buffer
	report(&out, []result{{"auto-coalesced", 10, 3, 18}})
	if !strings.Contains(out.String(), "auto-coalesced  10             3        18") {
		t.Errorf("report is\n%s", out.String())
	}
}
