package channels

import (
	"errors"
	"net"
	"net/netip"
	"syscall"

	"code.dny.dev/ssrf"

	"github.com/gantryhq/gantry/notify"
)

// public knows which addresses are on the internet, from IANA's registries of
// special addresses: not private, link-local (where clouds keep their metadata),
// loopback, multicast, unspecified, shared by carriers, or one that hides an
// IPv4 address.
var public = ssrf.New(ssrf.WithAnyPort())

// refuseNonPublic is a Control of net.Dialer: it sees the address after the name
// was resolved and before anything is sent, for each address that is tried. A
// name that changes between a check and its use gains nothing.
func refuseNonPublic(network, address string, conn syscall.RawConn) error {
	err := public.Safe(network, address, conn)
	if err == nil {
		return nil
	}
	target, parseErr := netip.ParseAddrPort(address)
	if parseErr != nil {
		return errors.Join(err, &net.AddrError{Err: "not an address", Addr: address})
	}
	return &notify.BlockedAddressError{Address: target.Addr()}
}
