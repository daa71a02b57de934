package policy

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strconv"

	"github.com/gantryhq/gantry/spacelift"
)

// settings lists every value that profiles and labels set, and which of two values is
// tighter: locked rules go by this table, and docs/reference/labels.md shows it. It is
// in the order in which people read a policy.
var settings = []setting{
	define("confirm", true, one(func(p *Policy) *Setting[ConfirmMode] { return &p.Confirm }, confirmOf, or[ConfirmMode]("")),
		ranked("manual before no-deletes before auto", ConfirmManual, ConfirmNoDeletes, ConfirmAuto)),
	define("limits.maxAdded", true, limit(func(l *Limits) **Setting[int] { return &l.MaxAdded }, func(l layer) *int { return l.MaxAdded }), least[int]("the smaller")),
	define("limits.maxChanged", true, limit(func(l *Limits) **Setting[int] { return &l.MaxChanged }, func(l layer) *int { return l.MaxChanged }), least[int]("the smaller")),
	define("limits.maxDeleted", true, limit(func(l *Limits) **Setting[int] { return &l.MaxDeleted }, func(l layer) *int { return l.MaxDeleted }), least[int]("the smaller")),
	define("confirmWhen", true, condition(func(e *Expressions) **Setting[[]string] { return &e.ConfirmWhen }, func(l layer) *string { return l.ConfirmWhen }, conjoined), every("both must be true", false)),
	define("approvalsWhen", true, expressions(func(e *Expressions) **Setting[[]Requirement] { return &e.ApprovalsWhen },
		func(l layer) []Requirement { return l.ApprovalsWhen }, demands), requirements),
	define("holdWhen", true, condition(func(e *Expressions) **Setting[[]string] { return &e.HoldWhen }, func(l layer) *string { return l.HoldWhen }, disjoined), every("either holds", false)),
	define("types", true, many(func(p *Policy) *Setting[[]spacelift.RunType] { return &p.Types }, func(l layer) []spacelift.RunType { return l.Types }, several), shared[spacelift.RunType]()),
	define("drift", true, one(func(p *Policy) *Setting[bool] { return &p.Drift }, func(l layer) *bool { return l.Drift }, strconv.FormatBool), falseFirst),
	define("approvals", true, one(func(p *Policy) *Setting[int] { return &p.Approvals }, func(l layer) *int { return l.Approvals }, strconv.Itoa), most[int]("the greater")),
	define("approvers", true, one(func(p *Policy) *Setting[string] { return &p.Approvers }, func(l layer) *string { return l.Approvers }, or("anyone")), group),
	define("selfApproval", true, one(func(p *Policy) *Setting[bool] { return &p.SelfApproval }, func(l layer) *bool { return l.SelfApproval }, strconv.FormatBool), falseFirst),
	define("approvalTimeout", true, one(func(p *Policy) *Setting[Duration] { return &p.ApprovalTimeout }, func(l layer) *Duration { return l.ApprovalTimeout }, orNone), shorter),
	define("onTimeout", true, one(func(p *Policy) *Setting[TimeoutAction] { return &p.OnTimeout }, func(l layer) *TimeoutAction { return l.OnTimeout }, or[TimeoutAction]("")),
		ranked("discard before keep", TimeoutDiscard, TimeoutKeep)),
	define("escalation", true, many(func(p *Policy) *Setting[[]Step] { return &p.Escalation }, func(l layer) []Step { return l.Escalation }, ladder), steps),
	define("clock", true, one(func(p *Policy) *Setting[string] { return &p.Clock }, func(l layer) *string { return l.Clock }, or("always")), clocks),
	define("windows", true, many(func(p *Policy) *Setting[[]string] { return &p.Windows }, func(l layer) []string { return l.Windows }, several), every("all windows of both", false)),
	define("after", true, many(func(p *Policy) *Setting[[]string] { return &p.After }, func(l layer) []string { return l.after }, several), every("all stacks of both", true)),
	define("oldPlans", true, one(func(p *Policy) *Setting[OldPlans] { return &p.OldPlans }, func(l layer) *OldPlans { return l.OldPlans }, or[OldPlans]("")),
		ranked("replace before keep", OldPlansReplace, OldPlansKeep)),
	define("reminders", false, one(func(p *Policy) *Setting[Duration] { return &p.Reminders }, func(l layer) *Duration { return l.Reminders }, orNone), shorter),
	define("notify", false, many(func(p *Policy) *Setting[[]string] { return &p.Notify }, func(l layer) []string { return l.Notify }, several), every("all channels of both", true)),
	define("retries", false, one(func(p *Policy) *Setting[int] { return &p.Retries }, func(l layer) *int { return l.Retries }, strconv.Itoa), least[int]("the smaller")),
	define("retryCauses", false, many(func(p *Policy) *Setting[[]Cause] { return &p.RetryCauses }, func(l layer) []Cause { return l.RetryCauses }, several), shared[Cause]()),
	define("retryBackoff", false, one(func(p *Policy) *Setting[Duration] { return &p.RetryBackoff }, func(l layer) *Duration { return l.RetryBackoff }, orNone), most[Duration]("the longer")),
	define("retryAfterApply", false, one(func(p *Policy) *Setting[bool] { return &p.RetryAfterApply }, func(l layer) *bool { return l.RetryAfterApply }, strconv.FormatBool), falseFirst),
	define("readLogs", false, one(func(p *Policy) *Setting[bool] { return &p.ReadLogs }, func(l layer) *bool { return l.ReadLogs }, strconv.FormatBool), falseFirst),
	define("deadlines.queued", false, deadline("queued", func(d *PhaseDeadlines) *Duration { return &d.Queued }, func(d ProfileDeadlines) *Duration { return d.Queued }), shorter),
	define("deadlines.starting", false, deadline("starting", func(d *PhaseDeadlines) *Duration { return &d.Starting }, func(d ProfileDeadlines) *Duration { return d.Starting }), shorter),
	define("deadlines.planning", false, deadline("planning", func(d *PhaseDeadlines) *Duration { return &d.Planning }, func(d ProfileDeadlines) *Duration { return d.Planning }), shorter),
	define("deadlines.applying", false, deadline("applying", func(d *PhaseDeadlines) *Duration { return &d.Applying }, func(d ProfileDeadlines) *Duration { return d.Applying }), shorter),
}

