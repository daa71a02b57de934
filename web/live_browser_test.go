//go:build browser

package web_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/gantryhq/gantry/e2e/chromium"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/web/webtest"
)

// mostShift is a layout shift that people don't notice: see https://web.dev/articles/cls.
const mostShift = 0.1

// opensLive opens a page at a width, and returns its events once it listens.
func opensLive(s *webtest.Site, b *chromium.Tab, width int64, path string) *webtest.Stream {
	events := s.Stream("GET /v1/events")
	b.View(width, "light")
	b.Open(s.URL + path)
	for events.Opened() == 0 {
		b.Until("true")
	}
	return events
}

// stays fails if more of the page has moved than people notice.
func stays(t *testing.T, b *chromium.Tab, name string) {
	t.Helper()
	if moved := b.Moved(); moved != nil && moved.Score >= mostShift {
		t.Errorf("%s: the page moves while nobody uses it: %s", name, moved)
	}
}

// While somebody reads, others decide: no button moves under their hand. What is decided
// leaves its place, and what is new comes last.
func TestBrowserWaitingStaysWhereItIs(t *testing.T) {
	s := webtest.New(t)
	b := chromium.Open(t)
	for _, width := range []int64{360, 1280} {
		name := strconv.FormatInt(width, 10)
		answerRuns(s, usual())
		events := opensLive(s, b, width, "")
		top := `document.querySelector("[aria-labelledby=run-01M8J7QT000000000000000002]").getBoundingClientRect().top`
		before := chromium.Get(b, chromedp.Evaluate[float64](top))
		answerRuns(s, usual()[1:])
		events.Send("run")
		b.Shows("It no longer waits here.")
		b.Shows("4 plans wait for you")
		if after := chromium.Get(b, chromedp.Evaluate[float64](top)); after != before {
			t.Errorf("%s: the second card was at %.0f px and is at %.0f px", name, before, after)
		}
		answerRuns(s, append(usual()[1:], plan(8, "late-comer", func(r *api.RunSummary) { r.Commit.Hash = new("0815") })))
		events.Send("run")
		b.Shows("late-comer")
		b.Shows("It no longer waits here.")
		stays(t, b, name)
		b.Inspect("gone-" + name)
		// It goes once nobody sees it.
		b.Do(chromedp.Evaluate[chromedp.Void](`window.scrollTo(0, document.body.scrollHeight)`))
		b.View(width, "light")
		if chromium.Get(b, chromedp.Evaluate[bool](`document.querySelector(".gone").getBoundingClientRect().bottom < 0`)) {
			events.Send("run")
			b.Until(`document.querySelector(".gone") === null`)
		}
		answerRuns(s, usual())
	}
}

// A run's page takes what happens without moving what somebody reads.
func TestBrowserRunStaysWhereItIs(t *testing.T) {
	s := webtest.New(t)
	b := chromium.Open(t)
	for _, width := range []int64{360, 1280} {
		r, why := waitingRun()
		showsRun(s, r, why)
		events := opensLive(s, b, width, billing)
		b.Shows("1 of 2")
		r.Timeline = append(r.Timeline, api.TimelineEntry{At: webtest.Now, Kind: "person", Source: "gantry", Actor: new("erin"), Summary: "erin approved the plan"})
		r.Approvals.Given = 2
		r.Approvals.Decided = append(r.Approvals.Decided, api.Decided{Verdict: api.VerdictApprove, By: "erin", At: webtest.Now, State: "UNCONFIRMED", StateVersion: 5})
		why.Summary = strings.Replace(why.Summary, "1 of 2 approvals: bob approved", "2 of 2 approvals: bob and erin approved", 1)
		s.Answer("GET /v1/"+billing, r)
		s.Answer("GET /v1/"+billing+"/explain", why)
		events.Send("progress")
		b.Shows("Erin approved the plan")
		stays(t, b, strconv.FormatInt(width, 10))
	}
}
