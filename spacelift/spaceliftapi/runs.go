package spaceliftapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/spacelift/spaceliftapi/internal/operations"
)

// Run reads a run, its history and its stack's labels and brakes in one query, so
// that they belong together. It returns ErrNotFound when the run or the stack
// doesn't exist; it doesn't find runs of modules.
func (c *Client) Run(ctx context.Context, ref spacelift.RunRef) (spacelift.Run, error) {
	if err := c.own(ref); err != nil {
		return spacelift.Run{}, err
	}
	data, err := operations.Run(ctx, c.api, string(ref.Stack), string(ref.Run))
	switch {
	case err != nil:
		return spacelift.Run{}, fmt.Errorf("read run %s: %w", ref, err)
	case data.Stack == nil:
		return spacelift.Run{}, fmt.Errorf("read run %s: stack %w", ref, spacelift.ErrNotFound)
	case data.Stack.Run == nil:
		return spacelift.Run{}, fmt.Errorf("read run %s: run %w", ref, spacelift.ErrNotFound)
	}
	run := fromRunDetails(ref, *data.Stack.Run)
	run.StackName, run.StackLabels = data.Stack.Name, data.Stack.Labels
	run.Stack = spacelift.StackTraits{Space: data.Stack.Space, Branch: data.Stack.Branch, Administrative: data.Stack.Administrative}
	run.Brakes = fromStackBrakes(data.Stack.StackBrakes)
	run.Hold = new(fromStackEnforcement(data.Stack.StackEnforcement))
	return run, nil
}

func fromRunDetails(ref spacelift.RunRef, r operations.RunDetails) spacelift.Run {
	run := spacelift.Run{
		Ref:    ref,
		Type:   spacelift.RunType(r.Type),
		State:  spacelift.RunState(r.State),
		Title:  r.Title,
		Branch: r.Branch,
		Commit: spacelift.Commit{
			Hash:        r.Commit.Hash,
			Message:     r.Commit.Message,
			AuthorLogin: orZero(r.Commit.AuthorLogin),
			AuthorName:  r.Commit.AuthorName,
			URL:         orZero(r.Commit.Url),
		},
		Command:        orZero(r.Command),
		DriftDetection: r.DriftDetection,
		TriggeredBy:    orZero(r.TriggeredBy),
		NeedsApproval:  r.NeedsApproval,
		CanConfirm:     r.CanConfirm,
		CanRetry:       r.CanRetry,
		CreatedAt:      unixTime(r.CreatedAt),
	}
	if d := r.Delta; d != nil {
		run.Delta = &spacelift.Delta{Added: d.AddCount, Changed: d.ChangeCount, Deleted: d.DeleteCount, Resources: d.Resources}
	}
	run.History = fromHistory(r.RunHistory)
	if n := len(run.History); n > 0 {
		newest := run.History[n-1]
		run.StateVersion = newest.StateVersion
		// Spacelift may read the run's state and its history, two fields of one
		// answer, at different moments. An approval is bound to the pair of state and
		// version, so both come from the history; only an end is final in either
		// field.
		if !run.State.Terminal() {
			run.State = newest.State
		}
	}
	return run
}

// fromHistory returns the transitions, oldest first.
func fromHistory(h operations.RunHistory) []spacelift.Transition {
	var history []spacelift.Transition
	for _, t := range h.History {
		history = append(history, spacelift.Transition{
			State:        spacelift.RunState(t.State),
			StateVersion: t.StateVersion,
			At:           unixTime(t.Timestamp),
			Username:     orZero(t.Username),
			Note:         orZero(t.Note),
		})
	}
	// Spacelift sends the newest first; the versions are more reliable than the order.
	slices.Reverse(history)
	slices.SortStableFunc(history, func(a, b spacelift.Transition) int { return cmp.Compare(a.StateVersion, b.StateVersion) })
	return history
}

func (c *Client) fromRunLine(stack, name string, labels []string, r operations.RunLine) spacelift.RunLine {
	return spacelift.RunLine{
		Ref:            spacelift.RunRef{Account: c.account, Stack: spacelift.StackID(stack), Run: spacelift.RunID(r.Id)},
		Type:           spacelift.RunType(r.Type),
		State:          spacelift.RunState(r.State),
		Title:          r.Title,
		Branch:         r.Branch,
		CommitHash:     r.Commit.Hash,
		DriftDetection: r.DriftDetection,
		TriggeredBy:    orZero(r.TriggeredBy),
		NeedsApproval:  r.NeedsApproval,
		CreatedAt:      unixTime(r.CreatedAt),
		StackName:      name,
		StackLabels:    labels,
	}
}

