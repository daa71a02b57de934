package workflows

import (
	"go.temporal.io/sdk/converter"
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

// index makes the execution findable by its status, and writes what lists show. Each
// upsert is an event in the history, so it happens in one command, and only for values
// that are worth an event: see managed.Lasts and managed.Listed. stays means that the run
// has been in its state for long, whatever the state.
func index(ctx workflow.Context, s *managed.RunStatus, stays bool) error {
	have := workflow.GetTypedSearchAttributes(ctx)
	all := managed.Attributes(s)
	if phase, ok := have.GetKeyword(keyword(managed.AttrPhase)); ok && phase == string(s.Phase) && !managed.Lasts(managed.ListedState(s)) && !stays {
		all = nil
	}
	listed, err := writeListed(ctx, s)
	if err != nil {
		return err
	}
	return upsert(ctx, all, listed)
}

// writeListed writes the memo that lists read, if the run waits and the memo says
// something else. It reports whether it did.
func writeListed(ctx workflow.Context, s *managed.RunStatus) (bool, error) {
	if !s.Phase.Waits() {
		return false, nil
	}
	want := managed.ListRun(s)
	if !want.Differs(memoOf[managed.Listed](ctx, managed.ListedMemo)) {
		return false, nil
	}
	return true, workflow.UpsertMemo(ctx, map[string]any{managed.ListedMemo: want})
}

// memoOf returns a memo of the execution; zero without one, or in another form, which is
// then written anew.
func memoOf[T any](ctx workflow.Context, name string) (value T) {
	if payload := workflow.GetInfo(ctx).Memo.GetFields()[name]; payload != nil {
		if err := converter.GetDefaultDataConverter().FromPayload(payload, &value); err != nil {
			var none T
			return none
		}
	}
	return value
}

// upsert sets the attributes whose values have changed, and the time of the change. It
// costs an event, unless nothing has; changed says that something else has.
func upsert(ctx workflow.Context, all []managed.Attribute, changed bool) error {
	have := workflow.GetTypedSearchAttributes(ctx)
	var updates []temporal.SearchAttributeUpdate
	for _, want := range all {
		key := keyword(want.Name)
		if value, ok := have.GetKeyword(key); want.Value != "" && (!ok || value != want.Value) {
			updates = append(updates, key.ValueSet(want.Value))
		}
	}
	if len(updates) == 0 && !changed {
		return nil
	}
	updates = append(updates, keyword(managed.AttrChanged).ValueSet(managed.ListedTime(workflow.Now(ctx))))
	return workflow.UpsertTypedSearchAttributes(ctx, updates...)
}
