package channels

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"github.com/gantryhq/gantry/notify"
)

// Kind says how a channel is spoken to. The words are those of the
// configuration file.
type Kind string

const (
	Slack   Kind = "slack"   // an incoming webhook of Slack, or of what speaks like it
	Webhook Kind = "webhook" // JSON, signed by the Standard Webhooks specification
)

// Channel is where people or programs are told.
type Channel struct {
	// Name is what policies and Send call it.
	Name string

	Kind Kind

	// URL is asked for each message, so that a secret may be renewed while we run.
	// A Slack URL is a secret: whoever knows it may post. It has to be https,
	// unless AllowPrivate.
	URL func() string

	// Secret is what a webhook is signed with: "whsec_" and base64, or base64
	// alone, of 24 to 64 bytes. Several, with space between them, each sign, so
	// that the receiver can go from one to the next. It is asked for each message.
	// Slack has none.
	Secret func() string

	// AllowPrivate lets the channel be in the own network, on this machine, or
	// speak plain http. Whoever may write the configuration may then reach
	// whatever Gantry reaches.
	AllowPrivate bool
}

// Validate reports what keeps a channel from being used. The error continues a
// sentence that names the channel, and holds no secret.
func (c *Channel) Validate() error {
	switch {
	case c.Name == "":
		return errors.New("has no name")
	case c.Kind != Slack && c.Kind != Webhook:
		return fmt.Errorf("is of the unknown kind %q: it is slack or webhook", c.Kind)
	case c.Kind == Webhook && c.Secret == nil:
		return errors.New("has no signing secret")
	}
	if _, err := c.target(); err != nil {
		return err
	}
	if c.Kind == Webhook {
		_, err := signingKeys(c.Secret())
		return err
	}
	return nil
}

// target returns where the channel is now. Its errors name the host at most:
// those of net/url quote the whole URL.
func (c *Channel) target() (*url.URL, error) {
	raw := ""
	if c.URL != nil {
		raw = strings.TrimSpace(c.URL()) // files end in a newline
	}
	if raw == "" {
		return nil, errors.New("has no URL")
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, errors.New("has a URL that can't be read")
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("has a URL that begins with neither https:// nor http://")
	case u.Hostname() == "":
		return nil, errors.New("has a URL without a host")
	case u.User != nil:
		return nil, fmt.Errorf("has a user name or password in its URL %s", redacted(u))
	case u.Fragment != "":
		return nil, fmt.Errorf("has a # in its URL %s", redacted(u))
	case u.Scheme == "http" && !c.AllowPrivate:
		return nil, fmt.Errorf("has the URL %s: it has to be https", redacted(u))
	case c.Kind == Slack && strings.Trim(u.Path, "/") == "":
		return nil, fmt.Errorf("has the URL %s, without the path that Slack gave", redacted(u))
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil && !c.AllowPrivate {
		if err := public.SafeAddr(ip.Unmap()); err != nil {
			return nil, &notify.BlockedAddressError{Channel: c.Name, Address: ip}
		}
	}
	return u, nil
}

// redacted is what may be told of a URL: the path of Slack's is its password, and
// others put tokens into their queries.
func redacted(u *url.URL) string {
	return u.Scheme + "://" + u.Host + "/…"
}
