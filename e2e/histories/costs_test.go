package histories

import (
	"bytes"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.temporal.io/sdk/worker"

	"github.com/gantryhq/gantry/workflows"
)

// chance is the variation of a story's cost: concurrent messages need a varying
// number of workflow tasks, and each task is three events.
const chance = 2 * 3

// TestCostOfAManagedRun plays the standard stories, and compares their costs with
// the limits and with docs/operations/performance.md.
func TestCostOfAManagedRun(t *testing.T) {
	dir := t.TempDir()
	costs, err := Record(t.Context(), dir, Standard()...)
	if err != nil {
		t.Fatal(err)
	}
	if len(costs) != len(limits) {
		t.Errorf("%d of %d stories with a limit were played", len(costs), len(limits))
	}
	documented := documentedCosts(t)
	for _, c := range costs {
		if c.Missed() {
			t.Errorf("%s: %d notifications in %d signals cost %d events, more than %d", c.Story, c.Notifications, c.Signals, c.Events, c.Limit)
		}
		d := documented[c.Story]
		if off := c.Events - d.Events; d.Notifications != c.Notifications || d.Limit != c.Limit || off < -chance || off > chance {
			t.Errorf("the document says %+v; measured was %+v", d, c)
		}
		delete(documented, c.Story)

		replayer := worker.NewWorkflowReplayer()
		workflows.Register(replayer)
		if err := replayer.ReplayWorkflowHistoryFromJSONFile(nil, dir+"/"+c.Story+".json"); err != nil {
			t.Errorf("%s: the recorded history does not replay: %v", c.Story, err)
		}
	}
	for name := range documented {
		t.Errorf("the document has a story %s that is not a standard one", name)
	}
}

// documentedCosts reads the table of docs/operations/performance.md.
func documentedCosts(t *testing.T) map[string]Cost {
	t.Helper()
	doc, err := os.ReadFile("../../docs/operations/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	number := func(text []byte) int {
		n, err := strconv.Atoi(string(text))
		if err != nil && string(text) != "–" {
			t.Fatal(err)
		}
		return n
	}
	costs := map[string]Cost{}
	row := regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| .* \\| (\\d+|–) \\| (\\d+) \\| (\\d+) \\|$")
	for _, m := range row.FindAllSubmatch(doc, -1) {
		name := string(m[1])
		costs[name] = Cost{Story: name, Notifications: number(m[2]), Events: number(m[3]), Limit: number(m[4])}
	}
	return costs
}

func TestRecordRefusesUnknownStories(t *testing.T) {
	for _, names := range [][]string{{"no-such-story"}, {"no-changes", "no-such-story"}} {
		if _, err := Record(t.Context(), "", names...); err == nil || !strings.Contains(err.Error(), "no such story") {
			t.Errorf("%v: error is %v", names, err)
		}
	}
}

func TestStoriesHaveNamesOfTheirOwn(t *testing.T) {
	var names []string
	for _, s := range all() {
		if slices.Contains(names, s.name) {
			t.Errorf("%s is played twice", s.name)
		}
		names = append(names, s.name)
	}
}

func TestReport(t *testing.T) {
	var out bytes.Buffer
	err := Report(&out, []Cost{
		{Story: "within", Notifications: 10, Signals: 3, Events: 20, Limit: 20},
		{Story: "above", Notifications: 10, Signals: 10, Events: 46, Limit: 45},
		{Story: "beside", Events: 8, Limit: 8},
		{Story: "free", Notifications: 10, Signals: 10, Events: 91},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{
		{"story", "notifications", "signals", "events", "×", "notifications", "target"},
		{"within", "10", "3", "20", "2.0", "≤", "20", "pass"},
		{"above", "10", "10", "46", "4.6", "≤", "45", "MISS"},
		{"beside", "–", "–", "8", "–", "≤", "8", "pass"},
		{"free", "10", "10", "91", "9.1", "–"},
	}
	var got [][]string
	for line := range strings.Lines(out.String()) {
		got = append(got, strings.Fields(line))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
