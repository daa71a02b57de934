package policy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/gantryhq/gantry/decide/policy"
)

func needs(windows ...string) (p policy.Policy) {
	p.Windows.Value = windows
	return p
}

// A calendar shows what closes a plan's way, by the clock of each window's zone, and
// freezes over it.
func TestCalendar(t *testing.T) {
	rules := compile(t, policy.Config{Windows: []policy.Window{
		officeHours(),
		{Name: "nights", TimeZone: "Europe/Berlin", Allow: []policy.Recurrence{{Start: "2026-01-01T22:00", Duration: 8 * h, RRule: "FREQ=DAILY"}}},
	}})
	week := policy.Freeze{ID: "F1", From: at(t, "2026-11-23T12:00:00Z"), Until: at(t, "2026-11-24T10:00:00Z"), Stacks: []string{"network-prod"}}
	since := at(t, "2026-11-22T15:00:00Z")
	incident := policy.Freeze{ID: "F2", From: since, DeclaredAt: since, Stacks: []string{"app-prod"}}
	for _, tt := range []struct {
		name        string
		windows     []string
		stack       string
		from, until string
		want        []string
	}{
		{name: "nothing to mind", from: "2026-11-23T00:00:00Z", until: "2026-11-30T00:00:00Z", want: []string{"23 00:00 open"}},
		{
			name: "office hours", windows: []string{"office-hours"}, from: "2026-11-23T00:00:00Z", until: "2026-11-24T12:00:00Z",
			want: []string{"23 00:00 office-hours", "23 08:00 open", "23 16:00 office-hours", "24 08:00 open"},
		},
		{
			name: "a freeze over office hours", windows: []string{"office-hours"}, stack: "network-prod", from: "2026-11-23T09:00:00Z", until: "2026-11-24T12:00:00Z",
			want: []string{"23 09:00 open", "23 12:00 F1", "23 16:00 F1 office-hours", "24 08:00 F1", "24 10:00 open"},
		},
		{
			name: "a shorter night", windows: []string{"nights"}, from: "2026-03-28T12:00:00Z", until: "2026-03-29T12:00:00Z",
			want: []string{"28 12:00 nights", "28 21:00 open", "29 04:00 nights"},
		},
		{
			name: "a longer night", windows: []string{"nights"}, from: "2026-10-24T12:00:00Z", until: "2026-10-25T12:00:00Z",
			want: []string{"24 12:00 nights", "24 20:00 open", "25 05:00 nights"},
		},
		{name: "a window that is gone", windows: []string{"gone"}, from: "2026-11-23T00:00:00Z", until: "2026-11-24T00:00:00Z", want: []string{"23 00:00 gone"}},
		{
			name: "a freeze in effect since it was declared", stack: "app-prod", from: "2026-11-22T00:00:00Z", until: "2026-11-23T00:00:00Z",
			want: []string{"22 00:00 open", "22 15:00 F2"},
		},
		{name: "no time at all", from: "2026-11-23T00:00:00Z", until: "2026-11-23T00:00:00Z"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			periods := rules.Calendar(needs(tt.windows...), tt.stack, []policy.Freeze{week, incident}, at(t, tt.from), at(t, tt.until))
			var got []string
			for i, p := range periods {
				closed := slices.Concat(p.Freezes, p.Windows)
				if p.Open() {
					closed = []string{"open"}
				}
				got = append(got, p.From.Format("2 15:04 ")+strings.Join(closed, " "))
				if next := append(slices.Clone(periods), policy.Period{From: at(t, tt.until)})[i+1].From; !p.Until.Equal(next) {
					t.Errorf("period %d ends at %s, before %s", i, p.Until, next)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A calendar never disagrees with the gate that decides.
func TestCalendarIsTheGate(t *testing.T) {
	rules := compile(t, policy.Config{Windows: []policy.Window{
		officeHours(),
		{Name: "nights", TimeZone: "America/New_York", Allow: []policy.Recurrence{{Start: "2026-01-01T22:30", Duration: 8 * h, RRule: "FREQ=DAILY"}}},
		{Name: "no-fridays", TimeZone: "Asia/Kathmandu", Deny: []policy.Recurrence{{Start: "2026-01-02T00:00", Duration: 24 * h, RRule: "FREQ=WEEKLY"}}},
	}})
	begin := at(t, "2026-01-01T00:00:00Z")
	rapid.Check(t, func(t *rapid.T) {
		minutes := func(label string, most int) time.Duration {
			return time.Duration(rapid.IntRange(0, most).Draw(t, label)) * time.Minute
		}
		p := needs(rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"office-hours", "nights", "no-fridays", "gone"}), 0, 3, rapid.ID).Draw(t, "windows")...)
		from := begin.Add(minutes("from", 600_000))
		until := from.Add(minutes("for", 40_000) + time.Minute)
		var freezes []policy.Freeze
		for i := range rapid.IntRange(0, 3).Draw(t, "freezes") {
			f := policy.Freeze{ID: fmt.Sprint("F", i), From: from.Add(minutes("freeze", 40_000) - 7*24*time.Hour)}
			if rapid.Bool().Draw(t, "ends") {
				f.Until = f.From.Add(minutes("lasts", 20_000) + time.Minute)
			}
			freezes = append(freezes, f)
		}
		periods := rules.Calendar(p, "network-prod", freezes, from, until)
		when := from.Add(time.Duration(rapid.Int64Range(0, int64(until.Sub(from)-1)).Draw(t, "at")))
		i := slices.IndexFunc(periods, func(p policy.Period) bool { return !when.Before(p.From) && when.Before(p.Until) })
		if i < 0 {
			t.Fatalf("no period of %v includes %s", periods, when)
		}
		gate := rules.Gate(p, "network-prod", freezes, when)
		var closed []string
		for _, c := range gate.Closed {
			closed = append(closed, c.Freeze+c.Window)
		}
		shown := slices.Concat(periods[i].Freezes, periods[i].Windows)
		slices.Sort(closed)
		slices.Sort(shown)
		if periods[i].Open() != gate.Open || !slices.Equal(closed, shown) {
			t.Fatalf("at %s: the calendar shows %v, the gate %v", when, shown, closed)
		}
	})
}

// A window that opens every hour makes many periods, and a calendar bounds them.
func TestCalendarIsBounded(t *testing.T) {
	rules := compile(t, policy.Config{Windows: []policy.Window{
		{Name: "busy", TimeZone: "UTC", Allow: []policy.Recurrence{{Start: "2026-01-01T00:00", Duration: h / 2, RRule: "FREQ=DAILY;BYHOUR=0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23"}}},
	}})
	from := at(t, "2026-02-01T00:00:00Z")
	until := from.AddDate(0, 0, 60)
	got := rules.Calendar(needs("busy"), "", nil, from, until)
	if len(got) != policy.MaxPeriods || !got[len(got)-1].Until.Before(until) {
		t.Errorf("%d periods, the last until %s", len(got), got[len(got)-1].Until)
	}
}
