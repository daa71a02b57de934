package workflows

// StateKey names a state of a run, for stories.
type StateKey = stateKey
