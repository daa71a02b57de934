package web

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"

	"github.com/gantryhq/gantry/gen/api"
)

// The ranges of a calendar, in days.
const (
	weekDays  = 7
	monthDays = 35
)

// calendarView is a page of the calendar.
type calendarView struct {
	query    url.Values
	accounts []string
	account  string
	subject  string // stack, profile or window; empty for the account as a whole
	name     string // of the subject
	zone     *time.Location
	asked    bool // the address names the zone
	now      time.Time
	from     time.Time // midnight of the first day, in the zone
	days     int

	calendar  *api.Calendar
	refusal   *Refusal // why there is no calendar
	mayFreeze bool

	form   freezeForm
	change *Refusal // why the freeze was not declared or lifted
	lifted string   // the freeze that the change is about; empty for a declaration
	done   string   // what the change did
}

// freezeForm is the form that declares a freeze, as it was sent.
type freezeForm struct {
	Reason, Stacks, From, Until string
	AllowUnmatched              bool
}

// calendar shows when plans may be confirmed.
func (p *Pages) calendar(c *call) (answer, error) {
	v, err := p.calendarView(c)
	if err != nil {
		return answer{}, err
	}
	a := answer{page: calendarPage(v)}
	if v.refusal != nil {
		a.status = v.refusal.Status
	}
	return a, nil
}

// changeFreezes declares or lifts a freeze.
func (p *Pages) changeFreezes(c *call) (answer, error) {
	v, err := p.calendarView(c)
	if err != nil {
		return answer{}, err
	}
	if v.lifted = c.PostFormValue("lift"); v.lifted != "" {
		_, err = c.API.LiftFreezeWithResponse(c.Context(), v.account, v.lifted, &api.LiftFreezeParams{IdempotencyKey: c.key()})
	} else {
		err = v.declare(c)
	}
	if refusal, ok := errors.AsType[*Refusal](err); ok {
		v.change = refusal
		return answer{status: refusal.Status, page: calendarPage(v)}, nil
	}
	if err != nil {
		return answer{}, err
	}
	if c.Header.Get("HX-Request") == "" {
		return answer{to: at(c.Context(), "calendar") + string(with(v.query, "", ""))}, nil
	}
	lifted := v.lifted != ""
	if v, err = p.calendarView(c); err != nil { // as it is now
		return answer{}, err
	}
	v.done = "The freeze is declared."
	if lifted {
		v.done = "The freeze is lifted."
	}
	return show(calendarPage(v))
}

// declare sends the form that declares a freeze.
func (v *calendarView) declare(c *call) error {
	f := &v.form
	*f = freezeForm{
		Reason: strings.TrimSpace(c.PostFormValue("reason")), Stacks: c.PostFormValue("stacks"), From: c.PostFormValue("from"), Until: c.PostFormValue("until"),
		AllowUnmatched: c.PostFormValue("allowUnmatched") != "",
	}
	body := api.FreezeRequest{Reason: f.Reason, AllowUnmatched: &f.AllowUnmatched}
	body.Stacks = strings.FieldsFunc(f.Stacks, func(r rune) bool { return strings.ContainsRune(" ,;\r\n\t", r) })
	for _, t := range []struct {
		name, text string
		to         **time.Time
	}{{"The beginning", f.From, &body.From}, {"The end", f.Until, &body.Until}} {
		if t.text == "" {
			continue
		}
		at, err := time.ParseInLocation("2006-01-02T15:04", t.text, v.zone)
		if err != nil {
			return &Refusal{api.Problem{Status: http.StatusBadRequest, Title: "Invalid freeze", Detail: new(t.name + " is not a date and time such as 2026-01-05T09:00")}}
		}
		*t.to = new(at.UTC())
	}
	_, err := c.API.DeclareFreezeWithResponse(c.Context(), v.account, &api.DeclareFreezeParams{IdempotencyKey: c.key()}, body)
	return err
}

