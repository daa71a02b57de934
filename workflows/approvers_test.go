package workflows_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
)

// If too few people may approve a plan, Gantry says so immediately and names the
// ways out.
func TestTooFewPeopleMayApprove(t *testing.T) {
	person := func(name string, aliases ...string) decide.Person {
		return decide.Person{Name: name, Aliases: aliases, Groups: []string{"platform"}}
	}
	for _, tc := range []struct {
		name      string
		labels    []string
		approvers []decide.Person
		says      string // empty: nothing
	}{
		{"the author is the only one", nil, []decide.Person{person("jane", "Jane Doe")}, "nobody can approve it: everyone in the group platform triggered the run or wrote its commit"},
		{"the group is empty", nil, []decide.Person{{Name: "ann", Groups: []string{"leads"}}}, "nobody can approve it: there is nobody in the group platform"},
		{"one is left, and two must", []string{"gantry:approvals=2"}, []decide.Person{person("ann"), person("jane", "Jane Doe")}, "only ann can approve it, and 2 approvals are needed: everyone else in the group platform triggered"},
		{"there are not as many", []string{"gantry:approvals=2"}, []decide.Person{person("ann")}, "only ann can approve it, and 2 approvals are needed"},
		{"somebody is left", nil, []decide.Person{person("ann"), person("jane", "Jane Doe")}, ""},
		{"nobody knows who may", nil, nil, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, append([]string{"gantry:approvers=platform"}, append(tc.labels, asked...)...))
			r.acts.Definitions = inEffect(policy.Config{Channels: []string{"deploys"}, Approvers: tc.approvers})
			r.at(0, func() { r.moves(queued, planning, unconfirmed) })
			r.at(time.Minute, func() {
				s, e := r.status(), r.explains()
				if says := s.WaitingFor.Reason; (tc.says == "") == strings.Contains(says, "can approve it") || !strings.Contains(says, tc.says) {
					t.Errorf("waits because %q, want %q", says, tc.says)
				}
				if tc.says == "" {
					return
				}
				if s.Phase != managed.PhaseWaiting || !strings.Contains(s.WaitingFor.Who, "selfApproval") || len(e.Unblock) != 3 || !strings.Contains(e.Unblock[0].How, "--group platform") {
					t.Errorf("phase %s, unblocked by %q: %+v", s.Phase, s.WaitingFor.Who, e.Unblock)
				}
				if all := strings.Join(r.world.messages(), "\n"); !strings.Contains(all, "that too few people can give") {
					t.Errorf("messages: %s", all)
				}
			})
			r.at(time.Hour, func() { r.person("jane", discarded, ""); r.notify() })
			r.manage()
		})
	}
}

// Somebody who may approve comes with the next start of Gantry: people are asked
// again.
func TestMorePeopleMayApproveLater(t *testing.T) {
	r := newRig(t, asked)
	jane := decide.Person{Name: "jane", Aliases: []string{"Jane Doe"}}
	r.acts.Definitions = inEffect(policy.Config{Channels: []string{"deploys"}, Approvers: []decide.Person{jane}})
	r.at(0, func() { r.moves(queued, planning, unconfirmed) })
	r.at(time.Hour, func() {
		r.acts.Definitions = inEffect(policy.Config{Channels: []string{"deploys"}, Approvers: []decide.Person{jane, {Name: "ann"}}})
		r.env.SignalWorkflow(managed.RunEventsSignal, managed.RunEvents{RulesChanged: true})
	})
	r.at(2*time.Hour, func() {
		r.received("deploys run.decision_needed: network / prod: a plan waits for 1 approval that too few people can give", "deploys run.decision_needed: network / prod: a plan waits for 1 approval")
		r.says(ann, managed.Approve, "")
	})
	r.at(3*time.Hour, func() { r.notify(); r.moves(applying, finished) })
	if s := r.manage(); s.State != finished {
		t.Errorf("ended in %s", s.State)
	}
}
