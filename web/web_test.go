package web_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/web"
	"github.com/gantryhq/gantry/web/webtest"
)

// Each page has a strict policy, and nothing in it that the policy forbids.
func TestPagesHaveAStrictPolicy(t *testing.T) {
	s := webtest.New(t)
	for _, path := range []string{"sign-in", "nowhere"} {
		d := s.Get(path)
		policy := d.Header.Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'none'; ") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: policy %q", path, policy)
		}
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "X-Frame-Options": "DENY", "Referrer-Policy": "same-origin"} {
			if got := d.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
		if found := regexp.MustCompile(`(?i)\s(style|on[a-z]+)=|<style|<script>|javascript:`).FindString(d.HTML); found != "" {
			t.Errorf("%s has %q", path, found)
		}
	}
}

// Assets are compressed, and browsers keep them permanently: another content has another
// address.
func TestAssets(t *testing.T) {
	s := webtest.New(t)
	page := s.Get("sign-in")
	var all []string
	for _, link := range page.All("link") {
		if link.Attr("rel") != "expect" { // a place on the page itself
			all = append(all, link.Attr("href"))
		}
	}
	for _, script := range page.All("script") {
		all = append(all, script.Attr("src"))
	}
	if len(all) != 6 {
		t.Fatalf("the page loads %q", all)
	}
	for _, address := range all {
		plain := s.Get(strings.TrimPrefix(address, "./"))
		if plain.Status != http.StatusOK || !strings.Contains(plain.Header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %d %s", address, plain.Status, plain.Header)
		}
		req, err := http.NewRequest(http.MethodGet, s.URL+strings.TrimPrefix(address, "./"), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept-Encoding", "gzip")
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		packed, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		zip, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			t.Fatalf("%s isn't compressed: %v", address, err)
		}
		content, _ := io.ReadAll(zip)
		if string(content) != plain.HTML {
			t.Errorf("%s differs when it is compressed", address)
		}
	}
	if d := s.Get("assets/gantry.000000000000.css"); d.Status != http.StatusNotFound {
		t.Errorf("an asset that there isn't: %d", d.Status)
	}
}

// A page for nobody leads to the sign-in page, and from there back.
func TestSignInPage(t *testing.T) {
	s := webtest.New(t, func(c *web.Config) { c.Issuer = "Acme SSO" })
	d := s.Get("sign-in?back=%2Fruns%3Fphase%3Dwaiting&refused=expired-token")
	if back := d.All("input", "name", "back"); len(back) != 1 || back[0].Attr("value") != "/runs?phase=waiting" {
		t.Error("the form forgets the way back")
	}
	if links := d.All("a", "class", "button"); len(links) != 1 || links[0].Attr("href") != "./sign-in/oidc?back=%2Fruns%3Fphase%3Dwaiting" {
		t.Errorf("the issuer's link is wrong: %s", d.HTML)
	}
	if !strings.Contains(d.Text(), "This token has expired.") {
		t.Errorf("the page doesn't say why: %s", d.Text())
	}
	if d := s.Get("sign-in?refused=<b>odd</b>"); strings.Contains(d.HTML, "odd") || !strings.Contains(d.Text(), "Gantry refused the sign-in.") {
		t.Errorf("an unknown reason: %s", d.Text())
	}
	if d := webtest.New(t).Get("sign-in"); strings.Contains(d.Text(), "Continue with") {
		t.Error("without an issuer, the page offers one")
	}
}

// A page that isn't there says so in words, with the request's id.
func TestNotFoundPage(t *testing.T) {
	d := webtest.New(t).Get("nowhere")
	for _, want := range []string{"There's nothing here", "request-1", "carol", "platform, dba"} {
		if !strings.Contains(d.Text(), want) {
			t.Errorf("the page lacks %q: %s", want, d.Text())
		}
	}
	if d.Status != http.StatusNotFound || d.All("title")[0].Text() != "There's nothing here · Gantry" {
		t.Errorf("%d, titled %q", d.Status, d.All("title")[0].Text())
	}
}

// Times are in the zone of the viewer's browser, with the date unless it is today there.
func TestTimesInTheViewersZone(t *testing.T) {
	s := webtest.New(t)
	s.Answer("GET /v1/runs", api.RunList{Runs: []api.RunSummary{
		aRunAt("late", time.Date(2026, 1, 1, 15, 30, 0, 0, time.UTC)), aRunAt("old", time.Date(2025, 7, 31, 6, 0, 0, 0, time.UTC)),
	}})
	for zone, want := range map[string][]string{"": {"15:30", "31 Jul 2025, 06:00"}, "Asia/Tokyo": {"2 Jan, 00:30", "31 Jul 2025, 15:00"}, "nowhere": {"15:30"}} {
		text := s.Get("runs", "Cookie", "gantry_zone="+url.QueryEscape(zone)).Text()
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%s: the list lacks %q: %s", zone, w, text)
			}
		}
	}
}

func aRunAt(stack string, at time.Time) api.RunSummary {
	return plan(1, stack, func(r *api.RunSummary) { r.StartedAt = at })
}
