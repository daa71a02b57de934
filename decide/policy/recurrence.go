package policy

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/teambition/rrule-go"
)

// Recurrence is a stretch of time on the clock of a window's time zone, once or
// by a rule.
type Recurrence struct {
	Start    string   // local, such as "2026-11-23T09:00": the first occurrence, or where the rule begins
	Duration Duration // of each occurrence, by the clock
	RRule    string   // RFC 5545, such as "FREQ=WEEKLY;BYDAY=MO,TU"; empty: once
	ExDates  []string // occurrences left out, by local start or by day
}

const (
	localTime = "2006-01-02T15:04"
	localDay  = "2006-01-02"
)

// Bounds of a recurrence. They keep the work for any rule small: at most 24
// occurrences a day within lastYear.
const (
	firstYear, lastYear = 2000, 2099
	maxInterval         = 1000
	maxCount            = 10_000
	maxExDates          = 1000
)

var durations = span{time.Minute, 366 * day}

// recurrence enumerates the occurrences of a Recurrence in floating time: local
// time written as UTC. It computes them when they are needed and keeps them.
type recurrence struct {
	duration time.Duration
	excluded map[time.Time]bool // floating starts
	without  map[string]bool    // days

	mu     sync.Mutex
	next   func() (time.Time, bool)
	starts []time.Time // floating, ascending
	done   bool
}

func compileRecurrence(c Recurrence, zone *time.Location) (*recurrence, []error) {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	start, err := time.Parse(localTime, c.Start)
	switch {
	case err != nil:
		bad("start: %q is not a local time such as 2026-11-23T09:00", c.Start)
	case start.Year() < firstYear || start.Year() > lastYear:
		bad("start: %d is not a year within %d and %d", start.Year(), firstYear, lastYear)
	}
	if !durations.holds(c.Duration) {
		bad("duration: %s is not within %s", c.Duration, durations)
	}
	r := &recurrence{duration: time.Duration(c.Duration), excluded: map[time.Time]bool{}, without: map[string]bool{}}
	if len(c.ExDates) > maxExDates {
		bad("exDates: %d are more than %d", len(c.ExDates), maxExDates)
	}
	for _, x := range c.ExDates {
		if at, err := time.Parse(localTime, x); err == nil {
			r.excluded[at] = true
		} else if at, err := time.Parse(localDay, x); err == nil {
			r.without[at.Format(localDay)] = true
		} else {
			bad("exDates: %q is neither a local time such as 2026-12-24T09:00 nor a day such as 2026-12-24", x)
		}
	}
	option, err := parseRule(c.RRule, zone)
	if err != nil {
		bad("rrule: %w", err)
	}
	if len(errs) > 0 {
		return nil, errs
	}
	option.Dtstart = start
	end := time.Date(lastYear+1, 1, 1, 0, 0, 0, 0, time.UTC)
	if option.Until.IsZero() || option.Until.After(end) {
		option.Until = end
	}
	rule, err := rrule.NewRRule(option)
	if err != nil {
		return nil, []error{fmt.Errorf("rrule: %w", err)}
	}
	r.next = rule.Iterator()
	if !r.grow(time.Time{}) {
		return nil, []error{errors.New("rrule: it never happens; mind start, UNTIL and exDates")}
	}
	return r, nil
}

// ruleParts are the parts of a rule that Gantry understands. The minutes and seconds
// are those of the start.
var ruleParts = []string{
	"FREQ", "INTERVAL", "COUNT", "UNTIL", "WKST", "BYMONTH", "BYWEEKNO", "BYYEARDAY", "BYMONTHDAY", "BYDAY", "BYHOUR", "BYSETPOS",
}

