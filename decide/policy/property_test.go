package policy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the same zones on every machine

	"pgregory.net/rapid"

	"github.com/gantryhq/gantry/decide/policy"
)

// pattern is a weekly recurrence and, written another way, what it means.
type pattern struct {
	start    time.Time // floating
	days     []time.Weekday
	duration time.Duration
}

var zones = []string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Pacific/Apia", "Asia/Kathmandu", "UTC"}

func drawPattern(t *rapid.T) pattern {
	return pattern{
		start:    time.Date(2026, 1, 1, rapid.IntRange(0, 23).Draw(t, "hour"), rapid.IntRange(0, 59).Draw(t, "minute"), 0, 0, time.UTC),
		days:     rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) time.Weekday { return time.Weekday(rapid.IntRange(0, 6).Draw(t, "d")) }), 1, 7, rapid.ID).Draw(t, "days"),
		duration: time.Duration(rapid.IntRange(1, 50*60).Draw(t, "minutes")) * time.Minute,
	}
}

func (p pattern) recurrence() policy.Recurrence {
	var days []string
	for _, d := range p.days {
		days = append(days, strings.ToUpper(d.String()[:2]))
	}
	return policy.Recurrence{
		Start: p.start.Format("2006-01-02T15:04"), Duration: policy.Duration(p.duration), RRule: "FREQ=WEEKLY;BYDAY=" + strings.Join(days, ","),
	}
}

// holds says by counting days whether a time that a clock shows is within.
func (p pattern) holds(shown time.Time) bool {
	const day = 24 * time.Hour
	timeOfDay := p.start.Sub(p.start.Truncate(day))
	for back := range time.Duration(4) {
		start := shown.Truncate(day).Add(timeOfDay - back*day)
		if slices.Contains(p.days, start.Weekday()) && !start.Before(p.start) && !shown.Before(start) && shown.Before(start.Add(p.duration)) {
			return true
		}
	}
	return false
}

// drawn is a window and what it means, by what a clock on the wall shows.
type drawn struct {
	window      policy.Window
	zone        *time.Location
	allow, deny []pattern
}

func drawWindow(t *rapid.T, name string) drawn {
	d := drawn{window: policy.Window{Name: name, TimeZone: rapid.SampledFrom(zones).Draw(t, "zone")}}
	d.zone, _ = time.LoadLocation(d.window.TimeZone)
	some := rapid.SliceOfN(rapid.Custom(drawPattern), 0, 2)
	d.allow, d.deny = some.Draw(t, "allow"), some.Draw(t, "deny")
	if len(d.allow)+len(d.deny) == 0 {
		d.allow = []pattern{drawPattern(t)}
	}
	for _, p := range d.allow {
		d.window.Allow = append(d.window.Allow, p.recurrence())
	}
	for _, p := range d.deny {
		d.window.Deny = append(d.window.Deny, p.recurrence())
	}
	return d
}

func (d drawn) open(at time.Time) bool {
	local := at.In(d.zone)
	shown := time.Date(local.Year(), local.Month(), local.Day(), local.Hour(), local.Minute(), local.Second(), 0, time.UTC)
	holds := func(p pattern) bool { return p.holds(shown) }
	return (len(d.allow) == 0 || slices.ContainsFunc(d.allow, holds)) && !slices.ContainsFunc(d.deny, holds)
}

// drawTime prefers days on which some clock changes.
func drawTime(t *rapid.T) time.Time {
	day := rapid.SampledFrom([]time.Time{
		time.Date(2026, 3, 28, 0, 0, 0, 0, time.UTC), time.Date(2026, 10, 24, 0, 0, 0, 0, time.UTC), // Europe
		time.Date(2026, 3, 7, 0, 0, 0, 0, time.UTC), time.Date(2026, 10, 31, 0, 0, 0, 0, time.UTC), // America
		time.Date(2026, 4, 4, 0, 0, 0, 0, time.UTC), time.Date(2026, 10, 3, 0, 0, 0, 0, time.UTC), // Lord Howe
		time.Date(2026, 2, 14, 0, 0, 0, 0, time.UTC), time.Date(2026, 3, 21, 0, 0, 0, 0, time.UTC), // Casablanca
		time.Date(2026, 12, 30, 0, 0, 0, 0, time.UTC),
	}).Draw(t, "day")
	return day.Add(time.Duration(rapid.IntRange(0, 2*24*60).Draw(t, "at")) * time.Minute)
}

