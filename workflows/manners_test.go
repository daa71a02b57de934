package workflows_test

import (
	"time"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

// manner is one way of dealing with runs: a policy, what a plan holds, and what
// people and time do.
type manner struct {
	name    string
	labels  []string
	freezes []policy.Freeze
	delta   *spacelift.Delta // of plans; nil: Spacelift does not say
	alone   bool             // Gantry confirms a plan once it knows of it

	plan   course // of a plan with changes
	review course // of a preview that has to be reviewed
}

// course is the way a state that waits continues.
type course struct {
	stop             // soon after it began
	steps     []step // after that
	confirmed int    // how often Gantry confirms
	did       []string
	ends      spacelift.RunState // where Gantry ends the run
	outcome   string             // and then, a part of how
}

// step is something that happens a time after what was before.
type step struct {
	after time.Duration
	do    func(*rig)
}

const pendingReview = spacelift.RunStatePendingReview

var (
	harmless = &spacelift.Delta{Added: 1, Resources: 42}
	deletes  = &spacelift.Delta{Added: 1, Deleted: 1, Resources: 42}
	deletes3 = &spacelift.Delta{Deleted: 3, Resources: 42}

	annApproves = step{time.Hour, func(r *rig) { r.says(ann, managed.Approve, "") }}
	bobApproves = step{time.Hour, func(r *rig) { r.says(bob, managed.Approve, "") }}
	bobRejects  = step{time.Hour, func(r *rig) { r.says(bob, managed.Reject, "not today") }}
	aDayPasses  = step{25 * time.Hour, func(*rig) {}}

	// annRefused is an approval that the policy has no use for.
	annRefused = step{time.Minute, func(r *rig) { r.denied(ann, managed.Approve, managed.ErrTypeNotAsked, "") }}

	// alone is a plan that Gantry confirms once it knows of it.
	alone = course{stop: stop{managed.PhaseApplying, "the plan is confirmed; Spacelift has not reported yet", "confirm allows"}, confirmed: 1}

	// reviewed is a preview that one person reviews through Gantry.
	reviewed = course{
		stop:  stop{managed.PhaseWaiting, "the plan drew a warning and has to be reviewed; 0 of 1 approval: nobody has approved yet", "approvals asks"},
		steps: []step{annApproves}, did: []string{"approve: Approved through Gantry by ann."},
	}
)

// byAnn is a plan that one person approves, for a reason.
func byAnn(reason string) course {
	return course{
		stop:  stop{managed.PhaseWaiting, "has changes and people decide" + reason + "; 0 of 1 approval: nobody has approved yet", "approvals asks"},
		steps: []step{annApproves}, confirmed: 1,
	}
}

// byTwo asks two people about a plan or a preview.
func byTwo(what string, steps ...step) course {
	return course{stop: stop{managed.PhaseWaiting, what + "; 0 of 2 approvals: nobody has approved yet", "approvals asks"}, steps: steps}
}

const (
	twoForThePlan   = "has changes and people decide (profile production)"
	twoForTheReview = "the plan drew a warning and has to be reviewed"
)

// leads is a course that leads somewhere.
func (c course) leads(ends spacelift.RunState, outcome string, did ...string) course {
	c.ends, c.outcome, c.did = ends, outcome, did
	return c
}

func (c course) confirms() course {
	c.confirmed = 1
	return c
}

// elsewhere returns a course that people decide in Spacelift, for nothing counts here.
func elsewhere(phase managed.Phase, reason, rule string) course {
	return course{stop: stop{phase, reason, rule}, steps: []step{annRefused}}
}

var manners = []manner{
	{
		name: "unmanaged", labels: []string{"gantry:confirm=auto"}, delta: harmless,
		plan:   elsewhere(managed.PhaseWaiting, "no longer carries gantry:managed, so Gantry only watches", "managed forbids"),
		review: elsewhere(managed.PhaseWaiting, "does not carry gantry:managed, so Gantry only watches", "managed forbids"),
	},
	{
		name: "observed", labels: manual, delta: harmless,
		plan:   elsewhere(managed.PhaseWaiting, "the policy is to confirm by hand (default)", "confirm asks"),
		review: elsewhere(managed.PhaseWaiting, "somebody reviews it in Spacelift", "managed applies"),
	},
	{
		name: "unreadable label", labels: []string{"gantry:confirm=atuo", "gantry:managed"}, delta: harmless,
		plan:   elsewhere(managed.PhaseHolding, "gantry:confirm=atuo can't be followed", "labels forbids"),
		review: elsewhere(managed.PhaseHolding, "gantry:confirm=atuo can't be followed", ""),
	},
	{
		name: "manual", labels: asked, delta: harmless,
		plan: byAnn(" (gantry:confirm=manual)"), review: reviewed,
	},
	{
		name: "auto", labels: auto, delta: deletes3, alone: true,
		plan: alone, review: reviewed,
	},
	{
		name: "no-deletes, deletes nothing", labels: []string{"gantry:confirm=no-deletes", "gantry:managed"}, delta: harmless, alone: true,
		plan: alone, review: reviewed,
	},
	{
		name: "no-deletes, deletes", labels: []string{"gantry:confirm=no-deletes", "gantry:managed"}, delta: deletes,
		plan: byAnn(", because it deletes 1 resource (gantry:confirm=no-deletes)"), review: reviewed,
	},
	{
		name: "no-deletes, size unknown", labels: []string{"gantry:confirm=no-deletes", "gantry:managed"},
		plan: byAnn(", because Gantry does not know whether it deletes anything (gantry:confirm=no-deletes)"), review: reviewed,
	},
	{
		name: "limits, within", labels: []string{"gantry:managed", "gantry:profile=small"}, delta: deletes, alone: true,
		plan: alone, review: reviewed,
	},
	{
		name: "limits, beyond", labels: []string{"gantry:managed", "gantry:profile=small"}, delta: deletes3,
		plan: byAnn(", because it deletes 3 resources, more than 2 (profile small)"), review: reviewed,
	},
	{
		name: "two approve", labels: production, delta: deletes,
		plan: byTwo(twoForThePlan, annApproves, bobApproves).confirms(),
		review: byTwo(twoForTheReview, annApproves, bobApproves).leads(finished, "the preview finished",
			"approve: Approved through Gantry by ann and bob."),
	},
	{
		name: "two, one rejects", labels: production, delta: deletes,
		plan: byTwo(twoForThePlan, annApproves, bobRejects).leads(discarded, "discarded by Gantry",
			"discard: Rejected through Gantry by bob: not today"),
		review: byTwo(twoForTheReview, annApproves, bobRejects).leads("FAILED", "not today",
			"reject: Rejected through Gantry by bob: not today"),
	},
	{
		name: "two, nobody decides", labels: production, delta: deletes,
		plan: byTwo(twoForThePlan, aDayPasses).leads(discarded, "nobody approved within 24h",
			"discard: Discarded by Gantry: nobody approved within 24h."),
		review: byTwo(twoForTheReview, aDayPasses).leads("FAILED", "nobody approved within 24h",
			"reject: Rejected by Gantry: nobody approved within 24h."),
	},
	{
		name: "window closed, then open", labels: windowed, delta: harmless,
		plan: course{
			stop:  stop{managed.PhaseHolding, "the window mornings is closed and opens Mon 2 Jan 08:00 UTC", "windows forbids"},
			steps: []step{annRefused, {21 * time.Hour, func(r *rig) { r.wants(managed.PhaseHolding, "the window mornings is closed") }}, {2 * time.Hour, func(*rig) {}}}, confirmed: 1,
		},
		review: reviewed,
	},
	{
		name: "freeze, then lifted", labels: auto, delta: harmless,
		freezes: []policy.Freeze{{ID: "f1", Reason: "quarter's end", DeclaredBy: "ann", From: started}},
		plan: course{
			stop: stop{managed.PhaseHolding, "frozen by ann until somebody lifts it: quarter's end", "freeze forbids"},
			steps: []step{annRefused, {time.Hour, func(r *rig) {
				r.world.set(func() { r.world.freezes = nil })
				r.env.SignalWorkflow(managed.RunEventsSignal, managed.RunEvents{RulesChanged: true})
			}}},
			confirmed: 1,
		},
		review: reviewed,
	},
}