// calendarView reads what the page shows. A calendar that the API refuses is part of it.
func (p *Pages) calendarView(c *call) (*calendarView, error) {
	v := &calendarView{query: c.URL.Query(), days: weekDays, now: viewOf(c.Context()).now}
	var bad string
	v.zone, v.asked, bad = zoneOf(c.Request)
	v.now = v.now.In(v.zone)
	if v.query.Get("days") == strconv.Itoa(monthDays) {
		v.days = monthDays
	}
	v.from = midnight(v.now)
	if day, err := time.ParseInLocation(time.DateOnly, v.query.Get("from"), v.zone); err == nil {
		v.from = day
	}
	accounts, err := c.API.ListAccountsWithResponse(c.Context())
	if err != nil {
		return nil, err
	}
	for _, a := range accounts.JSON200.Accounts {
		v.accounts = append(v.accounts, a.Name)
	}
	if len(v.accounts) == 0 {
		return v, nil
	}
	v.account = cmp.Or(v.query.Get("account"), v.accounts[0])
	v.mayFreeze = mayOperate(c.Context(), v.account)
	params := api.ListWindowsParams{From: &v.from, Days: new(v.days + 1)} // a day more: clocks may change
	for name, to := range map[string]**string{"stack": &params.Stack, "profile": &params.Profile, "window": &params.Window} {
		if value := strings.TrimSpace(v.query.Get(name)); value != "" {
			*to, v.subject, v.name = &value, name, value
		}
	}
	if bad != "" {
		v.refusal = &Refusal{api.Problem{Status: http.StatusBadRequest, Title: "Unknown time zone", Detail: new(bad + " is not a time zone such as Europe/Berlin")}}
	}
	found, err := c.API.ListWindowsWithResponse(c.Context(), v.account, &params)
	if refusal, ok := errors.AsType[*Refusal](err); ok {
		v.refusal = refusal
		return v, nil
	}
	if err != nil {
		return nil, err
	}
	v.calendar = found.JSON200
	return v, nil
}

func midnight(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, t.Location())
}

// headline says whether plans of a row may be confirmed.
func (v *calendarView) headline(row api.CalendarRow) (class, text string) {
	words, ok := headlines[row.Kind]
	if !ok {
		words = headlines["stack"]
	}
	switch {
	case len(row.Problems) > 0:
		return "stop", "Nothing is confirmed until the labels are fixed"
	case row.Gate.Open && row.Gate.Until != nil:
		return "go", words.openUntil + v.moment(*row.Gate.Until)
	case row.Gate.Open:
		return "go", words.open
	case row.Gate.Freeze != nil && row.Next != nil:
		return "stop", words.frozenUntil + v.moment(*row.Next)
	case row.Gate.Freeze != nil:
		return "stop", "Frozen until someone lifts the freeze"
	case row.Next != nil:
		return "warn", words.closedUntil + v.moment(*row.Next)
	}
	return "stop", "Nothing is confirmed: it never opens again"
}

// opening returns when a row opens next, until when if that is on the page.
func (v *calendarView) opening(row api.CalendarRow) string {
	text := v.moment(*row.Next)
	for _, p := range joined(row.Periods) {
		if until := p.Until.In(v.zone); !p.From.After(*row.Next) && p.Until.After(*row.Next) {
			if until.Format(time.DateOnly) != row.Next.In(v.zone).Format(time.DateOnly) {
				return text + " – " + v.moment(p.Until)
			}
			return text + "–" + until.Format("15:04")
		}
	}
	return text
}

// headlines are the words for each kind of row.
var headlines = map[string]struct{ open, openUntil, closedUntil, frozenUntil string }{
	"account": {"Not frozen", "Not frozen until ", "Frozen until ", "Frozen until "},
	"window":  {"Always open", "Open until ", "Closed until ", "Frozen until "},
	"profile": {"Plans may be confirmed at any time", "Plans may be confirmed until ", "Plans may be confirmed from ", "Frozen; plans may be confirmed from "},
	"stack":   {"Plans may be confirmed at any time", "Plans may be confirmed until ", "Plans may be confirmed from ", "Frozen; plans may be confirmed from "},
}

// moment returns a time for people, in the page's zone.
func (v *calendarView) moment(t time.Time) string {
	t = t.In(v.zone)
	layout := "Mon 2 Jan 15:04"
	if t.Year() != v.now.Year() {
		layout = "Mon 2 Jan 2006 15:04"
	}
	return t.Format(layout)
}

// until is the end of the page's last day.
func (v *calendarView) until() time.Time { return v.from.AddDate(0, 0, v.days) }

