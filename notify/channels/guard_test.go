package channels_test

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"testing"

	"github.com/gantryhq/gantry/notify"
	"github.com/gantryhq/gantry/notify/channels"
)

var inside = []string{
	"10.0.0.1", "172.16.0.1", "192.168.1.1", // private
	"127.0.0.1", "127.8.8.8", "::1", // loopback
	"169.254.169.254", "fe80::1", "fd00:ec2::254", // link-local, metadata of clouds
	"100.64.0.1", "100.100.100.200", // carriers; metadata of Alibaba Cloud
	"fc00::1", "fd12:3456::1", // private
	"224.0.0.1", "ff02::1", "255.255.255.255", // to many
	"0.0.0.0", "::", "0.1.2.3", // this machine
	"::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::1", // IPv4 in disguise
	"192.0.2.1", "2001:db8::1", "240.0.0.1", // nobody's
}

func TestAddressesInsideAreRefusedAtTheStart(t *testing.T) {
	for _, address := range inside {
		host := netip.MustParseAddr(address)
		u := url.URL{Scheme: "https", Host: netip.AddrPortFrom(host, 443).String(), Path: "/hook"}
		_, err := channels.New([]channels.Channel{{Name: "it", Kind: channels.Webhook, URL: text(u.String()), Secret: text(secret)}}, channels.Options{})
		if _, ok := errors.AsType[*notify.BlockedAddressError](err); !ok {
			t.Errorf("%s: got %v, want a BlockedAddressError", address, err)
		}
	}
	for _, address := range []string{"8.8.8.8", "1.1.1.1", "2606:4700:4700::1111"} {
		u := url.URL{Scheme: "https", Host: netip.AddrPortFrom(netip.MustParseAddr(address), 443).String(), Path: "/hook"}
		if _, err := channels.New([]channels.Channel{{Name: "it", Kind: channels.Webhook, URL: text(u.String()), Secret: text(secret)}}, channels.Options{}); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// TestNamesThatLeadInsideAreRefused shows that the address counts, not the name.
func TestNamesThatLeadInsideAreRefused(t *testing.T) {
	for _, address := range inside {
		want := netip.MustParseAddr(address)
		if want.Is4In6() {
			continue // the resolver makes it the IPv4 address it is
		}
		t.Run(address, func(t *testing.T) {
			names := &resolver{address: want}
			s, err := channels.New([]channels.Channel{{Name: "it", Kind: channels.Slack, URL: text("https://hooks.example.com" + slackPath)}},
				channels.Options{Resolver: names.resolver(t)})
			if err != nil {
				t.Fatal(err)
			}
			err = s.Send(t.Context(), "it", decision())
			blocked, ok := errors.AsType[*notify.BlockedAddressError](err)
			if !ok {
				t.Fatalf("got %v, want a BlockedAddressError", err)
			}
			if blocked.Channel != "it" || blocked.Address != want {
				t.Errorf("got %+v, want channel it and address %s", blocked, want)
			}
			if names.questions() == 0 {
				t.Error("the name was never looked up")
			}
		})
	}
}

// TestANameThatTurnsInsideIsRefused shows that a name that resolved to a public
// address and now resolves to an internal one receives nothing.
func TestANameThatTurnsInsideIsRefused(t *testing.T) {
	r := newReceiver(t, answer(http.StatusOK, "ok"))
	_, port, err := net.SplitHostPort(r.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	names := &resolver{address: netip.MustParseAddr("127.0.0.1")}
	open := func(c *channels.Channel, o *channels.Options) {
		c.URL = text("https://example.com:" + port + slackPath)
		o.Resolver = names.resolver(t)
	}
	// The name, the port and the certificate are valid: only the guard can refuse.
	if err := r.sender(t, channels.Slack, open).Send(t.Context(), "it", decision()); err != nil {
		t.Fatalf("with AllowPrivate: %v", err)
	}
	guarded := r.sender(t, channels.Slack, open, func(c *channels.Channel, _ *channels.Options) { c.AllowPrivate = false })
	for range 2 {
		err := guarded.Send(t.Context(), "it", decision())
		if _, ok := errors.AsType[*notify.BlockedAddressError](err); !ok {
			t.Errorf("got %v, want a BlockedAddressError", err)
		}
	}
	r.one(t)
	names.leadTo(netip.MustParseAddr("10.1.2.3"))
	err = guarded.Send(t.Context(), "it", decision())
	if blocked, ok := errors.AsType[*notify.BlockedAddressError](err); !ok || blocked.Address.String() != "10.1.2.3" {
		t.Errorf("got %v, want the address the name leads to now", err)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	elsewhere := newReceiver(t, answer(http.StatusOK, "ok"))
	for _, status := range []int{301, 302, 303, 307, 308} {
		r := newReceiver(t, func(w http.ResponseWriter, req *http.Request) {
			http.Redirect(w, req, elsewhere.URL, status)
		})
		for _, kind := range []channels.Kind{channels.Slack, channels.Webhook} {
			err := r.sender(t, kind).Send(t.Context(), "it", decision())
			if refused, ok := errors.AsType[*notify.RefusedError](err); !ok || refused.Status != status {
				t.Errorf("%s: got %v, want a RefusedError with status %d", kind, err, status)
			}
		}
	}
	if n := len(elsewhere.received()); n != 0 {
		t.Errorf("%d redirects were followed", n)
	}
}
