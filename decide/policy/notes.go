package policy

// The notes that Gantry leaves in Spacelift when it ends a run that another one
// replaces begin with these texts. Chains recognize such runs by them, and are not
// held by them.
const (
	NoteOldPlan  = "Discarded by Gantry: the plan is old"
	NoteGivesWay = "Canceled by Gantry: it does the same as run "
)
