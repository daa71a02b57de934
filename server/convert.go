package server

import (
	"time"

	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/gen/api"
)

// toAPIList converts each item of a list; the API has no null for an empty one.
func toAPIList[T, A any](items []T, convert func(T) A) []A {
	list := make([]A, len(items))
	for i, item := range items {
		list[i] = convert(item)
	}
	return list
}

// words writes ids as the API has them; none is an empty list.
func words[ID ~string](ids []ID) []string {
	return toAPIList(ids, func(id ID) string { return string(id) })
}

// optional converts a value that may be missing.
func optional[T, A any](value *T, convert func(T) A) *A {
	if value == nil {
		return nil
	}
	return new(convert(*value))
}

// nonEmpty returns nil for an empty text, a zero or false, which the API leaves out.
func nonEmpty[T comparable](v T) *T {
	var empty T
	if v == empty {
		return nil
	}
	return new(v) // only now: &v would be allocated for an empty one, too
}

// nonZero returns nil for a time that the API leaves out.
func nonZero(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func deref[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// toAPIPolicy returns each value of a policy with its origin, followed by the labels that
// Gantry can't follow.
func toAPIPolicy(p policy.Policy) []api.PolicyValue {
	values := toAPIPolicyValues(p)
	for _, bad := range p.Problems {
		values = append(values, api.PolicyValue{
			Name: "unreadable", Value: bad.Label, Origin: bad.Label, Problem: new(bad.Problem + "; " + bad.Remedy),
		})
	}
	return values
}

// toAPIPolicyValues returns each value of a policy with its origin.
func toAPIPolicyValues(p policy.Policy) []api.PolicyValue {
	return toAPIList(p.Values(), func(v policy.Value) api.PolicyValue {
		value := api.PolicyValue{Name: v.Name, Value: v.Value, Origin: v.Origin}
		for _, o := range p.Overruled {
			if o.Setting == v.Name {
				value.Overruled = append(value.Overruled, toAPIOverruled([]policy.Overruled{o})...)
			}
		}
		return value
	})
}

// toAPIOverruled returns values without effect; nil for none.
func toAPIOverruled(all []policy.Overruled) (values []api.OverruledValue) {
	for _, o := range all {
		values = append(values, api.OverruledValue{Value: o.Value, Origin: o.Origin, Reason: o.Reason})
	}
	return values
}

func toAPIPolicyProblem(p policy.Problem) api.PolicyProblem {
	return api.PolicyProblem{Label: p.Label, Problem: p.Problem, Remedy: p.Remedy}
}

func toAPIGate(g policy.Gate) api.Gate {
	return api.Gate{
		Open: g.Open, At: g.At, Until: nonZero(g.Until), Reason: nonEmpty(g.Reason), Freeze: nonEmpty(g.Freeze), Window: nonEmpty(g.Window),
	}
}
