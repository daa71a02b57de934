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

// maxAPIBody bounds the body of a request to the API: the longest notes and lists
// that the contract allows fit in it.
const maxAPIBody = 128 << 10

// limitBody keeps the validator, which reads all of a body, from reading an
// endless one.
func limitBody(next http.Handler) http.Handler { return http.MaxBytesHandler(next, maxAPIBody) }

func securityHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}

// recoverPanics turns a panic into a 500 problem, so that one bad request
// never takes the process and the events of others with it.
func recoverPanics(log *slog.Logger) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() {
				p := recover()
				if p == nil {
					return
				}
				log.ErrorContext(r.Context(), "request panicked", "method", r.Method, "path", r.URL.Path, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
				writeProblem(w, internalProblem())
			}()
			next.ServeHTTP(w, r)
		})
	}
}

// unrouted answers what no operation matches: 405 with the methods that are
// allowed, or 404.
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
			writeProblem(w, notFound("there is nothing at "+r.URL.Path+"; /docs shows what there is"))
			return
		}
		methods := strings.Join(allowed, ", ")
		w.Header().Set("Allow", methods)
		writeProblem(w, problem("method-not-allowed", r.URL.Path+" takes "+methods))
	}
}

// webhookPath is where notifications arrive. With a slash at its end it is the
// same: a webhook that is configured so would be answered 404, and Spacelift would
// switch it off after ten of them.
const webhookPath = "/webhook"

type depthKey struct{}

// placed notes how deep the request's path is.
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

// headOnly reports whether the caller wants the headers alone.
func headOnly(ctx context.Context) bool { return ctx.Value(headKey{}) != nil }

// headAsGet answers HEAD as it would GET. The HTTP server drops the body.
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
