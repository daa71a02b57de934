package server

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// sources finds the address that a request came from.
type sources struct{ trusted []netip.Prefix }

// of returns the address of the connection's other end, or, if that is a trusted
// proxy, the one that the proxy names. Each proxy appends the address that it saw,
// so the last one that isn't a trusted proxy counts: everything before it comes
// from the client. It is zero if there is none, as on a Unix socket.
func (s sources) of(r *http.Request) netip.Addr {
	peer := parseAddr(r.RemoteAddr)
	if !s.trusts(peer) {
		return peer
	}
	forwarded, ok := s.named(peer, hops(r.Header["X-Forwarded-For"], xForwardedFor))
	standard, alsoOK := s.named(peer, hops(r.Header["Forwarded"], forwardedFor))
	switch {
	case ok && alsoOK && forwarded != standard:
		return peer // the proxy sets one of the two, and passes the other on as the client sent it
	case ok:
		return forwarded
	case alsoOK:
		return standard
	}
	return peer
}

// hidden reports whether a proxy that isn't trusted names another source.
func (s sources) hidden(r *http.Request) bool {
	return (r.Header["X-Forwarded-For"] != nil || r.Header["Forwarded"] != nil) && !s.trusts(parseAddr(r.RemoteAddr))
}

func (s sources) trusts(a netip.Addr) bool {
	for _, p := range s.trusted {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// named returns the last address in hops that isn't a trusted proxy. It isn't ok
// if there are no hops. A hop that isn't an address ends the chain.
func (s sources) named(peer netip.Addr, hops []netip.Addr) (a netip.Addr, ok bool) {
	a = peer
	for _, hop := range slices.Backward(hops) {
		if !hop.IsValid() {
			break
		}
		if a = hop; !s.trusts(a) {
			break
		}
	}
	return a, len(hops) > 0
}

// hops splits header lines at commas; more than 100 hops are nobody's.
func hops(lines []string, address func(string) string) (all []netip.Addr) {
	for _, line := range lines {
		for hop := range strings.SplitSeq(line, ",") {
			if all = append(all, parseAddr(address(strings.TrimSpace(hop)))); len(all) > 100 {
				return nil
			}
		}
	}
	return all
}

func xForwardedFor(hop string) string { return hop }

// forwardedFor returns the parameter for of an element of Forwarded (RFC 7239).
func forwardedFor(element string) string {
	for pair := range strings.SplitSeq(element, ";") {
		if name, value, _ := strings.Cut(pair, "="); strings.EqualFold(strings.TrimSpace(name), "for") {
			return strings.Trim(strings.TrimSpace(value), `"`)
		}
	}
	return ""
}

// parseAddr reads an address, with a port or without. It returns the zero address
// for anything else.
func parseAddr(s string) netip.Addr {
	if host, _, err := net.SplitHostPort(s); err == nil {
		s = host
	}
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap().WithZone("")
}

// Neighborhood returns the addresses that count as one source with a. A client of
// IPv6 has at least a /64 to itself.
func Neighborhood(a netip.Addr) netip.Prefix {
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.WithZone("").Prefix(bits) // zero for a zero address
	return p
}
