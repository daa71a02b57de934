// Package webtest serves Gantry's pages over an API that a test writes, so that a page
// can be tested without Temporal or Spacelift.
package webtest

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/openapi/conformance"
	"github.com/gantryhq/gantry/web"
)

// CSRF is the token that forms must send.
const CSRF = "the-token-of-the-session"

// Now is the time by the server's clock.
var Now = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// Site serves the pages over a made-up API. Its URL ends with a slash. The caller is carol,
// an approver in two groups, unless a test answers GET /v1/me.
type Site struct {
	URL   string
	Pages *web.Pages

	t       testing.TB
	mu      sync.Mutex
	answers map[string]http.HandlerFunc // by method and path
	calls   []Call
}

// Call is a request that a page sent to the API.
type Call struct {
	Method, Path string
	Query        url.Values
	Body         string
	Header       http.Header
}

// New returns a site. The options change what the pages are made of.
func New(t testing.TB, options ...func(*web.Config)) *Site {
	t.Helper()
	s := &Site{t: t, answers: map[string]http.HandlerFunc{}}
	s.Answer("GET /v1/me", api.Caller{
		Name: "carol", Groups: []string{"platform", "dba"}, How: "session", Credential: "sso", Grants: []api.Grant{{Role: "approver"}},
	})
	cfg := web.Config{
		API:  http.HandlerFunc(s.serve),
		CSRF: func(*http.Request) string { return CSRF },
		Now:  func() time.Time { return Now },
		Log:  slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	for _, o := range options {
		o(&cfg)
	}
	pages, err := web.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.Pages = pages
	srv := httptest.NewServer(http.HandlerFunc(s.page))
	t.Cleanup(srv.Close)
	s.URL = srv.URL + "/"
	return s
}

// page serves pages, and the API for what scripts of pages load.
func (s *Site) page(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Request-Id", "request-1")
	switch {
	case strings.HasPrefix(r.URL.Path, "/v1/"):
		s.serve(w, r)
	case !s.Pages.Serves(r):
		s.Pages.Problem(w, r, api.Problem{Status: http.StatusNotFound, Title: "Not found"})
	case r.Method == http.MethodPost && r.PostFormValue("csrf_token") != CSRF:
		s.t.Errorf("the form of %s sends the token %q", r.URL.Path, r.PostFormValue("csrf_token"))
		w.WriteHeader(http.StatusForbidden)
	default:
		s.Pages.ServeHTTP(w, r)
	}
}

// Answer makes the API answer a request, such as "GET /v1/runs", with a value.
func (s *Site) Answer(request string, value any) {
	s.Handle(request, func(w http.ResponseWriter, _ *http.Request) { Write(w, http.StatusOK, value) })
}

// Refuse makes the API refuse a request with a problem.
func (s *Site) Refuse(request string, status int, title, detail string) {
	s.Handle(request, func(w http.ResponseWriter, _ *http.Request) {
		Write(w, status, api.Problem{Type: "urn:gantry:problem:made-up", Title: title, Status: status, Detail: &detail})
	})
}

// Handle makes the API answer a request with a handler.
func (s *Site) Handle(request string, h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[request] = h
}

// Stream is a stream of events of the API that a test fills.
type Stream struct {
	mu    sync.Mutex
	open  map[chan string]bool
	count int
}

// Stream makes the API answer a request with a stream.
func (s *Site) Stream(request string) *Stream {
	st := &Stream{open: map[chan string]bool{}}
	s.Handle(request, st.serve)
	return st
}

func (st *Stream) serve(w http.ResponseWriter, r *http.Request) {
	events := make(chan string, 16)
	st.mu.Lock()
	st.open[events] = true
	st.count++
	st.mu.Unlock()
	w.Header().Set("Content-Type", "text/event-stream")
	_, _ = io.WriteString(w, "retry: 200\n\n")
	for {
		w.(http.Flusher).Flush()
		select {
		case <-r.Context().Done():
			return
		case e, ok := <-events:
			if !ok {
				return
			}
			_, _ = io.WriteString(w, e)
		}
	}
}

// Send sends an event to all that follow.
func (st *Stream) Send(event string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	for c := range st.open {
		c <- "event: " + event + "\nid: 1\ndata: {}\n\n"
	}
}

// Cut ends all connections.
func (st *Stream) Cut() {
	st.mu.Lock()
	defer st.mu.Unlock()
	for c := range st.open {
		close(c)
	}
	clear(st.open)
}

// Opened returns how often somebody began to follow.
func (st *Stream) Opened() int {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.count
}

// Write writes an answer of the API.
func Write(w http.ResponseWriter, status int, value any) {
	kind := "application/json"
	if status >= http.StatusBadRequest {
		kind = "application/problem+json"
	}
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value)
}

