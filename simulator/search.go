package simulator

import (
	"cmp"
	"context"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
)

type searchArgs struct{ Input searchInput }

type searchInput struct {
	First          *int32
	After          *string
	FullTextSearch *string
	Predicates     *[]predicate
	OrderBy        *struct{ Field, Direction string }
}

type predicate struct {
	Field      string
	Constraint struct {
		BooleanEquals *[]bool
		EnumEquals    *[]string
		StringMatches *[]string
	}
	Exclude flag
}

type pageInfoOut struct {
	EndCursor       *string
	HasNextPage     bool
	HasPreviousPage bool
}

// searchPage is the number of nodes on a page if the client names none.
const searchPage = 50

// searchable is a list that can be searched, such as the stacks.
type searchable[T any] struct {
	items []T
	id    func(T) string
	// fields are the values of each field a predicate or an order may name.
	fields map[string]func(T) []string
	// words are the fields of a full-text search.
	words []string
}

// find returns the page of items asked for.
//
// Assumption: stringMatches and the full-text search find a part of the value,
// whatever its case: the looser of the two readings, so that clients have to
// compare for themselves. A predicate field that no known client uses is an error.
func (q searchable[T]) find(in searchInput) ([]T, pageInfoOut, error) {
	found := slices.Clone(q.items)
	for _, p := range deref(in.Predicates) {
		values := q.fields[p.Field]
		if values == nil {
			return nil, pageInfoOut{}, refuse("unknown predicate field %q", p.Field)
		}
		found = slices.DeleteFunc(found, func(item T) bool { return p.matches(values(item)) == bool(p.Exclude) })
	}
	if text := strings.ToLower(deref(in.FullTextSearch)); text != "" {
		found = slices.DeleteFunc(found, func(item T) bool {
			return !slices.ContainsFunc(q.words, func(field string) bool { return anyContains(q.fields[field](item), text) })
		})
	}
	if in.OrderBy != nil {
		values := q.fields[in.OrderBy.Field]
		if values == nil {
			return nil, pageInfoOut{}, refuse("unknown order field %q", in.OrderBy.Field)
		}
		sign := 1
		if in.OrderBy.Direction == "DESC" {
			sign = -1
		}
		slices.SortStableFunc(found, func(a, b T) int {
			return sign * cmp.Compare(strings.Join(values(a), ","), strings.Join(values(b), ","))
		})
	}
	start := 0
	if after := deref(in.After); after != "" {
		start = 1 + slices.IndexFunc(found, func(item T) bool { return cursor(q.id(item)) == after })
	}
	size := int(deref(in.First))
	if size <= 0 {
		size = searchPage
	}
	end := min(start+size, len(found))
	info := pageInfoOut{HasNextPage: end < len(found), HasPreviousPage: start > 0}
	if end > start {
		info.EndCursor = new(cursor(q.id(found[end-1])))
	}
	return found[start:end], info, nil
}

func (p predicate) matches(values []string) bool {
	if c := p.Constraint.BooleanEquals; c != nil {
		return slices.ContainsFunc(*c, func(b bool) bool { return slices.Contains(values, strconv.FormatBool(b)) })
	}
	if c := p.Constraint.EnumEquals; c != nil {
		return slices.ContainsFunc(*c, func(s string) bool { return slices.Contains(values, s) })
	}
	if c := p.Constraint.StringMatches; c != nil {
		return slices.ContainsFunc(*c, func(s string) bool { return anyContains(values, strings.ToLower(s)) })
	}
	return true
}

func anyContains(values []string, lower string) bool {
	return slices.ContainsFunc(values, func(v string) bool { return strings.Contains(strings.ToLower(v), lower) })
}

func cursor(id string) string { return base64.RawURLEncoding.EncodeToString([]byte(id)) }

func one(s string) []string { return []string{s} }

func truth(b bool) []string { return one(strconv.FormatBool(b)) }

// sortableTime orders as text.
func sortableTime(seconds int64) []string {
	s := strconv.FormatInt(seconds, 10)
	return one(strings.Repeat("0", max(0, 12-len(s))) + s)
}

type edgeOut[T any] struct{ Node T }

type connectionOut[T any] struct {
	Edges    []*edgeOut[T]
	PageInfo pageInfoOut
}

// page is the items of a searchable that a search has found.
type page[T shown[O], O any] struct {
	items []T
	info  pageInfoOut
}

func (p page[T, O]) out(s *Simulator, who actor) *connectionOut[O] {
	c := &connectionOut[O]{PageInfo: p.info}
	for _, node := range outs(p.items, s, who) {
		c.Edges = append(c.Edges, &edgeOut[O]{node})
	}
	return c
}

// searchIn answers a search in what items returns.
func searchIn[T shown[O], O any](
	ctx context.Context, args searchArgs, items func(*Simulator) []T, q searchable[T],
) (*connectionOut[O], error) {
	return answer(ctx, func(s *Simulator, _ actor) (page[T, O], error) {
		q.items = items(s)
		found, info, err := q.find(args.Input)
		return page[T, O]{found, info}, err
	})
}

