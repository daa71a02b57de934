package checker

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/e2e/schedules/model"
)

// longestGap is the time that may pass between Gantry's check and the arrival of
// the act: the documents allow a second, the rest is for the way there and back.
const longestGap = 3 * time.Second

// freshCheck finds acts without a read right before them, and acts that rest on the read
// of an earlier one. Attempts may overlap, since Temporal gives up one that it can't
// reach: then each has a read of its own.
func freshCheck(x *index) []Violation {
	var all []Violation
	checked := []string{"runConfirm", "runDiscard", "runRetry", "runReview"}
	for _, a := range x.acts(checked...) {
		between := span{a.read.Began, a.call.Ended}
		switch {
		case a.read.N == 0:
			all = append(all, violation(a.run.name(), "Gantry acted on a run that it had never read", a.call))
		case a.call.Began-a.read.Ended > x.slowlyDuring(between, longestGap) && !x.paused(between):
			all = append(all, violation(a.run.name(), fmt.Sprintf("Gantry acted %s after it had read the run", (a.call.Began-a.read.Ended).Round(time.Millisecond)), a.read, a.call))
		}
		for _, before := range a.run.acts {
			if before.N < a.call.N && before.Ended <= a.call.Began && slices.Contains(checked, before.Call.Fields[0]) && x.act(a.run, before).read.N == a.read.N {
				all = append(all, violation(a.run.name(), "Gantry sent "+a.call.Call.Fields[0]+" after "+before.Call.Fields[0]+" without reading the run in between", before, a.read, a.call))
			}
		}
	}
	return all
}

func (x *index) paused(s span) bool { return slices.ContainsFunc(x.pauses, s.overlaps) }

// oneConfirmation finds confirmations of a plan that was confirmed already, and
// such as are sent although the last read showed that the plan had gone.
func oneConfirmation(x *index) []Violation {
	var all []Violation
	for _, a := range x.acts("runConfirm") {
		for _, before := range a.run.acts {
			if mutates(before, "runConfirm") && took(before) && before.Ended <= a.call.Began && !a.blind && a.run.at(before.Ended).RunState != nil &&
				!a.replanned(before) {
				all = append(all, violation(a.run.name(), "Gantry confirmed a plan that it had confirmed before", before, a.read, a.call))
			}
		}
		read := a.had()
		if a.blind || read.N == 0 {
			continue
		}
		for _, seen := range read.Call.Runs {
			if seen.Run == a.run.id && seen.State != "UNCONFIRMED" {
				all = append(all, violation(a.run.name(), "Gantry confirmed a run that it had seen in "+seen.State, read, a.call))
			}
		}
	}
	return all
}

// replanned reports whether the run asked for a confirmation anew after an earlier one.
func (a act) replanned(before rec) bool {
	_, again := a.run.entered("UNCONFIRMED", before.Ended)
	return again
}

// objection returns why an act was not allowed about any of the plans and by any of the
// rules that it may have been meant for and by; empty if it was.
func (a act) objection(possible []effect, forbids func(plan rec, e effect) string) (why string) {
	for _, plan := range a.plans() {
		for _, e := range possible {
			if why = forbids(plan, e); why == "" {
				return ""
			}
		}
	}
	return why
}

// confirmsByPolicy finds confirmations that the labels don't leave to Gantry, or
// that lack approvals of anybody.
func confirmsByPolicy(x *index) []Violation {
	var all []Violation
	for _, a := range x.releases() {
		if a.blind {
			continue
		}
		possible := x.policies(a.run.stack, a.span)
		why := a.objection(possible, func(plan rec, e effect) string {
			if why := e.forbids(x.facts(a.run, plan)); why != outside || !x.reviewsPlan(a) && !objected(a) {
				return why
			}
			return ""
		})
		if why != "" {
			all = append(all, violation(a.run.name(), a.did()+" although "+why, a.plan(), possible[0].settings, a.read, a.call))
		}
	}
	return all
}

// outside is a reason for confirming nothing, though Gantry may review the plan, and people
// decide about it through Gantry once somebody has objected.
const outside = "the labels leave the plan to people in Spacelift"

// forbids returns why Gantry may not confirm the plan whatever people decide.
func (e effect) forbids(plan model.Plan) string {
	if held := e.policy.Held(plan); held != "" {
		return "an expression holds plans that destroy " + held
	}
	switch e.policy.Decider(plan) {
	case model.Nobody:
		if !e.policy.Managed {
			return "the stack isn't managed"
		}
		return "a label can't be followed: " + e.policy.Invalid[0]
	case model.Outside:
		return outside
	case model.Gantry, model.People:
	}
	return ""
}

// approvalsBind finds confirmations with too few approvals that may count.
func approvalsBind(x *index) []Violation {
	var all []Violation
	for _, a := range x.releases() {
		if a.blind {
			continue
		}
		possible := x.policies(a.run.stack, a.span)
		why := a.objection(possible, func(plan rec, e effect) string {
			return x.lacks(a, plan, e, x.objectedEarlier(a, plan).N > 0)
		})
		if why != "" {
			all = append(all, violation(a.run.name(), a.did()+" although "+why,
				append(a.run.verdicts("approve", "revoke"), a.plan(), x.objectedEarlier(a, a.plan()), possible[0].settings, a.read, a.call)...))
		}
	}
	return all
}

