//go:build browser

package chromium

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// Widths are those of a phone, a tablet, a laptop and a 4K screen.
var Widths = []int64{360, 768, 1280, 3840}

// Survey opens a page at each width, light and dark. It reports what axe-core finds, what
// is wider than the window, what scrolls sideways on a phone, and errors in the console.
// Pictures go to the folder in SURVEY, if it is set. Nothing may move while a page loads.
func (b *Tab) Survey(url, name string) {
	b.t.Helper()
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range Widths {
			at := fmt.Sprintf("%s-%d-%s", name, width, scheme)
			b.View(width, scheme)
			b.Open(url)
			if moved := b.Moved(); moved != nil {
				b.t.Errorf("%s: moves while it loads: %s", at, moved)
			}
			b.Inspect(at)
		}
	}
}

// Inspect checks the page as it is now; see Survey.
func (b *Tab) Inspect(name string) {
	b.t.Helper()
	const outside = `(() => { const w = document.documentElement.clientWidth; return [...document.querySelectorAll("body *")].filter(e => {
		for (let p = e; p; p = p.parentElement) if (["auto", "scroll", "hidden"].includes(getComputedStyle(p).overflowX) && p !== document.documentElement && p !== document.body) return false;
		const r = e.getBoundingClientRect(); return r.width > 0 && r.right > w + 1; }).map(e => e.outerHTML.slice(0, 200)); })()`
	if wide := Get(b, chromedp.Evaluate[[]string](outside)); len(wide) > 0 {
		b.t.Errorf("%s: wider than the window: %q", name, wide)
	}
	const sideways = `innerWidth > 640 ? [] : [...document.querySelectorAll("main, main *, nav")].filter(e => e.scrollWidth > e.clientWidth + 1 &&
		["auto", "scroll"].includes(getComputedStyle(e).overflowX) && e.clientWidth > 1 && !e.matches("textarea, input")).map(e => e.outerHTML.slice(0, 200))`
	if scrolls := Get(b, chromedp.Evaluate[[]string](sideways)); len(scrolls) > 0 {
		b.t.Errorf("%s: scrolls sideways on a phone: %q", name, scrolls)
	}
	for _, v := range b.Axe() {
		b.t.Errorf("%s: %s", name, v)
	}
	for _, wrong := range b.Complaints() {
		if !strings.Contains(wrong, "the server responded with a status of 4") { // a refusal, which the page shows
			b.t.Errorf("%s: in the console: %s", name, wrong)
		}
	}
	b.forget()
	if folder := os.Getenv("SURVEY"); folder != "" {
		png := Get(b, chromedp.FullScreenshot(100))
		if err := os.WriteFile(filepath.Join(folder, name+".png"), png, 0o600); err != nil {
			b.t.Error(err)
		}
	}
}

// Shift is a movement on a page that nobody used.
type Shift struct {
	Score float64  // the cumulative layout shift, see https://web.dev/articles/cls
	What  []string // that moved
}

func (s *Shift) String() string { return fmt.Sprintf("%.4f, %q", s.Score, s.What) }

// Moved returns what has moved since the page was opened; nil for nothing.
func (b *Tab) Moved() *Shift {
	b.t.Helper()
	const read = `new Promise(done => {
		const all = [], o = new PerformanceObserver(list => all.push(...list.getEntries()));
		o.observe({type: "layout-shift", buffered: true});
		const frames = n => n > 0 ? requestAnimationFrame(() => setTimeout(() => frames(n - 1))) : done(JSON.stringify({
			score: all.filter(e => !e.hadRecentInput).reduce((sum, e) => sum + e.value, 0),
			what: all.filter(e => !e.hadRecentInput).flatMap(e => e.sources.map(s => JSON.stringify(s.previousRect) + " -> " + JSON.stringify(s.currentRect) + " " + (s.node?.outerHTML ?? s.node?.textContent ?? "").slice(0, 120))),
		}));
		frames(4);
	})`
	var s Shift
	if err := json.Unmarshal([]byte(Get(b, chromedp.Evaluate[string](read, chromedp.EvalAwaitPromise))), &s); err != nil {
		b.t.Fatal(err)
	}
	if s.Score == 0 {
		return nil
	}
	return &s
}

// Open opens a page.
func (b *Tab) Open(url string) {
	b.t.Helper()
	b.Do(chromedp.Navigate(url))
}

// View sets the width of the window and the scheme of colours.
func (b *Tab) View(width int64, scheme string) {
	b.t.Helper()
	height := int64(900)
	if width > 2000 {
		height = 2160
	}
	b.Do(chromedp.EmulateViewport(width, height), chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return err
	}))
}

// NoScript makes the pages that are opened from now on do without JavaScript.
func (b *Tab) NoScript() {
	b.t.Helper()
	b.Do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
		return err
	}))
}

// Text returns the text of the page's content.
func (b *Tab) Text() string {
	b.t.Helper()
	return Get(b, chromedp.Text(chromedp.CSS("body")))
}

// Until waits until an expression of JavaScript is true, also across pages.
func (b *Tab) Until(expression string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	for {
		_, err := chromedp.Run(ctx, chromedp.Poll[bool](expression))
		if err == nil {
			return
		}
		left := strings.Contains(err.Error(), "Cannot find context") || strings.Contains(err.Error(), "Inspected target navigated") || strings.Contains(err.Error(), "Execution context was destroyed")
		if !left { // the page that was left took the expression with it
			b.t.Fatalf("in the browser: wait for %s: %v\nwhat went wrong before: %v", expression, err, b.Complaints())
		}
	}
}

// Shows waits until the page shows a text.
func (b *Tab) Shows(text string) {
	b.t.Helper()
	b.Until(fmt.Sprintf("document.body.innerText.includes(%q)", text))
}

// Axe returns the violations that axe-core finds on the page, of WCAG 2.2 AA and of its
// best practices.
func (b *Tab) Axe() []string {
	b.t.Helper()
	Get(b, chromedp.Evaluate[any](axe(b)+";null"))
	type violation struct {
		ID, Help string
		Nodes    []struct {
			HTML           string
			FailureSummary string
		}
	}
	found := Get(b, chromedp.Evaluate[string](`axe.run(document, {resultTypes: ["violations"]}).then(r => JSON.stringify(r.violations))`, chromedp.EvalAwaitPromise))
	var violations []violation
	if err := json.Unmarshal([]byte(found), &violations); err != nil {
		b.t.Fatal(err)
	}
	var all []string
	for _, v := range violations {
		for _, n := range v.Nodes {
			all = append(all, fmt.Sprintf("axe %s: %s: %s: %s", v.ID, v.Help, n.HTML, strings.ReplaceAll(n.FailureSummary, "\n", " ")))
		}
	}
	return all
}

// axe returns the source of axe-core, which make axe fetches.
func axe(b *Tab) string {
	b.t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		b.t.Fatal(err)
	}
	for dir != filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		dir = filepath.Dir(dir)
	}
	source, err := os.ReadFile(filepath.Join(dir, ".tools", "axe.min.js"))
	if err != nil {
		b.t.Fatalf("no axe-core: %v; run make axe", err)
	}
	return string(source)
}

// Zone sets the time zone of the browser.
func (b *Tab) Zone(name string) {
	b.t.Helper()
	b.Do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: name})
		return err
	}))
}

// Keys types on the keyboard, into what has the focus.
func (b *Tab) Keys(keys string) {
	b.t.Helper()
	b.Do(chromedp.KeyEvent(keys))
}
