package server

import (
	"bytes"
	"net/http"
	"strings"
)

// revalidated gives every answer to a GET an ETag, and answers 304 to a caller who has the
// same answer already. Clients that poll then transfer only what has changed. Streams and
// problems pass through.
func revalidated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			next.ServeHTTP(w, r)
			return
		}
		a := &heldAnswer{ResponseWriter: w}
		next.ServeHTTP(a, r)
		if !a.held {
			return
		}
		h := w.Header()
		etag := `"` + digest(a.body.Bytes())[:32] + `"`
		h.Set("ETag", etag)
		h.Set("Cache-Control", "private, no-cache") // keep it for this caller, and ask before it is used again
		h.Add("Vary", "Authorization, Cookie")
		if hasETag(r.Header.Values("If-None-Match"), etag) {
			h.Del("Content-Type")
			h.Del("Content-Length")
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.WriteHeader(http.StatusOK)
		_, _ = a.body.WriteTo(w) // the caller has left
	})
}

// hasETag reports whether a header If-None-Match names an answer. It compares weakly, as
// that header asks for: a proxy that compresses answers marks their tags as weak.
func hasETag(headers []string, etag string) bool {
	for tag := range strings.SplitSeq(strings.Join(headers, ","), ",") {
		if tag = strings.TrimSpace(tag); tag == "*" || strings.TrimPrefix(tag, "W/") == etag {
			return true
		}
	}
	return false
}

// heldAnswer holds back the body of an answer that succeeded.
type heldAnswer struct {
	http.ResponseWriter

	held, passed bool
	body         bytes.Buffer
}

// Unwrap lets streams flush and set deadlines.
func (a *heldAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *heldAnswer) WriteHeader(status int) {
	if a.held || a.passed {
		return
	}
	if status == http.StatusOK && a.Header().Get("Content-Type") == "application/json" {
		a.held = true
		return
	}
	a.passed = true
	a.ResponseWriter.WriteHeader(status)
}

func (a *heldAnswer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK) // unless it was called
	if a.held {
		return a.body.Write(b)
	}
	return a.ResponseWriter.Write(b)
}
