package checker

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/e2e/schedules/history"
)

// bypassesAlarm finds bypasses that Gantry shows and of which it notified nobody, that are
// on no timeline, in no audit log and not in the list of them, and alarms about runs that
// nobody else had moved (docs/how-to/enforcement.md, "Bypasses").
func bypassesAlarm(x *index) []Violation {
	var all []Violation
	at := x.phases[history.Settled]
	listed, asked := x.listedBypasses(at)
	for _, r := range x.order {
		for _, m := range r.messages {
			if m.Message.Type == "run.bypassed" && len(r.appliedWithoutGantry(x.batch.Actor)) == 0 {
				all = append(all, violation(r.name(), "an alarm says that somebody went around Gantry, and nobody else moved the run", m))
			}
		}
		v, ok := x.settled(r)
		if !ok || v.Bypass == nil {
			continue
		}
		x.judged(r, r.life())
		if why := x.unalarmed(r, v); why != "" {
			all = append(all, violation(r.name(), fmt.Sprintf("Gantry shows a bypass (%s), and %s", v.Bypass.Reason, why), r.states[len(r.states)-1], v.asked))
		}
		if asked.N > 0 && v.asked.Ended < asked.Began && !slices.Contains(listed, r.name()) {
			all = append(all, violation(r.name(), "Gantry shows a bypass, and the list of them lacks it", v.asked, asked))
		}
	}
	return append(all, x.inventedBypasses()...)
}

// unalarmed returns where a bypass that a view shows is missing.
func (x *index) unalarmed(r *run, v view) string {
	guardian := x.setups[0].Setup.Channels[0]
	switch {
	case !slices.ContainsFunc(r.messages, func(m rec) bool {
		return m.Message.Type == "run.bypassed" && m.Message.Channel == guardian && m.Message.Status == 200
	}) && r.life().to+x.tick() < v.asked.Began:
		return "no alarm reached " + guardian
	case v.Timeline != nil && !slices.ContainsFunc(v.Timeline, func(e entry) bool { return e.Kind == "bypass" }):
		return "no entry of the timeline says so"
	case len(x.auditLogs) > 0 && !x.mayLoseEntries(span{r.life().from, v.asked.Began}) && !slices.ContainsFunc(x.audit, func(e rec) bool { return e.Audit.Action == "bypass" && e.Audit.Run == r.id && x.accuses(e, r) }):
		return "no entry of an audit log names who it was"
	}
	return ""
}

// accuses reports whether an entry names somebody who moved the run without Gantry, or
// nobody where Spacelift names nobody.
func (x *index) accuses(e rec, r *run) bool {
	return slices.ContainsFunc(r.appliedWithoutGantry(x.batch.Actor), func(a application) bool {
		return e.Audit.By == cmp.Or(a.entry.RunState.By, "unknown")
	})
}

// mayLoseEntries reports whether a process couldn't write its audit log for a time, and
// may have ended before it could (docs/how-to/audit.md, "The promise").
func (x *index) mayLoseEntries(s span) bool {
	return slices.ContainsFunc(x.ordeals, func(o ordeal) bool { return o.kind == "disk-full" && o.overlaps(s) })
}

// listedBypasses returns the runs that the last list of bypasses shows, and the record of
// its last page, if it was asked for after an instant.
func (x *index) listedBypasses(after time.Duration) (names []string, asked rec) {
	for _, q := range x.requests {
		if q.Request.Operation != "listRuns" || !strings.Contains(q.Request.Path, "bypassed=true") || !answered(q) || after == 0 || q.Began < after {
			continue
		}
		asked = q
		for _, s := range showing(q) {
			names = append(names, key(s.Stack, s.Run))
		}
	}
	return names, asked
}

// inventedBypasses finds entries of audit logs about bypasses of runs that nobody but Gantry moved.
func (x *index) inventedBypasses() (all []Violation) {
	for _, e := range x.audit {
		if r := x.runs[key(e.Audit.Stack, e.Audit.Run)]; e.Audit.Action == "bypass" && (r == nil || len(r.appliedWithoutGantry(x.batch.Actor)) == 0) {
			all = append(all, violation(key(e.Audit.Stack, e.Audit.Run), "the audit log shows a bypass of a run that nobody else moved", e))
		}
	}
	return all
}
