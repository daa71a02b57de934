package schedules

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/gantryhq/gantry/docs"
	"github.com/gantryhq/gantry/e2e/schedules/checker"
)

// docs/guarantees.md shows the counts of the last run of `make faults`.
func TestTheMatrixShowsTheLastRun(t *testing.T) {
	text, err := os.ReadFile("testdata/totals.json")
	if err != nil {
		t.Fatal(err)
	}
	var total checker.Totals
	if err := json.Unmarshal(text, &total); err != nil {
		t.Fatal(err)
	}
	docs.KeepSection(t, "../../docs/guarantees.md", "faults", total.Markdown())
}
