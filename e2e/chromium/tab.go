//go:build browser

package chromium

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// patience bounds what a browser takes for one thing.
const patience = 60 * time.Second

// Tab is a tab of a headless Chromium that can reach nothing but this
// machine, and what went wrong in it.
type Tab struct {
	t   *testing.T
	ctx context.Context

	mu    sync.Mutex
	wrong []string // errors, warnings and violations of the content security policy
	away  []string // requests for something beyond this machine
}

// UnsafeHost is a name of this machine that a browser doesn't recognise as such: it
// treats its pages as sent over the network without encryption.
const UnsafeHost = "gantry.test"

// Open starts a Chromium with a fresh profile. Without one the test can't
// run, so it fails.
func Open(t *testing.T) *Tab {
	t.Helper()
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(chromium(t)),
		chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck,
		chromedp.WindowSize(1280, 900),
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-dev-shm-usage", true), // containers have little of it
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-sync", true),
		chromedp.Flag("no-proxy-server", true),
		chromedp.Flag("host-resolver-rules", "MAP "+UnsafeHost+" 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"), // offline
	}
	ctx, cancel := chromedp.NewExecAllocator(context.WithoutCancel(t.Context()), options...) // that ends before the last sight
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &Tab{t: t, ctx: ctx}
	if err := chromedp.Do(ctx); err != nil { // it opens the tab, which lives as long as this context
		t.Fatalf("start Chromium: %v", err)
	}
	if err := chromedp.Listen(ctx, b.listen); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(ctx, audits.Enable, cdp.Empty{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			b.lastSight()
		}
	})
	return b
}

// chromium is the program GANTRY_CHROMIUM names, else the one in PATH.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{os.Getenv("GANTRY_CHROMIUM"), "chromium", "chromium-browser", "google-chrome"} {
		if name == "" {
			continue
		}
		path, err := exec.LookPath(name)
		if err == nil {
			return path
		}
		if name == os.Getenv("GANTRY_CHROMIUM") {
			t.Fatalf("GANTRY_CHROMIUM: %v", err)
		}
	}
	t.Fatal("no Chromium: install one (Debian: apt-get install chromium), or name one in GANTRY_CHROMIUM")
	return ""
}

// listen records the page's requests and errors.
func (b *Tab) listen(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		u, err := url.Parse(e.Request.URL)
		if err != nil || u.Scheme != "data" && u.Scheme != "blob" && u.Hostname() != "127.0.0.1" && u.Hostname() != UnsafeHost {
			b.away = append(b.away, "request to "+e.Request.URL)
		}
	case *runtime.EventExceptionThrown:
		b.wrong = append(b.wrong, fmt.Sprintf("exception: %s %+v", e.ExceptionDetails.Text, e.ExceptionDetails.Exception))
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning || e.Type == runtime.ConsoleAPICalledTypeAssert {
			said, _ := json.Marshal(e.Args)
			b.wrong = append(b.wrong, fmt.Sprintf("console %s: %s", e.Type, said))
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			b.wrong = append(b.wrong, fmt.Sprintf("%s: %s (%s)", e.Entry.Source, e.Entry.Text, e.Entry.URL))
		}
	case *audits.EventIssueAdded:
		if v := e.Issue.Details.ContentSecurityPolicyIssueDetails; v != nil {
			b.wrong = append(b.wrong, fmt.Sprintf("policy: %s violates %s", v.BlockedURL, v.ViolatedDirective))
		}
	}
}

// Do runs actions in the tab.
func (b *Tab) Do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatalf("in the browser: %v\nwhat went wrong before: %v", err, b.Complaints())
	}
}

// Complaints returns the errors so far, including requests beyond this machine.
func (b *Tab) Complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append(slices.Clone(b.wrong), b.away...)
}

// forget drops the complaints so far.
func (b *Tab) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wrong, b.away = nil, nil
}

// RequestsAway are the requests for something beyond this machine.
func (b *Tab) RequestsAway() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.away)
}

// Get runs an action and returns what it found.
func Get[T any](b *Tab, a chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	found, err := chromedp.Run(ctx, a)
	if err != nil {
		b.t.Fatalf("in the browser: %v\nwhat went wrong before: %v", err, b.Complaints())
	}
	return found
}

// Press clicks on what can be seen. It is not done by moving a mouse, which
// would miss what a page still moves around.
func Press(element chromedp.CSS) chromedp.Action[chromedp.Void] {
	return chromedp.Steps(chromedp.WaitVisible(element), On(element, "click()"))
}

// On calls a method of an element.
func On(element chromedp.CSS, method string) chromedp.Action[chromedp.Void] {
	return func(ctx context.Context, t *chromedp.Target) (void chromedp.Void, err error) {
		_, err = chromedp.Evaluate[any](fmt.Sprintf("void document.querySelector(%q).%s", element, method))(ctx, t)
		return void, err
	}
}

// Screenshots is the folder for the documents' pictures. Empty takes none.
var Screenshots = os.Getenv("SCREENSHOTS")

// Picture takes a picture of what the window shows.
func (b *Tab) Picture(name string) {
	b.t.Helper()
	if Screenshots == "" {
		return
	}
	settled := chromedp.Evaluate[any](`Promise.all(document.getAnimations().map(a => a.finished)).then(() => null)`, chromedp.EvalAwaitPromise)
	Get(b, settled)
	png := Get(b, chromedp.CaptureScreenshot())
	if err := os.WriteFile(filepath.Join(Screenshots, name+".png"), png, 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// lastSight saves the last picture of a failed test.
func (b *Tab) lastSight() {
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Logf("no picture of the failure: %v", err)
		return
	}
	file := filepath.Join(b.t.ArtifactDir(), "failure.png")
	if err := os.WriteFile(file, png, 0o600); err == nil {
		b.t.Logf("what the browser showed is in %s (kept with go test -artifacts)", file)
	}
}
