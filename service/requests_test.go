package service_test

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// While 16 connections use HTTP/2, a client that can is offered HTTP/1.1.
func TestConnectionsWithHTTP2AreBounded(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.withTLS(1)
	g := r.start()
	dial := func() (*tls.Conn, string) {
		config := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}}
		conn, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", strings.TrimPrefix(g.url, "http://"))
		r.must(err)
		t.Cleanup(func() { _ = conn.Close() })
		c := conn.(*tls.Conn)
		return c, c.ConnectionState().NegotiatedProtocol
	}
	var first *tls.Conn
	for i := range 16 {
		conn, protocol := dial()
		if protocol != "h2" {
			t.Fatalf("connection %d speaks %s", i, protocol)
		}
		first = conn
	}
	if _, protocol := dial(); protocol != "http/1.1" {
		t.Errorf("one more speaks %s", protocol)
	}
	_ = first.Close()
	r.eventually(func() bool {
		conn, protocol := dial()
		_ = conn.Close()
		return protocol == "h2"
	}, func() string { return "HTTP/2 has no place again" })
}

// A header of too many fields is refused, whatever is asked for.
func TestHeaderFieldsAreBounded(t *testing.T) {
	t.Parallel()
	g := newRig(t).start()
	for fields, want := range map[int]int{90: http.StatusOK, 101: http.StatusRequestHeaderFieldsTooLarge} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.url+"/healthz", nil)
		g.must(err)
		for i := range fields {
			req.Header.Set(fmt.Sprintf("X-%d", i), "x")
		}
		res, err := http.DefaultClient.Do(req)
		g.must(err)
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%d fields: %s, want %d", fields, res.Status, want)
		}
	}
}
