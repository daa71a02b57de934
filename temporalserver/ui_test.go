package temporalserver_test

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/gantryhq/gantry/temporalserver"
)

func TestUI(t *testing.T) {
	s := start(t, temporalserver.Options{UI: true, Namespace: "lab"})
	begin(t, dialNamespace(t, s.HostPort(), "lab"), "run-1")

	for path, want := range map[string]string{
		"/":                                      "<html",
		"/namespaces/lab/workflows":              "<html",
		"/healthz":                               "OK",
		"/api/v1/settings":                       `"DefaultNamespace":"lab"`,
		"/api/v1/cluster-info":                   `"serverVersion"`,
		"/api/v1/namespaces/lab/workflows/run-1": `"workflowId": "run-1"`,
		"/render?content=%2A%2Aapproved%2A%2A":   "<strong>approved</strong>",
	} {
		status, body := get(t, s.UIURL()+path)
		if status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("GET %s: got %d without %q: %.200s", path, status, want, body)
		}
	}
}

func TestUIServesItsScripts(t *testing.T) {
	s := start(t, temporalserver.Options{UI: true})
	_, page := get(t, s.UIURL())
	scripts := regexp.MustCompile(`/_app/immutable/entry/[^"]+\.js`).FindAllString(page, -1)
	if len(scripts) == 0 {
		t.Fatalf("no script in %.500s", page)
	}
	for _, script := range scripts {
		if status, body := get(t, s.UIURL()+script); status != http.StatusOK || strings.HasPrefix(body, "<!doctype") {
			t.Errorf("GET %s: got %d: %.200s", script, status, body)
		}
	}
}

// The interface can end executions and has no authentication, so pages of other
// sites in the same browser must not be able to use it.
func TestUIRefusesOtherSites(t *testing.T) {
	s := start(t, temporalserver.Options{UI: true})
	c := dial(t, s.HostPort())
	begin(t, c, "run-1")

	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
		s.UIURL()+"/api/v1/namespaces/default/workflows/run-1/terminate", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Origin", "https://elsewhere.example")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()

	if answer.StatusCode != http.StatusForbidden {
		t.Errorf("got %s, want 403", answer.Status)
	}
	wantListed(t, c, `ExecutionStatus = "Running"`, "run-1")
}

func TestWithoutUI(t *testing.T) {
	s := start(t, temporalserver.Options{})
	if got := s.UIURL(); got != "" {
		t.Errorf("UIURL is %q", got)
	}
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	answer, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}
