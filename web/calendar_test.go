package web_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/web/webtest"
)

func hour(day, h int) time.Time { return time.Date(2026, 1, day, h, 0, 0, 0, time.UTC) }

var aFreeze = api.Freeze{
	ID: "01KDX4A7B3C5D7E9F1G3H5J7K9", Reason: "end of the year", Stacks: []string{"network-prod", "app-prod"}, From: hour(1, 6), Until: new(hour(3, 9)),
	DeclaredBy: "ann", DeclaredAt: time.Date(2025, 12, 30, 15, 4, 0, 0, time.UTC),
}

// weekOf returns periods of two weeks: open from 8 to 12 UTC each day, and frozen for a
// while.
func weekOf(days int, window string, freeze *api.Freeze) (all []api.CalendarPeriod) {
	var add func(from, until time.Time, open bool)
	add = func(from, until time.Time, open bool) {
		if freeze != nil && from.Before(*freeze.Until) && until.After(*freeze.Until) {
			add(from, *freeze.Until, open)
			from = *freeze.Until
		}
		p := api.CalendarPeriod{From: from, Until: until, Open: open, Windows: []string{}, Freezes: []string{}}
		if !open {
			p.Windows = append(p.Windows, window)
		}
		if freeze != nil && from.Before(*freeze.Until) {
			p.Open, p.Freezes = false, []string{freeze.ID}
		}
		all = append(all, p)
	}
	for d := range days {
		add(hour(d, 23), hour(d+1, 8), false)
		add(hour(d+1, 8), hour(d+1, 12), true)
		add(hour(d+1, 12), hour(d+1, 23), false)
	}
	return all
}

// calendarSite has an account with a window, a profile that needs it, and a freeze of two
// stacks. The caller is an operator.
func calendarSite(t testing.TB) *webtest.Site {
	s := webtest.New(t)
	s.Answer("GET /v1/me", api.Caller{Name: "otto", Groups: []string{}, How: "session", Credential: "sso", Grants: []api.Grant{{Role: "operator"}}})
	s.Answer("GET /v1/accounts", api.AccountList{Accounts: []api.Account{{Name: "acme", Findings: []api.Finding{}}, {Name: "globex", Findings: []api.Finding{}}}})
	s.Handle("GET /v1/accounts/acme/windows", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		from, err := time.Parse(time.RFC3339, q.Get("from"))
		if err != nil {
			t.Error(err)
		}
		c := api.Calendar{
			Account: "acme", From: from, Until: from.AddDate(0, 0, 8), Windows: []api.Window{{Name: "mornings", TimeZone: "Europe/Berlin"}}, Freezes: []api.Freeze{aFreeze},
		}
		now := webtest.Now
		window := api.CalendarRow{
			Kind: "window", Name: "mornings", Windows: []string{"mornings"}, Next: new(hour(2, 8)), Periods: weekOf(37, "mornings", nil),
			Gate: api.Gate{At: now, Until: new(hour(2, 8)), Window: new("mornings"), Reason: new("the window mornings is closed and opens Fri 2 Jan 09:00 Europe/Berlin")},
		}
		switch name := q.Get("stack"); {
		case name == "network-prod":
			row := window
			row.Kind, row.Name, row.Next, row.Periods = "stack", name, new(hour(3, 9)), weekOf(37, "mornings", &aFreeze)
			row.Gate = api.Gate{At: now, Until: new(hour(3, 9)), Freeze: &aFreeze.ID, Reason: new("frozen by ann until Sat 3 Jan 09:00 UTC: end of the year; the window mornings is closed and opens Fri 2 Jan 09:00 Europe/Berlin")}
			c.Rows = []api.CalendarRow{row}
		case name != "":
			webtest.Write(w, http.StatusNotFound, api.Problem{Type: "urn:gantry:problem:not-found", Title: "Not found", Status: http.StatusNotFound, Detail: new("Spacelift has no stack " + name)})
			return
		default:
			profile := window
			profile.Kind, profile.Name = "profile", "production"
			c.Rows = []api.CalendarRow{
				{Kind: "account", Name: "acme", Windows: []string{}, Gate: api.Gate{Open: true, At: now}, Next: &now, Periods: []api.CalendarPeriod{{From: from, Until: c.Until, Open: true, Windows: []string{}, Freezes: []string{}}}},
				profile, window,
			}
		}
		webtest.Write(w, http.StatusOK, c)
	})
	return s
}

