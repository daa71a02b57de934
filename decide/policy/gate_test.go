package policy_test

import (
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gantryhq/gantry/decide/policy"
)

func at(t testing.TB, s string) time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return v.UTC()
}

func TestGate(t *testing.T) {
	rules := compile(t, policy.Config{Windows: []policy.Window{
		officeHours(),
		{Name: "nights", TimeZone: "Europe/Berlin", Allow: []policy.Recurrence{{Start: "2026-01-01T22:00", Duration: 8 * h, RRule: "FREQ=DAILY"}}},
		{Name: "weekends", TimeZone: "Europe/Berlin", Allow: []policy.Recurrence{{Start: "2026-01-03T00:00", Duration: 48 * h, RRule: "FREQ=WEEKLY"}}},
		{Name: "no-fridays", TimeZone: "UTC", Deny: []policy.Recurrence{{Start: "2026-01-02T00:00", Duration: 24 * h, RRule: "FREQ=WEEKLY", ExDates: []string{"2026-11-20"}}}},
		{Name: "once", TimeZone: "America/New_York", Allow: []policy.Recurrence{{Start: "2026-11-24T18:00", Duration: 2 * h}}},
		{Name: "small-hours", TimeZone: "Europe/Berlin", Allow: []policy.Recurrence{{Start: "2026-01-01T02:10", Duration: 2 * h / 3, RRule: "FREQ=DAILY"}}},
		{Name: "two-shifts", TimeZone: "UTC", Allow: []policy.Recurrence{
			{Start: "2026-01-01T08:00", Duration: 4 * h, RRule: "FREQ=DAILY"}, {Start: "2026-01-01T12:00", Duration: 4 * h, RRule: "FREQ=DAILY"},
			{Start: "2026-01-01T15:00", Duration: 3 * h, RRule: "FREQ=DAILY"},
		}},
		{Name: "until-march", TimeZone: "UTC", Allow: []policy.Recurrence{{Start: "2026-01-01T08:00", Duration: h, RRule: "FREQ=DAILY;UNTIL=20260301"}}},
	}})
	freeze := func(id, from, until string, stacks ...string) policy.Freeze {
		f := policy.Freeze{ID: id, Reason: "release week", Stacks: stacks, From: at(t, from), DeclaredBy: "jane"}
		if until != "" {
			f.Until = at(t, until)
		}
		return f
	}
	declared := func(f policy.Freeze, on string) policy.Freeze {
		f.DeclaredAt = at(t, on)
		return f
	}
	for _, tt := range []struct {
		name    string
		windows []string
		freezes []policy.Freeze
		at      string
		want    policy.Gate // without At
		until   string
	}{
		{name: "nothing to mind", at: "2026-11-23T03:00:00Z", want: policy.Gate{Open: true}},
		{name: "open", windows: []string{"office-hours"}, at: "2026-11-23T08:00:00Z", want: policy.Gate{Open: true}, until: "2026-11-23T16:00:00Z"},
		{
			name: "closed at its end", windows: []string{"office-hours"}, at: "2026-11-23T16:00:00Z", until: "2026-11-24T08:00:00Z",
			want: policy.Gate{Window: "office-hours", Reason: "the window office-hours is closed and opens Tue 24 Nov 09:00 Europe/Berlin"},
		},
		{
			name: "closed for a weekend on which the clock changes", windows: []string{"office-hours"}, at: "2026-03-27T18:00:00Z", until: "2026-03-30T07:00:00Z",
			want: policy.Gate{Window: "office-hours", Reason: "the window office-hours is closed and opens Mon 30 Mar 09:00 Europe/Berlin"},
		},
		{
			name: "the next year is said", windows: []string{"office-hours"}, at: "2026-12-31T18:00:00Z", until: "2027-01-01T08:00:00Z",
			want: policy.Gate{Window: "office-hours", Reason: "the window office-hours is closed and opens Fri 1 Jan 2027 09:00 Europe/Berlin"},
		},
		{name: "over midnight", windows: []string{"nights"}, at: "2026-11-23T02:00:00Z", want: policy.Gate{Open: true}, until: "2026-11-23T05:00:00Z"},
		{name: "a night that is an hour shorter ends by the clock", windows: []string{"nights"}, at: "2026-03-28T22:00:00Z", want: policy.Gate{Open: true}, until: "2026-03-29T04:00:00Z"},
		{name: "a night that is an hour longer too", windows: []string{"nights"}, at: "2026-10-24T22:00:00Z", want: policy.Gate{Open: true}, until: "2026-10-25T05:00:00Z"},
		{name: "an hour that comes twice opens twice: first", windows: []string{"small-hours"}, at: "2026-10-25T00:15:00Z", want: policy.Gate{Open: true}, until: "2026-10-25T00:50:00Z"},
		{
			name: "an hour that comes twice opens twice: between", windows: []string{"small-hours"}, at: "2026-10-25T00:55:00Z", until: "2026-10-25T01:10:00Z",
			want: policy.Gate{Window: "small-hours", Reason: "the window small-hours is closed and opens Sun 25 Oct 02:10 Europe/Berlin"},
		},
		{
			name: "an hour that is skipped does not open", windows: []string{"small-hours"}, at: "2026-03-29T00:55:00Z", until: "2026-03-30T00:10:00Z",
			want: policy.Gate{Window: "small-hours", Reason: "the window small-hours is closed and opens Mon 30 Mar 02:10 Europe/Berlin"},
		},
		{name: "adjacent and overlapping times are one", windows: []string{"two-shifts"}, at: "2026-11-23T08:00:00Z", want: policy.Gate{Open: true}, until: "2026-11-23T18:00:00Z"},
		{
			name: "denied", windows: []string{"no-fridays"}, at: "2026-11-27T12:00:00Z", until: "2026-11-28T00:00:00Z",
			want: policy.Gate{Window: "no-fridays", Reason: "the window no-fridays is closed and opens Sat 28 Nov 00:00 UTC"},
		},
		{name: "not denied on a day left out", windows: []string{"no-fridays"}, at: "2026-11-20T12:00:00Z", want: policy.Gate{Open: true}, until: "2026-11-27T00:00:00Z"},
		{
			name: "over permanently", windows: []string{"until-march"}, at: "2026-03-01T09:00:00Z",
			want: policy.Gate{Window: "until-march", Reason: "the window until-march is closed and never opens again"},
		},
		{name: "the last day counts", windows: []string{"until-march"}, at: "2026-03-01T08:30:00Z", want: policy.Gate{Open: true}, until: "2026-03-01T09:00:00Z"},
		{
			name: "the last day of a leap year, of which Go's ZoneBounds knows less", windows: []string{"office-hours"}, at: "2044-12-31T12:00:00Z", until: "2045-01-02T08:00:00Z",
			want: policy.Gate{Window: "office-hours", Reason: "the window office-hours is closed and opens Mon 2 Jan 2045 09:00 Europe/Berlin"},
		},
		{
			name: "all windows must be open", windows: []string{"no-fridays", "once"}, at: "2026-11-23T12:00:00Z", until: "2026-11-24T23:00:00Z",
			want: policy.Gate{Window: "once", Reason: "the window once is closed and opens Tue 24 Nov 18:00 America/New_York"},
		},
		{
			name: "windows that are never open together", windows: []string{"office-hours", "weekends"}, at: "2026-11-27T23:00:00Z",
			want: policy.Gate{Window: "office-hours", Reason: "the window office-hours is closed and opens Mon 30 Nov 09:00 Europe/Berlin; the windows and freezes together never let it pass"},
		},
		{
			name: "a freeze", freezes: []policy.Freeze{freeze("f1", "2026-11-23T00:00:00Z", "2026-11-25T18:00:00Z")}, at: "2026-11-23T12:00:00Z", until: "2026-11-25T18:00:00Z",
			want: policy.Gate{Freeze: "f1", Reason: "frozen by jane until Wed 25 Nov 18:00 UTC: release week"},
		},
		{
			name: "a freeze without an end", freezes: []policy.Freeze{freeze("f1", "2026-11-23T00:00:00Z", "", "app")}, at: "2026-11-23T12:00:00Z",
			want: policy.Gate{Freeze: "f1", Reason: "frozen by jane until somebody lifts it: release week"},
		},
		{name: "a freeze of other stacks", freezes: []policy.Freeze{freeze("f1", "2026-11-23T00:00:00Z", "", "network")}, at: "2026-11-23T12:00:00Z", want: policy.Gate{Open: true}},
		{name: "a freeze that is over", freezes: []policy.Freeze{freeze("f1", "2026-11-22T00:00:00Z", "2026-11-23T12:00:00Z")}, at: "2026-11-23T12:00:00Z", want: policy.Gate{Open: true}},
		{name: "a freeze that is to come", freezes: []policy.Freeze{freeze("f1", "2026-11-24T00:00:00Z", "")}, at: "2026-11-23T12:00:00Z", want: policy.Gate{Open: true}, until: "2026-11-24T00:00:00Z"},
		{
			name: "a freeze from now on, by a clock that is behind", at: "2026-11-23T11:59:59Z", until: "2026-11-25T18:00:00Z",
			freezes: []policy.Freeze{declared(freeze("f1", "2026-11-23T12:00:00Z", "2026-11-25T18:00:00Z"), "2026-11-23T12:00:00Z")},
			want:    policy.Gate{Freeze: "f1", Reason: "frozen by jane until Wed 25 Nov 18:00 UTC: release week"},
		},
		{
			name: "a freeze from now on without an end, by a clock that is behind", at: "2026-11-23T11:59:59Z",
			freezes: []policy.Freeze{declared(freeze("f1", "2026-11-23T12:00:00Z", ""), "2026-11-23T12:00:00Z")},
			want:    policy.Gate{Freeze: "f1", Reason: "frozen by jane until somebody lifts it: release week"},
		},
		{
			name: "a freeze that was declared for later", at: "2026-11-23T12:00:00Z", until: "2026-11-24T00:00:00Z",
			freezes: []policy.Freeze{declared(freeze("f1", "2026-11-24T00:00:00Z", ""), "2026-11-23T12:00:00Z")}, want: policy.Gate{Open: true},
		},
		{
			name: "a freeze from now on, after one that is to come", at: "2026-11-23T11:59:59Z", until: "2026-11-23T13:00:00Z",
			freezes: []policy.Freeze{
				declared(freeze("f1", "2026-11-24T00:00:00Z", "2026-11-25T00:00:00Z"), "2026-11-20T00:00:00Z"),
				declared(freeze("f2", "2026-11-23T12:00:00Z", "2026-11-23T13:00:00Z"), "2026-11-23T12:00:00Z"),
			},
			want: policy.Gate{Freeze: "f2", Reason: "frozen by jane until Mon 23 Nov 13:00 UTC: release week"},
		},
		{
			name: "a freeze and a window", windows: []string{"office-hours"}, freezes: []policy.Freeze{freeze("f1", "2026-11-20T00:00:00Z", "2026-11-24T12:00:00Z")},
			at: "2026-11-23T18:00:00Z", until: "2026-11-24T12:00:00Z",
			want: policy.Gate{
				Freeze: "f1", Window: "office-hours",
				Reason: "frozen by jane until Tue 24 Nov 12:00 UTC: release week; the window office-hours is closed and opens Tue 24 Nov 09:00 Europe/Berlin; the windows and freezes together let it pass from Tue 24 Nov 13:00 Europe/Berlin",
			},
		},
		{
			name: "freezes that follow each other", at: "2026-11-23T12:00:00Z", until: "2026-11-26T00:00:00Z",
			freezes: []policy.Freeze{freeze("f1", "2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z"), freeze("f2", "2026-11-24T00:00:00Z", "2026-11-26T00:00:00Z")},
			want:    policy.Gate{Freeze: "f1", Reason: "frozen by jane until Tue 24 Nov 00:00 UTC: release week; the windows and freezes together let it pass from Thu 26 Nov 00:00 UTC"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := rules.Resolve(policy.Labelled(nil))
			p.Windows.Value = tt.windows
			tt.want.At = at(t, tt.at)
			if tt.until != "" {
				tt.want.Until = at(t, tt.until)
			}
			got := rules.Gate(p, "app", tt.freezes, at(t, tt.at))
			if diff := cmp.Diff(tt.want, got, cmpopts.IgnoreFields(policy.Gate{}, "Closed", "Config")); diff != "" {
				t.Errorf("gate (-want +got):\n%s", diff)
			}
			if len(got.Closed) == 0 != got.Open {
				t.Errorf("open is %t, and what closes it %+v", got.Open, got.Closed)
			}
		})
	}
}

