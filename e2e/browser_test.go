//go:build browser

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/gantryhq/gantry/e2e/chromium"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/spacelift"
)

// Phase 2, as a person sees it: the Swagger page loads offline under its strict
// policy, takes the webhook's secret and a token, signs an example, and shows
// the run that is managed from then on.
func TestBrowserPhase2(t *testing.T) {
	l := startPictured(t)
	b := browser{chromium.Open(t), t}
	b.openDocs(l.docs)
	b.authorize(labSecret, labToken)

	webhook := b.operation("webhook", "receiveNotification")
	sent := chromium.Get(b.Tab, chromedp.Value(webhook.CSS+" textarea"))
	run := runID(first(t, `"id": "(01[0-9A-Z]{24})"`, sent))
	answer := webhook.execute()
	if answer.status != "202" || !strings.Contains(answer.body, `"outcome": "accepted"`) {
		t.Errorf("the page's example: %s %s", answer.status, answer.body)
	}
	if !regexp.MustCompile(`X-Signature-256: sha256=[0-9a-f]{64}`).MatchString(answer.curl) || strings.Contains(answer.curl, labSecret) {
		t.Errorf("the page shows the request as %s", answer.curl)
	}
	b.Picture("swagger-ui-webhook")

	l.eventually("the run is listed", func(ctx context.Context) error {
		listed, err := l.listAll(ctx, api.ListRunsParams{})
		if err == nil && !slices.Contains(listed, run) {
			err = fmt.Errorf("%v", listed)
		}
		return err
	})
	b.openDocs(l.docs)
	b.authorize("", labToken)
	runs := b.operation("runs", "listRuns")
	answer = runs.execute()
	if answer.status != "200" || !strings.Contains(answer.body, string(run)) {
		t.Errorf("the list of runs: %s %s", answer.status, answer.body)
	}
	b.Picture("swagger-ui-runs")
	if wrong := b.Complaints(); wrong != nil {
		t.Errorf("what a developer would see in the console: %q", wrong)
	}
}

// Temporal's UI, which is the lab's own, shows how a run was managed and why one waits,
// and loads nothing from elsewhere. What others wrote makes no links there.
func TestBrowserShowsExecutions(t *testing.T) {
	l := startPictured(t)
	run := l.pushNetwork()
	l.phase("network-prod", run, api.PhaseDone)
	b := browser{chromium.Open(t), t}
	b.openExecution(l, "run/acme/network-prod/"+string(run), "/history")
	for _, text := range []string{"run/acme/network-prod/" + string(run), "ManageRun", "Completed", "ConfirmRun", "network / prod: run " + string(run)} {
		chromium.Get(b.Tab, chromedp.Poll[bool](fmt.Sprintf("document.body.textContent.includes(%q)", text)))
	}
	b.Do(chromedp.EmulateViewport(1280, 1400))
	b.Picture("temporal-ui-execution")

	waits := l.control("billing-prod/pushes", `{"commit":{"authorLogin":"alice","message":"remove the old cluster"},"plan":{"delta":{"deleted":9}}}`)
	l.phase("billing-prod", waits, api.PhaseWaiting)
	b.openExecution(l, "run/acme/billing-prod/"+string(waits), "/user-metadata")
	b.framed("waits for 2 approvals since", "UTC, +0 ~0 -9, alice", "remove the old cluster")
	b.Do(chromedp.EmulateViewport(1280, 1050))
	b.Picture("temporal-ui-waiting")

	said := "[your bank](https://evil.test) <b>bold</b> www.evil.test a@evil.test &lt;i&gt; *x* _y_ ~z~ #1 | `c`"
	push, err := json.Marshal(map[string]any{"commit": map[string]any{"message": said}, "plan": map[string]any{"delta": map[string]int{"added": 1}}})
	l.must(err)
	waits = l.control("app-prod/pushes", string(push))
	l.phase("app-prod", waits, api.PhaseWaiting)
	b.openExecution(l, "run/acme/app-prod/"+string(waits), "/user-metadata")
	b.framed("commit ", said, "Open in Spacelift")
	links := chromium.Get(b.Tab, chromedp.Evaluate[[]string](frames+`.flatMap(d => [...d.querySelectorAll("a")].map(a => a.textContent + " " + a.href))`))
	for _, link := range links {
		if !strings.HasPrefix(link, "Open in Gantry "+l.url()+"/accounts/acme/stacks/app-prod/runs/"+string(waits)) && !strings.HasPrefix(link, "Open in Spacelift ") {
			t.Errorf("it links to %s", link)
		}
	}
	if len(links) != 3 {
		t.Errorf("it links to %q", links)
	}
	if away := b.RequestsAway(); away != nil {
		t.Errorf("it asked for %q", away)
	}
}

