package workflows

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/policy"
)

// takeRules takes what holds, read from the labels it names, and notes what
// became another. With here it speaks of the present state, gate and clocks
// included.
func (r *record) takeRules(at time.Time, rules terms, here bool) {
	was := r.Rules
	if was != nil {
		if now := differences(was.Policy, rules.Policy); now != "" {
			r.note(at, KindRules, "the policy is another now: %s", now)
		}
	}
	if now, ok := r.current(); ok && here {
		key := keyOfState(now)
		before := was != nil && r.RulesFor != nil && *r.RulesFor == key
		switch {
		case !rules.Gate.Open && (!before || was.Gate.Open || was.Gate.Reason != rules.Gate.Reason):
			r.note(at, KindRules, "Gantry may not confirm now: %s", rules.Gate.Reason)
		case rules.Gate.Open && before && !was.Gate.Open:
			r.note(at, KindRules, "Gantry may confirm again")
		}
		r.RulesFor = &key
	} else {
		r.RulesFor = nil
	}
	r.Rules, r.RulesRead, r.RulesStale = &rules, at, false
}

// differences names the values that differ, as name=value; empty for none.
func differences(was, is policy.Policy) string {
	before, after := values(was), values(is)
	var all []string
	for _, v := range after {
		if !slices.Contains(before, v) {
			all = append(all, v)
		}
	}
	for _, v := range before {
		if !slices.Contains(after, v) && strings.Contains(v, "can't be followed") {
			all = append(all, "no longer: "+v)
		}
	}
	return strings.Join(all, ", ")
}

// values lists what a policy says, as people read it.
func values(p policy.Policy) []string {
	all := []string{
		fmt.Sprintf("profile=%s (%s)", p.Profile.Value, p.Profile.Origin),
		fmt.Sprintf("confirm=%s (%s)", p.Confirm.Value, p.Confirm.Origin),
		fmt.Sprintf("types=%v (%s)", p.Types.Value, p.Types.Origin),
		fmt.Sprintf("drift=%t (%s)", p.Drift.Value, p.Drift.Origin),
		fmt.Sprintf("approvals=%d (%s)", p.Approvals.Value, p.Approvals.Origin),
		fmt.Sprintf("approvers=%s (%s)", p.Approvers.Value, p.Approvers.Origin),
		fmt.Sprintf("selfApproval=%t (%s)", p.SelfApproval.Value, p.SelfApproval.Origin),
		fmt.Sprintf("approvalTimeout=%s (%s)", p.ApprovalTimeout.Value, p.ApprovalTimeout.Origin),
		fmt.Sprintf("onTimeout=%s (%s)", p.OnTimeout.Value, p.OnTimeout.Origin),
		fmt.Sprintf("reminders=%s (%s)", p.Reminders.Value, p.Reminders.Origin),
		fmt.Sprintf("escalation=%v (%s)", p.Escalation.Value, p.Escalation.Origin),
		fmt.Sprintf("clock=%s (%s)", p.Clock.Value, p.Clock.Origin),
		fmt.Sprintf("windows=%s (%s)", strings.Join(p.Windows.Value, " "), p.Windows.Origin),
		fmt.Sprintf("retries=%d (%s)", p.Retries.Value, p.Retries.Origin),
		fmt.Sprintf("notify=%s (%s)", strings.Join(p.Notify.Value, " "), p.Notify.Origin),
	}
	for _, l := range []struct {
		name  string
		limit *policy.Setting[int]
	}{{"maxAdded", p.Limits.MaxAdded}, {"maxChanged", p.Limits.MaxChanged}, {"maxDeleted", p.Limits.MaxDeleted}} {
		if l.limit != nil {
			all = append(all, fmt.Sprintf("%s=%d (%s)", l.name, l.limit.Value, l.limit.Origin))
		}
	}
	for _, bad := range p.Problems {
		all = append(all, objection([]policy.Problem{bad}))
	}
	return all
}