// objectedEarlier returns the rejection or revocation of an earlier plan of the run:
// after it, people decide about each later one.
func (x *index) objectedEarlier(a act, plan rec) rec {
	for _, q := range a.run.verdicts("reject", "revoke") {
		if answered(q) && q.Ended < plan.Ended {
			return q
		}
	}
	return rec{}
}

// objected reports whether a rejection or a revocation may bind the run of an act: then
// people decide about its plans, whatever the labels say.
func objected(a act) bool {
	return slices.ContainsFunc(a.run.verdicts("reject", "revoke"), func(q rec) bool { return mayCount(q) && q.Began < a.call.Began })
}

// bound reports whether a rejection or a revocation binds the run of an act.
func bound(a act) bool {
	return slices.ContainsFunc(a.run.verdicts("reject", "revoke"), func(q rec) bool { return answered(q) && q.Ended < a.span.from })
}

// lacks returns which approvals are missing if these rules are in effect.
func (x *index) lacks(a act, plan rec, e effect, asked bool) string {
	judged := x.facts(a.run, plan)
	switch e.policy.Decider(judged) {
	case model.Gantry:
		if !asked {
			return ""
		}
	case model.People:
	case model.Outside:
		if !bound(a) {
			return "" // another rule's
		}
	case model.Nobody:
		return "" // another rule's
	}
	people := map[string][]string{} // the groups of those who approved
	var because []string
	for _, q := range a.run.verdicts("approve") {
		why := x.unbound(a, plan, q)
		if why == "" {
			why = e.config.MayApprove(e.policy, judged, q.Request.Who, x.mayThen(e.config, q, a.run.stack))
		}
		if why == "" {
			bearer, _ := e.config.Token(q.Request.Who)
			people[e.config.Who(q.Request.Who)] = bearer.Groups
		} else {
			because = append(because, fmt.Sprintf("; that of %s doesn't count: %s", q.Request.Who, why))
		}
	}
	demands := e.policy.Demands(judged)
	if model.Lacking(demands, slices.Collect(maps.Values(people))) == 0 {
		return ""
	}
	return fmt.Sprintf("%d people had approved, and these are needed: %+v%s", len(people), demands, strings.Join(because, ""))
}

// mayThen returns whether somebody may approve by a configuration. What a token decided
// before it was revoked stays.
func (x *index) mayThen(c model.Config, q rec, stack string) model.Grant {
	if bearer, _ := c.Token(q.Request.Who); bearer.Revoked {
		for _, then := range x.configs(span{q.Began, q.Ended}) {
			if was, _ := then.Token(q.Request.Who); !was.Revoked {
				return x.may(then, q, "approver", stack)
			}
		}
	}
	return x.may(c, q, "approver", stack)
}

// unbound returns why an approval can't be one of this plan, or nothing.
func (x *index) unbound(a act, plan, q rec) string {
	version := decision(q).StateVersion
	switch {
	case refused(q) && problem(q) != "already-decided":
		return "it was refused"
	case q.Began > a.call.Began:
		return "it came later"
	case version != nil && *version != plan.RunState.Version:
		return fmt.Sprintf("it is about version %d", *version)
	case q.Request.Status > 0 && q.Ended < plan.Ended:
		return "it came before the plan"
	}
	for _, r := range a.run.verdicts("revoke") {
		if r.Request.Who == q.Request.Who && answered(r) && r.Began > q.Ended && r.Ended < a.span.from {
			return "it was revoked"
		}
	}
	return ""
}

// rejects reports whether an answered rejection is about a plan. One that names no version
// is about the plan that Gantry knew when it came; the answer says which. A later plan is
// left to people, who may approve it.
func (x *index) rejects(q, plan rec) bool {
	if named := decision(q).StateVersion; named != nil {
		return *named == plan.RunState.Version
	}
	if version, ok := x.countedFor(q); ok {
		return version == plan.RunState.Version
	}
	return q.Ended > plan.Ended
}

// objectionsBind finds confirmations of a plan that somebody had rejected, and acts
// that move on a run that somebody had stopped.
func objectionsBind(x *index) []Violation {
	var all []Violation
	for _, a := range x.releases() {
		plan := a.plan()
		for _, q := range a.run.verdicts("reject") {
			if answered(q) && q.Ended < a.span.from && plan.N > 0 && x.rejects(q, plan) {
				all = append(all, violation(a.run.name(), a.did()+" a plan that "+q.Request.Who+" had rejected", plan, q, a.read, a.call))
			}
		}
		for _, q := range a.run.operations("stopRun") {
			if answered(q) && q.Ended < a.span.from {
				all = append(all, violation(a.run.name(), a.did()+" a run that "+q.Request.Who+" had stopped", plan, q, a.read, a.call))
			}
		}
	}
	return all
}
