package activities

import (
	"context"
	"fmt"
	"time"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// resourcesTimeout leaves a reading of the rules, which must answer within 3 seconds,
// time for the rest.
const resourcesTimeout = 2 * time.Second

// reading is a plan with its resources, or why they could not be read. Nil is a plan
// that nobody asked for.
type reading struct {
	plan         spacelift.PlannedResources
	stateVersion int // that was asked for
	err          error
}

// plan reads the plan of a state version with its resources.
func (a *Activities) plan(ctx context.Context, run spacelift.RunRef, stateVersion int) *reading {
	api, err := a.account(run.Account)
	if err != nil {
		return &reading{stateVersion: stateVersion, err: err}
	}
	limited, cancel := context.WithTimeout(ctx, resourcesTimeout)
	defer cancel()
	planned, err := api.PlannedResources(limited, run)
	if err == nil && planned.Run.StateVersion != stateVersion {
		err = fmt.Errorf("the run is in %s (%d) by now, not at state version %d", planned.Run.State, planned.Run.StateVersion, stateVersion)
	}
	return &reading{plan: planned, stateVersion: stateVersion, err: err}
}

// appliedPlan reads the plan of a run that was confirmed or applied without Gantry; nil if
// it can't ever be read, which accuses nobody.
func (a *Activities) appliedPlan(ctx context.Context, run spacelift.RunRef) *reading {
	api, err := a.account(run.Account)
	if err != nil {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, resourcesTimeout)
	defer cancel()
	planned, err := api.PlannedResources(limited, run) // the run plans no more, so its version doesn't matter
	r := &reading{plan: planned, stateVersion: planned.Run.StateVersion, err: err}
	if err != nil && !r.again() {
		return nil
	}
	return r
}

// again reports whether another attempt may read the plan.
func (r *reading) again() bool { return r != nil && r.err != nil && finalType(r.err) == "" }

// bounded returns what a history keeps of the resources.
func (r *reading) bounded() *managed.Resources {
	if r.err != nil {
		return &managed.Resources{StateVersion: r.stateVersion, Unread: shorten(r.err.Error(), maxText)}
	}
	return managed.BoundResources(r.plan)
}

// judged returns the results of a policy's expressions for the plan; nil without any.
func (r *reading) judged(rules *policy.Definitions, p policy.Policy, at time.Time) *policy.Verdicts {
	switch {
	case r == nil:
		return nil
	case r.err != nil:
		return p.Unjudged(r.err.Error(), at)
	}
	return rules.Judge(p, r.plan, at)
}
