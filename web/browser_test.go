//go:build browser

package web_test

import (
	"testing"

	"github.com/gantryhq/gantry/e2e/chromium"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/web"
	"github.com/gantryhq/gantry/web/webtest"
)

// The sign-in page and a problem's page at each width, light and dark.
func TestBrowserSignIn(t *testing.T) {
	s := webtest.New(t, func(c *web.Config) { c.Issuer = "Acme SSO" })
	b := chromium.Open(t)
	b.Survey(s.URL+"sign-in?back=/runs&refused=unknown-token", "sign-in")
}

func TestBrowserNotFound(t *testing.T) {
	s := webtest.New(t)
	b := chromium.Open(t)
	b.Survey(s.URL+"nowhere/at/all", "not-found")
	b.Shows("nothing here")
}

// The page Waiting at each width, light and dark.
func TestBrowserWaiting(t *testing.T) {
	s := webtest.New(t)
	waits(s, usual())
	b := chromium.Open(t)
	b.Survey(s.URL, "waiting")
	waits(s, usual()[5:])
	b.Survey(s.URL, "waiting-empty")
}

// A run's page and the list of runs at each width, light and dark.
func TestBrowserRun(t *testing.T) {
	s := webtest.New(t)
	r, why := waitingRun()
	showsRun(s, r, why)
	b := chromium.Open(t)
	b.Survey(s.URL+billing, "run")
	waits(s, usual())
	s.Answer("GET /v1/runs", api.RunList{Runs: usual(), NextPageToken: new("next")})
	b.Survey(s.URL+"runs", "runs")
}