// Calls returns the requests to the API so far but those for the caller.
func (s *Site) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Call(nil), s.calls...)
}

// serve is the API: what a test answers must fit the contract.
func (s *Site) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	h := s.answers[r.Method+" "+r.URL.Path]
	if r.URL.Path != "/v1/me" {
		s.calls = append(s.calls, Call{r.Method, r.URL.Path, r.URL.Query(), string(body), r.Header.Clone()})
	}
	s.mu.Unlock()
	if h == nil {
		Write(w, http.StatusNotFound, api.Problem{Type: "urn:gantry:problem:not-found", Title: "Not found", Status: http.StatusNotFound, Detail: new("nothing answers " + r.Method + " " + r.URL.Path)})
		return
	}
	if strings.HasSuffix(r.URL.Path, "/events") { // a stream
		h(w, r)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	answer := httptest.NewRecorder()
	h(answer, r)
	if err := conformance.Check(r, conformance.Answer{Status: answer.Code, Header: answer.Header(), Body: answer.Body.Bytes()}); err != nil {
		s.t.Errorf("the answer to %s %s doesn't fit the contract: %.1000s", r.Method, r.URL.Path, err)
	}
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}

// Get returns a page.
func (s *Site) Get(path string, headers ...string) *Document {
	s.t.Helper()
	return s.do(http.MethodGet, path, "", headers...)
}

// Post sends a form to a page's address, with the token of the session.
func (s *Site) Post(path string, form url.Values, headers ...string) *Document {
	s.t.Helper()
	form.Set("csrf_token", CSRF)
	return s.do(http.MethodPost, path, form.Encode(), append([]string{"Content-Type", "application/x-www-form-urlencoded"}, headers...)...)
}

func (s *Site) do(method, path, body string, headers ...string) *Document {
	s.t.Helper()
	req, err := http.NewRequest(method, s.URL+strings.TrimPrefix(path, "/"), strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	content, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	root, err := html.Parse(bytes.NewReader(content))
	if err != nil {
		s.t.Fatal(err)
	}
	return &Document{Status: res.StatusCode, Header: res.Header, HTML: string(content), root: root}
}

// Document is a page.
type Document struct {
	Status int
	Header http.Header
	HTML   string
	root   *html.Node
}

// Text returns the text that people read, with single spaces.
func (d *Document) Text() string { return textOf(d.root) }

// All returns the elements with a tag that have all of some attributes, given as name and
// value. A class fits if it is one of the element's.
func (d *Document) All(tag string, attributes ...string) []Element {
	return Element{d.root}.All(tag, attributes...)
}

// Element is an element of a page.
type Element struct{ node *html.Node }

// All returns the elements in it; see Document.All.
func (e Element) All(tag string, attributes ...string) []Element {
	var found []Element
	for n := range e.node.Descendants() {
		e := Element{n}
		if n.Type == html.ElementNode && n.Data == tag && e.has(attributes) {
			found = append(found, e)
		}
	}
	return found
}

// Text returns its text, with single spaces.
func (e Element) Text() string { return textOf(e.node) }

// Attr returns an attribute; empty if it has none of the name.
func (e Element) Attr(name string) string {
	for _, a := range e.node.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func (e Element) has(attributes []string) bool {
	for i := 0; i < len(attributes); i += 2 {
		value := e.Attr(attributes[i])
		if attributes[i] == "class" {
			value = " " + value + " "
			if !strings.Contains(value, " "+attributes[i+1]+" ") {
				return false
			}
		} else if value != attributes[i+1] {
			return false
		}
	}
	return true
}

func textOf(root *html.Node) string {
	var text strings.Builder
	var walk func(*html.Node)
	walk = func(n *html.Node) {
		if n.Type == html.TextNode {
			text.WriteString(n.Data)
		}
		if n.Type == html.ElementNode && (n.Data == "script" || n.Data == "style") {
			return
		}
		for c := range n.ChildNodes() {
			walk(c)
		}
		if n.Type == html.ElementNode && n.Data != "span" && n.Data != "bdi" && n.Data != "strong" && n.Data != "time" && n.Data != "b" && n.Data != "s" && n.Data != "code" {
			text.WriteByte(' ')
		}
	}
	walk(root)
	return strings.Join(strings.Fields(text.String()), " ")
}
