package service

import (
	"crypto/tls"
	"net"
	"net/http"
	"os"
	"slices"
	"time"
)

// Bounds of the memory that requests take before a handler decides about them. A small
// header never waits, nor does a body: large bodies have a budget of their own.
const (
	largeHeader     = 4 << 10 // beyond it, a header waits for one of maxLargeHeaders
	maxLargeHeaders = 32
	maxFields       = 100 // of a header

	maxHTTP2      = 16       // connections without a stream; beyond it, clients are offered HTTP/1.1
	maxStreams    = 16       // of a connection; each open page takes one
	receiveBuffer = 64 << 10 // of a connection
)

// limitRequests has a server bound the requests of its connections, which limitConnections
// bounds.
func limitRequests(srv *http.Server) {
	follow(srv)
	srv.Handler = followHTTP2(limitFields(srv.Handler))
	if srv.TLSConfig == nil {
		return
	}
	srv.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: maxStreams, MaxReceiveBufferPerConnection: receiveBuffer, MaxReceiveBufferPerStream: receiveBuffer}
	withoutHTTP2 := srv.TLSConfig.Clone()
	withoutHTTP2.NextProtos = []string{"http/1.1"}
	srv.TLSConfig.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if connectionOf(hello.Conn).mayUseHTTP2(hello) {
			return nil, nil //nolint:nilnil // the server's own
		}
		return withoutHTTP2, nil
	}
}

// limitFields refuses headers of many fields: each takes far more memory than its bytes.
func limitFields(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.Header) > maxFields {
			w.Header().Set("Connection", "close")
			http.Error(w, "send at most 100 header fields", http.StatusRequestHeaderFieldsTooLarge)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// header is the header of a request that arrives on a connection.
type header struct {
	size  int  // bytes that have arrived
	known bool // it has arrived, or it is one of HTTP/2, which has bounds of its own
	large bool // it has one of the places for large headers
	http2 bool
}

// Read waits for a place before it reads the rest of a large header.
func (c *connection) Read(p []byte) (int, error) {
	h := &c.header
	if h.known {
		return c.Conn.Read(p)
	}
	if h.size >= largeHeader && !h.large {
		timeout := time.NewTimer(readHeaderTimeout)
		defer timeout.Stop()
		select {
		case c.of.headers <- struct{}{}:
			h.large = true
		case <-timeout.C:
			return 0, os.ErrDeadlineExceeded
		case <-c.closed:
			return 0, net.ErrClosed
		}
	}
	n, err := c.Conn.Read(p)
	h.size += n
	return n, err
}

// headerIn follows the headers of the connection's requests.
func (c *connection) headerIn(state http.ConnState) {
	if c.header.http2 {
		return
	}
	if c.header.large && (state == http.StateActive || state == http.StateClosed) {
		c.header.large = false
		<-c.of.headers
	}
	switch state {
	case http.StateActive:
		c.header.known = true
	case http.StateIdle:
		c.header = header{}
	}
}

// mayUseHTTP2 reports whether the connection, whose TLS begins, may use HTTP/2.
func (c *connection) mayUseHTTP2(hello *tls.ClientHelloInfo) bool {
	c.header.size = 0 // that was the handshake
	if !slices.Contains(hello.SupportedProtos, "h2") {
		return true
	}
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	if c.of.http2 >= maxHTTP2 || !c.open {
		return false
	}
	c.of.http2++
	c.http2, c.header.http2, c.header.known = true, true, true
	return true
}
