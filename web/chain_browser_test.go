//go:build browser

package web_test

import (
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/gantryhq/gantry/e2e/chromium"
	"github.com/gantryhq/gantry/web/webtest"
)

// The pages of chains and stacks at each width, light and dark.
func TestBrowserChains(t *testing.T) {
	s := chainSite(t, aChain())
	s.Answer("GET /v1/accounts/acme/chains", chainList())
	large := chainSite(t, largeChain()) // before the browser, which must close its streams first
	b := chromium.Open(t)
	b.Survey(s.URL+chainPath+"?stack=queue", "chain")
	b.Survey(s.URL+"chains", "chains")
	b.Survey(large.URL+chainPath, "chain-large")
}

func TestBrowserStacks(t *testing.T) {
	s := stacksSite(t)
	b := chromium.Open(t)
	b.Survey(s.URL+"stacks", "stacks")
	b.Survey(s.URL+"stacks/drift", "drift")
	b.Survey(s.URL+"accounts/acme/stacks/service005-prod-eu", "stack")
}

// A stack is chosen in the graph with the keyboard alone.
func TestBrowserChainByKeyboard(t *testing.T) {
	s := chainSite(t, aChain())
	b := chromium.Open(t)
	b.Open(s.URL + chainPath)
	b.Do(chromedp.Focus(chromedp.CSS(`a.box[aria-label^="queue"]`)), chromedp.KeyEvent(kb.Enter), chromedp.WaitVisible(chromedp.CSS("#picked")))
	b.Shows("Followed by")
}

// An operator skips a stack of a chain and triggers a run by keyboard alone.
func TestBrowserOperatesByKeyboard(t *testing.T) {
	chain, stacks := chainSite(t, aChain()), triggers(t)
	chain.Answer("POST /v1/accounts/acme/chains/"+chainRun.Run+"/skip", aChain())
	b := chromium.Open(t)
	b.Open(chain.URL + chainPath)
	tabTo(b, `document.activeElement.matches(".blocker details.ask summary")`)
	b.Until(`getComputedStyle(document.activeElement).outlineStyle !== "none"`)
	b.Keys("\r\tby hand\t\r")
	b.Until(`document.activeElement.matches("p.done")`)
	stacks.Refuse("POST /v1/accounts/acme/stacks/service005-prod-eu/runs", http.StatusConflict, "Trigger refused", "ann locked the stack; unlock it first")
	b.Open(stacks.URL + "accounts/acme/stacks/service005-prod-eu")
	tabTo(b, `document.activeElement.matches("details.ask summary")`)
	b.Keys("\r\t\t\taudit\t")
	tabTo(b, `document.activeElement.matches("details.ask button")`)
	b.Keys("\r")
	b.Shows("Ann locked the stack; unlock it first.")
	b.Until(`document.querySelector("#note").value === "audit"`)
}

// The chain and the stacks for the documents.
func TestBrowserPictureChainsAndStacks(t *testing.T) {
	chain, stacks := chainSite(t, aChain()), stacksSite(t)
	b := chromium.Open(t)
	b.View(1280, "light")
	b.Open(chain.URL + chainPath)
	b.Picture("page-chain")
	b.Open(stacks.URL + "stacks")
	b.Picture("page-stacks")
}

// A page of a chain renews itself, but not under the hands of a person who writes a note.
// A refusal appears where the button was.
func TestBrowserChainIsLive(t *testing.T) {
	s := chainSite(t, aChain())
	var finished atomic.Bool
	s.Handle("GET /v1/accounts/acme/chains/"+chainRun.Run, func(w http.ResponseWriter, _ *http.Request) {
		c := aChain()
		if finished.Load() {
			c.Nodes[2].State, c.Nodes[2].RunState = "finished", new("FINISHED")
		}
		webtest.Write(w, http.StatusOK, c)
	})
	news := make(chan string)
	s.Handle("GET /v1/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for {
			select {
			case <-r.Context().Done():
				return
			case name := <-news:
				_, _ = w.Write([]byte("event: " + name + "\ndata: {}\n\n"))
				_ = http.NewResponseController(w).Flush()
			}
		}
	})
	s.Refuse("POST /v1/accounts/acme/chains/"+chainRun.Run+"/skip", http.StatusConflict, "Stack has an active run", "stop the run first")
	b := chromium.Open(t)
	b.Open(s.URL + chainPath)
	b.Shows("vault waits for people")
	finished.Store(true)
	news <- "chain"
	b.Until(`!document.body.innerText.includes("vault waits for people")`)
	b.Do(chromedp.Click(chromedp.CSS(".blocker details.ask summary")))
	b.Do(chromedp.SendKeys(chromedp.CSS(".blocker textarea"), "by hand"))
	finished.Store(false)
	news <- "chain"
	b.Do(chromedp.Click(chromedp.CSS(".blocker details.ask button")))
	b.Until(`document.querySelector(".blocker").innerText.includes("Stop the run first.")`)
	b.Until(`document.querySelector(".blocker textarea").value === "by hand"`)
}

// Without JavaScript a person reads the chain and acts, and searches stacks.
func TestBrowserChainsAndStacksWithoutJavaScript(t *testing.T) {
	chain, stacks := chainSite(t, aChain()), stacksSite(t)
	chain.Answer("POST /v1/accounts/acme/chains/"+chainRun.Run+"/skip", aChain())
	b := chromium.Open(t)
	b.NoScript()
	b.Open(chain.URL + chainPath)
	b.Do(chromedp.Click(chromedp.CSS(".blocker details.ask summary")), chromedp.Click(chromedp.CSS(".blocker details.ask button")), chromedp.WaitVisible(chromedp.CSS("p.done")))
	b.Open(stacks.URL + "stacks")
	b.Do(chromedp.SendKeys(chromedp.CSS("#search"), "service123-prod"+kb.Enter), chromedp.WaitVisible(chromedp.CSS("ol.stacks li:nth-child(2):last-child")))
}

// The list of stacks follows what a person types.
func TestBrowserStacksAsYouType(t *testing.T) {
	s := stacksSite(t)
	b := chromium.Open(t)
	b.Open(s.URL + "stacks")
	b.Do(chromedp.SendKeys(chromedp.CSS("#search"), "service123-prod"))
	b.Until(`document.querySelectorAll("ol.stacks li").length === 2 && document.activeElement.id === "search"`)
}