// The account's page says how many windows are open, and when each opens next, in the
// viewer's zone; the window's own zone is named.
func TestCalendarPage(t *testing.T) {
	s := calendarSite(t)
	d := s.Get("calendar", "Cookie", "gantry_zone=Asia%2FTokyo")
	for _, want := range []string{"The only window is closed", "Plans may be confirmed from Fri 2 Jan 17:00", "Closed until Fri 2 Jan 17:00", "Not frozen", "Europe/Berlin", "Times are in Asia/Tokyo", "end of the year", "network-prod, app-prod", "declared by ann"} {
		if !strings.Contains(d.Text(), want) {
			t.Errorf("the page lacks %q: %s", want, d.Text())
		}
	}
	asked := s.Calls()
	if from := asked[len(asked)-1].Query.Get("from"); from != "2025-12-31T15:00:00Z" && from != "2026-01-01T00:00:00+09:00" {
		t.Errorf("asked from %s, which isn't midnight in Tokyo", from)
	}
	if d := s.Get("calendar?zone=Mars/Phobos"); !strings.Contains(d.Text(), "Mars/Phobos is not a time zone") || !strings.Contains(d.Text(), "Times are in UTC") {
		t.Errorf("an unknown zone: %s", d.Text())
	}
}

// A stack's page says when it may be confirmed next, why not now, and each day's times.
func TestCalendarOfAStack(t *testing.T) {
	s := calendarSite(t)
	d := s.Get("calendar?stack=network-prod&zone=Europe/Berlin")
	for _, want := range []string{"network-prod: frozen; plans may be confirmed from Sat 3 Jan 10:00", "Next: Sat 3 Jan 10:00–13:00, in 1 d 21 h", "Frozen by ann until Sat 3 Jan 09:00 UTC", "mornings", "(Europe/Berlin)"} {
		if !strings.Contains(d.Text(), want) {
			t.Errorf("the page lacks %q: %s", want, d.Text())
		}
	}
	var days []string
	for _, row := range d.All("tr")[1:] {
		days = append(days, row.Text())
	}
	want := []string{
		"Thu 1 Jan closed frozen: end of the year", "Fri 2 Jan closed frozen: end of the year", "Sat 3 Jan 10:00–13:00 frozen: end of the year",
		"Sun 4 Jan 09:00–13:00", "Mon 5 Jan 09:00–13:00", "Tue 6 Jan 09:00–13:00", "Wed 7 Jan 09:00–13:00",
	}
	if diff := cmp.Diff(want, days); diff != "" {
		t.Errorf("days (-want +got):\n%s", diff)
	}
	if rows := s.Get("calendar?stack=network-prod&days=35").All("tr"); len(rows) != 36 {
		t.Errorf("%d rows of five weeks", len(rows))
	}
	if d = s.Get("calendar?stack=nothing"); d.Status != http.StatusNotFound || !strings.Contains(d.Text(), "Spacelift has no stack nothing") {
		t.Errorf("%d %s", d.Status, d.Text())
	}
}

// A freeze is declared in the page's zone, once however often the form is sent; a refusal
// is shown at the form, with what was typed.
func TestDeclareFreezeByForm(t *testing.T) {
	s := calendarSite(t)
	s.Handle("POST /v1/accounts/acme/freezes", func(w http.ResponseWriter, _ *http.Request) { webtest.Write(w, http.StatusCreated, aFreeze) })
	form := url.Values{"reason": {" audit "}, "stacks": {"network-prod, app-prod"}, "from": {"2026-07-01T09:00"}, "until": {""}, "key": {"once"}}
	d := s.Post("calendar?zone=Europe/Berlin", form)
	if d.Status != http.StatusSeeOther || d.Header.Get("Location") != "./calendar?zone=Europe%2FBerlin" {
		t.Errorf("%d to %s: %s", d.Status, d.Header.Get("Location"), d.Text())
	}
	calls := s.Calls()
	last := calls[len(calls)-1]
	var body api.FreezeRequest
	if err := json.Unmarshal([]byte(last.Body), &body); err != nil {
		t.Fatal(err)
	}
	want := api.FreezeRequest{Reason: "audit", Stacks: []string{"network-prod", "app-prod"}, From: new(time.Date(2026, 7, 1, 7, 0, 0, 0, time.UTC)), AllowUnmatched: new(false)}
	if diff := cmp.Diff(want, body); diff != "" || last.Header.Get("Idempotency-Key") != "once" {
		t.Errorf("key %q (-want +got):\n%s", last.Header.Get("Idempotency-Key"), diff)
	}

	s.Refuse("POST /v1/accounts/acme/freezes", http.StatusUnprocessableEntity, "Unmatched freeze", "account acme has no managed stack x")
	d = s.Post("calendar", form)
	if d.Status != http.StatusUnprocessableEntity || !strings.Contains(d.Text(), "Account acme has no managed stack x") || d.All("input", "id", "reason")[0].Attr("value") != "audit" {
		t.Errorf("%d %s", d.Status, d.Text())
	}
	form.Set("until", "tomorrow")
	if d = s.Post("calendar", form); !strings.Contains(d.Text(), "The end is not a date and time") {
		t.Error(d.Text())
	}
	s.Refuse("DELETE /v1/accounts/acme/freezes/"+aFreeze.ID, http.StatusForbidden, "Forbidden", "the token doesn't have the role operator")
	d = s.Post("calendar", url.Values{"lift": {aFreeze.ID}})
	if refused := d.All("p", "class", "refused"); len(refused) != 1 || !strings.Contains(refused[0].Text(), "The token doesn't have the role operator") {
		t.Errorf("%d %s", d.Status, d.Text())
	}
}

