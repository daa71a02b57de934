package server

import (
	"slices"
	"strconv"
	"strings"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/policy"
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

// toAPIPolicyValues lists each value of a policy with its origin. Values
// without an origin are left out: the execution they are from began before
// there was such a value.
func toAPIPolicyValues(p policy.Policy) []api.PolicyValue {
	values := []api.PolicyValue{
		value("profile", p.Profile, words("none")),
		value("confirm", p.Confirm, func(m policy.ConfirmMode) string { return string(m) }),
	}
	for _, limit := range []struct {
		name    string
		setting *policy.Setting[int]
	}{{"maxAdded", p.Limits.MaxAdded}, {"maxChanged", p.Limits.MaxChanged}, {"maxDeleted", p.Limits.MaxDeleted}} {
		if limit.setting != nil {
			values = append(values, value("limits."+limit.name, *limit.setting, strconv.Itoa))
		}
	}
	values = append(values,
		value("types", p.Types, several),
		value("drift", p.Drift, strconv.FormatBool),
		value("approvals", p.Approvals, strconv.Itoa),
		value("approvers", p.Approvers, words("anyone")),
		value("selfApproval", p.SelfApproval, strconv.FormatBool),
		value("approvalTimeout", p.ApprovalTimeout, span),
		value("onTimeout", p.OnTimeout, func(a policy.TimeoutAction) string { return string(a) }),
		value("reminders", p.Reminders, span),
		value("escalation", p.Escalation, ladder),
		value("clock", p.Clock, words("always")),
		value("windows", p.Windows, several),
		value("retries", p.Retries, strconv.Itoa),
		value("retryCauses", p.RetryCauses, several),
		value("retryBackoff", p.RetryBackoff, span),
		value("retryAfterApply", p.RetryAfterApply, strconv.FormatBool),
		value("readLogs", p.ReadLogs, strconv.FormatBool),
		value("after", p.After, several),
		value("notify", p.Notify, several),
	)
	for _, deadline := range []struct {
		name string
		of   policy.Duration
	}{
		{"queued", p.Deadlines.Value.Queued}, {"starting", p.Deadlines.Value.Starting},
		{"planning", p.Deadlines.Value.Planning}, {"applying", p.Deadlines.Value.Applying},
	} {
		values = append(values, value("deadlines."+deadline.name, policy.Setting[policy.Duration]{Value: deadline.of, Origin: p.Deadlines.Origin}, span))
	}
	return slices.DeleteFunc(values, func(v api.PolicyValue) bool { return v.Origin == "" })
}

func value[T any](name string, s policy.Setting[T], show func(T) string) api.PolicyValue {
	return api.PolicyValue{Name: name, Value: show(s.Value), Origin: s.Origin}
}

// words shows a string, and an empty one as what it stands for.
func words(empty string) func(string) string {
	return func(s string) string {
		if s == "" {
			return empty
		}
		return s
	}
}

func several[T ~string](items []T) string {
	if len(items) == 0 {
		return "none"
	}
	all := make([]string, len(items))
	for i, item := range items {
		all[i] = string(item)
	}
	return strings.Join(all, ", ")
}

// span shows a duration, and 0 as none.
func span(d policy.Duration) string {
	if d == 0 {
		return "none"
	}
	return d.String()
}

// ladder shows the steps of an escalation: "after 1h tell #a, #b; after 24h
// discard".
func ladder(steps []policy.Step) string {
	if len(steps) == 0 {
		return "none"
	}
	all := make([]string, len(steps))
	for i, s := range steps {
		var does []string
		if len(s.Notify) > 0 {
			does = append(does, "tell "+strings.Join(s.Notify, ", "))
		}
		if s.Discard {
			does = append(does, "discard")
		}
		all[i] = "after " + span(s.After) + " " + strings.Join(does, " and ")
	}
	return strings.Join(all, "; ")
}

func toAPIGate(g policy.Gate) api.Gate {
	return api.Gate{
		Open: g.Open, At: g.At, Until: nonZero(g.Until), Reason: nonEmpty(g.Reason), Freeze: nonEmpty(g.Freeze), Window: nonEmpty(g.Window),
	}
}
