package model

import (
	"reflect"
	"slices"
	"time"

	"github.com/gantryhq/gantry/e2e/schedules/history"
)

// floors returns the profiles of the locked rules over a space.
func (c Config) floors(space string) (all []history.Profile) {
	for _, f := range c.Floors {
		if len(f.Spaces) > 0 && !in(space, f.Spaces) {
			continue
		}
		if p, found := c.profile(f.Profile); found {
			all = append(all, p)
		}
	}
	return all
}

// lock keeps of what the labels loosen the values of locked rules
// (docs/reference/labels.md, "Rules").
func (r *resolution) lock(floors []history.Profile, profile Policy) {
	p := &r.policy
	if p.Confirm == "auto" && (len(r.values["approvals"]) > 0 || len(r.values["approvers"]) > 0 || len(r.values["approval-timeout"]) > 0) {
		r.unclear("gantry:confirm=auto with settings about people, under a locked rule")
	}
	for _, f := range floors {
		r.tighten(r.of(f))
	}
	// A label that overrides a profile of a label: the documents don't say whether that
	// may loosen what the profile had tightened.
	alone := *p
	r.tighten(profile)
	if !reflect.DeepEqual(alone, *p) {
		r.unclear("a label and the profile that another one names, under a locked rule")
	}
}

// tighten takes over what is tighter in another policy. Of two groups, that of the
// other one stays.
func (r *resolution) tighten(by Policy) {
	p := &r.policy
	order := []string{"manual", "no-deletes", "auto", ""}
	if slices.Index(order, by.Confirm) < slices.Index(order, p.Confirm) {
		p.Confirm = by.Confirm
	}
	p.Limits = history.Limits{
		MaxAdded: smaller(p.Limits.MaxAdded, by.Limits.MaxAdded), MaxChanged: smaller(p.Limits.MaxChanged, by.Limits.MaxChanged),
		MaxDeleted: smaller(p.Limits.MaxDeleted, by.Limits.MaxDeleted),
	}
	p.Types = slices.DeleteFunc(slices.Clone(p.Types), func(t string) bool { return !slices.Contains(by.Types, t) })
	p.Drift, p.SelfApproval = p.Drift && by.Drift, p.SelfApproval && by.SelfApproval
	p.Approvals = max(p.Approvals, by.Approvals)
	if by.Approvers != "" {
		p.Approvers = by.Approvers
	}
	for _, w := range by.ApprovalsWhen {
		if !slices.Contains(p.ApprovalsWhen, w) {
			p.ApprovalsWhen = append(slices.Clone(p.ApprovalsWhen), w)
		}
	}
	if by.Below > 0 && (p.Below == 0 || by.Below < p.Below) {
		p.Below = by.Below
	}
	for _, h := range by.Holds {
		if !slices.Contains(p.Holds, h) {
			p.Holds = append(slices.Clone(p.Holds), h)
		}
	}
	p.Timeout = shorter(p.Timeout, by.Timeout)
	p.Discards, p.KeepOldPlans = p.Discards || by.Discards, p.KeepOldPlans && by.KeepOldPlans
	for _, w := range by.Windows {
		if !slices.Contains(p.Windows, w) {
			p.Windows = append(p.Windows, w)
		}
	}
}

func smaller(a, b *int) *int {
	if a == nil || b != nil && *b < *a {
		return b
	}
	return a
}

// shorter returns the shorter of two time limits; 0 is none.
func shorter(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
