package checker

import (
	"slices"
	"strings"

	"github.com/gantryhq/gantry/e2e/schedules/model"
)

// retriesAllowed finds runs that were retried twice, or for no reason.
func retriesAllowed(x *index) []Violation {
	var all []Violation
	again := map[*run]*run{}
	for _, r := range x.order {
		if r.retryOf == nil {
			continue
		}
		if first := again[r.retryOf]; first != nil {
			all = append(all, violation(r.retryOf.name(), "Gantry retried the run twice", first.states[0], r.states[0]))
		}
		again[r.retryOf] = r
	}
	for _, a := range x.acts("runRetry") {
		if len(a.run.states) == 0 || slices.ContainsFunc(a.run.operations("retryRun"), a.followsFrom) {
			continue
		}
		if v, found := x.retriedAlone(a); found {
			all = append(all, v)
		}
	}
	return all
}

// followsFrom reports whether a retry may follow from somebody's wish, which may have been
// refused because Spacelift refused it.
func (a act) followsFrom(q rec) bool {
	return q.Began < a.call.Began && (mayCount(q) || problem(q) == "retry-refused" && a.call.Ended <= q.Ended)
}

// retriedAlone judges a retry that no person asked for.
func (x *index) retriedAlone(a act) (Violation, bool) {
	end := a.run.at(a.call.Began)
	if end.RunState == nil || a.blind {
		return Violation{}, false
	}
	for _, q := range append(a.run.verdicts("reject"), a.run.operations("stopRun")...) {
		if answered(q) && q.Ended < a.span.from {
			return violation(a.run.name(), "Gantry retried a run that "+q.Request.Who+" had ended", q, end, a.call), true
		}
	}
	failure := model.Failure{Cause: model.Cause(end.RunState.Note), ByPerson: end.RunState.By != ""}
	for _, s := range a.run.states {
		failure.Applied = failure.Applied || strings.Contains(s.RunState.State, "APPL")
	}
	for r := a.run.retryOf; r != nil; r = r.retryOf {
		failure.Attempts++
	}
	why, possible := "", x.policies(a.run.stack, a.span)
	for _, e := range possible {
		f := failure
		if f.Cause == "" || e.config.ReadLogs && slices.Contains([]string{"unknown", "transient", "capacity"}, f.Cause) {
			f.Cause = e.policy.RetryCauses[0] // the documents or the log may show that
		}
		if why = e.policy.MayRetry(f); why == "" {
			return Violation{}, false
		}
	}
	if why == "" {
		return Violation{}, false
	}
	return violation(a.run.name(), "Gantry retried the run although "+why, end, possible[0].settings, a.call), true
}
