package workflows

import (
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/spacelift"
)

// Search attributes of ManageRun executions. Their names are a contract with
// the Temporal namespace, with lists and with people's saved queries.
var (
	AttrAccount  = temporal.NewSearchAttributeKeyKeyword("GantryAccount")
	AttrStack    = temporal.NewSearchAttributeKeyKeyword("GantryStack")
	AttrRunState = temporal.NewSearchAttributeKeyKeyword("GantryRunState")
	AttrRunType  = temporal.NewSearchAttributeKeyKeyword("GantryRunType")
	AttrPhase    = temporal.NewSearchAttributeKeyKeyword("GantryPhase")
)

// SearchAttributes returns the name and type of every search attribute that a
// namespace must have before it can run our workflows. Without them each
// execution stalls at its first step, and goes on once they exist.
func SearchAttributes() map[string]enums.IndexedValueType {
	all := make(map[string]enums.IndexedValueType)
	for _, key := range []temporal.SearchAttributeKeyKeyword{AttrAccount, AttrStack, AttrRunState, AttrRunType, AttrPhase} {
		all[key.GetName()] = key.GetValueType()
	}
	return all
}

// index makes the execution findable by its status. Each upsert is an event in
// the history, so it is done in one command, and only when a value differs
// that is worth an event: see restsIn. stays says that the run has been in its
// state for long, whatever the state.
func index(ctx workflow.Context, s RunStatus, stays bool) error {
	have := workflow.GetTypedSearchAttributes(ctx)
	state := s.State
	if state == spacelift.RunStateUnconfirmed && s.Phase == PhaseApplying {
		state = spacelift.RunStateConfirmed // so the API answered; the notification will follow
	}
	if phase, ok := have.GetKeyword(AttrPhase); ok && phase == string(s.Phase) && !restsIn(state) && !stays {
		return nil
	}
	var updates []temporal.SearchAttributeUpdate
	for _, want := range []struct {
		key   temporal.SearchAttributeKeyKeyword
		value string
	}{
		{AttrAccount, string(s.Run.Account)},
		{AttrStack, string(s.Run.Stack)},
		{AttrRunState, string(state)},
		{AttrRunType, string(s.Type)},
		{AttrPhase, string(s.Phase)},
	} {
		if value, ok := have.GetKeyword(want.key); want.value != "" && (!ok || value != want.value) {
			updates = append(updates, want.key.ValueSet(want.value))
		}
	}
	if len(updates) == 0 {
		return nil
	}
	return workflow.UpsertTypedSearchAttributes(ctx, updates...)
}

// restsIn reports whether runs usually stay in a state long enough for a list to
// name it. The states between them are handed over in seconds; a list shows
// those only when they begin a phase, or once a run has stayed in one for so
// long that the execution asked for it. The status of the run shows all.
func restsIn(s spacelift.RunState) bool {
	switch s {
	case spacelift.RunStateReady, spacelift.RunStatePreparing, spacelift.RunStateInitializing, spacelift.RunStatePreparingApply,
		spacelift.RunStateReplanRequested, spacelift.RunStatePreparingReplan:
		return false
	}
	return true
}
