//go:build browser

package web_test

import (
	"testing"

	"github.com/gantryhq/gantry/e2e/chromium"
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
