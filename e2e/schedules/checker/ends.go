package checker

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/e2e/schedules/history"
	"github.com/gantryhq/gantry/e2e/schedules/model"
)

// nothingStuck finds runs of managed stacks that have not ended when all should have.
func nothingStuck(x *index) []Violation {
	at, settled := x.phases[history.Settled]
	if !settled {
		return []Violation{violation("batch", "the batch never settled")}
	}
	var all []Violation
	for _, r := range x.order {
		end := r.at(at)
		x.judged(r, r.life())
		if end.N == 0 || ended(end.RunState.State) || at-end.Ended < x.tick() || x.waits(r, at) {
			continue
		}
		possible := x.policies(r.stack, span{at, at})
		if len(possible) == 0 || !possible[0].policy.Managed || model.Brake(*possible[0].settings.Stack, x.batch.Actor) != "" {
			continue
		}
		all = append(all, violation(r.name(), fmt.Sprintf("the run is %s for %s, and nothing goes wrong any more", end.RunState.State, (at-end.Ended).Round(time.Second)),
			append(r.acts, end, possible[0].settings)...))
	}
	return all
}

// effectWithin is the time that Gantry gives an act that Spacelift accepted, before it
// reads the run and asks again.
const effectWithin = 10*time.Minute + 30*time.Second

// waits reports whether a run waits for something that ends: another run of its
// stack, or the effect of an act that Spacelift accepted and did not do.
func (x *index) waits(r *run, at time.Duration) bool {
	if slices.ContainsFunc(r.acts, func(c rec) bool { return c.Call.Fault == "no-effect" && at-c.Ended < effectWithin }) {
		return true
	}
	return r.at(at).RunState.State == "QUEUED" && slices.ContainsFunc(x.order, func(o *run) bool {
		other := o.at(at)
		before := o.stack == r.stack && o.states[0].Ended < r.states[0].Ended || o.stack == r.first().Trigger
		return o != r && before && other.N > 0 && !ended(other.RunState.State)
	})
}

// executionsFit finds executions that are open though their run has ended, that are
// closed though it continues, and such as have failed.
func executionsFit(x *index) []Violation {
	var all []Violation
	for _, e := range x.all {
		if e.Execution != nil && slices.Contains([]string{"Failed", "TimedOut", "Terminated"}, e.Execution.Status) {
			all = append(all, violation(e.Execution.ID, "the execution is "+e.Execution.Status, e))
		}
	}
	for _, r := range x.order {
		x.judged(r, r.life())
		end := r.states[len(r.states)-1]
		i := slices.IndexFunc(r.execution, func(e rec) bool { return strings.HasPrefix(e.Execution.ID, "run/") && e.Execution.Status == "Running" })
		switch {
		case len(r.execution) == 0 || x.gone(r.stack, r.execution[0].Ended):
		case i >= 0 && ended(end.RunState.State) && end.Ended+x.lingers(r) < r.execution[i].Began:
			all = append(all, violation(r.name(), "the run has ended and its execution has not", end, r.execution[i]))
		case i < 0 && !ended(end.RunState.State) && strings.HasPrefix(r.execution[0].Execution.ID, "run/") && end.Ended+x.tick() < r.execution[0].Began:
			all = append(all, violation(r.name(), "the run continues and its execution has ended", append(r.execution, end)...))
		}
	}
	return all
}

// lingers returns for how long the execution of a run that has ended may wait for a
// chain that takes the run up.
func (x *index) lingers(r *run) time.Duration {
	end := r.life().to
	switch {
	case len(x.graph(span{end - x.tick(), end})[r.stack]) > 0:
		return 11 * time.Minute
	case r.first().Trigger != "":
		return time.Minute + x.tick()
	}
	return x.tick()
}

// answersFitTheContract finds answers that the driver found not to fit.
func answersFitTheContract(x *index) []Violation {
	var all []Violation
	for _, q := range x.requests {
		x.judged(nil, span{q.Began, q.Ended})
		if q.Request.Contract != "" {
			all = append(all, violation(q.Request.Operation, q.Request.Contract, q))
		}
		if q.Request.Status == 500 {
			all = append(all, violation(q.Request.Operation, "Gantry failed", q))
		}
	}
	return all
}

// The budgets. A run that is decided by people takes a few dozen events; one that
// meets every mishap may take many times as many, but never grows without bound.
const (
	mostEvents = 2_000
	mostBytes  = 4 << 20
	callsARun  = 60
	callsATick = 60

	// mostMemory is the memory of a replica with a worker (docs/operations.md, "Sizing").
	mostMemory = 250_000_000
)

// withinBudgets finds histories in Temporal that are too long, processes with too much
// memory, and too many calls.
func withinBudgets(x *index) []Violation {
	var all []Violation
	for _, r := range x.order {
		x.judged(r, r.life())
	}
	for _, r := range x.all {
		if e := r.Execution; e != nil && (e.Events > mostEvents || e.Bytes > mostBytes) {
			all = append(all, violation(e.ID, fmt.Sprintf("the execution has %d events and %d bytes", e.Events, e.Bytes), r))
		}
	}
	for _, r := range x.all {
		if u := r.Usage; u != nil && u.Name != "temporal" {
			x.judged(nil, span{r.Began, r.Ended})
			if u.RSS > mostMemory {
				all = append(all, violation(u.Name, fmt.Sprintf("the process has %d MB in memory; the budget is %d", u.RSS/1e6, mostMemory/1_000_000), r))
			}
		}
	}
	ticks := 1
	if x.batch.Reconcile > 0 {
		ticks += int(x.ticked / x.batch.Reconcile)
	}
	if budget := callsARun*len(x.order) + callsATick*ticks; len(x.calls) > budget {
		all = append(all, violation("batch", fmt.Sprintf("Gantry made %d calls for %d runs in %d ticks; the budget is %d", len(x.calls), len(x.order), ticks, budget)))
	}
	return all
}