func (resolver) SearchStacks(ctx context.Context, args searchArgs) (*connectionOut[*stackOut], error) {
	s := callerOf(ctx).sim
	return searchIn(ctx, args, (*Simulator).sortedStacks, searchable[*stack]{
		id: func(st *stack) string { return string(st.ID) },
		fields: map[string]func(*stack) []string{
			"administrative": func(st *stack) []string { return truth(st.settings.Administrative) },
			"branch":         func(st *stack) []string { return one(st.Branch) },
			"commit":         func(st *stack) []string { return one(deref(st.Tracked).Hash) },
			"createdAt":      func(st *stack) []string { return sortableTime(st.CreatedAt.Unix()) },
			"description":    func(st *stack) []string { return one(st.Description) },
			"label":          func(st *stack) []string { return st.Labels },
			"locked":         func(st *stack) []string { return truth(st.LockedBy != "") },
			"name":           func(st *stack) []string { return one(st.Name) },
			"projectRoot":    func(st *stack) []string { return one(st.ProjectRoot) },
			"repository":     func(st *stack) []string { return one(st.Namespace + "/" + st.Repository) },
			"slug":           func(st *stack) []string { return one(string(st.ID)) },
			"space":          func(st *stack) []string { return one(st.Space) },
			"starred":        func(*stack) []string { return truth(false) },
			"state":          func(st *stack) []string { return one(string(st.State)) },
			"vendor":         func(st *stack) []string { return one(deref(st.settings.VendorConfig).name()) },
			"workerPool":     func(st *stack) []string { p, _ := s.pool(st); return []string{p.ID, p.Name} },
		},
		words: []string{"name", "slug", "label", "description"},
	})
}

// searchedRun is a run that answers show with its stack.
type searchedRun struct{ *run }

type searchedRunOut struct {
	Run   *runOut
	Stack *stackOut
}

func (r searchedRun) out(s *Simulator, who actor) *searchedRunOut {
	return &searchedRunOut{Run: r.run.out(s, who), Stack: r.stack.out(s, who)}
}

// searchedRuns returns the runs of every stack, newest first.
func (s *Simulator) searchedRuns() (runs []searchedRun) {
	for _, r := range s.runs {
		if !r.stack.Deleted && !r.stack.Module {
			runs = append(runs, searchedRun{r})
		}
	}
	slices.SortFunc(runs, func(a, b searchedRun) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(b.ID, a.ID))
	})
	return runs
}

// SearchRuns finds runs of every type and state, newest first.
func (resolver) SearchRuns(ctx context.Context, args searchArgs) (*connectionOut[*searchedRunOut], error) {
	return searchIn(ctx, args, (*Simulator).searchedRuns, searchable[searchedRun]{
		id: func(r searchedRun) string { return string(r.ID) },
		fields: map[string]func(searchedRun) []string{
			"branch":         func(r searchedRun) []string { return one(r.Commit.Branch) },
			"createdAt":      func(r searchedRun) []string { return sortableTime(r.CreatedAt.Unix()) },
			"driftDetection": func(r searchedRun) []string { return truth(r.Drift) },
			"stack":          func(r searchedRun) []string { return one(string(r.stack.ID)) },
			"state":          func(r searchedRun) []string { return one(string(r.state())) },
			"title":          func(r searchedRun) []string { return one(r.title()) },
			"type":           func(r searchedRun) []string { return one(string(r.Type)) },
			"updatedAt":      func(r searchedRun) []string { return sortableTime(r.UpdatedAt.Unix()) },
		},
		words: []string{"title", "stack", "branch"},
	})
}

func (resolver) SearchNamedWebhooksIntegrations(ctx context.Context, args searchArgs) (*connectionOut[*namedWebhookOut], error) {
	return searchIn(ctx, args, func(s *Simulator) []*namedWebhook { return s.webhooks }, searchable[*namedWebhook]{
		id: func(w *namedWebhook) string { return w.ID },
		fields: map[string]func(*namedWebhook) []string{
			"enabled":  func(w *namedWebhook) []string { return truth(!w.Disabled) },
			"endpoint": func(w *namedWebhook) []string { return one(w.Endpoint) },
			"label":    func(w *namedWebhook) []string { return w.Labels },
			"name":     func(w *namedWebhook) []string { return one(w.Name) },
			"slug":     func(w *namedWebhook) []string { return one(w.ID) },
			"space":    func(w *namedWebhook) []string { return one(w.Space) },
		},
		words: []string{"name", "slug", "label", "endpoint"},
	})
}

func (resolver) SearchContexts(ctx context.Context, args searchArgs) (*connectionOut[*contextOut], error) {
	return searchIn(ctx, args, func(s *Simulator) []*bundle { return s.contexts }, searchable[*bundle]{
		id: func(c *bundle) string { return c.ID },
		fields: map[string]func(*bundle) []string{
			"description": func(c *bundle) []string { return one(c.Description) },
			"label":       func(c *bundle) []string { return c.Labels },
			"name":        func(c *bundle) []string { return one(c.Name) },
			"slug":        func(c *bundle) []string { return one(c.ID) },
			"space":       func(c *bundle) []string { return one(c.Space) },
		},
		words: []string{"name", "slug", "label", "description"},
	})
}

func (resolver) SearchPolicies(ctx context.Context, args searchArgs) (*connectionOut[*policyOut], error) {
	return searchIn(ctx, args, func(s *Simulator) []*policy { return s.policies }, searchable[*policy]{
		id: func(p *policy) string { return p.ID },
		fields: map[string]func(*policy) []string{
			"label": func(p *policy) []string { return p.Labels },
			"name":  func(p *policy) []string { return one(p.Name) },
			"slug":  func(p *policy) []string { return one(p.ID) },
			"space": func(p *policy) []string { return one(p.Space) },
			"type":  func(p *policy) []string { return one(p.Type) },
		},
		words: []string{"name", "slug", "label"},
	})
}
