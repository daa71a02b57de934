package channels

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"

	"github.com/gantryhq/gantry/notify"
)

// Kind is the protocol of a channel, spelled as in the configuration file.
type Kind string

const (
	Slack   Kind = "slack"   // an incoming webhook of Slack, or of a service that imitates it
	Webhook Kind = "webhook" // JSON, signed by the Standard Webhooks specification
)

// Channel is a destination of messages.
type Channel struct {
	// Name identifies the channel in policies and for Send.
	Name string

	Kind Kind

	// URL is called for every message, so that a secret can be rotated without a
	// restart. A Slack URL is a secret: it is all that posting takes. It must be
	// https unless AllowPrivate is set.
	URL func() string

	// Secret returns the key that signs a webhook: 24 to 64 bytes in base64, with or
	// without "whsec_" before it. Of several keys with space between them each signs,
	// so that the receiver can rotate them. It is called for every message. Slack has
	// none.
	Secret func() string

	// AllowPrivate permits plain http and addresses in Gantry's own network or on its
	// machine. Anyone who can write the configuration can then reach everything that
	// Gantry reaches.
	AllowPrivate bool
}

// Validate reports why the channel can't be used. The error continues a sentence
// that names the channel, and holds no secret.
func (c *Channel) Validate() error {
	switch {
	case c.Name == "":
		return errors.New("has no name")
	case c.Kind != Slack && c.Kind != Webhook:
		return fmt.Errorf("has the unknown kind %q; use slack or webhook", c.Kind)
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

// target returns the channel's current URL. Its errors name the host at most;
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
		return nil, fmt.Errorf("has the URL %s; it must be https", redacted(u))
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

// redacted returns the part of a URL that is no secret: the path of a Slack URL is
// its password, and other services put tokens into the query.
func redacted(u *url.URL) string {
	return u.Scheme + "://" + u.Host + "/…"
}
