//go:build browser

package web_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/gantryhq/gantry/e2e/chromium"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/web/webtest"
)

// counts makes the API take decisions about the first run of usual, which then waits no more.
func counts(s *webtest.Site) *atomic.Int64 {
	taken := &atomic.Int64{}
	s.Handle("POST "+runAPI("billing-prod", 1)+"/decisions", func(w http.ResponseWriter, _ *http.Request) {
		taken.Add(1)
		waits(s, usual()[1:])
		webtest.Write(w, http.StatusOK, aRun("billing-prod", 1))
	})
	return taken
}

const approveFirst = `form:has(#approve-01M8J7QT000000000000000001) button`

// A person approves; the card goes, the page and the window's title count anew, and the
// focus is on the result.
func TestBrowserApproves(t *testing.T) {
	s := webtest.New(t)
	waits(s, usual())
	taken := counts(s)
	b := chromium.Open(t)
	b.Open(s.URL)
	b.Do(chromium.Press(chromedp.CSS(approveFirst)))
	b.Shows("You approved billing-prod.")
	b.Shows("4 plans wait for you")
	b.Until(`document.title === "(4) Waiting · Gantry"`)
	b.Until(`document.activeElement.classList.contains("done")`)
	if taken.Load() != 1 {
		t.Errorf("the API took %d decisions", taken.Load())
	}
	b.Inspect("approved")
}

// Two people decide at the same time: the second reads on the card that it is decided.
func TestBrowserRefusedInPlace(t *testing.T) {
	s := webtest.New(t)
	waits(s, usual())
	s.Refuse("POST "+runAPI("billing-prod", 1)+"/decisions", http.StatusConflict, "Already decided", "bob rejected this plan a moment ago")
	b := chromium.Open(t)
	b.Open(s.URL)
	b.Do(chromium.Press(chromedp.CSS(approveFirst)))
	b.Until(`document.querySelector("article .refused")?.innerText === "Already decided. Bob rejected this plan a moment ago."`)
	b.Until(`document.activeElement.classList.contains("refused")`)
	b.Inspect("refused")
}

// Without JavaScript people read, approve and reject just the same, and see a refusal.
func TestBrowserWithoutScript(t *testing.T) {
	s := webtest.New(t)
	waits(s, usual())
	counts(s)
	b := chromium.Open(t)
	b.NoScript()
	b.Open(s.URL)
	if text := b.Text(); !strings.Contains(text, "5 plans wait for you") || !strings.Contains(text, "waits 3 h 12 min") {
		t.Errorf("%s", text)
	}
	b.Do(chromedp.Click(chromedp.CSS(`#approve-01M8J7QT000000000000000001`)), chromedp.WaitNotPresent(chromedp.CSS(`#approve-01M8J7QT000000000000000001`)))
	if text := b.Text(); !strings.Contains(text, "4 plans wait for you") {
		t.Errorf("%s", text)
	}
	waits(s, usual())
	s.Refuse("POST "+runAPI("billing-prod", 1)+"/decisions", http.StatusForbidden, "You can't approve your own run", "carol wrote the commit; ask somebody else")
	b.Open(s.URL)
	b.Do(chromedp.Click(chromedp.CSS(`article:first-of-type details.ask summary`)))
	b.Do(chromedp.SendKeys(chromedp.CSS(`#note-01M8J7QT000000000000000001`), "no"), chromedp.Click(chromedp.CSS(`article:first-of-type details.ask button`)), chromedp.WaitVisible(chromedp.CSS(".refused")))
	if text := b.Text(); !strings.Contains(text, "You can't approve your own run. Carol wrote the commit; ask somebody else.") {
		t.Errorf("%s", text)
	}
}

// What changes is on the screen without a reload; what a person writes meanwhile stays.
func TestBrowserIsLive(t *testing.T) {
	s := webtest.New(t)
	waits(s, usual())
	answerRuns(s, usual()[1:])
	events := s.Stream("GET /v1/events")
	b := chromium.Open(t)
	b.Open(s.URL)
	b.Shows("4 plans wait for you")
	for events.Opened() == 0 {
		b.Until("true")
	}
	answerRuns(s, usual())
	events.Send("run")
	b.Shows("5 plans wait for you")
	s.Refuse("POST "+runAPI("billing-prod", 1)+"/decisions", http.StatusConflict, "Already decided", "bob rejected this plan a moment ago")
	b.Do(chromium.Press(chromedp.CSS(approveFirst)))
	b.Until(`document.querySelector("article .refused") !== null`)
	answerRuns(s, usual()[:3])
	events.Send("run")
	b.Shows("3 plans wait for you")
	b.Until(`document.querySelector("article .refused")?.innerText === "Already decided. Bob rejected this plan a moment ago."`)
	b.Do(chromium.Press(chromedp.CSS(`article:first-of-type details.ask summary`)), chromedp.SendKeys(chromedp.CSS(`#note-01M8J7QT000000000000000001`), "because"))
	before := len(s.Calls())
	events.Send("run")
	b.Until(`document.querySelector("#note-01M8J7QT000000000000000001").value === "because"`)
	for len(s.Calls()) == before { // the page asks anew
		b.Until("true")
	}
	b.Until(`document.querySelector("#note-01M8J7QT000000000000000001").value === "because"`)
}