// one accesses a value that layers may leave out.
func one[T any](at func(*Policy) *Setting[T], from func(layer) *T, spell func(T) string) access[T] {
	return access[T]{
		get: func(p *Policy) Setting[T] { return *at(p) },
		set: func(p *Policy, s Setting[T]) { *at(p) = s },
		given: func(l layer) (value T, ok bool) {
			if v := from(l); v != nil {
				return *v, true
			}
			return value, false
		},
		spell: spell,
	}
}

// many accesses a list, which a layer sets unless its own is empty.
func many[E any](at func(*Policy) *Setting[[]E], from func(layer) []E, spell func([]E) string) access[[]E] {
	return access[[]E]{
		get:   func(p *Policy) Setting[[]E] { return *at(p) },
		set:   func(p *Policy, s Setting[[]E]) { *at(p) = s },
		given: func(l layer) ([]E, bool) { return slices.Clone(from(l)), len(from(l)) > 0 },
		spell: spell,
	}
}

// expressions accesses expressions, which a policy may lack.
func expressions[E any](at func(*Expressions) **Setting[[]E], from func(layer) []E, spell func([]E) string) access[[]E] {
	a := many(nil, from, spell)
	a.get = func(p *Policy) Setting[[]E] {
		if s := *at(&p.Expressions); s != nil {
			return *s
		}
		return defaultly([]E(nil))
	}
	a.set = func(p *Policy, s Setting[[]E]) { *at(&p.Expressions) = &s }
	return a
}

// condition accesses conditions, of which a layer gives one.
func condition(at func(*Expressions) **Setting[[]string], from func(layer) *string, spell func([]string) string) access[[]string] {
	return expressions(at, func(l layer) []string {
		if text := from(l); text != nil {
			return []string{*text}
		}
		return nil
	}, spell)
}

// confirmOf returns a layer's mode of confirmation. A condition of automatic confirmation
// implies it.
func confirmOf(l layer) *ConfirmMode {
	if l.Confirm == nil && l.ConfirmWhen != nil {
		return new(ConfirmAuto)
	}
	return l.Confirm
}

// unlimited stands for a limit that is not set.
const unlimited = math.MaxInt

