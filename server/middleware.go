package server

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"

	"github.com/go-chi/chi/v5"
)

// split gives each part of the surface its own chain of middlewares. They run ahead
// of parameter binding, where the generated code's own middlewares would come too
// late to answer 401 before 400.
func split(webhook, api, public http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch path := r.URL.Path; {
		case path == webhookPath || path == webhookPath+"/":
			webhook.ServeHTTP(w, r)
		case strings.HasPrefix(path, "/v1/"):
			api.ServeHTTP(w, r)
		default:
			public.ServeHTTP(w, r)
		}
	})
}

// onlyPost passes the other methods on to unrouted.
func onlyPost(next, unrouted http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			unrouted(w, r)
			return
		}
		next(w, r)
	}
}

// maxAPIBody bounds the body of a request to the API. It fits the longest notes and lists
// that the contract allows.
const maxAPIBody = 128 << 10

// limitBody bounds the body that the validator reads.
func limitBody(next http.Handler) http.Handler { return http.MaxBytesHandler(next, maxAPIBody) }

// nothing is the policy of answers that a browser should neither render nor frame. Pages
// and Swagger UI have policies of their own.
const nothing = "default-src 'none'; frame-ancestors 'none'"

func securityHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", nothing)
		next.ServeHTTP(w, r)
	})
}

// recoverPanics answers a panic with a 500 problem, so that one bad request never stops
// the process.
func recoverPanics(log *slog.Logger) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() {
				p := recover()
				if p == nil {
					return
				}
				log.ErrorContext(r.Context(), "request panicked", "requestId", requestIDOf(w), "method", r.Method, "path", r.URL.Path,
					"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
				writeProblem(w, internalProblem())
			}()
			next.ServeHTTP(w, r)
		})
	}
}

// unrouted answers requests that match no operation: 405 with the allowed methods, or 404.
func unrouted(routes chi.Routes) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var allowed []string
		for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
			if !routes.Match(chi.NewRouteContext(), m, r.URL.Path) {
				continue
			}
			if allowed = append(allowed, m); m == http.MethodGet {
				allowed = append(allowed, http.MethodHead)
			}
		}
		if len(allowed) == 0 {
			writeProblem(w, notFound("nothing is at "+r.URL.Path+"; /docs lists all operations"))
			return
		}
		methods := strings.Join(allowed, ", ")
		w.Header().Set("Allow", methods)
		writeProblem(w, problem("method-not-allowed", r.URL.Path+" takes "+methods))
	}
}

// webhookPath is the path of notifications. A slash at its end is accepted: otherwise a
// webhook with that address would be answered 404, and Spacelift would switch it off
// after ten failures.
const webhookPath = "/webhook"

type depthKey struct{}

// placed records how deep the request's path is.
func placed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), depthKey{}, depthOf(r))))
	})
}

// depthOf returns how deep the request's path is.
func depthOf(r *http.Request) int {
	return strings.Count(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
}

// depth returns how deep the path of ctx's request is.
func depth(ctx context.Context) int {
	d, _ := ctx.Value(depthKey{}).(int)
	return d
}

// relative returns the address of a path of this server, relative to that of a
// request of this depth: a proxy may serve Gantry below a path prefix that Gantry
// does not know.
func relative(depth int, path string) string { return strings.Repeat("../", depth) + path }

type headKey struct{}

// headOnly reports whether the caller wants only the headers.
func headOnly(ctx context.Context) bool { return ctx.Value(headKey{}) != nil }

// headAsGet answers HEAD like GET. The HTTP server drops the body.
func headAsGet(routes chi.Routes) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodHead || !routes.Match(chi.NewRouteContext(), http.MethodGet, r.URL.Path) {
				next.ServeHTTP(w, r)
				return
			}
			r = r.WithContext(context.WithValue(r.Context(), headKey{}, true))
			r.Method = http.MethodGet
			next.ServeHTTP(w, r)
		})
	}
}
