package spaceliftapi_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/spacelift/spaceliftapi"
)

func TestEndpoints(t *testing.T) {
	for _, c := range []struct{ endpoint, want string }{
		{"", "https://acme.app.spacelift.io/graphql"},
		{"https://acme.app.spacelift.io", "https://acme.app.spacelift.io/graphql"},
		{"https://acme.app.spacelift.io/", "https://acme.app.spacelift.io/graphql"},
		{"https://acme.app.spacelift.io/graphql", "https://acme.app.spacelift.io/graphql"},
		{"https://acme.app.spacelift.io/graphql/", "https://acme.app.spacelift.io/graphql"},
		{"http://127.0.0.1:8099/spacelift", "http://127.0.0.1:8099/spacelift/graphql"},
		{"acme.app.spacelift.io", ""},
		{"ftp://acme.app.spacelift.io", ""},
		{"https://", ""},
		{"https://user:pa55word@acme.app.spacelift.io", ""},
		{"https://acme.app.spacelift.io/?x=y", ""},
		{"https://acme.app .spacelift.io", ""},
	} {
		var got string
		a := &api{t: t, answer: good}
		client, err := spaceliftapi.NewClient(spaceliftapi.Config{
			Account: "acme", Credentials: testKey, Endpoint: c.endpoint,
			HTTPClient: &http.Client{Transport: transportFunc(func(r *http.Request) (*http.Response, error) {
				got = r.URL.String()
				return a.RoundTrip(r)
			})},
		})
		if c.want == "" {
			if err == nil {
				t.Errorf("%q is taken", c.endpoint)
			} else if strings.Contains(err.Error(), "pa55word") {
				t.Errorf("the password is in %q", err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", c.endpoint, err)
			continue
		}
		if err := read(t.Context(), client); err != nil || got != c.want {
			t.Errorf("%q leads to %s, want %s (%v)", c.endpoint, got, c.want, err)
		}
	}
}

func TestConfigNeedsAccountAndKey(t *testing.T) {
	for _, cfg := range []spaceliftapi.Config{
		{Credentials: testKey},
		{Account: "acme"},
		{Account: "acme/evil", Credentials: testKey},
	} {
		if _, err := spaceliftapi.NewClient(cfg); err == nil {
			t.Errorf("%+v is taken", cfg)
		}
	}
}

func TestRunsOfOtherAccountsAreRefusedUnsent(t *testing.T) {
	a := &api{t: t, answer: good}
	client := newClient(t, a)
	for _, ref := range []spacelift.RunRef{
		{Account: "globex", Stack: testRun.Stack, Run: testRun.Run},
		{Account: "acme", Stack: "", Run: testRun.Run},
		{Account: "acme", Stack: testRun.Stack, Run: "a/b"},
	} {
		if _, err := client.ConfirmRun(t.Context(), ref, ""); err == nil {
			t.Errorf("%s was confirmed", ref)
		}
		if _, err := client.Run(t.Context(), ref); err == nil {
			t.Errorf("%s was read", ref)
		}
	}
	wantSeen(t, a)
	if n := a.exchanged(); n != 0 {
		t.Errorf("%d exchanges", n)
	}
}

func TestHeaders(t *testing.T) {
	const header = "Spacelift-User-Provided-Run-Metadata"
	a := &api{t: t}
	a.answer = func(r request) reply {
		switch r.Operation {
		case "RunTrigger":
			return data(run("runTrigger", "01NEW", "TRACKED", "QUEUED"))
		case "TaskCreate":
			return data(run("taskCreate", "01NEW", "TASK", "QUEUED"))
		case "RunDiscard":
			return data(run("runDiscard", testRun.Run, "TRACKED", "DISCARDED"))
		}
		return good(r)
	}
	client := newClient(t, a)
	ctx := spaceliftapi.WithRunMetadata(t.Context(), "run/acme/network-prod/01KDX\r\nX-Evil: 1")
	_, err := client.ConfirmRun(ctx, testRun, "")
	if err == nil {
		_, err = client.TriggerRun(ctx, "network-prod", spacelift.Trigger{})
	}
	if err == nil {
		_, err = client.CreateTask(ctx, "network-prod", "ls", false)
	}
	if err == nil {
		_, err = client.DiscardRun(ctx, testRun, "")
	}
	if err == nil {
		_, err = client.ConfirmRun(t.Context(), testRun, "")
	}
	if err != nil {
		t.Fatal(err)
	}
	const left = "run/acme/network-prod/01KDXX-Evil: 1"
	for i, want := range []string{left, left, left, "", ""} {
		r := a.requests[i]
		if got := r.header.Get(header); got != want {
			t.Errorf("%s: metadata %q, want %q", r.Operation, got, want)
		}
		if got := r.header.Get("User-Agent"); got != "gantry/test" {
			t.Errorf("%s: user agent %q", r.Operation, got)
		}
		if got := r.header.Get("Authorization"); got != "Bearer jwt-1" {
			t.Errorf("%s: authorization %q", r.Operation, got)
		}
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s %s was followed to, with Authorization %q", r.Method, r.URL, r.Header.Get("Authorization"))
	}))
	defer elsewhere.Close()
	a := &api{t: t, answer: func(request) reply {
		return reply{status: http.StatusMovedPermanently, header: map[string]string{"Location": elsewhere.URL}}
	}}
	server := httptest.NewServer(a)
	defer server.Close()
	client := newClient(t, nil, func(c *spaceliftapi.Config) { c.Endpoint, c.HTTPClient = server.URL, nil })
	if err := read(t.Context(), client); err == nil || !strings.Contains(err.Error(), "endpoint") {
		t.Errorf("got %v, want a hint at the endpoint", err)
	}
}

