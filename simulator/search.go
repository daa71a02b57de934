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
	Exclude *bool
}

type pageInfoOut struct {
	EndCursor       *string
	HasNextPage     bool
	HasPreviousPage bool
}

// searchPage is how many nodes a page has when the client does not say.
const searchPage = 50

// searchable lets one search look through stacks, runs, webhooks and policies.
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
// Assumption: stringMatches and the full-text search look for a part of the
// value, whatever its case: the looser of the two readings, so that clients
// have to compare for themselves. A predicate field nobody is known to use is
// an error.
func (q searchable[T]) find(in searchInput) ([]T, pageInfoOut, error) {
	found := slices.Clone(q.items)
	for _, p := range deref(in.Predicates) {
		values := q.fields[p.Field]
		if values == nil {
			return nil, pageInfoOut{}, refuse("unknown predicate field %q", p.Field)
		}
		found = slices.DeleteFunc(found, func(item T) bool { return p.matches(values(item)) == truth(p.Exclude) })
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

func flag(b bool) []string { return []string{strconv.FormatBool(b)} }

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

func connection[T, O any](items []T, info pageInfoOut, out func(T) O) *connectionOut[O] {
	c := &connectionOut[O]{Edges: []*edgeOut[O]{}, PageInfo: info}
	for _, item := range items {
		c.Edges = append(c.Edges, &edgeOut[O]{Node: out(item)})
	}
	return c
}

func (resolver) SearchStacks(ctx context.Context, args searchArgs) (*connectionOut[*stackOut], error) {
	return with(ctx, func(s *Simulator, _ actor) (*connectionOut[*stackOut], error) {
		q := searchable[*stack]{
			id: func(st *stack) string { return string(st.ID) },
			fields: map[string]func(*stack) []string{
				"administrative": func(st *stack) []string { return flag(st.settings.Administrative) },
				"branch":         func(st *stack) []string { return one(st.Branch) },
				"commit":         func(st *stack) []string { return one(deref(st.tracked).Hash) },
				"createdAt":      func(st *stack) []string { return sortableTime(st.createdAt.Unix()) },
				"description":    func(st *stack) []string { return one(st.Description) },
				"label":          func(st *stack) []string { return st.Labels },
				"locked":         func(st *stack) []string { return flag(st.lockedBy != "") },
				"name":           func(st *stack) []string { return one(st.Name) },
				"projectRoot":    func(st *stack) []string { return one(st.ProjectRoot) },
				"repository":     func(st *stack) []string { return one(st.Namespace + "/" + st.Repository) },
				"slug":           func(st *stack) []string { return one(string(st.ID)) },
				"space":          func(st *stack) []string { return one(st.Space) },
				"starred":        func(*stack) []string { return flag(false) },
				"state":          func(st *stack) []string { return one(string(st.state)) },
				"vendor":         func(st *stack) []string { return one(deref(st.settings.VendorConfig).name()) },
				"workerPool":     func(st *stack) []string { p, _ := s.pool(st); return []string{p.ID, p.Name} },
			},
			words: []string{"name", "slug", "label", "description"},
		}
		for _, id := range s.order {
			if st := s.stacks[id]; !st.Module {
				q.items = append(q.items, st)
			}
		}
		found, info, err := q.find(args.Input)
		if err != nil {
			return nil, err
		}
		return connection(found, info, func(st *stack) *stackOut { return st.out(s) }), nil
	})
}

type searchedRunOut struct {
	Run   *runOut
	Stack *stackOut
}

// SearchRuns finds runs of every type and state, newest first.
func (resolver) SearchRuns(ctx context.Context, args searchArgs) (*connectionOut[*searchedRunOut], error) {
	return with(ctx, func(s *Simulator, _ actor) (*connectionOut[*searchedRunOut], error) {
		q := searchable[*run]{
			id: func(r *run) string { return string(r.id) },
			fields: map[string]func(*run) []string{
				"branch":         func(r *run) []string { return one(r.commit.Branch) },
				"createdAt":      func(r *run) []string { return sortableTime(r.createdAt.Unix()) },
				"driftDetection": func(r *run) []string { return flag(r.drift) },
				"stack":          func(r *run) []string { return one(string(r.stack.ID)) },
				"state":          func(r *run) []string { return one(string(r.state())) },
				"title":          func(r *run) []string { return one(r.title()) },
				"type":           func(r *run) []string { return one(string(r.kind)) },
				"updatedAt":      func(r *run) []string { return sortableTime(r.updatedAt.Unix()) },
			},
			words: []string{"title", "stack", "branch"},
		}
		for _, r := range s.runs {
			if !r.stack.deleted && !r.stack.Module {
				q.items = append(q.items, r)
			}
		}
		slices.SortFunc(q.items, func(a, b *run) int {
			return cmp.Or(b.createdAt.Compare(a.createdAt), cmp.Compare(b.id, a.id))
		})
		found, info, err := q.find(args.Input)
		if err != nil {
			return nil, err
		}
		return connection(found, info, func(r *run) *searchedRunOut {
			return &searchedRunOut{Run: r.out(), Stack: r.stack.out(s)}
		}), nil
	})
}

func (resolver) SearchNamedWebhooksIntegrations(ctx context.Context, args searchArgs) (*connectionOut[*namedWebhookOut], error) {
	return with(ctx, func(s *Simulator, who actor) (*connectionOut[*namedWebhookOut], error) {
		q := searchable[*namedWebhook]{
			items: s.webhooks,
			id:    func(w *namedWebhook) string { return w.ID },
			fields: map[string]func(*namedWebhook) []string{
				"enabled":  func(w *namedWebhook) []string { return flag(!w.Disabled) },
				"endpoint": func(w *namedWebhook) []string { return one(w.Endpoint) },
				"label":    func(w *namedWebhook) []string { return w.Labels },
				"name":     func(w *namedWebhook) []string { return one(w.Name) },
				"slug":     func(w *namedWebhook) []string { return one(w.ID) },
				"space":    func(w *namedWebhook) []string { return one(w.Space) },
			},
			words: []string{"name", "slug", "label", "endpoint"},
		}
		found, info, err := q.find(args.Input)
		if err != nil {
			return nil, err
		}
		return connection(found, info, func(w *namedWebhook) *namedWebhookOut { return w.out(s, who) }), nil
	})
}

func (resolver) SearchContexts(ctx context.Context, args searchArgs) (*connectionOut[*contextOut], error) {
	return with(ctx, func(s *Simulator, _ actor) (*connectionOut[*contextOut], error) {
		q := searchable[*bundle]{
			items: s.contexts,
			id:    func(c *bundle) string { return c.ID },
			fields: map[string]func(*bundle) []string{
				"description": func(c *bundle) []string { return one(c.Description) },
				"label":       func(c *bundle) []string { return c.Labels },
				"name":        func(c *bundle) []string { return one(c.Name) },
				"slug":        func(c *bundle) []string { return one(c.ID) },
				"space":       func(c *bundle) []string { return one(c.Space) },
			},
			words: []string{"name", "slug", "label", "description"},
		}
		found, info, err := q.find(args.Input)
		if err != nil {
			return nil, err
		}
		return connection(found, info, func(c *bundle) *contextOut { return c.out(s) }), nil
	})
}

func (resolver) SearchPolicies(ctx context.Context, args searchArgs) (*connectionOut[*policyOut], error) {
	return with(ctx, func(s *Simulator, _ actor) (*connectionOut[*policyOut], error) {
		q := searchable[*policy]{
			items: s.policies,
			id:    func(p *policy) string { return p.ID },
			fields: map[string]func(*policy) []string{
				"label": func(p *policy) []string { return p.Labels },
				"name":  func(p *policy) []string { return one(p.Name) },
				"slug":  func(p *policy) []string { return one(p.ID) },
				"space": func(p *policy) []string { return one(p.Space) },
				"type":  func(p *policy) []string { return one(p.Type) },
			},
			words: []string{"name", "slug", "label"},
		}
		found, info, err := q.find(args.Input)
		if err != nil {
			return nil, err
		}
		return connection(found, info, func(p *policy) *policyOut { return p.out(s) }), nil
	})
}
