package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// page opens a page, or sends a form to it, as the caller of the API.
func (w *world) page(method, path string, form url.Values) (status int, text string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.url()+path, strings.NewReader(form.Encode()))
	w.must(err)
	req.Header.Set("Authorization", "Bearer "+apiToken)
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	answer, err := http.DefaultClient.Do(req)
	w.must(err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	w.must(err)
	return answer.StatusCode, string(body)
}

// A person opens the page of a chain that is held, sees who is in the way and skips the
// stack there. The stacks' pages show what the product knows.
func TestAChainIsReadAndResumedOnItsPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, autoStack, follower("app-prod", "network-prod"), follower("web-prod", "app-prod"))
	w.serve()
	w.must(w.spacelift.SetNextPlan("app-prod", simulator.Plan{FailIn: spacelift.RunStatePlanning, FailNote: "it does not compile"}))
	root := w.push("network-prod", 1)
	w.chain(root, "is held", inPhase(api.ChainPhaseHeld))

	path := "/accounts/acme/stacks/network-prod/runs/" + string(root) + "/chain"
	for path, all := range map[string][]string{
		path:                              {"2 stacks follow", "app-prod failed", "it does not compile", "1 stack waits behind it."},
		"/chains":                         {"1 chain is held", "network-prod"},
		"/stacks?search=app":              {"2 stacks match", "app-prod", "after network-prod"},
		"/stacks/drift":                   {"Compare environments"},
		"/accounts/acme/stacks/app-prod":  {"Trigger a run", "web-prod", "What a finished run releases"},
		"/accounts/acme/stacks/nowhere-x": {"There&#39;s nothing here"},
	} {
		w.eventually(path, func(context.Context) error { // lists follow what happens after a moment
			status, text := w.page(http.MethodGet, path, nil)
			for _, want := range all {
				if !strings.Contains(text, want) {
					return fmt.Errorf("%d without %q: %.2000s", status, want, text[max(0, strings.Index(text, "<h1")):])
				}
			}
			return nil
		})
	}
	if status, text := w.page(http.MethodPost, path, url.Values{"do": {"skip"}, "stack": {"app-prod"}, "note": {"done by hand"}}); status != http.StatusOK || !strings.Contains(text, "You skipped app-prod.") {
		t.Fatalf("skip: %d %.2000s", status, text)
	}
	w.chain(root, "is complete", inPhase(api.ChainPhaseDone))
	if status, text := w.page(http.MethodPost, path, url.Values{"do": {"skip"}, "stack": {"app-prod"}}); status != http.StatusConflict || !strings.Contains(text, "refused") {
		t.Errorf("skip in a chain that has ended: %d %.2000s", status, text)
	}
}
