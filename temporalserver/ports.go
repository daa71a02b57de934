package temporalserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"syscall"
	"time"

	"go.temporal.io/server/common/primitives"
)

// Everything listens on loopback by default, because the server has no
// authentication.
const loopback = "127.0.0.1"

// Free ports are picked below the ranges that systems use for outgoing connections
// (32768 and up on Linux, 49152 and up elsewhere). In those ranges, a client that
// keeps dialling a stopped server can connect to itself and occupy the port when
// the server starts again.
const (
	firstFreePort = 20_000
	lastFreePort  = 31_999
)

// busyPatience limits the wait for a given port that is busy: a server that was
// just killed can take a moment to release it.
const busyPatience = 500 * time.Millisecond

// ports holds one port for each of Temporal's services, bound until release, so
// that servers that start at the same time pick different ones.
type ports struct {
	frontendHost string
	number       map[primitives.ServiceName]int
	held         []net.Listener
}

func reservePorts(ctx context.Context, host string, frontend int) (_ *ports, err error) {
	p := &ports{frontendHost: cmp.Or(host, loopback), number: make(map[primitives.ServiceName]int)}
	defer func() {
		if err != nil {
			p.release()
		}
	}()
	for _, service := range services {
		wanted := 0
		if service == primitives.FrontendService {
			wanted = frontend
		}
		l, err := listen(ctx, p.host(service), wanted)
		if err != nil {
			return nil, fmt.Errorf("reserve a port for temporal: %w", err)
		}
		p.held = append(p.held, l)
		p.number[service] = portOf(l)
	}
	return p, nil
}

// host returns the IP address that a service listens on.
func (p *ports) host(service primitives.ServiceName) string {
	if service == primitives.FrontendService {
		return p.frontendHost
	}
	return loopback
}

func (p *ports) frontend() string { return p.address(primitives.FrontendService) }

// address returns the address of a service for clients on this machine.
func (p *ports) address(service primitives.ServiceName) string {
	host := p.host(service)
	if ip := net.ParseIP(host); ip.IsUnspecified() {
		host = loopback
		if ip.To4() == nil {
			host = net.IPv6loopback.String()
		}
	}
	return net.JoinHostPort(host, strconv.Itoa(p.number[service]))
}

// release closes the listeners, so that Temporal can bind the ports.
func (p *ports) release() {
	for _, l := range p.held {
		_ = l.Close()
	}
	p.held = nil
}

// listen binds a port of an IP address; 0 means any free one.
func listen(ctx context.Context, host string, port int) (net.Listener, error) {
	if net.ParseIP(host) == nil {
		return nil, fmt.Errorf("%q is not an IP address to listen on, such as %s or 0.0.0.0", host, loopback)
	}
	if port != 0 {
		return listenOn(ctx, host, port)
	}
	var config net.ListenConfig
	for range 100 {
		port := firstFreePort + rand.IntN(lastFreePort-firstFreePort+1)
		l, err := config.Listen(ctx, network(host), net.JoinHostPort(host, strconv.Itoa(port)))
		if !errors.Is(err, syscall.EADDRINUSE) {
			return l, err
		}
	}
	return nil, fmt.Errorf("no free port found between %d and %d on %s", firstFreePort, lastFreePort, host)
}

// network returns the network of one IP version: with "tcp", 0.0.0.0 would include
// IPv6.
func network(host string) string {
	if net.ParseIP(host).To4() == nil {
		return "tcp6"
	}
	return "tcp4"
}

func listenOn(ctx context.Context, host string, port int) (net.Listener, error) {
	if port < 0 || port > 65535 {
		return nil, fmt.Errorf("%d is not a port; use 1 to 65535, or 0 for any free one", port)
	}
	patience, cancel := context.WithTimeout(ctx, busyPatience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var config net.ListenConfig
	for {
		l, err := config.Listen(ctx, network(host), net.JoinHostPort(host, strconv.Itoa(port)))
		if !errors.Is(err, syscall.EADDRINUSE) {
			return l, err
		}
		select {
		case <-patience.Done():
			return nil, fmt.Errorf("port %d on %s is busy; stop the program that listens there (another Temporal?), choose another port, or 0 for any free one: %w",
				port, host, err)
		case <-tick.C:
		}
	}
}

func portOf(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }
