package model

import (
	"slices"
	"time"

	"github.com/gantryhq/gantry/e2e/schedules/history"
)

// Decider names those who decide about a plan with changes.
type Decider string

// The deciders.
const (
	Nobody  Decider = "nobody"  // the stack isn't managed, or a label holds it
	Gantry  Decider = "gantry"  // alone
	People  Decider = "people"  // through Gantry
	Outside Decider = "outside" // people, in Spacelift
)

// Plan is a plan with changes, as far as policy depends on it.
type Plan struct {
	Type     string
	Drift    bool
	Delta    *history.Delta // nil if unknown
	Destroys []string       // types of the resources that it deletes
	Author   string         // login of the author of the commit; empty if unknown
	By       []string       // who triggered the run, or asked for it or for the run that it retries
}

// Decider returns who decides about the plan (docs/reference/labels.md, "Confirmation").
func (p Policy) Decider(plan Plan) Decider {
	switch {
	case !p.Managed || len(p.Invalid) > 0:
		return Nobody
	case p.Confirm == "" && p.Approvals == 0 && p.Approvers == "" && p.Timeout == 0:
		return Outside
	case p.Confirm == "" || p.Confirm == "manual" || !slices.Contains(p.Types, plan.Type), plan.Drift && !p.Drift:
		return People
	case p.Confirm == "no-deletes" && (plan.Delta == nil || plan.Delta.Deleted > 0):
		return People
	case !p.fits(plan.Delta), len(p.extra(plan)) > 0, p.Below > 0 && (plan.Delta == nil || plan.Delta.Total() >= p.Below):
		return People
	}
	return Gantry
}

// Held returns the type of a resource whose destruction holds the plan, no matter who approves
// it; empty for none (docs/how-to/resource-policies.md).
func (p Policy) Held(plan Plan) string {
	for _, h := range p.Holds {
		if slices.Contains(plan.Destroys, h) {
			return h
		}
	}
	return ""
}

// fits reports whether a plan is within the limits; one with unknown changes isn't.
func (p Policy) fits(d *history.Delta) bool {
	if p.Limits == (history.Limits{}) {
		return true
	}
	if d == nil {
		return false
	}
	most := func(limit *int, n int) bool { return limit == nil || n <= *limit }
	return most(p.Limits.MaxAdded, d.Added) && most(p.Limits.MaxChanged, d.Changed) && most(p.Limits.MaxDeleted, d.Deleted)
}

// Demand is a number of different people of a group; of any if it is empty.
type Demand struct {
	Needed int
	Group  string
}

// Demands returns how many different people of which groups must approve the plan where
// people decide: a person counts for one of the demands (docs/how-to/resource-policies.md).
func (p Policy) Demands(plan Plan) []Demand {
	extra := p.extra(plan)
	own := Demand{p.Approvals, p.Approvers}
	if len(extra) == 0 {
		own.Needed = max(own.Needed, 1)
	}
	return append([]Demand{own}, extra...)
}

// extra returns what expressions over the plan's resources ask for.
func (p Policy) extra(plan Plan) (all []Demand) {
	for _, w := range p.ApprovalsWhen {
		if slices.Contains(plan.Destroys, w.Destroys) {
			all = append(all, Demand{w.Needed, w.Group})
		}
	}
	return all
}

// Lacking returns how many people are missing at least, if these may approve: each is the
// groups of one person. Of every set of demands, enough people must belong to one's group.
func Lacking(demands []Demand, people [][]string) int {
	missing := 0
	for set := range 1 << len(demands) {
		needed, given := 0, 0
		for i, d := range demands {
			if set>>i&1 == 1 {
				needed += d.Needed
			}
		}
		for _, groups := range people {
			for i, d := range demands {
				if set>>i&1 == 1 && d.Needed > 0 && (d.Group == "" || slices.Contains(groups, d.Group)) {
					given++
					break
				}
			}
		}
		missing = max(missing, needed-given)
	}
	return missing
}

// MayApprove returns why a person's approval doesn't count, or nothing
// (docs/how-to/approvals.md).
func (c Config) MayApprove(p Policy, plan Plan, token string, may Grant) string {
	bearer, found := c.Token(token)
	switch {
	case !found:
		return "there is no such token"
	case may == Never || may == Unknown:
		return "the person may not approve on this stack"
	case !slices.ContainsFunc(p.Demands(plan), func(d Demand) bool { return d.Group == "" || slices.Contains(bearer.Groups, d.Group) }):
		return "the person is in none of the groups that are asked, such as " + p.Approvers
	case p.SelfApproval:
		return ""
	case plan.Author == "" && len(plan.By) == 0:
		return "nobody is known to have made the change, so it may be the approver's own"
	case plan.Author != "" && c.Who(plan.Author) == c.Who(token):
		return "the person wrote the commit"
	}
	for _, by := range plan.By {
		if c.Who(by) == c.Who(token) {
			return "the person triggered the run"
		}
	}
	return ""
}

// Freeze keeps Gantry from confirming from its begin until its end or until it is
// lifted.
type Freeze struct {
	Stacks []string // all of the account if empty
	Begin  time.Time
	End    time.Time // zero: until it is lifted
}

// Binds reports whether the freeze concerns the stack at that time, if nobody lifted it.
func (f Freeze) Binds(stack string, at time.Time) bool {
	return (len(f.Stacks) == 0 || slices.Contains(f.Stacks, stack)) && !at.Before(f.Begin) && (f.End.IsZero() || at.Before(f.End))
}

// Brake returns what about the stack keeps Gantry from acting on it, or nothing.
// The actor is Gantry's API key: its own lock is none.
func Brake(s history.Stack, actor string) string {
	switch {
	case s.LockedBy != "" && s.LockedBy != actor:
		return "it is locked by " + s.LockedBy
	case s.Disabled:
		return "it is disabled"
	case s.Deleting || s.Deleted:
		return "it is being deleted"
	}
	return ""
}
