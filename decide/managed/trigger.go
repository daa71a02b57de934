package managed

import (
	"time"

	"github.com/gantryhq/gantry/spacelift"
)

// TriggerRunType is the workflow type of TriggerRun, which triggers a run that a person
// asked for. There is one for each request.
const TriggerRunType = "TriggerRun"

const triggerPrefix = "trigger/"

// TriggerRunID returns the workflow id of a request to trigger a run.
func TriggerRunID(account spacelift.Account, request string) string {
	return triggerPrefix + string(account) + "/" + request
}

// TriggerPatience bounds how long Gantry tries to trigger a run: a run that begins long
// after a person asked for it would surprise them.
const TriggerPatience = 2 * time.Minute

// TriggerRunInput says which run, and for whom.
type TriggerRunInput struct {
	Account spacelift.Account `json:"account"`
	Stack   spacelift.StackID `json:"stack"`
	Type    spacelift.RunType `json:"type"`
	Commit  string            `json:"commit,omitempty"` // empty: the one that the stack tracks
	By      string            `json:"by"`               // a person's name
}

// TriggerRunOutcome is the result of TriggerRun.
type TriggerRunOutcome struct {
	Run    spacelift.RunRef `json:"run,omitzero"` // zero when none was triggered
	URL    string           `json:"url,omitempty"`
	Reason string           `json:"reason,omitempty"` // why none was, as a sentence
}
