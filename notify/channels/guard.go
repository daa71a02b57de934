package channels

import (
	"errors"
	"net"
	"net/netip"
	"syscall"

	"code.dny.dev/ssrf"

	"github.com/gantryhq/gantry/notify"
)

// public accepts addresses on the internet only, by IANA's registries of special
// addresses: none that is private, link-local (where clouds keep their metadata),
// loopback, multicast, unspecified, shared by carriers, or that hides an IPv4
// address.
var public = ssrf.New(ssrf.WithAnyPort())

// refuseNonPublic is a Control for net.Dialer. It sees each address that is tried,
// after the name was resolved and before anything is sent, so a name that
// resolves differently after a check gains nothing.
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
