package server_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"go.temporal.io/sdk/client"

	"github.com/gantryhq/gantry/decide/freeze"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/openapi"
	"github.com/gantryhq/gantry/spacelift"
)

// visitor is a client that knows Gantry's address and nothing else.
type visitor struct {
	t    *testing.T
	base *url.URL
}

// visit sends a request to an address relative to another, and returns the answer
// and its body.
func (v *visitor) visit(method string, from *url.URL, address, body string, headers ...string) (*http.Response, []byte) {
	v.t.Helper()
	at, err := from.Parse(address)
	if err != nil {
		v.t.Fatal(err)
	}
	if !strings.HasPrefix(at.String(), v.base.String()) {
		v.t.Fatalf("%s from %s leads out of %s, to %s", address, from, v.base, at)
	}
	req, err := http.NewRequestWithContext(v.t.Context(), method, at.String(), strings.NewReader(body))
	if err != nil {
		v.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+operatorToken)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		v.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	content, err := io.ReadAll(res.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return res, content
}

// found is visit that must find something.
func (v *visitor) found(from *url.URL, address string) (*http.Response, []byte) {
	v.t.Helper()
	res, body := v.visit(http.MethodGet, from, address, "")
	if res.StatusCode != http.StatusOK {
		v.t.Fatalf("%s from %s: %s", address, from, res.Status)
	}
	return res, body
}

// TestBelowAPathPrefix: wherever a proxy puts Gantry, all that it names is there.
func TestBelowAPathPrefix(t *testing.T) {
	for name, serve := range map[string]func(gantry http.Handler) string{
		"at the root": func(gantry http.Handler) string {
			srv := httptest.NewServer(gantry)
			t.Cleanup(srv.Close)
			return srv.URL + "/"
		},
		"the prefix is stripped in the process": func(gantry http.Handler) string {
			srv := httptest.NewServer(http.StripPrefix("/tools/gantry", gantry))
			t.Cleanup(srv.Close)
			return srv.URL + "/tools/gantry/"
		},
		"a reverse proxy strips the prefix": func(gantry http.Handler) string {
			backend := httptest.NewServer(gantry)
			t.Cleanup(backend.Close)
			target, err := url.Parse(backend.URL)
			if err != nil {
				t.Fatal(err)
			}
			srv := httptest.NewServer(http.StripPrefix("/gantry", &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}))
			t.Cleanup(srv.Close)
			return srv.URL + "/gantry/"
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			base, err := url.Parse(serve(r.handler))
			if err != nil {
				t.Fatal(err)
			}
			v := &visitor{t, base}
			r.temporal.set(asking())
			v.readsPages()
			v.readsTheDocs()
			v.findsWhatAnswersName(r)
		})
	}
}

// readsPages opens pages, at the root and deep below it, and follows them as a browser
// does.
func (v *visitor) readsPages() {
	v.t.Helper()
	for _, page := range []string{"", "sign-in?back=/docs", "runs", strings.TrimPrefix(runPath, "/v1/")} {
		v.follow(page)
	}
}

// follow opens a page and all that it names, and returns its address and content.
func (v *visitor) follow(address string) (at *url.URL, html []byte) {
	v.t.Helper()
	page, html := v.found(v.base, address)
	named := regexp.MustCompile(`(?:src|href)="([^"#]+)"`).FindAllSubmatch(html, -1)
	if len(named) < 3 {
		v.t.Errorf("the page %s names only %d things", page.Request.URL, len(named))
	}
	for _, n := range named {
		if to := string(n[1]); !strings.HasPrefix(to, "https://") { // Spacelift's
			v.found(page.Request.URL, strings.ReplaceAll(to, "&amp;", "&"))
		}
	}
	return page.Request.URL, html
}

