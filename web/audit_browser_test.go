//go:build browser

package web_test

import (
	"testing"

	"github.com/gantryhq/gantry/e2e/chromium"
)

// The audit log, at each width.
func TestBrowserAudit(t *testing.T) {
	s := auditSite(t)
	b := chromium.Open(t)
	b.Survey(s.URL+"audit?zone=UTC", "audit")
	b.Open(s.URL + "audit?zone=UTC")
	b.Do(chromium.Press(".audit details summary"))
	b.Inspect("audit-details")
}

// The audit log for the documents.
func TestBrowserPictureAudit(t *testing.T) {
	b := chromium.Open(t)
	b.View(1280, "light")
	b.Open(auditSite(t).URL + "audit?zone=UTC")
	b.Picture("page-audit")
}
