package policy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/spacelift"
)

func FuzzResolve(f *testing.F) {
	rules := compile(f, team())
	for _, labels := range []string{
		"gantry:managed\ngantry:confirm=auto", "gantry:profile=production\ngantry:retries=3", "gantry:after=a\ngantry:after=b\ndepends-on:c,d",
		"gantry:approval-timeout=1d2h3m", "Gantry:Confirm = AUTO", "gantry:(and more)", "gantry:approvals=+2\ngantry:approvers= ", "gantry:notify=#deploys",
	} {
		f.Add(labels)
	}
	f.Fuzz(func(t *testing.T, labels string) {
		p := rules.Resolve(policy.Labelled(strings.Split(labels, "\n")))
		alone, looked := p.AutoConfirms(policy.PlanFacts{Type: spacelift.RunTypeTracked, Delta: &spacelift.Delta{}})
		if alone && len(p.Problems) > 0 || len(looked) == 0 {
			t.Errorf("alone is %t by %+v, with problems %+v", alone, looked, p.Problems)
		}
		for _, problem := range p.Problems {
			if problem.Label == "" || problem.Problem == "" || problem.Remedy == "" {
				t.Errorf("%+v does not say enough", problem)
			}
		}
		// What is not UTF-8 changes when it is stored; Spacelift sends JSON.
		if strings.ToValidUTF8(labels, "") == labels {
			roundTrip(t, p)
		}
	})
}

func FuzzWindow(f *testing.F) {
	for _, rule := range []string{
		"", "FREQ=DAILY", "FREQ=WEEKLY;BYDAY=MO,FR;INTERVAL=2", "FREQ=MONTHLY;BYDAY=-1SU", "FREQ=YEARLY;BYMONTH=12;BYMONTHDAY=24,25,26;COUNT=10",
		"FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1", "FREQ=YEARLY;BYWEEKNO=20;WKST=SU", "FREQ=DAILY;BYHOUR=1,2,3;UNTIL=20271231T000000Z", "FREQ=SECONDLY",
		"FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "FREQ=DAILY;INTERVAL=1000;BYMONTH=2;BYMONTHDAY=29", "FREQ=YEARLY;BYYEARDAY=366,-366",
		"FREQ=MONTHLY;BYDAY=9MO", "FREQ=YEARLY;BYMONTH=12;BYDAY=9MO,-9TU", "FREQ=YEARLY;BYDAY=53FR,-53SA",
	} {
		f.Add("2026-03-29T02:30", uint16(90), rule, "2026-12-24", uint8(0), uint32(3000))
	}
	f.Fuzz(func(t *testing.T, start string, minutes uint16, rule, exDate string, zone uint8, hours uint32) {
		r := policy.Recurrence{Start: start, Duration: policy.Duration(minutes) * policy.Duration(time.Minute), RRule: rule, ExDates: []string{exDate}}
		w := policy.Window{Name: "w", TimeZone: zones[int(zone)%len(zones)], Allow: []policy.Recurrence{r}}
		if zone >= 128 {
			w.Allow, w.Deny = nil, w.Allow
		}
		rules, err := policy.Compile(policy.Config{Windows: []policy.Window{w}})
		if err != nil {
			if !strings.HasPrefix(err.Error(), "windows[0].") {
				t.Errorf("it does not say where: %v", err)
			}
			return
		}
		p := rules.Resolve(policy.Labelled(nil))
		p.Windows.Value = []string{"w"}
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(hours%200_000) * time.Hour)
		g := rules.Gate(p, "app", nil, now)
		if g.Open == (g.Reason != "") {
			t.Errorf("%+v", g)
		}
		if !g.Until.IsZero() && (!g.Until.After(now) || rules.Gate(p, "app", nil, g.Until).Open == g.Open) {
			t.Errorf("nothing changes then: %+v", g)
		}
	})
}
