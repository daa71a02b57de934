package server_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/inbox/archive"
	"github.com/gantryhq/gantry/server"
	"github.com/gantryhq/gantry/spacelift"
)

// sized returns a notification of this many bytes.
func sized(t *testing.T, version, size int) string {
	t.Helper()
	build := func(note string) string {
		return edited(t, func(b map[string]any) { b["stateVersion"], b["note"] = version, note })
	}
	return build(strings.Repeat("x", size-len(build(""))))
}

// TestBodiesOfEverySizeAreRead: with a length and without.
func TestBodiesOfEverySizeAreRead(t *testing.T) {
	r := newRig(t)
	version := 100
	for _, size := range []int{1200, 4 << 10, 4<<10 + 1, 16 << 10, 16<<10 + 1, 64 << 10, 64<<10 + 1, 1<<20 - 1, 1 << 20} {
		for _, announced := range []bool{true, false} {
			version++
			body := sized(t, version, size)
			req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/webhook", strings.NewReader(body))
			if !announced {
				req.ContentLength = -1
			}
			req.Header.Set(spacelift.SignatureHeader, spacelift.Sign([]byte(acmeSecret), []byte(body)))
			w := newRecorder()
			r.handler.ServeHTTP(w, req)
			if w.Code != http.StatusAccepted {
				t.Errorf("%d bytes, announced %t: %d %s", size, announced, w.Code, w.Body)
				continue
			}
			kept := decode[api.DeliveryDetail](t, r.get("/v1/deliveries/"+decode[api.Receipt](t, w).Delivery, viewerToken))
			if kept.Body == nil || *kept.Body != body || kept.Delivery.Size != size {
				t.Errorf("%d bytes, announced %t: not kept as they came", size, announced)
			}
		}
	}
}

// TestBodiesWithoutALengthHoldTheirSize: while such bodies are stored, others have
// room.
func TestBodiesWithoutALengthHoldTheirSize(t *testing.T) {
	r := newRig(t)
	held := &holdingInbox{Inbox: r.inbox, left: make(chan struct{}), stored: make(chan struct{})}
	handler := r.serve(held)
	send := func(version int) int {
		body := sized(t, version, 20<<10)
		req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/webhook", strings.NewReader(body))
		req.ContentLength = -1
		req.Header.Set(spacelift.SignatureHeader, spacelift.Sign([]byte(acmeSecret), []byte(body)))
		w := newRecorder()
		handler.ServeHTTP(w, req)
		return w.Code
	}
	var all sync.WaitGroup
	for i := range 20 { // more than there would be room for, if each had a megabyte
		all.Go(func() {
			if code := send(200 + i); code != http.StatusAccepted {
				t.Errorf("answered %d", code)
			}
		})
	}
	for range 20 {
		<-held.stored
	}
	close(held.left)
	all.Wait()
}

// holdingInbox keeps events waiting.
type holdingInbox struct {
	server.Inbox
	left, stored chan struct{}
}

func (h *holdingInbox) Accept(ctx context.Context, d archive.Delivery, body []byte) (archive.Delivery, error) {
	h.stored <- struct{}{}
	<-h.left
	return h.Inbox.Accept(ctx, d, body)
}

// TestABodyThatBreaksOff is neither stored nor answered as too large.
func TestABodyThatBreaksOff(t *testing.T) {
	for _, size := range []int{100, 5000, 20_000, 100_000} {
		r := newRig(t)
		req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/webhook", strings.NewReader(strings.Repeat("x", size-1)))
		req.ContentLength = int64(size)
		req.Header.Set(spacelift.SignatureHeader, spacelift.Sign([]byte(acmeSecret), nil))
		w := newRecorder()
		r.handler.ServeHTTP(w, req)
		wantProblem(t, w, http.StatusBadRequest, "bad-request")
	}
}

// TestLargeBodiesOfABadSourceAreNotRead: a source that has spent its refusals is
// not read beyond 64 KiB, with any signature. Its smaller events still come through.
func TestLargeBodiesOfABadSourceAreNotRead(t *testing.T) {
	r := newRig(t, func(c *server.Config) { c.Refusals = server.RefusalLimit{PerSecond: 0.001, Burst: 2} })
	large, small := sized(t, 6, 65<<10), sized(t, 7, 63<<10)
	for range 3 {
		r.deliver("guess", "{}")
	}
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/webhook", nil)
	read := &countingReader{in: strings.NewReader(large)}
	req.Body, req.ContentLength = io.NopCloser(read), int64(len(large))
	req.Header.Set(spacelift.SignatureHeader, spacelift.Sign([]byte(acmeSecret), []byte(large)))
	w := newRecorder()
	r.handler.ServeHTTP(w, req)
	if wantProblem(t, w, http.StatusTooManyRequests, "too-many-failures"); read.n > 64<<10 || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d bytes of it were read; Retry-After %q", read.n, w.Header().Get("Retry-After"))
	}
	if got := r.receipt(small); got.Outcome != api.OutcomeAccepted {
		t.Errorf("63 KiB got %s", show(got))
	}
}

type countingReader struct {
	in io.Reader
	n  int
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	c.n += n
	return n, err
}