// limit accesses a limit, which a policy may lack.
func limit(at func(*Limits) **Setting[int], from func(layer) *int) access[int] {
	a := one(nil, from, func(n int) string {
		if n == unlimited {
			return "none"
		}
		return strconv.Itoa(n)
	})
	a.get = func(p *Policy) Setting[int] {
		if s := *at(&p.Limits); s != nil {
			return *s
		}
		return defaultly(unlimited)
	}
	a.set = func(p *Policy, s Setting[int]) { *at(&p.Limits) = &s }
	return a
}

// deadline accesses the deadline of a phase. Each has an origin of its own.
func deadline(phase string, at func(*PhaseDeadlines) *Duration, from func(ProfileDeadlines) *Duration) access[Duration] {
	a := one(nil, func(l layer) *Duration { return from(l.Deadlines) }, orNone)
	a.get = func(p *Policy) Setting[Duration] {
		return Setting[Duration]{*at(&p.Deadlines.Value), p.Deadlines.Value.origin(phase)}
	}
	a.set = func(p *Policy, s Setting[Duration]) {
		*at(&p.Deadlines.Value) = s.Value
		origins := maps.Clone(p.Deadlines.Value.Origins) // a copy of the policy shares them
		if origins == nil {
			origins = map[string]string{}
		}
		origins[phase] = s.Origin
		p.Deadlines.Value.Origins, p.Deadlines.Origin = origins, s.Origin
	}
	return a
}

// ranked is the order of values that are listed with the tightest first.
func ranked[T comparable](says string, values ...T) order[T] {
	return order[T]{says: says, meet: func(a, b T) (T, bool) {
		if slices.Index(values, b) < slices.Index(values, a) {
			return b, true
		}
		return a, true
	}}
}

func least[T cmp.Ordered](says string) order[T] {
	return order[T]{says: says, meet: func(a, b T) (T, bool) { return min(a, b), true }}
}

func most[T cmp.Ordered](says string) order[T] {
	return order[T]{says: says, meet: func(a, b T) (T, bool) { return max(a, b), true }}
}

// shared is the order of lists that allow: the tighter allows what both allow.
func shared[E comparable]() order[[]E] {
	return order[[]E]{says: "what both list", meet: func(a, b []E) ([]E, bool) {
		return slices.DeleteFunc(slices.Clone(a), func(e E) bool { return !slices.Contains(b, e) }), true
	}}
}

// every is the order of lists that demand: the tighter demands what either demands.
// With byLabels the values of several labels add up even where nothing is locked.
func every(says string, byLabels bool) order[[]string] {
	return order[[]string]{says: says, union: true, labels: byLabels, meet: func(a, b []string) ([]string, bool) {
		return sorted(slices.Concat(a, b)), true
	}}
}

var (
	falseFirst = ranked("false before true", false, true)

	shorter = order[Duration]{says: "the shorter; any before none", meet: func(a, b Duration) (Duration, bool) {
		if a == 0 || b != 0 && b < a {
			return b, true
		}
		return a, true
	}}

	group = order[string]{says: "a group before anyone; of two groups neither", meet: func(a, b string) (string, bool) {
		return cmp.Or(a, b), a == "" || b == "" || a == b
	}}

	clocks = order[string]{says: "always before a window; of two windows neither", meet: func(a, b string) (string, bool) {
		if a == "" || b == "" {
			return "", true
		}
		return a, a == b
	}}

	requirements = order[[]Requirement]{says: "the approvals of both", union: true, meet: func(a, b []Requirement) ([]Requirement, bool) {
		all := slices.Clone(a)
		for _, r := range b {
			if !slices.Contains(all, r) {
				all = append(all, r)
			}
		}
		return all, true
	}}

	steps = order[[]Step]{says: "the steps of both, up to the first that discards", union: true, meet: func(a, b []Step) ([]Step, bool) {
		return mergeSteps(a, b), true
	}}
)

// mergeSteps returns the steps of two escalations as one. Steps at the same time become
// one step, and none comes after a step that discards the plan.
func mergeSteps(a, b []Step) (merged []Step) {
	all := slices.Concat(a, b)
	slices.SortStableFunc(all, func(x, y Step) int { return cmp.Compare(x.After, y.After) })
	for _, s := range all {
		last := len(merged) - 1
		switch {
		case last >= 0 && merged[last].After == s.After:
			merged[last].Notify = orNil(sorted(slices.Concat(merged[last].Notify, s.Notify)))
			merged[last].Discard = merged[last].Discard || s.Discard
		case last < 0 || !merged[last].Discard:
			merged = append(merged, s)
		}
	}
	return merged
}