// Viewers see freezes, and no buttons that the API would refuse.
func TestCalendarForViewers(t *testing.T) {
	s := calendarSite(t)
	s.Answer("GET /v1/me", api.Caller{Name: "vera", Groups: []string{}, How: "session", Credential: "sso", Grants: []api.Grant{{Role: "viewer"}}})
	if d := s.Get("calendar"); len(d.All("form", "method", "post")) != 1 || !strings.Contains(d.Text(), "end of the year") { // Sign out
		t.Errorf("%s", d.Text())
	}
}

// The clock of the viewer's zone makes days of 23 and 25 hours.
func TestCalendarWhenClocksChange(t *testing.T) {
	s := calendarSite(t)
	s.Handle("GET /v1/accounts/acme/windows", func(w http.ResponseWriter, r *http.Request) {
		from := time.Date(2026, 3, 27, 23, 0, 0, 0, time.UTC)
		webtest.Write(w, http.StatusOK, api.Calendar{
			Account: "acme", From: from, Until: from.AddDate(0, 0, 8), Windows: []api.Window{}, Freezes: []api.Freeze{},
			Rows: []api.CalendarRow{{Kind: "stack", Name: "x", Windows: []string{}, Gate: api.Gate{Open: true, At: webtest.Now}, Periods: []api.CalendarPeriod{
				{From: from, Until: from.Add(25 * time.Hour), Open: false, Windows: []string{"w"}, Freezes: []string{}},
				{From: from.Add(25 * time.Hour), Until: from.AddDate(0, 0, 8), Open: true, Windows: []string{}, Freezes: []string{}},
			}}},
		})
	})
	rows := s.Get("calendar?stack=x&zone=Europe/Berlin&from=2026-03-28").All("tr")
	if a, b, c := rows[1].Text(), rows[2].Text(), rows[3].Text(); a != "Sat 28 Mar closed w is closed" || b != "Sun 29 Mar 01:00–24:00" || c != "Mon 30 Mar all day" {
		t.Errorf("%s; %s; %s", a, b, c)
	}
}

// hostileText is a text that others wrote: markup, a mark that turns the direction of text, and
// a word without an end.
var hostileText = `<script>alert(1)</script>` + "\u202e" + `"' onload=x ` + strings.Repeat("W", 10_000)

// hostileCalendar is a calendar whose freeze and stack have hostile texts.
func hostileCalendar(t testing.TB) *webtest.Site {
	s := calendarSite(t)
	freeze := aFreeze
	freeze.Reason, freeze.DeclaredBy = hostileText, hostileText
	s.Handle("GET /v1/accounts/acme/windows", func(w http.ResponseWriter, r *http.Request) {
		webtest.Write(w, http.StatusOK, api.Calendar{
			Account: "acme", From: hour(1, 0), Until: hour(8, 0), Windows: []api.Window{}, Freezes: []api.Freeze{freeze},
			Rows: []api.CalendarRow{{Kind: "stack", Name: hostileText, Windows: []string{}, Gate: api.Gate{At: webtest.Now, Reason: &hostileText}, Periods: []api.CalendarPeriod{
				{From: hour(1, 0), Until: hour(8, 0), Windows: []string{hostileText[:60]}, Freezes: []string{freeze.ID}},
			}}},
		})
	})
	return s
}

// What others wrote is text, whatever it contains.
func TestHostileTextOnOperatorsPages(t *testing.T) {
	calendar, health, audit := hostileCalendar(t), healthSite(t, "critical", hostileText), auditSite(t, hostileText)
	for _, d := range []*webtest.Document{calendar.Get("calendar?stack=" + url.QueryEscape(hostileText[:60])), calendar.Get("calendar"), health.Get("health"), audit.Get("audit")} {
		if d.Status != http.StatusOK || strings.Contains(d.HTML, "<script>alert") || !strings.Contains(d.Text(), "<script>alert(1)</script>") {
			t.Errorf("%d %s", d.Status, d.HTML)
		}
	}
}
