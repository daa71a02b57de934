package service

import (
	"net"
	"net/netip"
	"sync"

	"golang.org/x/net/netutil"

	"github.com/gantryhq/gantry/server"
)

// Connections that are served at a time; more wait until others end. One source,
// an IPv4 address or a /64 of IPv6, has no more than its share: the others are
// closed, so that it can't keep everybody else out.
const (
	maxConnections          = 1024
	maxConnectionsPerSource = maxConnections * 3 / 4
)

// limitConnections returns a listener of a bounded number of connections. Those of
// trusted proxies count as many sources.
func limitConnections(l net.Listener, proxies []netip.Prefix) net.Listener {
	return netutil.LimitListener(&sharedListener{Listener: l, proxies: proxies, open: map[netip.Prefix]int{}}, maxConnections)
}

// sharedListener gives each source its share of the connections.
type sharedListener struct {
	net.Listener
	proxies []netip.Prefix

	mu   sync.Mutex
	open map[netip.Prefix]int
}

// Accept returns the next connection of a source that has not used up its share.
func (l *sharedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		source, limited := l.sourceOf(conn)
		if !limited {
			return conn, nil
		}
		if l.add(source, 1) <= maxConnectionsPerSource {
			return &sharedConn{Conn: conn, left: sync.OnceFunc(func() { l.add(source, -1) })}, nil
		}
		l.add(source, -1)
		_ = conn.Close()
	}
}

// sourceOf returns a connection's source. Trusted proxies and Unix sockets aren't
// limited.
func (l *sharedListener) sourceOf(conn net.Conn) (source netip.Prefix, limited bool) {
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

func (l *sharedListener) add(source netip.Prefix, n int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.open[source] + n
	if l.open[source] = now; now == 0 {
		delete(l.open, source)
	}
	return now
}

type sharedConn struct {
	net.Conn
	left func()
}

// Close closes the connection and returns its place.
func (c *sharedConn) Close() error {
	c.left()
	return c.Conn.Close()
}