// readsTheDocs opens Swagger UI.
func (v *visitor) readsTheDocs() {
	v.t.Helper()
	page, html := v.follow("docs")
	if slash, _ := v.found(v.base, "docs/"); slash.Request.URL.String() != page.String() {
		v.t.Errorf("docs/ leads to %s, docs to %s", slash.Request.URL, page)
	}

	// The page's script puts what begins with a dot behind the page's own path.
	shown := regexp.MustCompile(`"swaggerJsonUrl":"(\..+?)"`).FindSubmatch(html)
	if shown == nil {
		v.t.Fatal("the page does not say relative to itself where the contract is")
	}
	contract, text := v.found(page, path.Clean(page.Path+"/"+string(shown[1])))
	if !bytes.Equal(text, openapi.Document) {
		v.t.Errorf("%s is not the contract", contract.Request.URL)
	}
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		v.t.Fatal(err)
	}
	server, err := contract.Request.URL.Parse(doc.Servers[0].URL)
	if err != nil || server.String() != v.base.String() {
		v.t.Errorf("the contract's server is %s, want %s (%v)", server, v.base, err)
	}
}

// findsWhatAnswersName follows the addresses in answers of the API.
func (v *visitor) findsWhatAnswersName(r *rig) {
	v.t.Helper()
	r.temporal.update = func(o client.UpdateWorkflowOptions) (any, error) {
		return policy.Freeze{ID: o.Args[0].(freeze.Declare).ID, Reason: "audit", From: planned, DeclaredBy: "otto", DeclaredAt: planned}, nil
	}
	made, body := v.visit(http.MethodPost, v.base, "v1/accounts/acme/freezes", `{"reason":"audit"}`, "Content-Type", "application/json")
	if made.StatusCode != http.StatusCreated {
		v.t.Fatalf("%s %s", made.Status, body)
	}
	var freeze api.Freeze
	if err := json.Unmarshal(body, &freeze); err != nil {
		v.t.Fatal(err)
	}
	location, err := made.Request.URL.Parse(made.Header.Get("Location"))
	if want := v.base.JoinPath("v1/accounts/acme/freezes", freeze.ID); err != nil || location.String() != want.String() {
		v.t.Errorf("the freeze is said to be at %s, want %s (%v)", location, want, err)
	}

	notification := example(v.t, "run_tracked_queued")
	for _, webhook := range []string{"webhook", "webhook/"} {
		refused, body := v.visit(http.MethodPost, v.base, webhook, notification)
		var p api.Problem
		if err := json.Unmarshal(body, &p); err != nil || p.Type != "urn:gantry:problem:signature-missing" || p.Instance == nil {
			v.t.Fatalf("%s: %s %s (%v)", webhook, refused.Status, body, err)
		}
		v.found(refused.Request.URL, *p.Instance)
		signature := spacelift.Sign([]byte(acmeSecret), []byte(notification))
		if taken, body := v.visit(http.MethodPost, v.base, webhook, notification, spacelift.SignatureHeader, signature); taken.StatusCode != http.StatusAccepted {
			v.t.Errorf("%s: %s %s", webhook, taken.Status, body)
		}
	}
	if accepted := r.deliveries("?outcome=accepted"); len(accepted) != 1 || *accepted[0].Run == "" {
		v.t.Errorf("the two addresses are not one webhook: %s", show(accepted))
	}
}

// TestHEAD: monitors ask so. It is answered like GET, without the body.
func TestHEAD(t *testing.T) {
	r := newRig(t)
	r.temporal.set(asking())
	srv := httptest.NewServer(r.handler)
	defer srv.Close()
	ask := func(method, path string) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, srv.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+viewerToken)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res, string(body)
	}
	for path, status := range map[string]int{
		"/healthz": http.StatusOK, "/readyz": http.StatusOK, "/docs": http.StatusOK, "/openapi.yaml": http.StatusOK, "/openapi.json": http.StatusOK, runPath: http.StatusOK,
		runPath + "/events": http.StatusOK, // ends immediately
		"/v1/runs?stak=x":   http.StatusBadRequest, "/v1/nowhere": http.StatusNotFound, "/webhook": http.StatusMethodNotAllowed,
	} {
		res, body := ask(http.MethodHead, path)
		if res.StatusCode != status || body != "" {
			t.Errorf("HEAD %s: %s %q, want %d", path, res.Status, body, status)
		}
		if path == runPath+"/events" {
			continue
		}
		if like, _ := ask(http.MethodGet, path); path != "/webhook" && like.Header.Get("Content-Type") != res.Header.Get("Content-Type") {
			t.Errorf("HEAD %s: content type %q, GET has %q", path, res.Header.Get("Content-Type"), like.Header.Get("Content-Type"))
		}
	}
}
