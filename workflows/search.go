package workflows

import (
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
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

	// AttrFingerprint shows what an execution knows of the facts that no
	// notification carries: see factsFingerprint.
	AttrFingerprint = temporal.NewSearchAttributeKeyKeyword("GantryFingerprint")
)

// SearchAttributes returns the name and type of every search attribute that a
// namespace must have before it can run our workflows. Without them each
// execution stalls at its first step, and goes on once they exist.
func SearchAttributes() map[string]enums.IndexedValueType {
	all := make(map[string]enums.IndexedValueType)
	for _, key := range []temporal.SearchAttributeKeyKeyword{AttrAccount, AttrStack, AttrRunState, AttrRunType, AttrPhase, AttrFingerprint} {
		all[key.GetName()] = key.GetValueType()
	}
	return all
}

// StartAttributes are the search attributes to start a run's execution with,
// given its first events. They are those that it would set itself, as far as
// that can be said without asking anybody: it need not set them again.
func StartAttributes(run spacelift.RunRef, events []RunEvent) temporal.SearchAttributes {
	var set []temporal.SearchAttributeUpdate
	for _, a := range attributes(startStatus(run, events)) {
		if a.value != "" {
			set = append(set, a.key.ValueSet(a.value))
		}
	}
	return temporal.NewSearchAttributes(set...)
}

// startStatus is the status that the first events of a run come to.
func startStatus(run spacelift.RunRef, events []RunEvent) RunStatus {
	r := record{Run: run}
	r.take(time.Time{}, events)
	labels := r.facts().Labels
	r.Rules = &managed.Rules{Labels: labels, Policy: (*policy.Rules)(nil).Resolve(labels).Of(run.Stack)}
	return r.status(time.Time{})
}

type attribute struct {
	key   temporal.SearchAttributeKeyKeyword
	value string
}

// attributes is what lists find a run by.
func attributes(s RunStatus) []attribute {
	return []attribute{
		{AttrAccount, string(s.Run.Account)},
		{AttrStack, string(s.Run.Stack)},
		{AttrRunState, string(listedState(s))},
		{AttrRunType, string(s.Type)},
		{AttrPhase, string(s.Phase)},
		{AttrFingerprint, factsFingerprint(s)},
	}
}

// factsFingerprint identifies what an execution knows of labels, reviews and locks
// and, behind a slash, the freezes and the configuration that it goes by.
// The second part is there only if the run is at a gate. Reconcile compares
// both with what is so, and so need not ask executions whose fingerprint fits.
func factsFingerprint(s RunStatus) string {
	known := policy.Facts{State: s.State, Labels: s.Labels, NeedsApproval: s.NeedsApproval, Block: s.Block}.Fingerprint()
	if s.Gate != nil && (s.Phase == PhaseWaiting || s.Phase == PhaseHolding) {
		known += "/" + s.Gate.Fingerprint()
	}
	return known
}

// listedState is the state that lists name. Once the API answered that a plan is
// confirmed, lists name the state that it comes to: the states in between are
// handed over in seconds, and an event for each would cost more than reading the
// end of the run does.
func listedState(s RunStatus) spacelift.RunState {
	if s.State == spacelift.RunStateUnconfirmed && s.Phase == PhaseApplying {
		return spacelift.RunStateApplying
	}
	return s.State
}

// index makes the execution findable by its status. Each upsert is an event in
// the history, so it is done in one command, and only when a value differs
// that is worth an event: see restsIn. stays says that the run has been in its
// state for long, whatever the state.
func index(ctx workflow.Context, s RunStatus, stays bool) error {
	have := workflow.GetTypedSearchAttributes(ctx)
	if phase, ok := have.GetKeyword(AttrPhase); ok && phase == string(s.Phase) && !restsIn(listedState(s)) && !stays {
		return nil
	}
	var updates []temporal.SearchAttributeUpdate
	for _, want := range attributes(s) {
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
	case spacelift.RunStateReady, spacelift.RunStatePreparing, spacelift.RunStateInitializing, spacelift.RunStateConfirmed, spacelift.RunStatePreparingApply,
		spacelift.RunStateReplanRequested, spacelift.RunStatePreparingReplan:
		return false
	}
	return true
}
