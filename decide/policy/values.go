package policy

import (
	"strconv"
	"strings"
)

// Value is one value of a policy, for people. Its name is that of the setting in
// a profile.
type Value struct {
	Name   string
	Value  string
	Origin string // see Setting
}

// Values lists each value of the policy, in the order of Policy.
func (p Policy) Values() []Value {
	values := []Value{show("profile", p.Profile, or("none")), show("confirm", p.Confirm, or[ConfirmMode](""))}
	for _, l := range p.limits() {
		values = append(values, show(l.name, *l.limit, strconv.Itoa))
	}
	values = append(values, p.Expressions.values()...)
	values = append(values,
		show("types", p.Types, several),
		show("drift", p.Drift, strconv.FormatBool),
		show("approvals", p.Approvals, strconv.Itoa),
		show("approvers", p.Approvers, or("anyone")),
		show("selfApproval", p.SelfApproval, strconv.FormatBool),
		show("approvalTimeout", p.ApprovalTimeout, orNone),
		show("onTimeout", p.OnTimeout, or[TimeoutAction]("")),
		show("reminders", p.Reminders, orNone),
		show("escalation", p.Escalation, ladder),
		show("clock", p.Clock, or("always")),
		show("windows", p.Windows, several),
		show("retries", p.Retries, strconv.Itoa),
		show("retryCauses", p.RetryCauses, several),
		show("retryBackoff", p.RetryBackoff, orNone),
		show("retryAfterApply", p.RetryAfterApply, strconv.FormatBool),
		show("readLogs", p.ReadLogs, strconv.FormatBool),
		show("after", p.After, several),
		show("oldPlans", p.OldPlans, or[OldPlans]("")),
		show("notify", p.Notify, several),
	)
	for _, d := range []Value{
		{Name: "queued", Value: orNone(p.Deadlines.Value.Queued)}, {Name: "starting", Value: orNone(p.Deadlines.Value.Starting)},
		{Name: "planning", Value: orNone(p.Deadlines.Value.Planning)}, {Name: "applying", Value: orNone(p.Deadlines.Value.Applying)},
	} {
		values = append(values, Value{"deadlines." + d.Name, d.Value, p.Deadlines.Value.origin(d.Name)})
	}
	return values
}

func show[T any](name string, s Setting[T], spell func(T) string) Value {
	return Value{name, spell(s.Value), s.Origin}
}

// or returns a function that spells a word as it is, and an empty one as none.
func or[T ~string](none T) func(T) string {
	return func(s T) string {
		if s == "" {
			return string(none)
		}
		return string(s)
	}
}

func several[T ~string](items []T) string {
	if len(items) == 0 {
		return "none"
	}
	return listed(items)
}

func listed[T ~string](items []T) string {
	words := make([]string, len(items))
	for i, item := range items {
		words[i] = string(item)
	}
	return strings.Join(words, ", ")
}

func orNone(d Duration) string {
	if d == 0 {
		return "none"
	}
	return d.String()
}

// ladder spells the steps of an escalation: "after 1h notify a, b; after 24h
// discard".
func ladder(steps []Step) string {
	if len(steps) == 0 {
		return "none"
	}
	words := make([]string, len(steps))
	for i, s := range steps {
		var does []string
		if len(s.Notify) > 0 {
			does = append(does, "notify "+strings.Join(s.Notify, ", "))
		}
		if s.Discard {
			does = append(does, "discard")
		}
		words[i] = "after " + s.After.String() + " " + strings.Join(does, " and ")
	}
	return strings.Join(words, "; ")
}
