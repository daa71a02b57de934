package service

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gantryhq/gantry/server"
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

// All together have no more than maxConnections. One more ends the one that has been idle
// longest, or else the one whose request has taken longest, but none with a stream.
func TestANewConnectionEndsTheOldest(t *testing.T) {
	l, dial := limited(t, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")})
	var clients []net.Conn
	var served []*connection
	another := func() {
		clients = append(clients, dial())
		served = append(served, accept(t, l).(*connection))
	}
	end := func(i int) { // as the server does
		t.Helper()
		if _, err := clients[i].Read(make([]byte, 1)); err == nil || isTimeout(err) {
			t.Errorf("connection %d was not ended: %v", i, err)
		}
		_ = served[i].Close()
	}
	for range maxConnections {
		another()
	}
	served[0].enter(http.StateActive)
	served[1].Hold()
	another() // has the place of the stream's
	for _, i := range []int{7, 5} {
		served[i].enter(http.StateActive)
		served[i].enter(http.StateIdle)
	}
	for _, i := range []int{7, 5, 2, 3} {
		clients = append(clients, dial())
		end(i)
		served = append(served, accept(t, l).(*connection))
	}
	for i, c := range served {
		if ended := slices.Contains([]int{7, 5, 2, 3}, i); c.open == ended {
			t.Errorf("connection %d is open: %v", i, c.open)
		}
	}
}

// A connection that was ended has its place until the server has given back its memory: with
// HTTP/2, until its requests have ended as well.
func TestAPlaceIsFreeOnceTheMemoryIs(t *testing.T) {
	l, dial := limited(t, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")})
	var served []*connection
	for range maxConnections {
		dial()
		served = append(served, accept(t, l).(*connection))
	}
	oldest := served[0]
	request := make(chan struct{})
	var handler sync.WaitGroup
	began := make(chan struct{})
	handler.Go(func() {
		r := httptest.NewRequestWithContext(server.WithConnection(t.Context(), oldest), http.MethodPost, "/webhook", nil)
		r.ProtoMajor = 2
		followHTTP2(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(began); <-request })).ServeHTTP(nil, r)
	})
	<-began
	oldest.enter(http.StateIdle)
	dial()
	<-oldest.closed
	_ = oldest.Close()
	select {
	case <-l:
		t.Error("one more is served while the request has not ended")
	case <-time.After(50 * time.Millisecond):
	}
	close(request)
	handler.Wait()
	accept(t, l)
}

// A connection is ended once it has been idle for long.
func TestIdleConnectionsEnd(t *testing.T) {
	l, dial := limited(t, nil)
	client := dial()
	idle := accept(t, l).(*connection)
	idle.enter(http.StateIdle)
	idle.of.mu.Lock()
	idle.since = idle.since.Add(-idleTimeout)
	idle.of.mu.Unlock()
	dial()
	accept(t, l)
	if _, err := client.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("it was not ended: %v", err)
	}
}
