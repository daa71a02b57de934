package policy

// What the notes begin with that Gantry leaves in Spacelift when it ends a run
// because another one takes its place. Chains recognize such runs by them: they
// stop nothing.
const (
	NoteOldPlan  = "Discarded by Gantry: the plan is old"
	NoteGivesWay = "Canceled by Gantry: it does the same as run "
)
