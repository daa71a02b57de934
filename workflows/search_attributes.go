package workflows

import (
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/decide/managed"
)

func keyword(name string) temporal.SearchAttributeKeyKeyword {
	return temporal.NewSearchAttributeKeyKeyword(name)
}

// Typed returns attributes in the form that the SDK expects.
func Typed(all []managed.Attribute) temporal.SearchAttributes {
	set := make([]temporal.SearchAttributeUpdate, len(all))
	for i, a := range all {
		set[i] = keyword(a.Name).ValueSet(a.Value)
	}
	return temporal.NewSearchAttributes(set...)
}

// index makes the execution findable by its status. Each upsert is an event in
// the history, so it happens in one command, and only for values that are worth an
// event: see managed.Lasts. stays means that the run has been in its state for
// long, whatever the state.
func index(ctx workflow.Context, s managed.RunStatus, stays bool) error {
	have := workflow.GetTypedSearchAttributes(ctx)
	if phase, ok := have.GetKeyword(keyword(managed.AttrPhase)); ok && phase == string(s.Phase) && !managed.Lasts(managed.ListedState(s)) && !stays {
		return nil
	}
	return upsert(ctx, managed.Attributes(s))
}

// upsert sets the attributes whose values have changed. It costs an event, unless
// none has.
func upsert(ctx workflow.Context, all []managed.Attribute) error {
	have := workflow.GetTypedSearchAttributes(ctx)
	var updates []temporal.SearchAttributeUpdate
	for _, want := range all {
		key := keyword(want.Name)
		if value, ok := have.GetKeyword(key); want.Value != "" && (!ok || value != want.Value) {
			updates = append(updates, key.ValueSet(want.Value))
		}
	}
	if len(updates) == 0 {
		return nil
	}
	return workflow.UpsertTypedSearchAttributes(ctx, updates...)
}