// frames are the documents in which Temporal's UI shows Markdown.
const frames = `[...document.querySelectorAll("iframe")].map(f => f.contentDocument)`

// framed waits until one of the frames shows each text.
func (b browser) framed(texts ...string) {
	b.t.Helper()
	for _, text := range texts {
		chromium.Get(b.Tab, chromedp.Poll[bool](fmt.Sprintf("%s.some(d => d?.body?.innerText.includes(%q))", frames, text)))
	}
}

// openExecution opens a tab of an execution's page.
func (b browser) openExecution(l *lab, workflow, tab string) {
	b.t.Helper()
	b.Do(chromedp.Navigate(l.temporalUI + "/namespaces/default/workflows/" + url.PathEscape(workflow)))
	chromium.Get(b.Tab, chromedp.Poll[bool](`/\/[0-9a-f-]{36}\/[a-z-]+$/.test(location.pathname)`))
	at := chromium.Get(b.Tab, chromedp.Location())
	b.Do(chromedp.Navigate(at[:strings.LastIndex(at, "/")] + tab))
}

// A page that came over plain HTTP, as inside a company's network, signs too,
// whatever the secret and the body.
func TestBrowserSignsEverywhere(t *testing.T) {
	l := startLab(t)
	b := browser{chromium.Open(t), t}
	docs := strings.Replace(l.docs, "127.0.0.1", chromium.UnsafeHost, 1)
	b.openDocs(docs)
	if chromium.Get(b.Tab, chromedp.Evaluate[bool]("window.isSecureContext")) {
		t.Fatalf("to the browser %s is a safe place", docs)
	}
	b.authorize(labSecret, "")
	webhook := b.operation("webhook", "receiveNotification")
	if answer := webhook.execute(); answer.status != "202" {
		t.Errorf("%+v", answer)
	}
	for _, secret := range []string{"s", "schlüssel", strings.Repeat("long", 17)} {
		b.openDocs(docs)
		b.authorize(secret, "")
		webhook := b.operation("webhook", "receiveNotification")
		body := "{\"account\":\"" + strings.Repeat("ä", len(secret)*11) + "\"}"
		b.Do(chromedp.Focus(webhook.CSS+" textarea"), chromium.On(webhook.CSS+" textarea", "select()"))
		chromium.Get(b.Tab, chromedp.Evaluate[bool](fmt.Sprintf("document.execCommand('insertText', false, %q)", body)))
		answer := webhook.execute()
		if want := spacelift.Sign([]byte(secret), []byte(body)); !strings.Contains(answer.curl, want) {
			t.Errorf("secret %q signs %s\nas %s\nwant %s", secret, body, answer.curl, want)
		}
	}
}

// A wrong secret is reported where the person sees it.
func TestBrowserIsToldWhatIsWrong(t *testing.T) {
	l := startLab(t)
	b := browser{chromium.Open(t), t}
	b.openDocs(l.docs)
	b.authorize("not-the-secret", "")
	answer := b.operation("webhook", "receiveNotification").execute()
	if answer.status != "401" || !strings.Contains(answer.body, "urn:gantry:problem:signature-mismatch") {
		t.Errorf("%s %s", answer.status, answer.body)
	}
}

