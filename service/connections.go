package service

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	"github.com/pires/go-proxyproto"

	"github.com/gantryhq/gantry/server"
)

// Connections to the public listener are bounded: each takes memory before anybody knows
// who is there.
const (
	// maxConnections have a place at a time. Those with a stream need none: the server bounds
	// streams. One more connection takes the place of the one that has been idle longest, or
	// else of the one whose request has taken longest.
	maxConnections = 320

	// minRequest is the time that a request has until others take its connection's place.
	// It arrives from another continent in it. It bounds what handshakes cost, too.
	minRequest = time.Second

	// A source, an IPv4 address or a /64 of IPv6, has no more than its share; its other
	// connections are closed.
	maxConnectionsPerSource = maxConnections * 3 / 4
)

// With manyConnections, the garbage collector leaves less garbage, until there are fewer than
// fewConnections: it would double what they take.
const (
	manyConnections = maxConnections / 2
	fewConnections  = maxConnections / 4
	gcPercentOfMany = 20
)

// connections is a listener of a bounded number of connections.
type connections struct {
	net.Listener
	proxies []netip.Prefix // each is many sources
	headers chan struct{}  // has an element for each large header that is arriving
	left    chan struct{}  // a place is free
	stopped chan struct{}
	stop    func()

	mu        sync.Mutex
	open      map[*connection]struct{} // that the server has
	taken     int                      // places
	ending    int                      // connections that were ended, and that the server still has
	lastEnd   time.Time                // when the last one was
	bySource  map[netip.Prefix]int
	http2     int // places
	many      bool
	gcPercent int // of fewer connections
}

func limitConnections(l net.Listener, proxies []netip.Prefix) *connections {
	stopped := make(chan struct{})
	return &connections{
		Listener: l, proxies: proxies, headers: make(chan struct{}, maxLargeHeaders), left: make(chan struct{}, 1),
		stopped: stopped, stop: sync.OnceFunc(func() { close(stopped) }),
		open: map[*connection]struct{}{}, bySource: map[netip.Prefix]int{},
	}
}

// Close closes the listener, not its connections.
func (l *connections) Close() error {
	l.stop()
	return l.Listener.Close()
}

// Accept returns the next connection of a source that has not used up its share, once
// there is a place for it.
func (l *connections) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		closed := make(chan struct{})
		c := &connection{Conn: conn, of: l, closed: closed, close: sync.OnceFunc(func() { close(closed) })}
		l.endIdle()
		if !l.admit(c) || !l.makePlace() {
			_ = c.Close()
			continue
		}
		c.change(func() { c.open, c.since = true, time.Now() })
		return c, nil
	}
}

// admit counts a connection, unless its source has used up its share.
func (l *connections) admit(c *connection) bool {
	source, limited := l.sourceOf(c)
	if !limited {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bySource[source] >= maxConnectionsPerSource {
		return false
	}
	c.source = source
	l.bySource[source]++
	return true
}

// makePlace waits until there is a place for another connection, and reports false if the
// listener is closed.
func (l *connections) makePlace() bool {
	for {
		free, again := l.findPlace()
		if free {
			return true
		}
		timer := time.NewTimer(again)
		select {
		case <-l.left:
		case <-timer.C:
		case <-l.stopped:
			timer.Stop()
			return false
		}
		timer.Stop()
	}
}

// findPlace reports whether a place is free. If none is, it ends a connection, or returns
// when to do that. Its place is free once the server has given back the connection's memory.
func (l *connections) findPlace() (free bool, again time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.taken < maxConnections {
		return true, 0
	}
	var first *connection // to end
	for c := range l.open {
		if c.mayEnd() && (first == nil || c.before(first)) {
			first = c
		}
	}
	if first == nil || l.ending > 0 && time.Since(l.lastEnd) < minRequest {
		return false, minRequest
	}
	if due := minRequest - time.Since(first.since); due > 0 && !first.idle {
		return false, due
	}
	l.end(first)
	return false, minRequest
}

// endIdle ends connections that have been idle for long.
func (l *connections) endIdle() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.open {
		if c.mayEnd() && c.idle && time.Since(c.since) >= idleTimeout {
			l.end(c)
		}
	}
}

// end ends a connection. Called with mu held, as all below.
func (l *connections) end(c *connection) {
	c.ended = true
	l.ending, l.lastEnd = l.ending+1, time.Now()
	c.close()
	_ = c.Conn.Close()
}

