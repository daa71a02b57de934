package conformance

import (
	"bytes"
	"io"
	"mime"
	"net/http"
	"testing"
)

// Transport returns a transport that checks every answer, and reports those that
// do not fit the contract as errors of the test.
func Transport(t testing.TB, next http.RoundTripper) http.RoundTripper { return &transport{t, next} }

type transport struct {
	t    testing.TB
	next http.RoundTripper
}

func (c *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := c.next.RoundTrip(req)
	if err != nil {
		return res, err
	}
	if kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")); kind == eventStream {
		res.Body = &streamBody{ReadCloser: res.Body, check: c, req: req, events: eventsOf(req)}
		return res, nil
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	res.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), &failing{err}))
	if err == nil {
		c.report(req, res.StatusCode, Check(req, Answer{res.StatusCode, res.Header, body}))
	}
	return res, nil
}

func (c *transport) report(req *http.Request, status int, err error) {
	if err != nil {
		c.t.Errorf("%s %s answered %d, not as documented: %.1000s", req.Method, req.URL.Path, status, err)
	}
}

// failing ends with the error that ended the body, or as bodies do.
type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	return 0, io.EOF
}

// streamBody checks the events of a stream as they are read.
type streamBody struct {
	io.ReadCloser
	check  *transport
	req    *http.Request
	events *events
}

func (b *streamBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.check.report(b.req, http.StatusOK, b.events.read(p[:n]))
	return n, err
}