// shift returns the address of the page some days before or after this one.
func (v *calendarView) shift(days int) templ.SafeURL {
	return with(v.query, "from", v.from.AddDate(0, 0, days).Format(time.DateOnly))
}

// to returns the address of another subject.
func (v *calendarView) to(kind, name string) templ.SafeURL {
	q := url.Values{"account": {v.account}}
	for _, keep := range []string{"zone", "days", "from"} {
		if value := v.query.Get(keep); value != "" {
			q.Set(keep, value)
		}
	}
	if kind != "account" {
		q.Set(kind, name)
	}
	return templ.SafeURL("?" + q.Encode())
}

// title returns the title of the page.
func (v *calendarView) title() string {
	if v.name == "" {
		return "Calendar"
	}
	return v.name + ": calendar"
}

// calendarDay is a day of a row.
type calendarDay struct {
	from, until time.Time
	periods     []api.CalendarPeriod // cut to the day
	unknown     bool                 // the API's periods end before the day does
}

// eachDay returns the page's days of a row.
func (v *calendarView) eachDay(row api.CalendarRow) (all []calendarDay) {
	for i := range v.days {
		d := calendarDay{from: v.from.AddDate(0, 0, i), until: v.from.AddDate(0, 0, i+1)}
		d.periods = cut(row.Periods, d.from, d.until)
		d.unknown = len(d.periods) == 0 || d.periods[len(d.periods)-1].Until.Before(d.until)
		all = append(all, d)
	}
	return all
}

