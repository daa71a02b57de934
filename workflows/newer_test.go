package workflows_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"

	"github.com/gantryhq/gantry/workflows"
)

const leftAlone = "a newer version of Gantry began to follow the run"

// A plan that an older version would confirm is left to the newer one that began
// to follow the run: nothing is asked of Spacelift.
func TestRunsOfANewerVersionAreLeftAlone(t *testing.T) {
	r := newRig(t, auto)
	r.goes(queued, planning, unconfirmed)
	in := r.input()
	in.Generation = workflows.CurrentGeneration + 1
	in.Events = []workflows.RunEvent{r.notification(2)}
	r.at(time.Minute, func() { r.toldOf(2) })
	r.env.ExecuteWorkflow(workflows.ManageRun, in)
	err := r.env.GetWorkflowError()
	if _, stuck := errors.AsType[*temporal.PanicError](err); !stuck || !strings.Contains(err.Error(), leftAlone) {
		t.Errorf("it ended with %v", err)
	}
	if r.asked > 0 || len(r.confirmed) > 0 {
		t.Errorf("asked %d times to confirm, confirmed %d times", r.asked, len(r.confirmed))
	}
}

// It is the step that fails and not the execution, so that a newer version finds
// a history that it alone wrote. Of what was recorded nothing is taken up by the
// rules of today if it says that it is of tomorrow.
func TestHistoriesOfANewerVersionAreLeftAlone(t *testing.T) {
	files, err := filepath.Glob("testdata/histories/*.json")
	if err != nil {
		t.Fatal(err)
	}
	replayed := 0
	for _, file := range files {
		h := historyOf(t, file)
		started := h.Events[0].GetWorkflowExecutionStartedEventAttributes()
		if started.GetWorkflowType().GetName() != workflows.ManageRunType {
			continue
		}
		var in map[string]any
		if err := json.Unmarshal(started.Input.Payloads[0].Data, &in); err != nil {
			t.Fatal(err)
		}
		in["generation"] = workflows.CurrentGeneration + 1
		if started.Input.Payloads[0].Data, err = json.Marshal(in); err != nil {
			t.Fatal(err)
		}
		replayer := worker.NewWorkflowReplayer()
		workflows.Register(replayer)
		if err := replayer.ReplayWorkflowHistory(testLogger{}, h); err == nil || !strings.Contains(err.Error(), leftAlone) {
			t.Errorf("%s: %v", file, err)
		}
		replayed++
	}
	if replayed < 10 {
		t.Errorf("only %d histories of runs", replayed)
	}
}

func historyOf(t *testing.T, file string) *history.History {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h, err := client.HistoryFromJSON(f, client.HistoryJSONOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return h
}
