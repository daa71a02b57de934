package managed

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/decide/policy"
)

// Rules are the rules in effect for a run.
type Rules struct {
	Labels []string      `json:"labels,omitempty"` // what they were read from
	Policy policy.Policy `json:"policy"`

	// Gate and Schedule are for the plan that was asked about; Schedule is sorted by
	// time.
	Gate     policy.Gate       `json:"gate,omitzero"`
	Schedule []policy.Deadline `json:"dues,omitempty"`

	// Verdicts are the results of the policy's expressions for that plan; nil if there
	// are none.
	Verdicts *policy.Verdicts `json:"verdicts,omitempty"`

	// Approvers are the people who may approve the plan that was asked about; nil
	// if they are not known.
	Approvers *policy.Approvers `json:"approvers,omitempty"`

	// Alarms are the channels that receive every alarm about the account, beside those
	// of the policy.
	Alarms []string `json:"alarms,omitempty"`

	// URL is the address of the run in Spacelift's user interface.
	URL string `json:"url,omitempty"`

	// Resources are those of the plan that was asked about, unless they were known.
	Resources *Resources `json:"resources,omitempty"`

	// Missing says that Spacelift doesn't know the run, which it was asked about for its
	// resources.
	Missing bool `json:"missing,omitempty"`

	// Followers are the stacks that follow the run's; nil when that is not known,
	// or nobody asked.
	Followers *Followers `json:"followers,omitempty"`
}

// DoubtRules makes a run at a gate read its rules again: a freeze or the
// configuration may have changed.
func (r *Record) DoubtRules() {
	if r.RulesFor != nil {
		r.RulesStale = true
	}
}

// TakeRules takes the rules in effect, and records what changed. With here they are
// for the present state, with gate and schedule.
func (r *Record) TakeRules(at time.Time, rules Rules, here bool) {
	was := r.Rules
	if was != nil {
		if now := differences(was.Policy, rules.Policy); now != "" {
			r.Note(at, KindRules, "the policy is another now: %s", now)
		}
	}
	if now, ok := r.current(); ok && here {
		key := keyOfState(now)
		before := was != nil && r.RulesFor != nil && *r.RulesFor == key
		switch {
		case !rules.Gate.Open && (!before || was.Gate.Open || was.Gate.Reason != rules.Gate.Reason):
			r.Note(at, KindRules, "Gantry may not confirm now: %s", rules.Gate.Reason)
		case rules.Gate.Open && before && !was.Gate.Open:
			r.Note(at, KindRules, "Gantry may confirm again")
		}
		r.RulesFor = &key
	} else {
		r.RulesFor = nil
	}
	r.clearBackoff(DoRules)
	r.takeFollowers(at, rules.Followers)
	r.takeResources(at, rules.Resources)
	if rules.Missing {
		r.Missing(at)
	}
	rules.Followers, rules.Resources, rules.Missing = nil, nil, false // the record has its own
	r.Rules, r.RulesRead, r.RulesStale = &rules, at, false
	if ask := r.currentPending(); ask != nil && was != nil && (asksOthers(was.Policy, rules.Policy) || !was.Verdicts.Same(rules.Verdicts)) {
		ask.reask()
	}
	r.judgeApplication(at, rules)
	r.ConsiderRetry(at)
}

// asksOthers reports whether another policy asks other people, more of them, or
// in other channels.
func asksOthers(was, is policy.Policy) bool {
	return was.Approvals.Value != is.Approvals.Value || was.Approvers.Value != is.Approvers.Value ||
		!slices.Equal(was.Notify.Value, is.Notify.Value)
}

// differences names the values that differ, as name=value, and the labels that
// can't be followed any more or again; empty for none.
func differences(was, is policy.Policy) string {
	var all []string
	before := was.Values()
	for _, v := range is.Values() {
		if !slices.Contains(before, v) {
			all = append(all, fmt.Sprintf("%s=%s (%s)", v.Name, v.Value, v.Origin))
		}
	}
	for _, bad := range is.Problems {
		if !slices.Contains(was.Problems, bad) {
			all = append(all, objection([]policy.Problem{bad}))
		}
	}
	for _, bad := range was.Problems {
		if !slices.Contains(is.Problems, bad) {
			all = append(all, "no longer: "+objection([]policy.Problem{bad}))
		}
	}
	return strings.Join(all, ", ")
}
