package web

import (
	"context"
	"log/slog"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/a-h/templ"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/gen/client"
	"github.com/gantryhq/gantry/web/graph"
)

// Config holds what the pages need of the server.
type Config struct {
	// API answers requests under /v1 whose caller is in their context, by the same
	// checks as those of other callers.
	API http.Handler

	// CSRF returns the token that forms must send with a change, which belongs to the
	// caller's session. It is empty without a session.
	CSRF func(*http.Request) string

	// Issuer names the issuer that people can sign in with; empty for none.
	Issuer string

	// TemporalUI returns the address of an execution in Temporal's UI; nil for no links.
	TemporalUI func(workflowID string) string

	// Now returns the time; nil means time.Now.
	Now func() time.Time

	Log *slog.Logger
}

// Pages serves the pages. The request's caller must be in its context, unless the page
// is open; see Open.
type Pages struct {
	Config
	mux    *http.ServeMux
	assets *assets
	graphs graph.Cache
	turns  turns
}

// New returns the pages.
func New(cfg Config) (*Pages, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	all, err := loadAssets()
	if err != nil {
		return nil, err
	}
	p := &Pages{Config: cfg, mux: http.NewServeMux(), assets: all, turns: make(turns, maxTurns)}
	p.routes()
	return p, nil
}

// routes lists the pages. Forms of a page send POST to its own address, so that
// refusals are shown there and relative addresses stay the same.
func (p *Pages) routes() {
	p.page("GET /{$}", p.waiting)
	p.page("POST /{$}", p.decideWaiting)
	p.page("GET /runs", p.runs)
	p.page("GET /accounts/{account}/stacks/{stack}/runs/{run}", p.run)
	p.page("POST /accounts/{account}/stacks/{stack}/runs/{run}", p.changeRun)
	p.page("GET /accounts/{account}/stacks/{stack}", p.stack)
	p.page("POST /accounts/{account}/stacks/{stack}", p.triggerRun)
	p.page("GET /accounts/{account}/stacks/{stack}/runs/{run}/chain", p.chain)
	p.page("POST /accounts/{account}/stacks/{stack}/runs/{run}/chain", p.changeChain)
	p.page("GET /chains", p.chains)
	p.page("GET /stacks", p.stacks)
	p.page("GET /stacks/drift", p.drift)
	p.page("GET /calendar", p.calendar)
	p.page("POST /calendar", p.changeFreezes)
	p.page("GET /health", p.health)
	p.page("GET /audit", p.audit)
	p.mux.HandleFunc("GET /audit/export", p.exportAudit)
	p.mux.HandleFunc("GET /sign-in", p.signIn)
	p.mux.HandleFunc("GET "+assetsPath+"{name}", p.assets.serve)
}

// Serves reports whether a request is for a page.
func (p *Pages) Serves(r *http.Request) bool {
	if path.Clean(r.URL.Path) != r.URL.Path { // the mux would redirect to an absolute address
		return false
	}
	_, pattern := p.mux.Handler(r)
	return pattern != ""
}

// Open reports whether a page needs no caller.
func Open(r *http.Request) bool {
	return r.URL.Path == "/sign-in" || strings.HasPrefix(r.URL.Path, assetsPath)
}

// ServeHTTP answers with a page, or with an asset of pages.
func (p *Pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	compressed(p.mux).ServeHTTP(w, r)
}

// MaxForm bounds the body of a form: the longest note, and the hidden fields of many
// plans.
const MaxForm = 256 << 10

// call is a request for a page.
type call struct {
	*http.Request
	API *client.ClientWithResponses // which acts as the caller
	w   http.ResponseWriter
}

// answer is a page or, for htmx, the part of one.
type answer struct {
	status int // 0 for 200
	page   templ.Component
	to     string // relative address to redirect to instead
}

// show answers with a page.
func show(page templ.Component) (answer, error) { return answer{page: page}, nil }

// page registers a page. Its errors become pages as well.
func (p *Pages) page(pattern string, f func(*call) (answer, error)) {
	p.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		securityHeaders(w)
		r.Body = http.MaxBytesReader(w, r.Body, MaxForm)
		defer p.turns.take(r.Context())()
		c, err := p.begin(w, r)
		var a answer
		if err == nil {
			a, err = f(c)
		}
		switch {
		case err != nil:
			p.fail(w, c.Request, err)
		case a.to != "":
			redirect(w, c.Request, a.to)
		default:
			p.write(w, c.Request, max(a.status, http.StatusOK), a.page)
		}
	})
}

// begin finds the caller and prepares the view. It returns a call also with an error.
func (p *Pages) begin(w http.ResponseWriter, r *http.Request) (*call, error) {
	v := &view{pages: p, depth: depthOf(r), now: p.Now(), path: r.URL.Path, zone: browserZone(r)}
	r = r.WithContext(context.WithValue(r.Context(), viewKey{}, v))
	c := &call{Request: r, w: w, API: p.client(w, r)}
	me, err := c.API.GetCallerWithResponse(r.Context())
	if err != nil {
		return c, err
	}
	v.me = me.JSON200
	if p.CSRF != nil {
		v.csrf = p.CSRF(r)
	}
	return c, nil
}

// key returns the key of the form, under which the API carries out a change once, however
// often the form is sent.
func (c *call) key() *api.IdempotencyKey {
	if key := c.PostFormValue("key"); key != "" {
		return &key
	}
	return nil
}

// write renders a page.
func (p *Pages) write(w http.ResponseWriter, r *http.Request, status int, page templ.Component) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if err := page.Render(r.Context(), w); err != nil && r.Context().Err() == nil {
		p.Log.WarnContext(r.Context(), "page not rendered", "path", r.URL.Path, "error", err)
	}
}

// redirect leads to an address relative to the page; http.Redirect would make it
// absolute, which breaks below a path prefix.
func redirect(w http.ResponseWriter, r *http.Request, to string) {
	if r.Header.Get("HX-Request") != "" { // htmx would show the target inside the page
		w.Header().Set("HX-Redirect", to)
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
}

// contentPolicy lets pages load what Gantry serves, and nothing else: no script or style
// inside them, no frames around them.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

func securityHeaders(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("Referrer-Policy", "same-origin") // the check of forms needs it at home
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
	h.Set("Cache-Control", "no-store")
}
