package doctor

import (
	"net"
	"net/url"
)

// Encrypted reports whether nobody on the way to an address can read a token.
func Encrypted(u *url.URL) bool { return u.Scheme != "http" || Near(u) }

// Near reports whether an address is on this machine or in a private network.
func Near(u *url.URL) bool {
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && (ip.IsLoopback() || ip.IsPrivate())
}
