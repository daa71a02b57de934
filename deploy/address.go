package deploy

import (
	"net"
	"net/url"
	"path"
	"strings"
)

// WebhookPath is the path at which Gantry receives notifications. It answers with a
// slash after it too.
const WebhookPath = "/webhook"

// NormalAddress returns an address in its normal form: scheme and host in lower
// case, no port that the scheme implies, no dots or doubled slashes in the path,
// and no slash after WebhookPath. It returns other text as it is.
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

// SameAddress reports whether requests to both addresses are the same to Gantry. The
// case of the host and the port that the scheme implies don't count, nor does a slash
// after WebhookPath. After another path it makes another address.
func SameAddress(a, b string) bool {
	ua, okA := plainAddress(a)
	ub, okB := plainAddress(b)
	if !okA || !okB {
		return a == b
	}
	for _, u := range []*url.URL{ua, ub} {
		if path := strings.TrimSuffix(u.Path, "/"); strings.HasSuffix(path, WebhookPath) {
			u.Path = path
		}
	}
	return *ua == *ub
}

// plainAddress returns one spelling for all that are the same in HTTP.
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
