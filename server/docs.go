package server

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/go-chi/chi/v5"
	"github.com/swaggest/swgui"
	"github.com/swaggest/swgui/v5emb"

	"github.com/gantryhq/gantry/openapi"
)

// signTryItOut is the request interceptor of Swagger UI: it signs webhook
// bodies in the browser, with the secret given under Authorize.
//
//go:embed docs_sign.js
var signTryItOut string

//go:embed docs.css
var docsStyle string

// docs serves Swagger UI from embedded assets, and the document it shows.
type docs struct {
	ui     http.Handler
	policy string // Content-Security-Policy
	json   []byte // the document as JSON
}

// inlineScript matches the scripts in the page of Swagger UI.
var inlineScript = regexp.MustCompile(`(?s)<script>(.*?)</script>`)

func newDocs() (*docs, error) {
	ui := v5emb.NewHandlerWithConfig(swgui.Config{
		// Addresses are relative to the page, because Gantry does not know its path prefix.
		Title: "Gantry", SwaggerJSON: "../openapi.yaml", BasePath: "docs/", InternalBasePath: "/docs/",
		AppendHead: template.HTML("<style>\n" + docsStyle + "</style>"), //nolint:gosec // the style is our own
		SettingsUI: map[string]string{
			"tryItOutEnabled": "true", "displayRequestDuration": "true", "defaultModelsExpandDepth": "1",
			"requestInterceptor": strings.TrimSpace(signTryItOut),
		},
	})
	// The page has inline scripts. It never changes, so the policy allows them by their
	// hashes, and no others.
	var page renderedPage
	ui.ServeHTTP(&page, &http.Request{Method: http.MethodGet, URL: &url.URL{Path: "/docs/"}})
	scripts := inlineScript.FindAllStringSubmatch(page.String(), -1)
	if len(scripts) == 0 {
		return nil, errors.New("render Swagger UI: the page has no script")
	}
	sources := []string{"'self'"}
	for _, s := range scripts {
		sum := sha256.Sum256([]byte(s[1]))
		sources = append(sources, "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'")
	}
	asJSON, err := openapi.JSON()
	if err != nil {
		return nil, err
	}
	return &docs{
		ui: ui, json: asJSON,
		policy: "default-src 'none'; script-src " + strings.Join(sources, " ") + "; style-src 'self' 'unsafe-inline'; " +
			"img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	}, nil
}

// renderedPage stores the page that a handler writes.
type renderedPage struct{ strings.Builder }

func (*renderedPage) Header() http.Header { return http.Header{} }
func (*renderedPage) WriteHeader(int)     {}

func (d *docs) mount(r chi.Router) {
	r.Get("/openapi.yaml", serveDocument(openapi.Document, "application/yaml"))
	r.Get("/openapi.json", serveDocument(d.json, "application/json"))
	r.Get("/docs", d.page)
	r.Get("/docs/*", d.page)
	r.Get("/docs/", redirectToDocs)
}

// redirectToDocs redirects to the one address that the links of the page are relative
// to. http.Redirect would make the address absolute, which breaks below a path prefix.
func redirectToDocs(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Location", relative(depth(r.Context()), "docs"))
	w.WriteHeader(http.StatusFound)
}

func (d *docs) page(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Security-Policy", d.policy)
	w.Header().Set("Referrer-Policy", "no-referrer")
	d.ui.ServeHTTP(w, r)
}

// serveDocument serves one form of the contract.
func serveDocument(content []byte, contentType string) http.HandlerFunc {
	sum := sha256.Sum256(content)
	etag := `"` + hex.EncodeToString(sum[:8]) + `"`
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", etag)
		w.Header().Set("Cache-Control", "no-cache")
		if r.Header.Get("If-None-Match") == etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("Content-Type", contentType)
		_, _ = w.Write(content)
	}
}
