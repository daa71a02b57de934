package server

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/gen/api"
	genserver "github.com/gantryhq/gantry/gen/server"
)

// ListStacks lists the managed stacks with their policies in short.
func (h *handlers) ListStacks(ctx context.Context, req genserver.ListStacksRequestObject) (genserver.ListStacksResponseObject, error) {
	account, p := callOf(ctx).account, req.Params
	f := stackFilter{
		words: strings.Fields(strings.ToLower(deref(p.Search))), label: deref(p.Label), space: deref(p.Space),
		enforcement: policy.EnforcementLevel(deref(p.Enforcement)), problems: deref(p.Problems), problemsFirst: deref(p.Order) == api.ListStacksParamsOrderProblems,
	}
	listing := listingOf("stacks", string(account.Name), fmt.Sprint(f))
	after, err := listing.place(p.PageToken)
	if err != nil {
		return nil, err
	}
	l, err := h.directory(ctx, account)
	if err != nil {
		return nil, err
	}
	may, err := h.scope(ctx, authority.RoleViewer, account.Name)
	if err != nil {
		return nil, err
	}
	freezes, err := h.freezes(ctx, account.Name)
	if err != nil {
		return nil, err
	}
	visible := slices.DeleteFunc(slices.Clone(h.entries(l)), func(e stackEntry) bool { return !may(account.Name, e.ID) })
	answer := genserver.ListStacks200JSONResponse{Counts: countsOf(visible), At: l.at}
	chosen := slices.DeleteFunc(visible, func(e stackEntry) bool { return !f.selects(e, l.scopes[e.ID]) })
	slices.SortStableFunc(chosen, func(a, b stackEntry) int { return cmp.Compare(f.key(a), f.key(b)) })
	answer.Total = len(chosen)
	begin := slices.IndexFunc(chosen, func(e stackEntry) bool { return f.key(e) > after })
	if begin < 0 {
		begin = len(chosen)
	}
	end := min(begin+pageSize(p.PageSize), len(chosen))
	if end < len(chosen) {
		answer.NextPageToken = listing.token(f.key(chosen[end-1]))
	}
	now := time.Now()
	answer.Stacks = toAPIList(chosen[begin:end], func(e stackEntry) api.Stack {
		s := h.toAPIStack(e, freezes, now)
		// While nothing has changed, the answer stays the same.
		if then := toAPIGate(h.policies().Gate(e.policy, string(e.ID), freezes, l.at)); sameGate(then, s.Gate) {
			s.Gate = then
		}
		s.Policy = slices.DeleteFunc(s.Policy, func(v api.PolicyValue) bool {
			return v.Origin == policy.OriginDefault && v.Name != "confirm" && v.Name != "approvals"
		})
		return s
	})
	return answer, nil
}

// sameGate reports whether two checks of a gate differ in their time alone.
func sameGate(a, b api.Gate) bool {
	a.At = b.At
	return reflect.DeepEqual(a, b)
}

// stackFilter selects and orders stacks.
type stackFilter struct {
	words         []string // in lower case
	label, space  string
	enforcement   policy.EnforcementLevel
	problems      bool
	problemsFirst bool
}

func (f stackFilter) selects(e stackEntry, place authority.Stack) bool {
	for _, w := range f.words {
		if !strings.Contains(e.text, w) {
			return false
		}
	}
	switch {
	case f.label != "" && !slices.Contains(e.Labels, f.label),
		f.space != "" && !slices.Contains(place.Spaces, f.space),
		f.enforcement != "" && f.enforcement != e.enforcement.Level,
		f.problems && e.rank > rankWarnings:
		return false
	}
	return true
}

// key sorts the entries, and is the place in a page token.
func (f stackFilter) key(e stackEntry) string {
	if f.problemsFirst {
		return fmt.Sprintf("%d %s", e.rank, e.ID)
	}
	return string(e.ID)
}

func countsOf(entries []stackEntry) api.StackCounts {
	c := api.StackCounts{Total: len(entries)}
	for _, e := range entries {
		if e.rank <= rankWarnings {
			c.Problems++
		}
		switch e.enforcement.Level {
		case policy.Enforced:
			c.Enforced++
		case policy.Advisory:
			c.Advisory++
		case policy.Void:
			c.Void++
		}
	}
	return c
}
