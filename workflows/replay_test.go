package workflows_test

import (
	"path/filepath"
	"strings"
	"testing"

	"go.temporal.io/sdk/worker"

	"github.com/gantryhq/gantry/workflows"
)

// Today's code must take the steps that the recorded histories hold. Before 0.1.0
// a change that needs other steps records them anew with `make record-history`;
// from 0.1.0 on, it keeps the old steps behind workflow.GetVersion.
func TestReplay(t *testing.T) {
	const folder = "testdata/histories"
	files, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatalf("%s is empty: nothing would be proved", folder)
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
