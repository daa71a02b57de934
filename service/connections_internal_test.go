package service

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"
)

// One source can't use up all connections, and gets places back as its connections
// end. A trusted proxy isn't one source.
func TestOneSourceHasAShareOfTheConnections(t *testing.T) {
	l, dial := limited(t, nil)
	var served []net.Conn
	for range maxConnectionsPerSource {
		dial()
		served = append(served, accept(t, l))
	}
	if _, err := dial().Read(make([]byte, 1)); err == nil || isTimeout(err) {
		// It is closed once the listener gets to it.
		t.Error("nothing was read, and it is not closed")
	}
	_ = served[0].Close()
	_ = served[0].Close() // gives back one place only
	dial()
	accept(t, l)
}

func TestATrustedProxyIsManySources(t *testing.T) {
	l, dial := limited(t, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")})
	for range maxConnectionsPerSource + 10 {
		dial()
		accept(t, l)
	}
}

// limited returns a limited listener that always accepts, and a function that
// connects to it.
func limited(t *testing.T, proxies []netip.Prefix) (accepted chan net.Conn, dial func() net.Conn) {
	t.Helper()
	tcp, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tcp.Close() })
	l := limitConnections(tcp, proxies)
	accepted = make(chan net.Conn, maxConnections)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- conn
		}
	}()
	return accepted, func() net.Conn {
		conn, err := new(net.Dialer).DialContext(context.Background(), "tcp", tcp.Addr().String()) //nolint:usetesting // it outlives the test's context
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
}

func accept(t *testing.T, accepted chan net.Conn) net.Conn {
	t.Helper()
	select {
	case conn := <-accepted:
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	case <-time.After(20 * time.Second):
		t.Fatal("it is not accepted")
		return nil
	}
}

func isTimeout(err error) bool {
	e, ok := err.(net.Error) //nolint:errorlint // as it comes from the connection
	return ok && e.Timeout()
}

// All sources together have no more than maxConnections. One more waits until another
// ends.
func TestConnectionsInAllAreBounded(t *testing.T) {
	l, dial := limited(t, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")})
	var served []net.Conn
	for range maxConnections {
		dial()
		served = append(served, accept(t, l))
	}
	dial()
	select {
	case <-l:
		t.Fatal("one more is served")
	case <-time.After(100 * time.Millisecond):
	}
	_ = served[0].Close()
	accept(t, l)
}
