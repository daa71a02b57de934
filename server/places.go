package server

import (
	"context"
	"net/http"
	"strings"

	"github.com/go-chi/chi/v5"
)

// webhookPath is where notifications arrive. With a slash at its end it is the
// same: a webhook that is configured so would be answered 404, and Spacelift would
// switch it off after ten of them.
const webhookPath = "/webhook"

type depthKey struct{}

// placed notes how deep the request's path is, and takes the webhook's path with
// a slash at its end for the one without.
func placed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		depth := strings.Count(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
		r = r.WithContext(context.WithValue(r.Context(), depthKey{}, depth))
		if r.URL.Path == webhookPath+"/" {
			u := *r.URL
			u.Path, u.RawPath = webhookPath, ""
			r.URL = &u
		}
		next.ServeHTTP(w, r)
	})
}

// relative returns the address of a path of this server, relative to that of the
// request: a proxy may serve Gantry below a path prefix that Gantry does not know.
func relative(ctx context.Context, path string) string {
	depth, _ := ctx.Value(depthKey{}).(int)
	return strings.Repeat("../", depth) + path
}

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