// The tests above rely on the browser's errors. This one proves that they see them.
func TestBrowserHearsWhatGoesWrong(t *testing.T) {
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Security-Policy", "script-src 'sha256-7E/iFqS/r9mp3k8e0V0IuUj6hJhdjfbbU4p9YGFUwZA='; img-src http:")
		fmt.Fprint(w, `<script>console.error("console speaks")</script><script>forbidden()</script><img src="http://example.com/x.png">`)
	}))
	t.Cleanup(page.Close)
	b := browser{chromium.Open(t), t}
	b.Do(chromedp.Navigate(page.URL))
	complaints := strings.Join(b.Complaints(), "\n")
	for _, want := range []string{"console speaks", "policy: ", "request to http://example.com/x.png"} {
		if !strings.Contains(complaints, want) {
			t.Errorf("no complaint about %q:\n%s", want, complaints)
		}
	}
}

// browser is a tab in which Swagger UI is used.
type browser struct {
	*chromium.Tab
	t *testing.T
}

// startPictured starts a lab that, in pictures, has the address it has for readers.
func startPictured(t *testing.T) *lab {
	t.Helper()
	if chromium.Screenshots == "" {
		return startLab(t)
	}
	return startLab(t, "--port", "8080")
}

// openDocs reloads Swagger UI, so that nothing is authorized.
func (b browser) openDocs(url string) {
	b.t.Helper()
	b.Do(chromedp.Navigate(url), chromedp.WaitVisible(chromedp.CSS(".auth-wrapper .authorize")))
}

// authorize types under Authorize what is not empty.
func (b browser) authorize(secret, token string) {
	b.t.Helper()
	b.Do(chromium.Press(chromedp.CSS(".auth-wrapper .authorize")), chromedp.WaitVisible(chromedp.CSS(".modal-ux")))
	for field, value := range map[chromedp.CSS]string{"#api_key_value": secret, "#auth-bearer-value": token} {
		if value != "" {
			b.Do(chromedp.SendKeys(field, value), chromium.Press(".auth-container form:has("+field+") .authorize"))
		}
	}
	b.Do(chromium.Press(chromedp.CSS(".modal-ux .close-modal")), chromedp.WaitNotPresent(chromedp.CSS(".modal-ux")))
}

// operation is an operation of the contract on the page.
type operation struct {
	browser
	chromedp.CSS
}

// operation unfolds an operation, and waits until the page has resolved it: it shows
// the button before that, and what is sent then is lost.
func (b browser) operation(tag, id string) operation {
	b.t.Helper()
	o := operation{b, chromedp.CSS("#operations-" + tag + "-" + id)}
	b.Do(chromium.Press(o.CSS+" .opblock-summary-control"), chromedp.WaitVisible(o.CSS+" .execute"))
	chromium.Get(b.Tab, chromedp.Poll[bool](fmt.Sprintf(`(() => {
		const o = document.querySelector(%q);
		const path = o.querySelector(".opblock-summary-path").dataset.path, method = o.querySelector(".opblock-summary-method").textContent;
		return Boolean(window.ui.specSelectors.specResolvedSubtree(["paths", path, method.toLowerCase()])?.get("operationId"));
	})()`, o.CSS)))
	return o
}

// answer is a request and its answer, as the page shows them.
type answer struct{ curl, status, body string }

// execute presses Execute.
func (o operation) execute() answer {
	o.t.Helper()
	live := o.CSS + " .live-responses-table"
	o.Do(chromium.Press(o.CSS+" .execute"), chromedp.WaitVisible(live), chromium.On(o.CSS+" .btn-group", "scrollIntoView()"))
	return answer{
		curl:   chromium.Get(o.Tab, chromedp.TextContent(o.CSS+" .curl")),
		status: strings.Fields(chromium.Get(o.Tab, chromedp.Text(live+" tbody .response-col_status")))[0],
		body:   chromium.Get(o.Tab, chromedp.TextContent(live+" tbody .response-col_description")),
	}
}

// first is the first group of a pattern that must be in the text.
func first(t *testing.T, pattern, text string) string {
	t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("nothing like %s in\n%s", pattern, text)
	}
	return m[1]
}
