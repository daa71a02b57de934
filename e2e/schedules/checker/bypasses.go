package checker

import (
	"fmt"
	"slices"

	"github.com/gantryhq/gantry/e2e/schedules/model"
)

// bypassesAreShown finds plans that somebody confirmed in Spacelift, or that Spacelift
// applied unasked, although the labels left them to people through Gantry and nobody may
// have approved, and that Gantry doesn't show as bypasses (docs/how-to/enforcement.md). It
// finds bypasses of runs too that Gantry alone confirmed.
func bypassesAreShown(x *index) []Violation {
	var all []Violation
	for _, r := range x.order {
		v, ok := x.settled(r)
		if !ok || v.Phase != "done" || r.first().Type != "TRACKED" {
			continue
		}
		applied := r.appliedWithoutGantry(x.batch.Actor)
		x.judged(r, r.life())
		switch {
		case v.Bypass != nil && len(applied) == 0:
			all = append(all, violation(r.name(), "Gantry shows a bypass of a run that nobody else moved: "+v.Bypass.Reason, v.asked))
		case v.Bypass == nil && len(applied) > 0:
			last := applied[len(applied)-1]
			if x.gone(r.stack, last.entry.Ended+x.tick()) { // the API no longer shows the run
				continue
			}
			why, against := x.surelyForbidden(r, last, v)
			if why != "" {
				all = append(all, violation(r.name(), fmt.Sprintf("the plan was applied without Gantry (%s) although %s, and Gantry shows no bypass", last.entry.RunState.State, why), last.plan, last.entry, against, v.asked))
			}
		}
	}
	return all
}

// application is a plan, and the state by which its run continued.
type application struct{ plan, entry rec }

// applications returns the plans of a run that were confirmed, or applied unasked.
func (r *run) applications() (all []application) {
	for i, s := range r.states {
		if i > 0 && slices.Contains([]string{"CONFIRMED", "PREPARING_APPLY", "APPLYING"}, s.RunState.State) {
			if before := r.states[i-1]; before.RunState.State == "UNCONFIRMED" || before.RunState.State == "PLANNING" {
				all = append(all, application{before, s})
			}
		}
	}
	return all
}

// appliedWithoutGantry returns the applications that Gantry didn't ask for.
func (r *run) appliedWithoutGantry(gantry string) []application {
	return slices.DeleteFunc(r.applications(), func(a application) bool {
		return a.plan.RunState.State == "UNCONFIRMED" && a.entry.RunState.By == gantry
	})
}

// surelyForbidden returns why every policy that may have been in effect from the run's
// beginning to the view forbade an application, and the record that shows it; nothing if
// one may have allowed it.
func (x *index) surelyForbidden(r *run, a application, v view) (why string, against rec) {
	if !v.Managed {
		return "", rec{}
	}
	for _, q := range slices.Concat(r.operations("stopRun"), r.verdicts("reject")) {
		if answered(q) && q.Ended < a.entry.Began && (q.Began > a.plan.Ended || q.Request.Operation == "stopRun") {
			return q.Request.Who + " had objected", q
		}
	}
	possible := x.policies(r.stack, span{r.life().from, v.asked.Ended})
	for _, f := range x.freezes() {
		if len(possible) > 0 && x.frozenFor(r, a, f) {
			return "a freeze of " + f.declared.Request.Who + " bound", f.declared
		}
	}
	if slices.ContainsFunc(r.verdicts("approve"), mayCount) {
		return "", rec{}
	}
	if len(possible) > 0 && !slices.ContainsFunc(possible, func(e effect) bool {
		return e.policy.Decider(x.facts(r, a.entry)) != model.People // the plan has no size before
	}) {
		return "it was left to people, and nobody had approved", rec{}
	}
	return "", rec{}
}

// frozenFor reports whether a freeze bound a stack from an application until Gantry had
// known it for a while: it judges freezes as it finds them moments later.
func (x *index) frozenFor(r *run, a application, f freeze) bool {
	for _, c := range r.reads {
		if c.Began > a.entry.Ended && good(c) && !c.Call.Stale && c.Call.Operation == "Run" {
			return f.binds(x, r.stack, span{a.entry.Began, c.Ended + x.tick()})
		}
	}
	return false
}
