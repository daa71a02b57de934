package workflows_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

var (
	dora = decide.Person{Name: "dora", Groups: []string{"dba"}}
	dirk = decide.Person{Name: "dirk", Groups: []string{"dba", "platform"}}

	ruled = []string{"gantry:managed", "gantry:profile=guarded"}
)

// plans gives the run's plan these resources, and the counts that fit.
func (r *rig) plans(resources ...spacelift.Resource) {
	r.set(func() {
		r.changes, r.counts = resources, &spacelift.Delta{Resources: 40}
		for _, resource := range resources {
			switch resource.Change {
			case spacelift.ChangeAdd:
				r.counts.Added++
			case spacelift.ChangeDelete:
				r.counts.Deleted++
			}
		}
	})
}

func adds(addresses ...string) (all []spacelift.Resource) {
	for _, a := range addresses {
		all = append(all, spacelift.Resource{Address: a, Change: spacelift.ChangeAdd})
	}
	return all
}

func destroyed(address string) spacelift.Resource {
	return spacelift.Resource{Address: address, Change: spacelift.ChangeDelete}
}

// Deleting a database or anything in the network's module needs two of dba besides the
// stack's own approvals; everything else below ten changes confirms alone.
func TestExpressionsOverResources(t *testing.T) {
	play(t, []story{
		{
			name: "a small plan that touches none of it confirms alone", labels: ruled,
			script: func(r *rig) {
				r.plans(append(adds("aws_s3_bucket.a", "module.network.aws_subnet.a"), destroyed("aws_iam_user.ci"))...)
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Minute, func() { r.notify(); r.moves(applying, finished) })
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 1,
		},
		{
			name: "ten changes are for the stack's own approvers", labels: ruled,
			script: func(r *rig) {
				r.plans(adds(strings.Split("a.a a.b a.c a.d a.e a.f a.g a.h a.i a.j", " ")...)...)
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Minute, func() {
					r.wants(managed.PhaseWaiting, "because it does not meet confirmWhen (profile guarded); 0 of 1 approval")
					r.denied(dora, managed.Approve, managed.ErrTypeNotEntitled, "only the group platform")
					r.says(bob, managed.Approve, "")
				})
				r.at(2*time.Minute, func() { r.notify(); r.moves(applying, finished) })
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 1,
		},
		{
			name: "a database needs two of dba besides, and a person counts once", labels: ruled,
			script: func(r *rig) {
				r.plans(destroyed("aws_db_instance.main"))
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Minute, func() {
					r.wants(managed.PhaseWaiting, "0 of 3 approvals: nobody has approved yet; missing: 2 of dba: deletes aws_db_instance.main")
					r.received("deploys run.decision_needed: network / prod: a plan waits for 3 approvals")
					r.denied(eve, managed.Approve, managed.ErrTypeNotEntitled, "eve is not in it")
					r.says(dirk, managed.Approve, "")
				})
				r.at(2*time.Minute, func() {
					r.wants(managed.PhaseWaiting, "1 of 3 approvals: dirk approved; missing: 2 of dba") // dirk fills platform's
					r.says(dora, managed.Approve, "")
				})
				r.at(3*time.Minute, func() {
					r.wants(managed.PhaseWaiting, "2 of 3 approvals: dirk and dora approved; missing: 1 of dba: deletes aws_db_instance.main")
					want := []managed.RequiredApprovals{{Needed: 2, Given: 1, Group: "dba", Reason: "deletes aws_db_instance.main"}}
					a := r.explains().Approvals
					if a == nil || cmp.Diff(want, a.Required) != "" || a.Needed != 3 || a.Given != 2 {
						t.Errorf("approvals are %+v, want %+v", a, want)
					}
					r.says(ann, managed.Approve, "") // of platform: now dirk fills one of dba's
				})
				r.at(4*time.Minute, func() { r.notify(); r.moves(applying, finished) })
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 1,
		},
		{
			name: "an approval is for one plan: a replan asks for it again", labels: ruled,
			script: func(r *rig) {
				r.plans(destroyed("module.network[0].aws_route.legacy"))
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Minute, func() { r.says(dora, managed.Approve, ""); r.says(dirk, managed.Approve, "") })
				r.at(2*time.Minute, func() {
					r.wants(managed.PhaseWaiting, "2 of 3 approvals")
					r.plans(destroyed("module.network[0].aws_route.other"))
					r.moves(replan, planning, unconfirmed)
				})
				r.at(3*time.Minute, func() {
					r.wants(managed.PhaseWaiting, "0 of 3 approvals: nobody has approved yet; missing: 2 of dba: deletes module.network[0].aws_route.other")
					r.plans(adds("aws_s3_bucket.a")...)
					r.moves(replan, planning, unconfirmed)
				})
				r.at(4*time.Minute, func() { r.notify(); r.moves(applying, finished) })
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 1,
		},
		{
			name: "holdWhen holds what people approved", labels: ruled,
			script: func(r *rig) {
				r.plans(destroyed("aws_kms_key.main"))
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Minute, func() {
					r.wants(managed.PhaseHolding, "holdWhen (profile guarded) holds the plan: deletes aws_kms_key.main")
				})
				r.at(2*time.Minute, func() { r.person("joe", discarded, "") })
				r.at(3*time.Minute, func() { r.notify() })
			},
			state: discarded, outcome: "discarded",
		},
		{
			name: "a list that lacks what the plan counts holds", labels: ruled,
			script: func(r *rig) {
				r.plans(adds("aws_s3_bucket.a")...)
				r.set(func() { r.counts.Deleted = 1 })
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Minute, func() {
					r.wants(managed.PhaseHolding, "approvalsWhen[0] (profile guarded) can't be evaluated: Spacelift lists fewer resources")
					if w := r.status().WaitingFor; w == nil || w.What != managed.WaitPolicy || w.Until.IsZero() {
						t.Errorf("it waits for %+v", w)
					}
					r.set(func() { r.changes = append(r.changes, destroyed("aws_iam_user.ci")) })
				})
				r.at(20*time.Minute, func() { r.notify(); r.moves(applying, finished) }) // looked again after 15 minutes
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 1,
		},
		{
			name: "resources that can't be read hold until they can", labels: ruled,
			script: func(r *rig) {
				r.plans(adds("aws_s3_bucket.a")...)
				r.unlisted = true
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Minute, func() {
					r.wants(managed.PhaseHolding, "could not read the rules in effect: dial tcp: connection refused")
					r.set(func() { r.unlisted = false })
				})
				r.at(20*time.Minute, func() { r.notify(); r.moves(applying, finished) })
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 1,
		},
		{
			name: "another expression reaches a run that waits", labels: ruled,
			script: func(r *rig) {
				r.plans(destroyed("aws_db_instance.main"))
				r.at(0, func() { r.moves(queued, planning, unconfirmed) })
				r.at(time.Minute, func() { r.wants(managed.PhaseWaiting, "missing: 2 of dba") })
				r.at(2*time.Minute, func() {
					r.acts.Definitions = inEffect(policy.Config{Channels: []string{"deploys"}, Profiles: []policy.Profile{{
						Name: "guarded", ConfirmWhen: new(`resources.all(r, r.address == "aws_db_instance.main")`), Notify: []string{"deploys"},
					}}})
					r.env.SignalWorkflow(managed.RunEventsSignal, managed.RunEvents{RulesChanged: true})
				})
				r.at(3*time.Minute, func() { r.notify(); r.moves(applying, finished) })
			},
			state: finished, outcome: "applied", confirmed: 1, asked: 1,
			mentions: map[string]managed.TimelineKind{"the policy is another now: confirmWhen=": managed.KindRules},
		},
	})
}
