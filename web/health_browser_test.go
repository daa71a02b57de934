//go:build browser

package web_test

import (
	"testing"

	"github.com/gantryhq/gantry/e2e/chromium"
)

// Health in each colour, at each width.
func TestBrowserHealth(t *testing.T) {
	b := chromium.Open(t)
	b.Survey(healthSite(t, "ok").URL+"health", "health-ok")
	b.Survey(healthSite(t, "critical").URL+"health", "health-critical")
	plain := chromium.Open(t)
	plain.NoScript()
	plain.Open(healthSite(t, "critical").URL + "health")
	plain.Shows("Act now")
}

// Health for the documents.
func TestBrowserPictureHealth(t *testing.T) {
	b := chromium.Open(t)
	b.View(1280, "light")
	b.Open(healthSite(t, "critical").URL + "health")
	b.Picture("page-health")
}
