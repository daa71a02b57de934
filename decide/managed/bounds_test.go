package managed

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gantryhq/gantry/spacelift"
)

// What an execution keeps stays far below the 2 MB that Temporal takes, and
// what it keeps is the newest.
func TestFoldBoundsAbsurdFloods(t *testing.T) {
	var flood []RunEvent
	for version := range 5_000 {
		e := notification("TRACKED", "PLANNING", version)
		e.Note = strings.Repeat("<", 2_000)
		e.Commit.Message = strings.Repeat("é\"", 1_000)
		e.Branch, e.Commit.URL, e.Commit.Hash = e.Note, e.Note, e.Note
		for i := range 100 {
			e.Labels = append(e.Labels, fmt.Sprintf("gantry:%0200d", i))
		}
		flood = append(flood, e)
	}
	end := notification("TRACKED", "FINISHED", 3)
	end.Source = SourceReconcile

	r := fresh()
	r.Take(t0, append([]RunEvent{end}, flood...))
	for range 3 * maxJournal {
		r.Note(t0, KindNote, "%s", strings.Repeat("&", 100_000))
	}
	r.Note(t0, KindAction, "Gantry confirmed the plan")
	for range 3 * maxJournal {
		r.Note(t0, KindDecision, "hold: %s", strings.Repeat("&", 100_000))
	}

	carried, err := json.Marshal(ManageRunInput{Run: testRun, Known: &r})
	if err != nil {
		t.Fatal(err)
	}
	status := r.Status(t0)
	answer, err := json.Marshal(status)
	if err != nil {
		t.Fatal(err)
	}
	if limit := 2_000_000; len(carried) > limit || len(answer) > limit {
		t.Errorf("%d bytes are carried on and %d answered, more than %d", len(carried), len(answer), limit)
	}
	if status.State != spacelift.RunStateFinished {
		t.Errorf("the run is %s, want FINISHED", status.State)
	}
	if got := status.States[len(status.States)-2].StateVersion; got != 4_999 {
		t.Errorf("the newest state kept is %d, want 4999", got)
	}
	if !strings.Contains(status.Timeline[0].Summary, "longer past than Gantry keeps") {
		t.Errorf("the timeline begins with %q and does not say that something is left out", status.Timeline[0].Summary)
	}
	if !slices.ContainsFunc(status.Timeline, func(e TimelineEntry) bool { return e.Kind == KindAction }) {
		t.Error("the action was forgotten before the notes")
	}
}

// What stores a note in Spacelift may refuse it, and the act with it, for a character that
// nobody sees.
func TestNotesForSpaceliftAreText(t *testing.T) {
	t.Parallel()
	if got, want := noteOf("Rejected through Gantry by bob", "first\r\nsecond\x00\u202e"), "Rejected through Gantry by bob: first\nsecond\uFFFD\uFFFD"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
