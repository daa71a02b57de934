package policy_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/decide/policy"
)

func TestSchedule(t *testing.T) {
	rules := compile(t, policy.Config{Windows: []policy.Window{
		officeHours(),
		{Name: "once", TimeZone: "UTC", Allow: []policy.Recurrence{{Start: "2026-11-23T15:00", Duration: 3 * h}}},
	}})
	const since = "2026-11-20T14:00:00Z" // a Friday, 15:00 in Berlin
	due := func(when string, kind policy.DeadlineKind, notify ...string) policy.Deadline {
		return policy.Deadline{At: at(t, when), Kind: kind, Notify: notify}
	}
	steps := []policy.Step{{After: h, Notify: []string{"x"}}, {After: 4 * h, Notify: []string{"y", "z"}}, {After: 24 * h, Discard: true}}
	for _, tt := range []struct {
		name string
		set  func(*policy.Policy)
		want []policy.Deadline
	}{
		{"nothing by default", func(*policy.Policy) {}, nil},
		{"a time-out discards", func(p *policy.Policy) { p.ApprovalTimeout.Value = 24 * h }, []policy.Deadline{due("2026-11-21T14:00:00Z", policy.DeadlineDiscard)}},
		{
			"or keeps", func(p *policy.Policy) { p.ApprovalTimeout.Value, p.OnTimeout.Value = 24*h, policy.TimeoutKeep },
			[]policy.Deadline{due("2026-11-21T14:00:00Z", policy.DeadlineTimeout)},
		},
		{
			"reminders end with the time-out", func(p *policy.Policy) { p.ApprovalTimeout.Value, p.Reminders.Value = 6*h, 2*h },
			[]policy.Deadline{due("2026-11-20T16:00:00Z", policy.DeadlineRemind), due("2026-11-20T18:00:00Z", policy.DeadlineRemind), due("2026-11-20T20:00:00Z", policy.DeadlineDiscard)},
		},
		{
			"a ladder", func(p *policy.Policy) { p.Escalation.Value = steps },
			[]policy.Deadline{
				due("2026-11-20T15:00:00Z", policy.DeadlineEscalate, "x"), due("2026-11-20T18:00:00Z", policy.DeadlineEscalate, "y", "z"), due("2026-11-21T14:00:00Z", policy.DeadlineDiscard),
			},
		},
		{
			"nothing comes after the plan is discarded", func(p *policy.Policy) { p.Escalation.Value, p.ApprovalTimeout.Value, p.Reminders.Value = steps, 2*h, h },
			[]policy.Deadline{due("2026-11-20T15:00:00Z", policy.DeadlineRemind), due("2026-11-20T15:00:00Z", policy.DeadlineEscalate, "x"), due("2026-11-20T16:00:00Z", policy.DeadlineDiscard)},
		},
		{
			"in office hours alone time passes", func(p *policy.Policy) {
				p.Escalation.Value, p.ApprovalTimeout.Value, p.Clock.Value = steps[:2], 10*h, "office-hours"
			},
			[]policy.Deadline{
				due("2026-11-20T15:00:00Z", policy.DeadlineEscalate, "x"), due("2026-11-23T10:00:00Z", policy.DeadlineEscalate, "y", "z"), due("2026-11-23T16:00:00Z", policy.DeadlineDiscard),
			},
		},
		{
			"time that never comes", func(p *policy.Policy) { p.Escalation.Value, p.Clock.Value = steps[:2], "once" },
			[]policy.Deadline{due("2026-11-23T16:00:00Z", policy.DeadlineEscalate, "x")},
		},
		{"a clock that is gone", func(p *policy.Policy) { p.ApprovalTimeout.Value, p.Clock.Value = h, "gone" }, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := rules.Resolve(policy.Labelled(nil))
			tt.set(&p)
			if diff := cmp.Diff(tt.want, rules.Schedule(p, at(t, since))); diff != "" {
				t.Errorf("dues (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("reminders are bounded", func(t *testing.T) {
		p := rules.Resolve(policy.Labelled(nil))
		p.Reminders.Value = policy.Duration(time.Minute)
		dues := rules.Schedule(p, at(t, since))
		if len(dues) != 50 || !dues[49].At.Equal(at(t, since).Add(50*time.Minute)) {
			t.Errorf("%d reminders", len(dues))
		}
	})
}

func TestDuration(t *testing.T) {
	for in, want := range map[string]string{
		"24h": "24h", "90m": "1h30m", "2d": "48h", "1d12h": "36h", "0s": "0s", "1h0m5s": "1h0m5s", "10m": "10m", "100h": "100h", "0": "0s", "1.5h": "1h30m", "30d": "720h",
	} {
		d, err := policy.ParseDuration(in)
		if err != nil || d.String() != want {
			t.Errorf("%q is read as %s, %v; want %s", in, d, err, want)
		}
		if back, err := policy.ParseDuration(d.String()); back != d || err != nil {
			t.Errorf("%s is read back as %s, %v", d, back, err)
		}
	}
	for _, in := range []string{"", "d", "1", "-1h", "+1h", "1d-1h", "1d+1h", "1 d", "1h1d", "1w", "99999999d", "3000000h", "NaN"} {
		if d, err := policy.ParseDuration(in); err == nil {
			t.Errorf("%q is read as %s", in, d)
		}
	}
}
