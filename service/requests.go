package service

import (
	"crypto/tls"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of the memory that requests take before a handler decides about them. A small
// header never waits, nor does a body: large bodies have a budget of their own.
const (
	largeHeader     = 4 << 10 // beyond it, a header waits for one of maxLargeHeaders
	maxLargeHeaders = 64
	maxFields       = 100 // of a header

	maxHTTP2      = 32       // connections; beyond it, clients are offered HTTP/1.1
	maxStreams    = 16       // of a connection; each open page takes one
	receiveBuffer = 64 << 10 // of a connection
)

// With manyConnections open, the garbage collector leaves less garbage, until fewer
// than fewConnections are: it would double what they take.
const (
	manyConnections = 256
	fewConnections  = 128
	gcPercentOfMany = 20
)

// requestListener bounds the requests of the connections that it accepts.
type requestListener struct {
	net.Listener
	headers chan struct{} // has an element for each large header that is arriving
	http2   atomic.Int64  // open connections

	mu        sync.Mutex
	open      int
	many      bool
	gcPercent int // of fewer connections
}

// limitRequests has a server bound the requests of the connections of a listener, and
// returns the listener for it.
func limitRequests(l net.Listener, srv *http.Server) net.Listener {
	srv.ConnState = func(conn net.Conn, state http.ConnState) {
		if t, ok := conn.(*tls.Conn); ok {
			conn = t.NetConn()
		}
		conn.(*requestConn).enter(state)
	}
	srv.Handler = limitFields(srv.Handler)
	if srv.TLSConfig != nil {
		srv.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: maxStreams, MaxReceiveBufferPerConnection: receiveBuffer, MaxReceiveBufferPerStream: receiveBuffer}
		withoutHTTP2 := srv.TLSConfig.Clone()
		withoutHTTP2.NextProtos = []string{"http/1.1"}
		srv.TLSConfig.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			if hello.Conn.(*requestConn).mayUseHTTP2(hello) {
				return nil, nil //nolint:nilnil // the server's own
			}
			return withoutHTTP2, nil
		}
	}
	return &requestListener{Listener: l, headers: make(chan struct{}, maxLargeHeaders)}
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

// Accept returns the next connection.
func (l *requestListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.count(1)
	return &requestConn{Conn: conn, of: l, closed: make(chan struct{})}, nil
}

// count adds n to the open connections.
func (l *requestListener) count(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open += n
	switch {
	case !l.many && l.open >= manyConnections:
		l.many, l.gcPercent = true, debug.SetGCPercent(gcPercentOfMany)
		if l.gcPercent < gcPercentOfMany { // an operator's choice, such as GOGC=off
			debug.SetGCPercent(l.gcPercent)
		}
	case l.many && l.open < fewConnections:
		l.many = false
		debug.SetGCPercent(l.gcPercent)
	}
}

// requestConn is a connection that waits with the rest of a large header.
type requestConn struct {
	net.Conn
	of     *requestListener
	header int  // bytes of the header that is arriving
	known  bool // the header has arrived, or it is HTTP/2, which has bounds of its own
	large  bool // it has one of the places for large headers
	http2  bool
	closed chan struct{}
	once   sync.Once
}

// Read waits for a place before it reads the rest of a large header.
func (c *requestConn) Read(p []byte) (int, error) {
	if c.known {
		return c.Conn.Read(p)
	}
	if c.header >= largeHeader && !c.large {
		timeout := time.NewTimer(readHeaderTimeout)
		defer timeout.Stop()
		select {
		case c.of.headers <- struct{}{}:
			c.large = true
		case <-timeout.C:
			return 0, os.ErrDeadlineExceeded
		case <-c.closed:
			return 0, net.ErrClosed
		}
	}
	n, err := c.Conn.Read(p)
	c.header += n
	return n, err
}

// enter follows the requests of the connection. It is active once the header of a
// request has arrived, and idle once that is answered.
func (c *requestConn) enter(state http.ConnState) {
	if c.http2 {
		return
	}
	if c.large && (state == http.StateActive || state == http.StateClosed) {
		c.large = false
		<-c.of.headers
	}
	switch state {
	case http.StateActive:
		c.known = true
	case http.StateIdle:
		c.header, c.known = 0, false
	}
}

// mayUseHTTP2 reports whether the connection, whose TLS begins, may use HTTP/2.
func (c *requestConn) mayUseHTTP2(hello *tls.ClientHelloInfo) bool {
	c.header = 0 // that was the handshake
	if !slices.Contains(hello.SupportedProtos, "h2") {
		return true
	}
	if c.of.http2.Add(1) > maxHTTP2 {
		c.of.http2.Add(-1)
		return false
	}
	c.http2, c.known = true, true
	return true
}

// Close closes the connection.
func (c *requestConn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.of.count(-1)
		if c.http2 {
			c.of.http2.Add(-1)
		}
	})
	return c.Conn.Close()
}
