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
	asJSON, err := openapi.JSON()
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][]byte{"/openapi.yaml": openapi.Document, "/openapi.json": asJSON} {
		doc := r.send(http.MethodGet, path, "")
		if !bytes.Equal(doc.Body.Bytes(), want) || doc.Header().Get("Content-Type") != "application/"+strings.TrimPrefix(path, "/openapi.") {
			t.Errorf("%s is not the contract", path)
		}
		if again := r.send(http.MethodGet, path, "", "If-None-Match", doc.Header().Get("ETag")); again.Code != http.StatusNotModified {
			t.Errorf("%s, unchanged: %d", path, again.Code)
		}
	}
}
