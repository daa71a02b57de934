//go:build browser

package web_test

import (
	"net/http"
	"testing"

	"github.com/gantryhq/gantry/e2e/chromium"
	"github.com/gantryhq/gantry/web/webtest"
)

// The calendar of an account and of a stack, at each width, light and dark.
func TestBrowserCalendar(t *testing.T) {
	s := calendarSite(t)
	b := chromium.Open(t)
	b.Survey(s.URL+"calendar?zone=Europe/Berlin", "calendar")
	b.Survey(s.URL+"calendar?zone=Europe/Berlin&stack=network-prod", "calendar-stack")
	b.Survey(s.URL+"calendar?zone=Europe/Berlin&stack=network-prod&days=35", "calendar-weeks")
}

// The days are those of the browser's zone, unless the viewer chose another. Without
// JavaScript the page works as well.
func TestBrowserCalendarZone(t *testing.T) {
	s := calendarSite(t)
	b := chromium.Open(t)
	b.Zone("Asia/Tokyo")
	b.Open(s.URL + "calendar?stack=network-prod")
	b.Shows("Times are in Asia/Tokyo")
	b.Open(s.URL + "calendar?stack=network-prod&zone=Europe/Berlin")
	b.Shows("Times are in Europe/Berlin")
	plain := chromium.Open(t)
	plain.NoScript()
	plain.Open(s.URL + "calendar?stack=network-prod")
	plain.Shows("Times are in UTC")
	plain.Shows("08:00–12:00")
}

// A freeze is declared and lifted by keyboard alone, and a refusal is shown where the form
// is.
func TestBrowserFreeze(t *testing.T) {
	s := calendarSite(t)
	s.Refuse("POST /v1/accounts/acme/freezes", 422, "Unmatched freeze", "account acme has no managed stack network-prd (meant network-prod?)")
	b := chromium.Open(t)
	b.Open(s.URL + "calendar?zone=UTC")
	b.Do(chromium.On("details.declare summary", "focus()"))
	b.Keys("\r\taudit\tnetwork-prd\r")
	b.Shows("meant network-prod?")
	b.Until(`document.querySelector("#stacks").value === "network-prd"`)
	b.Inspect("calendar-refused")
	s.Handle("POST /v1/accounts/acme/freezes", func(w http.ResponseWriter, _ *http.Request) {
		webtest.Write(w, http.StatusCreated, aFreeze)
	})
	b.Until(`"htmx-internal-data" in document.querySelector("details.declare form")`)
	b.Do(chromium.On("#stacks", "focus()"))
	b.Keys("\r")
	b.Shows("The freeze is declared.")
	s.Answer("DELETE /v1/accounts/acme/freezes/"+aFreeze.ID, aFreeze)
	b.Until(`"htmx-internal-data" in document.querySelector("article.item form")`)
	b.Do(chromium.On("article.item details.ask summary", "focus()"))
	b.Keys("\r\t\r")
	b.Shows("The freeze is lifted.")
	b.Inspect("calendar-lifted")
}

// The calendar for the documents.
func TestBrowserPictureCalendar(t *testing.T) {
	b := chromium.Open(t)
	b.View(1280, "light")
	b.Open(calendarSite(t).URL + "calendar?zone=Europe/Berlin&stack=network-prod")
	b.Picture("page-calendar")
}

// However long what others wrote is, no page becomes wider than the window.
func TestBrowserHostileTextOnOperatorsPages(t *testing.T) {
	b := chromium.Open(t)
	b.View(360, "light")
	for name, address := range map[string]string{
		"calendar": hostileCalendar(t).URL + "calendar", "stack": hostileCalendar(t).URL + "calendar?stack=x", "health": healthSite(t, "critical", hostileText).URL + "health", "audit": auditSite(t, hostileText).URL + "audit",
	} {
		b.Open(address)
		b.Inspect("hostile-" + name)
	}
}