// count counts a connection, which took a place or not before.
func (l *connections) count(c *connection, before bool) {
	n := 0
	switch after := c.takesPlace(); {
	case after && !before:
		n = 1
	case before && !after:
		n = -1
		select {
		case l.left <- struct{}{}:
		default:
		}
	}
	if l.taken += n; c.http2 {
		l.http2 += n
	}
	switch {
	case !l.many && l.taken >= manyConnections:
		l.many, l.gcPercent = true, debug.SetGCPercent(gcPercentOfMany)
		if l.gcPercent < gcPercentOfMany { // an operator's choice, such as GOGC=off
			debug.SetGCPercent(l.gcPercent)
		}
	case l.many && l.taken < fewConnections:
		l.many = false
		debug.SetGCPercent(l.gcPercent)
	}
}

// sourceOf returns a connection's source. Trusted proxies and Unix sockets aren't
// limited.
func (l *connections) sourceOf(conn net.Conn) (source netip.Prefix, limited bool) {
	tcp, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return source, false
	}
	a := tcp.AddrPort().Addr().Unmap()
	for _, p := range l.proxies {
		if p.Contains(a) {
			return source, false
		}
	}
	return server.Neighborhood(a), true
}

// connection is a connection to the public listener.
type connection struct {
	net.Conn
	of     *connections
	header header
	closed chan struct{}
	close  func()

	// Guarded by of.mu.
	source   netip.Prefix // zero if it isn't limited
	open     bool         // the server has it
	ended    bool         // it has to end
	idle     bool         // its last request was answered
	since    time.Time    // when it became busy or idle
	streams  int
	http2    bool // one of of.http2
	handlers int  // of requests with HTTP/2, which outlive the connection
}

// takesPlace reports whether others lack the connection's place. Called with mu held.
func (c *connection) takesPlace() bool { return c.streams == 0 && (c.open || c.handlers > 0) }

// change changes what the listener knows of the connection.
func (c *connection) change(do func()) {
	l := c.of
	l.mu.Lock()
	defer l.mu.Unlock()
	before := c.takesPlace()
	do()
	if c.open {
		l.open[c] = struct{}{}
	} else {
		delete(l.open, c)
	}
	l.count(c, before)
	if c.ended && !c.open && c.handlers == 0 {
		c.ended = false
		l.ending--
	}
}

// Close closes the connection.
func (c *connection) Close() error {
	c.change(func() {
		c.open = false
		if c.source.IsValid() {
			if c.of.bySource[c.source]--; c.of.bySource[c.source] == 0 {
				delete(c.of.bySource, c.source)
			}
			c.source = netip.Prefix{}
		}
	})
	c.close()
	return c.Conn.Close()
}

// Hold has nobody end the connection, because of a stream, until release is called.
func (c *connection) Hold() (release func()) {
	c.change(func() { c.streams++ })
	return sync.OnceFunc(func() { c.change(func() { c.streams-- }) })
}

// mayEnd reports whether others may end the connection. Called with mu held.
func (c *connection) mayEnd() bool { return !c.ended && c.streams == 0 }

// before reports whether the connection ends before another one does: idle ones first, then
// the oldest. Called with mu held.
func (c *connection) before(other *connection) bool {
	if c.idle != other.idle {
		return c.idle
	}
	return c.since.Before(other.since)
}

// enter follows the requests of the connection. It is active once the header of a request
// has arrived, and idle once that is answered.
func (c *connection) enter(state http.ConnState) {
	c.headerIn(state)
	if state != http.StateActive && state != http.StateIdle {
		return
	}
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	c.idle, c.since = state == http.StateIdle, time.Now()
}

// connectionOf returns the connection that others wrap.
func connectionOf(conn net.Conn) *connection {
	for {
		switch c := conn.(type) {
		case *tls.Conn:
			conn = c.NetConn()
		case *proxyproto.Conn:
			conn = c.Raw()
		default:
			return conn.(*connection)
		}
	}
}

// follow has a server report the requests of its connections. It leaves idle ones to
// endIdle: its HTTP/2 keeps a connection that ends before its requests in memory for as long
// as one may be idle (closeStream in net/http starts the timer that serve has stopped).
func follow(srv *http.Server) {
	srv.IdleTimeout = -1
	srv.ConnState = func(conn net.Conn, state http.ConnState) { connectionOf(conn).enter(state) }
	srv.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		return server.WithConnection(ctx, connectionOf(conn))
	}
}

// followHTTP2 has the connections of requests with HTTP/2 count their handlers.
func followHTTP2(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 2 {
			c := server.ConnectionOf(r.Context()).(*connection)
			c.change(func() { c.handlers++ })
			defer c.change(func() { c.handlers-- })
		}
		next.ServeHTTP(w, r)
	})
}