func TestObserveSeesEveryRequest(t *testing.T) {
	var mu sync.Mutex
	var calls []string
	a := &api{t: t, answer: func(r request) reply {
		if r.n == 0 {
			return reply{status: http.StatusTooManyRequests}
		}
		return good(r)
	}}
	client := newClient(t, a, func(c *spaceliftapi.Config) {
		c.Observe = func(call spaceliftapi.Call) {
			mu.Lock()
			defer mu.Unlock()
			calls = append(calls, fmt.Sprintf("%s mutation=%t %d failed=%t", call.Operation, call.Mutation, call.Status, call.Err != nil))
			if call.Took < 0 || call.Took > time.Minute {
				t.Errorf("%s took %s", call.Operation, call.Took)
			}
		}
	})
	if err := errors.Join(mutate(t.Context(), client), mutate(t.Context(), client)); err == nil {
		t.Fatal("the first one was not refused")
	}
	want := "APIKeyUser mutation=true 200 failed=false; RunConfirm mutation=true 429 failed=true; RunConfirm mutation=true 200 failed=false"
	if got := strings.Join(calls, "; "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestAWrongClockHereDoesNotMatter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Spacelift's clock is three hours behind ours: to us, its tokens end before
		// they begin.
		const ahead = -3 * time.Hour
		a := &api{t: t, life: ahead + time.Hour}
		dated := func(r reply) reply {
			r.header = map[string]string{"Date": time.Now().Add(ahead).UTC().Format(http.TimeFormat)}
			return r
		}
		a.exchange = func(n int, _, _ string) reply { return dated(a.jwt(n)) }
		a.answer = func(r request) reply { return dated(good(r)) }
		client := newClient(t, a)
		if _, known := client.ClockSkew(); known {
			t.Error("the skew is known before any answer")
		}
		for range 3 {
			if err := read(t.Context(), client); err != nil {
				t.Fatal(err)
			}
		}
		if n := a.exchanged(); n != 1 {
			t.Errorf("%d exchanges, want 1", n)
		}
		if skew, known := client.ClockSkew(); !known || (skew-ahead).Abs() > 2*time.Second {
			t.Errorf("skew %s (%t), want about %s", skew, known, ahead)
		}
	})
}
