package managed

import (
	"cmp"
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/notify"
	"github.com/gantryhq/gantry/spacelift"
)

// applied is a run of nine deletes as the API shows it after these states.
func appliedRun(actor string, labels []string, states ...spacelift.RunState) spacelift.Run {
	run := spacelift.Run{
		Ref: spacelift.RunRef{Account: "acme", Stack: "net", Run: "r"}, Type: spacelift.RunTypeTracked, StackLabels: labels,
		Delta: &spacelift.Delta{Deleted: 9}, Commit: spacelift.Commit{Hash: "c", AuthorLogin: "author"},
	}
	for i, s := range states {
		t := spacelift.Transition{State: s, StateVersion: i, At: t0.Add(time.Duration(i) * time.Minute)}
		if s == spacelift.RunStateConfirmed {
			t.Username = actor
		}
		run.History = append(run.History, t)
		run.State, run.StateVersion = s, i
	}
	return run
}

func TestWhatIsAppliedAgainstThePolicyIsABypass(t *testing.T) {
	asked := []spacelift.RunState{"PLANNING", "UNCONFIRMED", "CONFIRMED"}
	unasked := []spacelift.RunState{"PLANNING", "APPLYING"}
	shut := policy.Gate{At: t0, Reason: "the window opens on Monday"}
	open := policy.Gate{At: t0, Open: true}
	dba := &policy.Verdicts{Confirm: true, Required: []policy.Required{{Needed: 1, Group: "dba", Why: "deletes aws_db_instance.main"}}}
	confirmed := func(r *Record) { r.Plans = []Plan{{StateVersion: 1, Result: PlanConfirmed}} }
	for _, tt := range []struct {
		name      string
		actor     string // "author" if empty, nobody if "-"
		labels    string
		states    []spacelift.RunState
		gate      policy.Gate
		approvals []string
		verdicts  *policy.Verdicts // of the policy's expressions
		groups    []string         // of those who approved
		prepare   func(*Record)
		want      string // part of the reason; empty for no bypass
	}{
		{name: "no approval of two", labels: "gantry:approvals=2", states: asked, gate: open, want: "0 of 2 approvals"},
		{name: "one approval of two", labels: "gantry:approvals=2", states: asked, gate: open, approvals: []string{"ann"}, want: "1 of 2 approvals"},
		{name: "both approved", labels: "gantry:approvals=2", states: asked, gate: open, approvals: []string{"ann", "bob"}},
		{name: "the same person twice", labels: "gantry:approvals=2", states: asked, gate: open, approvals: []string{"ann", "ann"}, want: "1 of 2 approvals"},
		{name: "one approval, and none of the group that an expression asks for", labels: "gantry:approvals=1", states: asked, gate: open, approvals: []string{"ann"}, verdicts: dba, want: "1 of 2 approvals"},
		{name: "two approvals, and none of the group", labels: "gantry:approvals=1", states: asked, gate: open, approvals: []string{"ann", "bob"}, verdicts: dba, want: "1 of 2 approvals"},
		{name: "two approvals, and both of the group", labels: "gantry:approvals=1", states: asked, gate: open, approvals: []string{"ann", "bob"}, groups: []string{"dba"}, verdicts: dba},
		{name: "an expression asks for a group, and nobody else must approve", labels: "gantry:confirm=auto", states: asked, gate: open, verdicts: dba, want: "deletes aws_db_instance.main"},
		{name: "closed window", labels: "gantry:confirm=auto", states: asked, gate: shut, want: "the window opens on Monday"},
		{name: "Gantry would have confirmed it", labels: "gantry:confirm=auto", states: asked, gate: open},
		{name: "unreadable label", labels: "gantry:approvals=two", states: asked, gate: open, want: "gantry:approvals=two can't be followed"},
		{name: "left to people in Spacelift", labels: "", states: asked, gate: open},
		{name: "deletes, and nobody approved", labels: "gantry:confirm=no-deletes", states: asked, gate: open, want: "the plan deletes 9 resources"},
		{name: "autodeploy, and people promised", labels: "gantry:approvals=2", states: unasked, gate: open, want: "autodeploy is on"},
		{name: "autodeploy, and no deletes promised", labels: "gantry:confirm=no-deletes", states: unasked, gate: open, want: "the plan deletes 9 resources"},
		{name: "autodeploy of a stack that Gantry only watches", labels: "", states: unasked, gate: open},
		{name: "autodeploy in a freeze", labels: "", states: unasked, gate: shut, want: "the window opens on Monday"},
		{name: "rejected before", labels: "gantry:approvals=1", states: asked, gate: open, want: "ann rejected it", prepare: func(r *Record) {
			r.Decisions = append(r.Decisions, decision{Decided: Decided{Verdict: Reject, By: "ann", State: "UNCONFIRMED", StateVersion: 1}})
		}},
		{name: "Gantry confirmed it", actor: "api::gantry", labels: "gantry:approvals=2", states: asked, gate: open, prepare: confirmed},
		{name: "Gantry confirmed it, and nobody is named", actor: "-", labels: "gantry:approvals=2", states: asked, gate: open, prepare: confirmed},
		{name: "Gantry's confirmation had no effect, and somebody confirmed it", labels: "gantry:approvals=2", states: asked, gate: open, prepare: confirmed, want: "0 of 2 approvals"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			labels := append([]string{spacelift.LabelManaged, "gantry:notify=deploys"}, strings.Fields(tt.labels)...)
			run := appliedRun(strings.TrimPrefix(cmp.Or(tt.actor, "author"), "-"), labels, tt.states...)
			r := Record{Run: run.Ref, StartedAt: t0}
			r.Learn(t0, run)
			for _, who := range tt.approvals {
				r.Decisions = append(r.Decisions, decision{Decided: Decided{Verdict: Approve, By: who, State: "UNCONFIRMED", StateVersion: 1}, Groups: tt.groups})
			}
			if tt.prepare != nil {
				tt.prepare(&r)
			}
			compiled := policy.Config{Channels: []string{"deploys", "ops"}}
			if tt.verdicts != nil {
				compiled.DefaultProfile = "guarded"
				compiled.Profiles = []policy.Profile{{Name: "guarded", ApprovalsWhen: []policy.Requirement{{When: "true", Needed: 1, Group: "dba"}}}}
			}
			definitions, err := policy.Compile(compiled)
			if err != nil {
				t.Fatal(err)
			}
			ours := spacelift.OurLabels(labels)
			r.TakeRules(t0, Rules{Labels: ours, Policy: definitions.Resolve(policy.Labelled(ours)), Gate: tt.gate, Verdicts: tt.verdicts, Alarms: []string{"ops"}}, false)

			if tt.want == "" {
				if r.Bypass != nil || len(r.Outbox) > 0 {
					t.Fatalf("%+v %+v", r.Bypass, r.Outbox)
				}
			} else if r.Bypass == nil || !strings.Contains(r.Bypass.Reason, tt.want) {
				t.Fatalf("bypass %+v, want %q", r.Bypass, tt.want)
			}
			if n := r.Situation(t0).Next(); n.Do == DoRules {
				t.Errorf("it is judged again: %s", n.Reason)
			}
			if tt.want == "" {
				return
			}
			var channels []string
			for _, n := range r.Outbox {
				if n.Message.Type == notify.RunBypassed && n.Message.Urgency == notify.Alarm {
					channels = append(channels, n.Channel)
				}
			}
			if strings.Join(channels, " ") != "deploys ops" {
				t.Errorf("alarms in %v", channels)
			}
			timeline := r.Status(t0).Timeline
			if last := timeline[len(timeline)-1]; last.Kind != KindBypass || !strings.Contains(last.Summary, tt.want) {
				t.Errorf("timeline ends with %+v", last)
			}
			r.TakeRules(t0, *r.Rules, false)
			if n := len(r.Outbox); n != 2 {
				t.Errorf("%d messages after the rules were read again", n)
			}
		})
	}
}

