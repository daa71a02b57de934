package server

import (
	"crypto/rand"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
)

// requestIDHeader names the request in its answer. A proxy or a caller may have named
// it before. Problems and log lines take it from the answer's headers, so that no
// request is copied to carry it.
const requestIDHeader = "X-Request-Id"

const maxRequestID = 128

// nameRequest gives each answer the id of its request. A new id is the name of this
// process and a number, because randomness costs a system call on some kernels.
func nameRequest(next http.Handler) http.Handler {
	process, count := rand.Text(), new(atomic.Uint64)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header[requestIDHeader]
		if len(id) != 1 || !isRequestID(id[0]) {
			id = []string{process + "-" + strconv.FormatUint(count.Add(1), 10)}
		}
		w.Header()[requestIDHeader] = id
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
