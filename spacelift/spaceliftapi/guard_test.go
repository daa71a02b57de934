package spaceliftapi_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/spacelift/spaceliftapi"
)

const within = time.Second

// A mutation is sent within the limit after its check, or not at all, wherever
// the time is lost.
func TestAMutationWhoseCheckIsOldIsNotSent(t *testing.T) {
	for _, c := range []struct {
		name  string
		token time.Duration // how long the exchange of the API key takes
		check time.Duration // how old the check is when the mutation is asked for
		sent  bool
	}{
		{"right after the check", 0, 0, true},
		{"after as long as is allowed", 400 * time.Millisecond, 600 * time.Millisecond, true},
		{"the process was paused after the check", 0, 1001 * time.Millisecond, false},
		{"the token was long in coming", 2 * time.Second, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &api{t: t, answer: good}
				a.exchange = func(n int, _, _ string) reply {
					<-time.After(c.token) // fake time
					return a.jwt(n)
				}
				var calls []spaceliftapi.Call
				client := newClient(t, a, func(cfg *spaceliftapi.Config) { cfg.Observe = func(c spaceliftapi.Call) { calls = append(calls, c) } })
				checked := time.Now()
				<-time.After(c.check)
				err := mutate(spaceliftapi.WithCheck(t.Context(), checked, within), client)
				last := calls[len(calls)-1]
				if c.sent {
					if err != nil || last.CheckAge < c.check+c.token || last.CheckAge > within {
						t.Errorf("%v; the check was %s old", err, last.CheckAge)
					}
					wantSeen(t, a, "RunConfirm")
					return
				}
				if !errors.Is(err, spacelift.ErrStale) || errors.Is(err, spacelift.ErrAmbiguous) || last.CheckAge != 0 {
					t.Errorf("got %v (%s), want ErrStale alone", err, last.CheckAge)
				}
				for _, operation := range a.seen() {
					t.Errorf("%s was sent", operation)
				}
				if err := mutate(spaceliftapi.WithCheck(t.Context(), time.Now(), within), client); err != nil {
					t.Errorf("after another check: %v", err)
				}
			})
		})
	}
}

func TestReadsNeedNoCheck(t *testing.T) {
	a := &api{t: t, answer: good}
	if err := read(spaceliftapi.WithCheck(t.Context(), time.Now().Add(-time.Hour), within), newClient(t, a)); err != nil {
		t.Error(err)
	}
}

// Over a real connection that takes long to establish, no operation reaches the
// server.
func TestAStaleMutationDoesNotReachTheServer(t *testing.T) {
	a := &api{t: t, answer: good}
	server := httptest.NewServer(a)
	defer server.Close()
	slow := false
	client := newClient(t, &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			if slow {
				<-time.After(60 * time.Millisecond)
			}
			return conn, err
		},
	}, func(c *spaceliftapi.Config) { c.Endpoint = server.URL })
	if err := read(t.Context(), client); err != nil {
		t.Fatal(err)
	}
	slow = true
	err := mutate(spaceliftapi.WithCheck(t.Context(), time.Now(), 50*time.Millisecond), client)
	if !errors.Is(err, spacelift.ErrStale) || errors.Is(err, spacelift.ErrAmbiguous) {
		t.Errorf("got %v, want ErrStale alone", err)
	}
	wantSeen(t, a, "Viewer")
}