// What only a notification says accuses nobody.
func TestANotificationIsNoBypass(t *testing.T) {
	r := Record{Run: spacelift.RunRef{Account: "acme", Stack: "net", Run: "r"}, StartedAt: t0}
	var events []RunEvent
	for _, e := range FromRead(appliedRun("", []string{spacelift.LabelManaged, "gantry:approvals=2"}, "PLANNING", "UNCONFIRMED", "CONFIRMED"), t0) {
		e.Source = SourceWebhook
		events = append(events, e)
	}
	r.Take(t0, events)
	if s := r.Situation(t0); !s.Unjudged().IsZero() {
		t.Errorf("it would be judged as of %s", s.Unjudged())
	}
}

// Reconcile adds what no notification reported, and the state before an apply. That is
// enough to judge the apply, without another reading.
func TestABypassThatReconcileReports(t *testing.T) {
	labels := []string{spacelift.LabelManaged, "gantry:approvals=2"}
	all := FromRead(appliedRun("", labels, "QUEUED", "PLANNING", "APPLYING", "FINISHED"), t0)
	r := Record{Run: spacelift.RunRef{Account: "acme", Stack: "net", Run: "r"}, StartedAt: t0}
	for _, e := range all[:2] {
		e.Source = SourceWebhook
		r.Take(t0, []RunEvent{e})
	}
	r.Take(t0, all[1:])
	if s := r.Situation(t0); s.unjudged() == nil {
		t.Errorf("the apply is not judged: %+v", s.readEvents)
	}
}