// A lost stream is shown, and the page recovers automatically.
func TestBrowserLosesTheStream(t *testing.T) {
	s := webtest.New(t)
	waits(s, usual())
	events := s.Stream("GET /v1/events")
	b := chromium.Open(t)
	b.Open(s.URL)
	for events.Opened() == 0 {
		b.Until("true")
	}
	s.Handle("GET /v1/events", func(w http.ResponseWriter, _ *http.Request) {
		webtest.Write(w, http.StatusServiceUnavailable, api.Problem{Type: "urn:gantry:problem:temporal-unavailable", Title: "Temporal unavailable", Status: http.StatusServiceUnavailable})
	})
	events.Cut()
	b.Until(`!document.querySelector("#offline").hidden`)
	if found := b.Axe(); found != nil {
		t.Errorf("%q", found)
	}
	s.Stream("GET /v1/events")
	b.Until(`document.querySelector("#offline").hidden`)
}

// The keyboard alone is enough: skip to the content, open, write, reject.
func TestBrowserByKeyboard(t *testing.T) {
	s := webtest.New(t)
	waits(s, usual())
	counts(s)
	b := chromium.Open(t)
	b.Open(s.URL)
	b.Do(chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Enter))
	b.Until(`document.activeElement.id === "main"`)
	tabTo(b, `document.activeElement.id === "approve-01M8J7QT000000000000000001"`)
	b.Do(chromedp.KeyEvent(kb.Tab))
	b.Until(`document.activeElement.tagName === "SUMMARY" && getComputedStyle(document.activeElement).outlineStyle !== "none"`)
	b.Do(chromedp.KeyEvent(kb.Enter), chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent("wrong replica"), chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Enter))
	b.Shows("You rejected billing-prod.")
	if sent := posts(s); len(sent) != 1 || !strings.Contains(sent[0].Body, `"note":"wrong replica"`) {
		t.Errorf("%+v", sent)
	}
}

// tabTo presses Tab until an expression is true.
func tabTo(b *chromium.Tab, expression string) {
	for range 40 {
		if chromium.Get(b, chromedp.Evaluate[bool](expression)) {
			return
		}
		b.Do(chromedp.KeyEvent(kb.Tab))
	}
	b.Until(expression)
}

// Hostile text stays text, and no page becomes wider or runs it.
func TestBrowserHostileText(t *testing.T) {
	const evil = "<script>window.evil=1</script><img src=x onerror='window.evil=1'>\u202egnp.exe\u2066"
	s := webtest.New(t)
	long := evil + strings.Repeat("x", 10_000)
	waits(s, []api.RunSummary{plan(1, "s", func(r *api.RunSummary) {
		r.StackName, r.Commit.Message, r.Commit.AuthorLogin, r.WaitingFor.Reason = &long, &long, &long, long
		r.Resources = &api.PlannedResources{StateVersion: 5, Total: 1, Deletes: new(1), First: []api.Resource{{Address: long, Change: "delete"}}}
	})})
	r, why := waitingRun()
	r.StackName, r.Commit.Message, r.Timeline[0].Summary, r.Branch, r.Approvals.Decided[0].Note = &long, &long, long, &long, &long
	why.Summary, why.Unblock[0].Who, why.Rules[0].Value, why.Rules[0].Detail = long, long, long, &long
	s.Answer("GET /v1/"+billing, r)
	s.Answer("GET /v1/"+billing+"/explain", why)
	s.Stream("GET /v1/events")
	b := chromium.Open(t)
	for _, path := range []string{"", "runs", billing} {
		for _, width := range chromium.Widths {
			b.View(width, "light")
			b.Open(s.URL + path)
			b.Inspect("hostile-" + strings.ReplaceAll(path, "/", "-"))
		}
		if chromium.Get(b, chromedp.Evaluate[bool]("window.evil === 1")) {
			t.Errorf("%q runs text", path)
		}
	}
}
