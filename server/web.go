package server

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/web"
)

// newPages returns the pages for people, which call the API in this process.
func newPages(cfg Config, keys *keyring, contract *contract, routes http.Handler, log *slog.Logger) (*web.Pages, error) {
	inner := chi.Chain(nameRequest, recoverPanics(log), afresh, placed, limitBody, contract.validate).Handler(routes)
	pages := web.Config{API: inner, CSRF: keys.csrf, Issuer: cfg.SignIn.Issuer, Log: log}
	if cfg.TemporalUI != "" {
		pages.TemporalUI = func(workflowID string) string { return cfg.TemporalUI + "/workflows/" + url.PathEscape(workflowID) }
	}
	return web.New(pages)
}

// afresh takes from a request's context what belongs to the request of the page that
// sends it.
func afresh(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := context.WithValue(r.Context(), chi.RouteCtxKey, (*chi.Context)(nil))
		next.ServeHTTP(w, r.WithContext(context.WithValue(ctx, headKey{}, nil)))
	})
}

// withPages serves pages to their callers, and passes on all other requests.
func (k *keyring) withPages(pages *web.Pages, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !pages.Serves(r):
			next.ServeHTTP(w, r)
		case web.Open(r):
			pages.ServeHTTP(w, r)
		default:
			k.page(pages, w, r)
		}
	})
}

// page answers a request for a page with a caller. A form sends its token in a field.
func (k *keyring) page(pages *web.Pages, w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, web.MaxForm)
	_ = r.ParseForm() // without its token, a form counts as another site's
	c, err := k.find(w, r)
	switch {
	case err == nil:
		pages.ServeHTTP(w, withCaller(r, c))
	case errors.Is(err, errNoToken), errors.Is(err, authority.ErrNoSession), errors.Is(err, authority.ErrSessionEnded):
		pages.Refuse(w, r)
	case errors.Is(err, errCrossSite), is[*authority.IssuerUnavailableError](err):
		if errors.Is(err, errCrossSite) {
			k.refused.add(reasonCrossSite)
		}
		problem, _ := problemOf(err)
		pages.Problem(w, r, problem)
	default:
		k.refuse(w, r, err)
	}
}

// csrf returns the token that forms of a request's session must send, masked for one page;
// empty without a session.
func (k *keyring) csrf(r *http.Request) string {
	if k.signIn == nil || len(r.Header.Values("Authorization")) > 0 {
		return ""
	}
	session, err := k.signIn.session(r)
	if err != nil {
		return ""
	}
	return maskToken(session.CSRF)
}

// notFound answers browsers with a page, and programs with a problem.
func notFoundOn(pages *web.Pages, unrouted http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && !strings.HasPrefix(r.URL.Path, "/v1/") && strings.Contains(r.Header.Get("Accept"), "text/html") {
			pages.Problem(w, r, api.Problem{Status: http.StatusNotFound, Title: "Not found"})
			return
		}
		unrouted(w, r)
	}
}
