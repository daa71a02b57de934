package server

import (
	"net/http"
	"net/netip"
	"testing"
)

func TestSourceOfARequest(t *testing.T) {
	behind := sources{[]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}}
	for name, tc := range map[string]struct {
		peer      string
		forwarded []string // X-Forwarded-For
		standard  []string // Forwarded
		want      string
	}{
		"nobody is trusted":                {peer: "203.0.113.9:1234", forwarded: []string{"198.51.100.7"}, want: "203.0.113.9"},
		"no header":                        {peer: "10.0.0.1:1234", want: "10.0.0.1"},
		"one proxy":                        {peer: "10.0.0.1:1234", forwarded: []string{"198.51.100.7"}, want: "198.51.100.7"},
		"the client's own are ignored":     {peer: "10.0.0.1:1234", forwarded: []string{"192.0.2.1, 198.51.100.7"}, want: "198.51.100.7"},
		"two proxies":                      {peer: "10.0.0.1:1234", forwarded: []string{"192.0.2.1, 198.51.100.7, 10.0.0.2"}, want: "198.51.100.7"},
		"two lines":                        {peer: "10.0.0.1:1234", forwarded: []string{"192.0.2.1", "198.51.100.7,10.0.0.2"}, want: "198.51.100.7"},
		"only proxies":                     {peer: "10.0.0.1:1234", forwarded: []string{"10.0.0.3, 10.0.0.2"}, want: "10.0.0.3"},
		"rubbish":                          {peer: "10.0.0.1:1234", forwarded: []string{"198.51.100.7, on fire"}, want: "10.0.0.1"},
		"empty":                            {peer: "10.0.0.1:1234", forwarded: []string{""}, want: "10.0.0.1"},
		"with a port":                      {peer: "10.0.0.1:1234", forwarded: []string{"198.51.100.7:55"}, want: "198.51.100.7"},
		"IPv6":                             {peer: "[fd00::1]:1234", forwarded: []string{"2001:db8::7"}, want: "2001:db8::7"},
		"IPv6 with a port":                 {peer: "[fd00::1]:1234", forwarded: []string{"[2001:db8::7]:55"}, want: "2001:db8::7"},
		"IPv4 as IPv6":                     {peer: "[::ffff:10.0.0.1]:1234", forwarded: []string{"::ffff:198.51.100.7"}, want: "198.51.100.7"},
		"a zone":                           {peer: "[fe80::1%eth0]:1234", want: "fe80::1"},
		"Forwarded":                        {peer: "10.0.0.1:1234", standard: []string{`for=198.51.100.7;proto=https`}, want: "198.51.100.7"},
		"Forwarded with IPv6":              {peer: "10.0.0.1:1234", standard: []string{`for=192.0.2.1, For="[2001:db8::7]:55";by=10.0.0.1`}, want: "2001:db8::7"},
		"Forwarded with a hidden client":   {peer: "10.0.0.1:1234", standard: []string{`for=_hidden`}, want: "10.0.0.1"},
		"Forwarded without a client":       {peer: "10.0.0.1:1234", standard: []string{`proto=https`}, want: "10.0.0.1"},
		"both agree":                       {peer: "10.0.0.1:1234", forwarded: []string{"198.51.100.7"}, standard: []string{"for=198.51.100.7"}, want: "198.51.100.7"},
		"the client sent the other of two": {peer: "10.0.0.1:1234", forwarded: []string{"198.51.100.7"}, standard: []string{"for=192.0.2.1"}, want: "10.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			r := &http.Request{RemoteAddr: tc.peer, Header: http.Header{}}
			if tc.forwarded != nil {
				r.Header["X-Forwarded-For"] = tc.forwarded
			}
			if tc.standard != nil {
				r.Header["Forwarded"] = tc.standard
			}
			if got := behind.of(r); got.String() != tc.want {
				t.Errorf("from %s, want %s", got, tc.want)
			}
			if got := (sources{}).of(r); got != parseAddr(tc.peer) {
				t.Errorf("without trusted proxies from %s", got)
			}
		})
	}
}

func TestNeighborhoods(t *testing.T) {
	for a, want := range map[string]string{
		"198.51.100.7": "198.51.100.7/32", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "::1": "::/64",
	} {
		if got := Neighborhood(netip.MustParseAddr(a)); got.String() != want {
			t.Errorf("%s is one of %s, want %s", a, got, want)
		}
	}
	if got := Neighborhood(netip.Addr{}); got.IsValid() {
		t.Errorf("no address is one of %s", got)
	}
}

func FuzzSourceOfARequest(f *testing.F) {
	f.Add("198.51.100.7, 10.0.0.2", `for="[2001:db8::7]:55"`)
	behind := sources{[]netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}}
	f.Fuzz(func(t *testing.T, forwarded, standard string) {
		r := &http.Request{RemoteAddr: "10.0.0.1:1", Header: http.Header{"X-Forwarded-For": {forwarded}, "Forwarded": {standard}}}
		if !behind.of(r).IsValid() {
			t.Errorf("%q and %q are from nowhere", forwarded, standard)
		}
	})
}