// statesInProgress are the states that RunsInProgress searches for. PENDING is
// missing: Spacelift has deprecated it, and once Spacelift refuses the name, the
// whole query would fail.
var statesInProgress = slices.DeleteFunc(slices.Clone(spacelift.RunStates), func(s spacelift.RunState) bool {
	return s.Terminal() || s == spacelift.RunStatePending
})

// RunsInProgress finds the account's runs that have not ended, whatever their
// stack's labels, reading at most this many pages of 50. Without states it
// searches for every state in progress. It misses runs in unknown states.
func (c *Client) RunsInProgress(ctx context.Context, pages int, states ...spacelift.RunState) (spacelift.Listing[spacelift.RunLine], error) {
	if len(states) == 0 {
		states = statesInProgress
	}
	names := make([]string, len(states))
	for i, s := range states {
		names[i] = string(s)
	}
	predicates := []operations.QueryPredicate{{Field: "state", Constraint: operations.QueryFieldConstraint{EnumEquals: names}}}
	seen := map[spacelift.RunRef]bool{} // pages shift while runs change state
	found, err := searchPages(pages, predicates,
		func(r spacelift.RunLine) bool {
			again := seen[r.Ref]
			seen[r.Ref] = true
			return !again
		},
		func(input operations.SearchInput) ([]spacelift.RunLine, operations.PageInfo, error) {
			data, err := operations.SearchRuns(ctx, c.api, input)
			if err != nil {
				return nil, operations.PageInfo{}, err
			}
			var lines []spacelift.RunLine
			for _, edge := range data.SearchRuns.Edges {
				stack := edge.Node.Stack
				line := c.fromRunLine(stack.Id, stack.Name, stack.Labels, edge.Node.Run)
				line.Brakes = fromStackBrakes(stack.StackBrakes)
				lines = append(lines, line)
			}
			return lines, data.SearchRuns.PageInfo, nil
		})
	if err != nil {
		return found, fmt.Errorf("search runs in progress: %w", err)
	}
	return found, nil
}

// RunsOfStack lists a stack's runs of one type, newest first, at most limit of
// them: RunTypeTracked, RunTypeProposed or RunTypeTask, which Spacelift keeps in
// separate lists. Use it to find out whether an ErrAmbiguous TriggerRun happened.
func (c *Client) RunsOfStack(ctx context.Context, stack spacelift.StackID, of spacelift.RunType, limit int) (spacelift.Listing[spacelift.RunLine], error) {
	found := spacelift.Listing[spacelift.RunLine]{}
	seen := map[string]bool{}
	var before *string
	for len(found.Items) < limit {
		page, err := c.stackRuns(ctx, stack, of, before)
		if err != nil {
			return spacelift.Listing[spacelift.RunLine]{}, fmt.Errorf("list %s runs of stack %s: %w", of, stack, err)
		}
		fresh := slices.DeleteFunc(page.Runs, func(r operations.RunLine) bool { return seen[r.Id] })
		if len(fresh) == 0 { // the end, or a server that ignores the cursor
			found.Complete = true
			break
		}
		for _, r := range fresh[:min(len(fresh), limit-len(found.Items))] {
			seen[r.Id] = true
			found.Items = append(found.Items, c.fromRunLine(page.Id, page.Name, page.Labels, r))
		}
		before = &fresh[len(fresh)-1].Id
	}
	return found, nil
}

func (c *Client) stackRuns(ctx context.Context, stack spacelift.StackID, of spacelift.RunType, before *string) (*operations.RunsOfStackStack, error) {
	var page *operations.RunsOfStackStack
	switch of {
	case spacelift.RunTypeTracked:
		data, err := operations.RunsOfStack(ctx, c.api, string(stack), before)
		if err != nil {
			return nil, err
		}
		page = data.Stack
	case spacelift.RunTypeProposed:
		data, err := operations.ProposedRunsOfStack(ctx, c.api, string(stack), before)
		if err != nil {
			return nil, err
		}
		page = (*operations.RunsOfStackStack)(data.Stack)
	case spacelift.RunTypeTask:
		data, err := operations.TasksOfStack(ctx, c.api, string(stack), before)
		if err != nil {
			return nil, err
		}
		page = (*operations.RunsOfStackStack)(data.Stack)
	default:
		return nil, errors.New("spacelift has no such list")
	}
	if page == nil {
		return nil, spacelift.ErrNotFound
	}
	return page, nil
}

// unixTime returns a time and infers its unit from its size: clients disagree
// about Spacelift's unit, though most of them read seconds. Each range covers the
// years from 1973 to 5138.
func unixTime(n int) time.Time {
	switch t := int64(n); {
	case t == 0:
		return time.Time{}
	case t < 1e11:
		return time.Unix(t, 0).UTC()
	case t < 1e14:
		return time.UnixMilli(t).UTC()
	case t < 1e17:
		return time.UnixMicro(t).UTC()
	default:
		return time.Unix(0, t).UTC()
	}
}