// parseRule reads a rule with its UNTIL in floating time. An empty rule happens
// once.
func parseRule(rule string, zone *time.Location) (rrule.ROption, error) {
	if rule == "" {
		return rrule.ROption{Freq: rrule.DAILY, Count: 1}, nil
	}
	parts := map[string]string{}
	for part := range strings.SplitSeq(rule, ";") {
		name, value, _ := strings.Cut(part, "=")
		switch {
		case !slices.Contains(ruleParts, name):
			return rrule.ROption{}, fmt.Errorf("%q is not understood; there are %s", name, strings.Join(ruleParts, ", "))
		case parts[name] != "":
			return rrule.ROption{}, fmt.Errorf("%s is said twice", name)
		}
		parts[name] = value
	}
	option, err := rrule.StrToROption(rule)
	if err != nil {
		return rrule.ROption{}, fmt.Errorf("%q: %w", rule, err)
	}
	freq := parts["FREQ"]
	weeks := 53 // that a number in BYDAY counts: a year's, or a month's
	if freq == "MONTHLY" || len(option.Bymonth) > 0 {
		weeks = 5
	}
	weekdayWithOrdinal := slices.ContainsFunc(option.Byweekday, func(d rrule.Weekday) bool { return d.N() != 0 })
	switch {
	case option.Freq > rrule.DAILY:
		return rrule.ROption{}, fmt.Errorf("FREQ=%s is more often than DAILY; say FREQ=DAILY with BYHOUR", freq)
	case parts["INTERVAL"] != "" && (option.Interval < 1 || option.Interval > maxInterval):
		return rrule.ROption{}, fmt.Errorf("INTERVAL=%d is not within 1 and %d", option.Interval, maxInterval)
	case parts["COUNT"] != "" && (option.Count < 1 || option.Count > maxCount):
		return rrule.ROption{}, fmt.Errorf("COUNT=%d is not within 1 and %d", option.Count, maxCount)
	case parts["COUNT"] != "" && parts["UNTIL"] != "":
		return rrule.ROption{}, errors.New("COUNT and UNTIL exclude each other; remove one")
	// RFC 5545, section 3.3.10, says which parts go together.
	case parts["BYWEEKNO"] != "" && freq != "YEARLY":
		return rrule.ROption{}, errors.New("BYWEEKNO needs FREQ=YEARLY")
	case parts["BYYEARDAY"] != "" && freq != "YEARLY":
		return rrule.ROption{}, errors.New("BYYEARDAY needs FREQ=YEARLY")
	case parts["BYMONTHDAY"] != "" && freq == "WEEKLY":
		return rrule.ROption{}, errors.New("BYMONTHDAY does not go with FREQ=WEEKLY")
	case weekdayWithOrdinal && (freq == "WEEKLY" || freq == "DAILY" || parts["BYWEEKNO"] != ""):
		return rrule.ROption{}, errors.New("a number in BYDAY needs FREQ=MONTHLY or FREQ=YEARLY, without BYWEEKNO")
	case slices.ContainsFunc(option.Byweekday, func(d rrule.Weekday) bool { return max(d.N(), -d.N()) > weeks }):
		return rrule.ROption{}, fmt.Errorf("a number in BYDAY is not within -%d and %d, the most weeks of what it counts in", weeks, weeks)
	case parts["BYSETPOS"] != "" && !slices.ContainsFunc(ruleParts[5:11], func(by string) bool { return parts[by] != "" }):
		return rrule.ROption{}, errors.New("BYSETPOS needs another part that begins with BY")
	}
	switch until := parts["UNTIL"]; {
	case until == "":
	case strings.HasSuffix(until, "Z"):
		option.Until = floating(option.Until, zone)
	case len(until) == len("20060102"): // a day, all of it
		option.Until = option.Until.Add(day - time.Second)
	}
	return *option, nil
}

// floating returns the local time in a zone, written as UTC.
func floating(at time.Time, zone *time.Location) time.Time {
	_, offset := at.In(zone).Zone()
	return at.Add(time.Duration(offset) * time.Second).UTC()
}

// grow adds occurrences up to the first one that starts after a time, and reports
// whether there is one.
func (r *recurrence) grow(after time.Time) bool {
	for !r.done && (len(r.starts) == 0 || !r.starts[len(r.starts)-1].After(after)) {
		start, ok := r.next()
		switch {
		case !ok:
			r.done = true
		case !r.excluded[start] && !r.without[start.Format(localDay)]:
			r.starts = append(r.starts, start)
		}
	}
	return len(r.starts) > 0 && r.starts[len(r.starts)-1].After(after)
}

// within reports whether a floating time is within an occurrence, and the next
// floating time, if any, at which one starts or ends.
func (r *recurrence) within(at time.Time) (within bool, change time.Time, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.grow(at)
	next, _ := slices.BinarySearchFunc(r.starts, at, func(start, at time.Time) int {
		if start.After(at) {
			return 1
		}
		return -1
	})
	if next < len(r.starts) {
		change, ok = r.starts[next], true
	}
	// Occurrences are equally long, so that the last to start is the last to end.
	if next > 0 {
		if end := r.starts[next-1].Add(r.duration); end.After(at) {
			within = true
			if !ok || end.Before(change) {
				change, ok = end, true
			}
		}
	}
	return within, change, ok
}

// rank returns the path of a recurrence in an error.
func rank(list string, i int) string { return list + "[" + strconv.Itoa(i) + "]" }
