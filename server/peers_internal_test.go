package server

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A name stands for the replicas at all of its addresses, each once.
func TestHostsOfPeers(t *testing.T) {
	t.Parallel()
	p, err := newPeers(nil)
	if err != nil {
		t.Fatal(err)
	}
	p.lookup = func(_ context.Context, host string) (all []netip.Addr, err error) {
		for _, a := range map[string][]string{"v4": {"10.0.0.2", "10.0.0.3"}, "mixed": {"fd00::2", "10.0.0.2"}, "v6": {"fd00::2", "fd00::3"}, "mapped": {"::ffff:10.0.0.2"}}[host] {
			all = append(all, netip.MustParseAddr(a))
		}
		return all, nil
	}
	for address, want := range map[string][]string{
		"http://v4:8080": {"10.0.0.2:8080", "10.0.0.3:8080"}, "https://mixed": {"10.0.0.2:443"}, "http://v6": {"[fd00::2]:80", "[fd00::3]:80"},
		"http://mapped:1": {"10.0.0.2:1"}, "http://10.9.9.9:7": {"10.9.9.9:7"}, "http://[fd00::9]:7": {"[fd00::9]:7"},
	} {
		u, err := ParsePeer(address)
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.hosts(t.Context(), u)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", address, err, diff)
		}
	}
}

// A name that can't be resolved is a replica that doesn't answer.
func TestPeersWithoutAnAddress(t *testing.T) {
	t.Parallel()
	p, err := newPeers([]string{"http://gone:8080"})
	if err != nil {
		t.Fatal(err)
	}
	p.lookup = func(context.Context, string) ([]netip.Addr, error) {
		return nil, errors.New("lookup gone: no such host")
	}
	answers := p.ask(t.Context(), "HERE", nil)
	if len(answers) != 1 || answers[0].address != "gone:8080" || answers[0].problem() != "lookup gone: no such host" {
		t.Errorf("%+v", answers)
	}
}

// The certificate of a replica is that of the configured name, not of an address.
func TestPeersOverTLS(t *testing.T) {
	t.Parallel()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"host": r.Host, "token": r.Header.Get("Authorization"), "peer": r.Header.Get(peerHeader), "query": r.URL.String()})
	}))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // of the refused handshake
	s.StartTLS()
	t.Cleanup(s.Close)
	at := netip.MustParseAddrPort(s.Listener.Addr().String())
	for name, trusted := range map[string]bool{"example.com": true, "gantry.internal": false} {
		host := fmt.Sprintf("%s:%d", name, at.Port())
		p, err := newPeers([]string{"https://" + host})
		if err != nil {
			t.Fatal(err)
		}
		p.lookup = func(context.Context, string) ([]netip.Addr, error) { return []netip.Addr{at.Addr()}, nil }
		roots := x509.NewCertPool()
		roots.AddCert(s.Certificate())
		p.at[0].client.Transport.(*http.Transport).TLSClientConfig.RootCAs = roots //nolint:forcetypeassert // newPeers made it
		u, _ := url.Parse("/v1/deliveries?pageSize=3")
		answers := p.ask(t.Context(), "HERE", &call{requestID: "1", request: &http.Request{Method: http.MethodGet, URL: u, Header: http.Header{"Authorization": {"Bearer x"}}}})
		if len(answers) != 1 || (answers[0].err == nil) != trusted {
			t.Fatalf("%s: %+v", host, answers)
		}
		if !trusted {
			continue
		}
		var got map[string]string
		if err := json.Unmarshal(answers[0].body, &got); err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"host": host, "token": "Bearer x", "peer": "HERE", "query": "/v1/deliveries?pageSize=3"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
}
