package server

import (
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/gen/api"
)

// toAPIPolicy lists each value of a policy with its origin, and behind them
// the labels that can't be followed.
func toAPIPolicy(p policy.Policy) []api.PolicyValue {
	values := toAPIPolicyValues(p)
	for _, bad := range p.Problems {
		values = append(values, api.PolicyValue{
			Name: "unreadable", Value: bad.Label, Origin: bad.Label, Problem: new(bad.Problem + "; " + bad.Remedy),
		})
	}
	return values
}

// toAPIPolicyValues lists each value of a policy with its origin.
func toAPIPolicyValues(p policy.Policy) []api.PolicyValue {
	values := []api.PolicyValue{}
	for _, v := range p.Values() {
		values = append(values, api.PolicyValue{Name: v.Name, Value: v.Value, Origin: v.Origin})
	}
	return values
}

func toAPIGate(g policy.Gate) api.Gate {
	return api.Gate{
		Open: g.Open, At: g.At, Until: nonZero(g.Until), Reason: nonEmpty(g.Reason), Freeze: nonEmpty(g.Freeze), Window: nonEmpty(g.Window),
	}
}
