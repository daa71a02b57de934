package workflows

import "fmt"

// leaveToNewer keeps this version's hands off executions that a newer one began:
// it would decide by rules that are not theirs.
//
// It fails the step and not the execution: Temporal offers the step again, with
// growing pauses, until a replica takes it that knows the generation. Watching
// without acting would not do. Whatever this version wrote into the history, if
// only that it watches, is not what the newer one writes there, and that could
// never go on with the run.
func leaveToNewer(in ManageRunInput) {
	if in.Generation > CurrentGeneration {
		panic(fmt.Sprintf("a newer version of Gantry began to follow the run %s (generation %d, and this one knows %d): this one leaves it alone",
			in.Run, in.Generation, CurrentGeneration))
	}
}