// TestStrangersBehindTheSameProxy: what they send doesn't keep a wrong secret out
// of the delivery log, nor make it known for accounts that they don't name.
func TestStrangersBehindTheSameProxy(t *testing.T) {
	r := newRig(t, func(c *server.Config) { c.Refusals = server.RefusalLimit{PerSecond: 0.001, Burst: 2} })
	for range 10 {
		r.deliver("guess", "{}")
	}
	wantProblem(t, r.deliver("guess", example(t, "run_tracked_queued")), http.StatusUnauthorized, "signature-mismatch")
	logged := r.deliveries("?outcome=refused&account=acme")
	if len(logged) != 1 || *logged[0].Reason != "signature-mismatch" {
		t.Errorf("the log shows %+v", logged)
	}
}

// TestAProxyThatHidesItsClientsIsReported: once, and not because a stranger sends
// a header.
func TestAProxyThatHidesItsClientsIsReported(t *testing.T) {
	r := newRig(t)
	send := func(secret string) {
		body := example(t, "run_tracked_queued")
		r.send(http.MethodPost, "/webhook", body, spacelift.SignatureHeader, spacelift.Sign([]byte(secret), []byte(body)), "X-Forwarded-For", "198.51.100.7")
	}
	const message = "notifications arrive through a proxy that trustedProxies doesn't list: all of its clients count as one source"
	if send("guess"); len(r.log.entries(t, message)) != 0 {
		t.Error("a stranger had it reported")
	}
	send(acmeSecret)
	send(acmeSecret)
	if lines := r.log.entries(t, message); len(lines) != 1 || lines[0]["proxy"] != "192.0.2.1" {
		t.Errorf("the log says %v", lines)
	}
	found := map[string][]api.Finding{}
	for _, a := range decode[api.AccountList](t, r.get("/v1/accounts", viewerToken)).Accounts {
		found[a.Name] = a.Findings
	}
	if f := found["acme"]; len(f) != 1 || f[0].Kind != "untrusted-proxy" || !strings.Contains(f[0].Fix, "add 192.0.2.1") || len(found["globex"]) != 0 {
		t.Errorf("found %s", show(found))
	}
	if !strings.Contains(r.metrics(), `gantry_guardian_findings{account="acme",kind="untrusted-proxy"} 1`) {
		t.Error("the finding is not in the metrics")
	}
}

// TestSourcesBehindTrustedProxies: each client of a trusted proxy has a bucket of
// its own, and is the source in the delivery log.
func TestSourcesBehindTrustedProxies(t *testing.T) {
	r := newRig(t, func(c *server.Config) {
		c.Refusals = server.RefusalLimit{PerSecond: 0.001, Burst: 1}
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} // httptest's address is of it
	})
	send := func(from string) *httptest.ResponseRecorder {
		return r.send(http.MethodPost, "/webhook", "{}", spacelift.SignatureHeader, spacelift.Sign([]byte("guess"), []byte("{}")), "X-Forwarded-For", from)
	}
	wantProblem(t, send("198.51.100.7"), http.StatusUnauthorized, "signature-mismatch")
	wantProblem(t, send("198.51.100.7"), http.StatusTooManyRequests, "too-many-failures")
	wantProblem(t, send("198.51.100.8"), http.StatusUnauthorized, "signature-mismatch")
	wantProblem(t, send("2001:db8::1"), http.StatusUnauthorized, "signature-mismatch")
	wantProblem(t, send("2001:db8::2"), http.StatusTooManyRequests, "too-many-failures") // of the same /64
	wantProblem(t, send("2001:db8:0:1::1"), http.StatusUnauthorized, "signature-mismatch")
	if logged := r.deliveries("?outcome=refused"); len(logged) != 4 || logged[3].Source != "198.51.100.7" {
		t.Errorf("the log shows %+v", logged)
	}
}

// TestMemoryIsBounded: 400 connections that send a megabyte but a byte cost a
// bounded share of memory, and small signed events still come through.
func TestMemoryIsBounded(t *testing.T) {
	r := newRig(t)
	var before, during runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	leave := r.stall(400)
	defer leave()
	for i := range 20 {
		body := sized(t, 200+i, 2000)
		if got := r.receipt(body); got.Outcome != api.OutcomeAccepted {
			t.Errorf("a small event got %s", show(got))
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&during)
	if grown := int64(during.HeapAlloc) - int64(before.HeapAlloc); grown > 30<<20 {
		t.Errorf("400 connections that stall use %d MB", grown>>20)
	}
}

// stall sends megabytes that lack their last byte, until leave is called. It
// returns once the server waits for all of them, or for room for them.
func (r *rig) stall(senders int) (leave func()) {
	megabyte := bytes.Repeat([]byte("x"), 1<<20-1)
	left := make(chan struct{})
	var all, begun sync.WaitGroup
	for range senders {
		begun.Add(1)
		all.Go(func() {
			body := &stalling{in: bytes.NewReader(megabyte), left: left, begun: begun.Done}
			req := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "/webhook", body) //nolint:usetesting // it outlives the test's context
			req.ContentLength = 1 << 20
			req.Header.Set(spacelift.SignatureHeader, spacelift.Sign([]byte(acmeSecret), nil))
			r.handler.ServeHTTP(newRecorder(), req)
		})
	}
	begun.Wait()
	return func() {
		close(left)
		all.Wait()
	}
}

// stalling is a body that never ends.
type stalling struct {
	in    io.Reader
	left  chan struct{}
	begun func()
	once  sync.Once
}

func (s *stalling) Read(p []byte) (int, error) {
	s.once.Do(s.begun)
	n, err := s.in.Read(p)
	if n > 0 {
		return n, nil
	}
	<-s.left
	return 0, err
}
