package workflows_test

import (
	"path/filepath"
	"strings"
	"testing"

	"go.temporal.io/sdk/worker"

	"github.com/gantryhq/gantry/workflows"
)

// Executions are open somewhere that older code began. Today's code must take
// the same steps where they did; `make record-history` adds new histories, and
// old ones stay as they are unless a change is versioned.
func TestReplay(t *testing.T) {
	const folder = "testdata/histories"
	var files []string
	for _, generation := range []string{"generation0", "."} {
		found, err := filepath.Glob(filepath.Join(folder, generation, "*.json"))
		if err != nil {
			t.Fatal(err)
		}
		if len(found) == 0 {
			t.Fatalf("%s is empty: nothing would be proved", filepath.Join(folder, generation))
		}
		files = append(files, found...)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(strings.TrimPrefix(file, folder+"/"), ".json"), func(t *testing.T) {
			replayer := worker.NewWorkflowReplayer()
			workflows.Register(replayer)
			if err := replayer.ReplayWorkflowHistoryFromJSONFile(testLogger{}, file); err != nil {
				t.Error(err)
			}
		})
	}
}