// cut returns the parts of periods between two times.
func cut(periods []api.CalendarPeriod, from, until time.Time) (parts []api.CalendarPeriod) {
	for _, p := range periods {
		if p.From.Before(until) && p.Until.After(from) {
			p.From, p.Until = later(p.From, from), earlier(p.Until, until)
			parts = append(parts, p)
		}
	}
	return parts
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// openTimes says when a day is open.
func (v *calendarView) openTimes(d calendarDay) string {
	var all []string
	for _, p := range joined(d.periods) {
		end := p.Until.In(v.zone).Format("15:04")
		if p.Until.Equal(d.until) {
			end = "24:00"
		}
		if p.From.Equal(d.from) && p.Until.Equal(d.until) {
			return "all day"
		}
		all = append(all, p.From.In(v.zone).Format("15:04")+"–"+end)
	}
	switch {
	case d.unknown:
		return strings.Join(append(all, "…"), ", ")
	case len(all) == 0:
		return "closed"
	}
	return strings.Join(all, ", ")
}

// joined returns the open periods, those that follow each other as one.
func joined(periods []api.CalendarPeriod) (open []api.CalendarPeriod) {
	for _, p := range periods {
		if last := len(open) - 1; p.Open && last >= 0 && open[last].Until.Equal(p.From) {
			open[last].Until = p.Until
		} else if p.Open {
			open = append(open, p)
		}
	}
	return open
}

// whyClosed names what closes some of a day.
func (v *calendarView) whyClosed(d calendarDay) string {
	var names []string
	add := func(name string) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, p := range d.periods {
		for _, id := range p.Freezes {
			add("frozen: " + v.freezeReason(id))
		}
	}
	for _, p := range d.periods {
		if len(p.Freezes) == 0 && len(p.Windows) > 0 && len(joined(d.periods)) == 0 {
			add(strings.Join(p.Windows, ", ") + " is closed")
		}
	}
	return strings.Join(names, "; ")
}

func (v *calendarView) freezeReason(id string) string {
	for _, f := range v.calendar.Freezes {
		if f.ID == id {
			return f.Reason
		}
	}
	return id
}

// segment is a part of a bar, in thousandths of its length.
type segment struct {
	class    string // open, closed or frozen
	from, to float64
}

// bar returns the segments of a stretch of time.
func (v *calendarView) bar(periods []api.CalendarPeriod, from, until time.Time) (all []segment) {
	whole := float64(until.Sub(from))
	place := func(t time.Time) float64 { return float64(t.Sub(from)) / whole * barLength }
	for _, p := range cut(periods, from, until) {
		s := segment{class: "closed"}
		if p.Open {
			s.class = "open"
		} else if len(p.Freezes) > 0 {
			s.class = "frozen"
		}
		s.from, s.to = place(p.From), place(p.Until)
		if last := len(all) - 1; last >= 0 && all[last].class == s.class { // a seam would show
			all[last].to = s.to
			continue
		}
		all = append(all, s)
	}
	return all
}

func (s segment) x() string { return thousandths(s.from) }

func (s segment) width() string { return thousandths(s.to - s.from) }

// quarters are the quarters of a day on its bar.
var quarters = []string{"250", "500", "750"}

const barLength = 1000

func thousandths(n float64) string { return strconv.FormatFloat(n, 'f', 1, 64) }

// nowOn returns where now is on a bar; empty if it isn't.
func (v *calendarView) nowOn(from, until time.Time) string {
	if v.now.Before(from) || !v.now.Before(until) {
		return ""
	}
	return thousandths(float64(v.now.Sub(from)) / float64(until.Sub(from)) * barLength)
}

// midnights returns where the days of the page begin on its bar, but the first.
func (v *calendarView) midnights() (all []string) {
	for i := 1; i < v.days; i++ {
		at := v.from.AddDate(0, 0, i)
		all = append(all, thousandths(float64(at.Sub(v.from))/float64(v.until().Sub(v.from))*barLength))
	}
	return all
}

// zones names the time zones of a row's windows.
func (v *calendarView) zones(row api.CalendarRow) string {
	var all []string
	for _, w := range v.calendar.Windows {
		if slices.Contains(row.Windows, w.Name) {
			all = append(all, cmp.Or(w.TimeZone, "missing in the configuration"))
		}
	}
	return strings.Join(slices.Compact(all), ", ")
}

// span returns the page's days, for people.
func (v *calendarView) span() string {
	last := v.until().AddDate(0, 0, -1)
	switch {
	case v.from.Year() != last.Year():
		return v.from.Format("2 January 2006") + " – " + last.Format("2 January 2006")
	case v.from.Month() != last.Month():
		return v.from.Format("2 January") + " – " + last.Format("2 January 2006")
	}
	return v.from.Format("2") + "–" + last.Format("2 January 2006")
}

// kindOf names the kind of a row for people.
func kindOf(row api.CalendarRow) string {
	if row.Kind == "account" {
		return "every stack"
	}
	return row.Kind
}

// asRefused reports whether a freeze is the one whose lifting was refused.
func (v *calendarView) asRefused(id string) bool { return v.change != nil && v.lifted == id }

// coveredBy says what a freeze covers.
func coveredBy(f api.Freeze) string {
	if len(f.Stacks) == 0 {
		return "every stack"
	}
	return strings.Join(f.Stacks, ", ")
}

// begun reports whether a freeze is in effect.
func (v *calendarView) begun(f api.Freeze) bool { return !f.From.After(v.now) }

// overview says in a sentence how the account is.
func (v *calendarView) overview() string {
	open, windows := 0, 0
	for _, row := range v.calendar.Rows {
		switch {
		case row.Kind == "account" && !row.Gate.Open:
			_, text := v.headline(row)
			return text + ": nothing is confirmed"
		case row.Kind == "window":
			if windows++; row.Gate.Open {
				open++
			}
		}
	}
	switch {
	case windows == 0:
		return "Plans may be confirmed at any time"
	case windows == 1 && open == 1:
		return "The only window is open"
	case windows == 1:
		return "The only window is closed"
	case open == 0:
		return "All " + strconv.Itoa(windows) + " windows are closed"
	case open == windows:
		return "All " + strconv.Itoa(windows) + " windows are open"
	}
	return strconv.Itoa(open) + " of " + plural(windows, "window") + " open"
}

// heading says when the subject's plans may be confirmed.
func (v *calendarView) heading() string {
	if v.calendar == nil || len(v.calendar.Rows) == 0 {
		return cmp.Or(v.name, "Calendar")
	}
	if v.name == "" {
		return v.overview()
	}
	_, text := v.headline(v.calendar.Rows[0])
	return v.name + ": " + strings.ToLower(text[:1]) + text[1:]
}

// inPlace makes a form renew the live part of the page, which shows a refusal.
var inPlace = templ.Attributes{"hx-post": "", "hx-target": "#live", "hx-select": "#live", "hx-swap": "outerHTML"}
