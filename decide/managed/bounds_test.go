package managed

import (
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"

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

// A record is judged several times for each event, from the first one on whenever an
// execution is replayed, so judging it must not copy its events.
func TestSituationCopiesNoNotifications(t *testing.T) {
	r := longest()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const times = 20
	for range times {
		r.Situation(t0)
	}
	runtime.ReadMemStats(&after)
	if bytes := int(after.TotalAlloc-before.TotalAlloc) / times / len(r.Events); bytes > 1000 {
		t.Errorf("a situation takes %d bytes of memory for each event of its run", bytes)
	}
}

func BenchmarkSituation(b *testing.B) {
	r := longest()
	for b.Loop() {
		r.Situation(t0)
	}
}

// longest returns the record of a run with as many events as can be kept.
func longest() Record {
	r := fresh()
	for version := range MaxEvents {
		state := spacelift.RunStatePlanning
		if version%2 > 0 {
			state = spacelift.RunStateUnconfirmed
		}
		r.Take(t0, []RunEvent{notification("TRACKED", state, version)})
	}
	return r
}

// The events that an execution keeps don't keep the signals or the input that they came in,
// and take memory once for what they all say.
func TestEventsShareTheirTexts(t *testing.T) {
	var events []RunEvent
	for _, e := range longest().Events {
		e.Commit = spacelift.Commit{Hash: strings.Repeat("c", 40), Message: strings.Repeat("m", 200), AuthorLogin: "alice", URL: strings.Repeat("u", 100)}
		e.Branch, e.StackName, e.Labels = "main", "network", []string{"gantry:managed", "gantry:approvals=2"}
		events = append(events, e)
	}
	signaled := fresh()
	signaled.Take(t0, events)
	for name, source := range map[string]struct {
		payload any
		take    func(payload []byte) (r Record, kept any)
	}{
		"of a signal": {RunEvents{Events: events}, func(payload []byte) (Record, any) {
			r := fresh()
			r.Take(t0, decodeAs[RunEvents](t, payload).Events)
			return r, nil
		}},
		"of the execution before": {ManageRunInput{Known: &signaled}, func(payload []byte) (r Record, kept any) {
			in := decodeAs[ManageRunInput](t, payload)
			r.Inherit(in.Known)
			return r, in
		}},
	} {
		t.Run(name, func(t *testing.T) {
			payload, err := json.Marshal(source.payload)
			if err != nil {
				t.Fatal(err)
			}
			const records = 20
			var kept [records]Record
			var inputs [records]any // the SDK keeps them
			before := heap()
			for i := range kept {
				kept[i], inputs[i] = source.take(payload)
			}
			each := (heap() - before) / records
			if most := len(events) * int(unsafe.Sizeof(RunEvent{})) * 3 / 2; each > most {
				t.Errorf("a record of %d events takes %d bytes, want at most %d", len(kept[0].Events), each, most)
			}
			if diff := cmp.Diff(signaled.Events, kept[0].Events); diff != "" {
				t.Errorf("the events (-sent +kept):\n%s", diff)
			}
			runtime.KeepAlive(inputs)
		})
	}
}

func decodeAs[T any](t *testing.T, payload []byte) (v T) {
	t.Helper()
	if err := json.Unmarshal(payload, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// heap returns the bytes of the heap that are in use.
func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