// Each freeze and each window that closes the gate is listed.
func TestWhatClosesAGate(t *testing.T) {
	rules := compile(t, policy.Config{Windows: []policy.Window{officeHours()}})
	p := rules.Resolve(policy.Labelled([]string{"gantry:window=office-hours"}))
	p.Windows.Value = append(p.Windows.Value, "gone")
	now := at(t, "2026-11-23T18:00:00Z")
	got := rules.Gate(p, "app", []policy.Freeze{
		{ID: "f1", Reason: "release week", DeclaredBy: "jane", From: now, DeclaredAt: now},
		{ID: "f2", Reason: "audit", DeclaredBy: "ann", From: now, Stacks: []string{"network"}},
		{ID: "f3", Reason: "incident", DeclaredBy: "bob", From: now, Until: now.Add(time.Hour)},
	}, now)
	want := []policy.Closure{
		{Freeze: "f1", DeclaredBy: "jane", Reason: "frozen by jane until somebody lifts it: release week"},
		{Freeze: "f3", DeclaredBy: "bob", Reason: "frozen by bob until Mon 23 Nov 19:00 UTC: incident"},
		{Window: "office-hours", Reason: "the window office-hours is closed and opens Tue 24 Nov 09:00 Europe/Berlin"},
		{Window: "gone", Reason: "there is no window gone in the configuration any more"},
	}
	if diff := cmp.Diff(want, got.Closed); diff != "" || got.Freeze != "f1" || got.Window != "office-hours" {
		t.Errorf("closed by %s and %s (-want +got):\n%s", got.Freeze, got.Window, diff)
	}
}

// TestRulesAreSharedByManyRuns: a window may be read by many runs,
// concurrently and in any order of times.
func TestRulesAreSharedByManyRuns(t *testing.T) {
	shared := compile(t, policy.Config{Windows: []policy.Window{officeHours()}})
	p := shared.Resolve(policy.Labelled([]string{"gantry:window=office-hours"}))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for week := range 50 {
				when := at(t, "2026-11-23T12:00:00Z").AddDate(0, 0, 7*((week*7+i)%50))
				alone := compile(t, policy.Config{Windows: []policy.Window{officeHours()}})
				if diff := cmp.Diff(alone.Gate(p, "app", nil, when), shared.Gate(p, "app", nil, when)); diff != "" {
					t.Errorf("at %s (-alone +shared):\n%s", when, diff)
				}
			}
		})
	}
	wg.Wait()
}
