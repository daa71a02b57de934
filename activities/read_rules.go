package activities

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gantryhq/gantry/decide/freeze"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// ReadRulesInput names a run and the labels of its stack.
type ReadRulesInput struct {
	Run    spacelift.RunRef `json:"run"`
	Labels []string         `json:"labels,omitempty"` // as OurLabels gives them

	// PlanSince is the time at which a plan began to ask for a decision. With it,
	// ReadRules reads the gate and the deadlines too.
	PlanSince time.Time `json:"planSince,omitzero"`

	// Plan is the state version of the plan that the run shows; nil if it shows none.
	// Its resources are read along for the policy's expressions and, unless Listed
	// says that they are known, for people.
	Plan   *int `json:"plan,omitempty"`
	Listed bool `json:"listed,omitempty"`

	// GateAt is the time of a confirmation that wasn't Gantry's. With it, ReadRules
	// computes the gate and the results of the policy's expressions as they were then.
	GateAt time.Time `json:"gateAt,omitzero"`
}

// ReadRules resolves labels and the rules that select the stack by the configuration of
// this replica. Labels
// that can't be followed are no error: they are the policy's Problems. With
// PlanSince it asks Temporal for the account's freezes. Resources that can't be read
// are an error only if the policy has expressions and trying again may help.
func (a *Activities) ReadRules(ctx context.Context, in ReadRulesInput) (managed.Rules, error) {
	by := a.definitions()
	policy, err := a.resolve(ctx, by, in.Run.Account, in.Run.Stack, in.Labels)
	if err != nil {
		return managed.Rules{}, err
	}
	rules := managed.Rules{Labels: spacelift.OurLabels(in.Labels), Policy: policy}
	if api, ok := a.Accounts[in.Run.Account]; ok {
		rules.URL = api.RunURL(in.Run)
	}
	if spacelift.Managed(rules.Labels) {
		rules.Followers = a.followersOf(ctx, in.Run.Account, in.Run.Stack)
	}
	rules.Alarms = a.Alarms
	if in.PlanSince.IsZero() && in.GateAt.IsZero() {
		return rules, nil
	}
	var plan *reading
	if in.Plan != nil && spacelift.Managed(rules.Labels) && (!in.Listed || rules.Policy.Expressions.Any()) {
		plan = a.plan(ctx, in.Run, *in.Plan)
		if rules.Policy.Expressions.Any() && plan.again() {
			return managed.Rules{}, classify(ctx, plan.err)
		}
		rules.Resources, rules.Missing = plan.bounded(), errors.Is(plan.err, spacelift.ErrNotFound)
	}
	if !in.GateAt.IsZero() && spacelift.Managed(rules.Labels) && rules.Policy.Expressions.Any() {
		if plan = a.appliedPlan(ctx, in.Run); plan.again() {
			return managed.Rules{}, classify(ctx, plan.err)
		}
	}
	return a.timed(ctx, by, in, rules, plan)
}

// timed adds the rules that depend on the time: the gate as it is now, or at GateAt,
// the deadlines of a plan, and the results of the policy's expressions for one that was
// read.
func (a *Activities) timed(ctx context.Context, by *policy.Definitions, in ReadRulesInput, rules managed.Rules, plan *reading) (managed.Rules, error) {
	freezes, err := a.freezes(ctx, in.Run.Account)
	if err != nil {
		return managed.Rules{}, err
	}
	at := a.now()
	if !in.GateAt.IsZero() {
		at = in.GateAt
	}
	rules.Verdicts = plan.judged(by, rules.Policy, at)
	rules.Gate = by.Gate(rules.Policy, string(in.Run.Stack), freezes, at).HeldBy(rules.Verdicts)
	if !in.PlanSince.IsZero() {
		rules.Schedule = by.Schedule(rules.Policy, in.PlanSince)
		rules.Approvers = by.Approvers(rules.Policy.Approvers.Value)
	}
	return rules, nil
}

// freezes returns the freezes of an account. An account without any is an answer;
// not knowing is an error, since a freeze may forbid the act.
func (a *Activities) freezes(ctx context.Context, account spacelift.Account) ([]policy.Freeze, error) {
	freezes, _, err := query[[]policy.Freeze](ctx, a, freeze.ID(account), "", freeze.Query)
	if err != nil {
		return nil, classify(ctx, fmt.Errorf("ask for the freezes of account %s: %w", account, err))
	}
	return freezes, nil
}

// now returns the time by this replica's clock.
func (a *Activities) now() time.Time {
	if a.Now != nil {
		return a.Now().UTC()
	}
	return time.Now().UTC()
}
