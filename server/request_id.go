package server

import (
	"crypto/rand"
	"net/http"
	"strings"
)

// requestIDHeader names the request in its answer. A proxy or a caller may have named
// it before. Problems and log lines take it from the answer's headers, so that no
// request is copied to carry it.
const requestIDHeader = "X-Request-Id"

const maxRequestID = 128

// nameRequest gives each answer the id of its request.
func nameRequest(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var id string
		if given := r.Header[requestIDHeader]; len(given) == 1 && isRequestID(given[0]) {
			id = given[0]
		} else {
			id = rand.Text()
		}
		w.Header()[requestIDHeader] = []string{id}
		next.ServeHTTP(w, r)
	})
}

// isRequestID reports whether a given id is short, and harmless in a log and a terminal.
func isRequestID(id string) bool {
	return id != "" && len(id) <= maxRequestID && strings.IndexFunc(id, func(c rune) bool {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		return !letter && !strings.ContainsRune("._:/+=-", c)
	}) < 0
}

// requestIDOf returns the id of the request that w answers.
func requestIDOf(w http.ResponseWriter) string { return w.Header().Get(requestIDHeader) }
