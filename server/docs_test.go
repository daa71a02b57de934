package server_test

import (
	"bytes"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/gantryhq/gantry/openapi"
)

// TestDocsWorkOffline: the page loads under a policy that allows nothing from
// elsewhere. TestBelowAPathPrefix follows what it loads.
func TestDocsWorkOffline(t *testing.T) {
	r := newRig(t)
	w := r.send(http.MethodGet, "/docs", "")
	policy := w.Header().Get("Content-Security-Policy")
	if w.Code != http.StatusOK || !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe-eval") {
		t.Fatalf("%d, policy %q", w.Code, policy)
	}
	if absolute := regexp.MustCompile(`(?:src|href)="(/|https?:)`).FindString(w.Body.String()); absolute != "" {
		t.Errorf("the page loads something from an absolute address: %s", absolute)
	}
	doc := r.send(http.MethodGet, "/openapi.yaml", "")
	if !bytes.Equal(doc.Body.Bytes(), openapi.Document) {
		t.Error("/openapi.yaml is not the contract")
	}
	if again := r.send(http.MethodGet, "/openapi.yaml", "", "If-None-Match", doc.Header().Get("ETag")); again.Code != http.StatusNotModified {
		t.Errorf("unchanged document: %d", again.Code)
	}
}
