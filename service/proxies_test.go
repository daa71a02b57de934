package service_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// A trusted proxy names the source of a request in a header, or in front of the
// connection.
func TestTrustedProxiesNameTheSource(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.config.TrustedProxies = []string{"127.0.0.1"}
	g := r.start()
	g.send(http.MethodPost, "/webhook", "{}", "X-Forwarded-For", "198.51.100.7")
	if a := g.get("/v1/deliveries", "Authorization", "Bearer "+viewerToken); !strings.Contains(a.Body, `"source":"198.51.100.7"`) {
		t.Errorf("the deliveries are %s", a.Body)
	}
}

func TestProxyProtocolNamesTheSource(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.config.TrustedProxies, r.config.ProxyProtocol = []string{"127.0.0.0/8"}, true
	g := r.start()
	if answer := g.raw("PROXY TCP4 198.51.100.7 127.0.0.1 4711 8080\r\nPOST /webhook HTTP/1.1\r\nHost: gantry\r\nX-Forwarded-For: 192.0.2.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(answer, "HTTP/1.1 401") {
		t.Fatalf("with a PROXY header it answers %q", answer)
	}
	if answer := g.raw("GET /healthz HTTP/1.1\r\nHost: gantry\r\nConnection: close\r\n\r\n"); strings.Contains(answer, "200") {
		t.Errorf("without one it answers %q", answer)
	}
	answer := g.raw("PROXY UNKNOWN\r\nGET /v1/deliveries HTTP/1.1\r\nHost: gantry\r\nAuthorization: Bearer " + viewerToken + "\r\nConnection: close\r\n\r\n")
	if !strings.Contains(answer, `"source":"198.51.100.7"`) {
		t.Errorf("the deliveries are %s", answer)
	}
}

// raw sends bytes and returns the answer until the connection ends.
func (g *gantry) raw(bytes string) string {
	g.Helper()
	conn, err := new(net.Dialer).DialContext(g.Context(), "tcp", strings.TrimPrefix(g.url, "http://"))
	g.must(err)
	defer func() { _ = conn.Close() }()
	_, err = io.WriteString(conn, bytes)
	g.must(err)
	answer, _ := io.ReadAll(conn) // a reset is no answer
	return string(answer)
}