// TestGateAgreesWithTheClockOnTheWall: looking at a clock every minute finds
// the same, across changes of the clock.
func TestGateAgreesWithTheClockOnTheWall(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		windows := []drawn{drawWindow(t, "a")}
		if rapid.Bool().Draw(t, "second") {
			windows = append(windows, drawWindow(t, "b"))
		}
		var c policy.Config
		var p policy.Policy
		for _, w := range windows {
			c.Windows = append(c.Windows, w.window)
			p.Windows.Value = append(p.Windows.Value, w.window.Name)
		}
		rules, err := policy.Compile(c)
		if err != nil {
			t.Fatal(err)
		}
		from := drawTime(t)
		var freezes []policy.Freeze
		for i := range rapid.IntRange(0, 2).Draw(t, "freezes") {
			f := policy.Freeze{ID: fmt.Sprint("f", i), From: from.Add(time.Duration(rapid.IntRange(-600, 600).Draw(t, "from")) * time.Minute)}
			f.Until = f.From.Add(time.Duration(rapid.IntRange(1, 1200).Draw(t, "long")) * time.Minute)
			freezes = append(freezes, f)
		}
		open := func(at time.Time) bool {
			return !slices.ContainsFunc(windows, func(w drawn) bool { return !w.open(at) }) &&
				!slices.ContainsFunc(freezes, func(f policy.Freeze) bool { return !at.Before(f.From) && at.Before(f.Until) })
		}
		const horizon = 9 * 24 * 60
		was, until := open(from), time.Time{}
		for m := range horizon {
			if at := from.Add(time.Duration(m) * time.Minute); open(at) != was {
				until = at
				break
			}
		}
		g := rules.Gate(p, "app", freezes, from)
		if g.Open != was || (g.Reason == "") != was || !g.At.Equal(from) {
			t.Fatalf("at %s it should be open: %t; got %+v", from, was, g)
		}
		late := g.Until.IsZero() || g.Until.Sub(from) >= horizon*time.Minute
		if agree := g.Until.Equal(until) || until.IsZero() && late; !agree {
			t.Fatalf("at %s it changes at %s, not at %s", from, until, g.Until)
		}
	})
}

// TestScheduleAgreesWithAStopwatch: counting the minutes in which the clock's window
// is open finds the same.
func TestScheduleAgreesWithAStopwatch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWindow(t, "hours")
		rules, err := policy.Compile(policy.Config{Windows: []policy.Window{w.window}})
		if err != nil {
			t.Fatal(err)
		}
		since := drawTime(t)
		p := rules.Resolve(policy.Labelled(nil))
		p.Clock.Value = "hours"
		p.ApprovalTimeout.Value = policy.Duration(rapid.IntRange(1, 3000).Draw(t, "timeout")) * policy.Duration(time.Minute)
		p.Reminders.Value = policy.Duration(rapid.IntRange(60, 3000).Draw(t, "reminders")) * policy.Duration(time.Minute)

		var want []policy.Deadline
		passed := time.Duration(0)
		const horizon = 21 * 24 * 60
		end := since.Add(horizon * time.Minute)
		for m := range horizon {
			at := since.Add(time.Duration(m) * time.Minute)
			if !w.open(at) {
				continue
			}
			if passed += time.Minute; policy.Duration(passed) == p.ApprovalTimeout.Value {
				want = append(want, policy.Deadline{At: at.Add(time.Minute), Kind: policy.DeadlineDiscard})
				break
			}
			if policy.Duration(passed)%p.Reminders.Value == 0 {
				want = append(want, policy.Deadline{At: at.Add(time.Minute), Kind: policy.DeadlineRemind})
			}
		}
		got := slices.DeleteFunc(rules.Schedule(p, since), func(d policy.Deadline) bool { return d.At.After(end) })
		same := func(a, b policy.Deadline) bool { return a.At.Equal(b.At) && a.Kind == b.Kind }
		if !slices.EqualFunc(want, got, same) {
			t.Fatalf("since %s: got %+v, want %+v", since, got, want)
		}
	})
}
