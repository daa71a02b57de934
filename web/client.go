package web

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/gen/client"
)

// Refusal is an answer of the API that isn't a success.
type Refusal struct{ api.Problem }

func (r *Refusal) Error() string { return r.Title + ": " + r.Why() }

// Why returns the reason, and what to do.
func (r *Refusal) Why() string {
	if r.Detail == nil {
		return r.Title
	}
	return *r.Detail
}

// client returns the API as the caller of a request sees it. A refusal is an error of
// type *Refusal; without one, the answer has its body.
func (p *Pages) client(w http.ResponseWriter, r *http.Request) *client.ClientWithResponses {
	c, _ := client.NewClientWithResponses("http://gantry", client.WithHTTPClient(&inside{p.API, w.Header().Get(requestID), r})) // it fails only if an option does
	return c
}

const requestID = "X-Request-Id"

// inside sends requests to the API in this process, on behalf of a page's request.
type inside struct {
	api  http.Handler
	id   string
	page *http.Request
}

// Do implements client.HttpRequestDoer.
func (i *inside) Do(req *http.Request) (*http.Response, error) {
	req.RemoteAddr, req.RequestURI = i.page.RemoteAddr, req.URL.RequestURI()
	// The audit log names the source. Other replicas are asked as the caller, too.
	for _, name := range []string{"X-Forwarded-For", "Forwarded", "User-Agent", "Authorization", "Cookie"} {
		if values := i.page.Header.Values(name); values != nil {
			req.Header[name] = values
		}
	}
	if i.id != "" {
		req.Header.Set(requestID, i.id)
	}
	if req.Body == nil {
		req.Body = http.NoBody
	}
	w := &recorder{header: http.Header{}}
	i.api.ServeHTTP(w, req)
	status := max(w.status, http.StatusOK)
	if status < http.StatusBadRequest {
		return &http.Response{StatusCode: status, Status: http.StatusText(status), Header: w.header, Body: io.NopCloser(&w.body), Request: req}, nil
	}
	refusal := &Refusal{}
	if json.Unmarshal(w.body.Bytes(), &refusal.Problem) != nil || refusal.Title == "" {
		refusal.Problem = api.Problem{Title: http.StatusText(status)}
	}
	refusal.Status = status
	return nil, refusal
}

// recorder keeps an answer.
type recorder struct {
	header http.Header
	status int // 0 for 200
	body   bytes.Buffer
}

func (w *recorder) Header() http.Header { return w.header }

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *recorder) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(b)
}
