//go:build browser

package web_test

import (
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

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

// Without JavaScript an administrator filters, reads an entry's details and finds both
// downloads.
func TestBrowserAuditWithoutScript(t *testing.T) {
	b := chromium.Open(t)
	b.NoScript()
	b.Open(auditSite(t).URL + "audit?zone=UTC")
	b.Do(chromedp.Click(chromedp.CSS(".audit details summary")))
	b.Shows("runConfirm")
	b.Do(chromedp.SendKeys(chromedp.CSS(`input[name="by"]`), "nobody"+kb.Enter), chromedp.WaitVisible(chromedp.CSS(".empty")))
	b.Shows("No entry fits these filters")
	b.Do(chromedp.Click(chromedp.CSS(`.filters a.button`)), chromedp.WaitVisible(chromedp.CSS(".audit")))
	b.Until(`[...document.querySelectorAll("a[download]")].map(a => a.textContent).join() === "CSV,JSON Lines"`)
}

// The audit log for the documents.
func TestBrowserPictureAudit(t *testing.T) {
	b := chromium.Open(t)
	b.View(1280, "light")
	b.Open(auditSite(t).URL + "audit?zone=UTC")
	b.Picture("page-audit")
}
