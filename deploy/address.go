package deploy

import (
	"net"
	"net/url"
	"path"
	"strings"
)

// WebhookPath is the path at which Gantry receives notifications. It answers at this path
// alone: with a slash behind it, the same path is not found.
const WebhookPath = "/webhook"

// NormalAddress spells an address as Gantry is asked at it: scheme and host in
// small letters, no port that the scheme implies, no dots or doubled slashes in
// the path, and none behind WebhookPath. What is no address stays as it is.
func NormalAddress(address string) string {
	u, ok := plainAddress(address)
	if !ok {
		return address
	}
	if u.Path != "" && u.RawPath == "" {
		clean := path.Clean(u.Path)
		if strings.HasSuffix(u.Path, "/") && clean != "/" && !strings.HasSuffix(clean, WebhookPath) {
			clean += "/" // a proxy's own path, where it may count
		}
		u.Path = clean
	}
	return u.String()
}

// SameAddress reports whether requests to both addresses are the same: in
// whatever case the host is written, with or without the port that the scheme
// implies. A slash at the end of a path makes another address.
func SameAddress(a, b string) bool {
	ua, okA := plainAddress(a)
	ub, okB := plainAddress(b)
	if !okA || !okB {
		return a == b
	}
	return *ua == *ub
}

// plainAddress spells what HTTP takes for the same in one way.
func plainAddress(address string) (*url.URL, bool) {
	u, err := url.Parse(strings.TrimSpace(address))
	if err != nil || u.Host == "" || u.User != nil {
		return nil, false
	}
	u.Scheme = strings.ToLower(u.Scheme)
	host, port := strings.ToLower(u.Hostname()), u.Port()
	if port == map[string]string{"http": "80", "https": "443"}[u.Scheme] {
		port = ""
	}
	switch {
	case port != "":
		u.Host = net.JoinHostPort(host, port)
	case strings.Contains(host, ":"):
		u.Host = "[" + host + "]"
	default:
		u.Host = host
	}
	if u.Path == "" {
		u.Path = "/"
	}
	return u, true
}
