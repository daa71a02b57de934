package health

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestOnly200IsHealthy(t *testing.T) {
	for status, healthy := range map[int]bool{
		http.StatusOK: true, http.StatusNoContent: false, http.StatusServiceUnavailable: false, http.StatusNotFound: false,
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			if status != http.StatusNoContent {
				_, _ = w.Write([]byte("disk full"))
			}
		}))
		answer, err := Ask(t.Context(), srv.URL)
		srv.Close()
		switch {
		case healthy && (err != nil || answer != "disk full"):
			t.Errorf("%d: %q, %v", status, answer, err)
		case !healthy && (err == nil || !strings.Contains(err.Error(), http.StatusText(status))):
			t.Errorf("%d: %v", status, err)
		}
	}
	if _, err := Ask(t.Context(), "http://127.0.0.1:1/readyz"); err == nil {
		t.Error("nothing listens, and that is healthy")
	}
}

// Proxies are for other machines: a health check must not use one.
func TestProxiesAreNotAsked(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	srv := httptest.NewServer(http.NotFoundHandler())
	defer srv.Close()
	if _, err := Ask(t.Context(), srv.URL); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("%v, want the server's own 404", err)
	}
}

func TestAwaitAsksUntilItIsWell(t *testing.T) {
	sick := errors.New("sick")
	for _, tt := range []struct {
		name   string
		wait   time.Duration
		wellAt int // at which question
		asked  int
		says   string
	}{
		{name: "immediately", wellAt: 1, asked: 1},
		{name: "no patience", wellAt: 2, asked: 1, says: "sick"},
		{name: "later", wait: time.Minute, wellAt: 3, asked: 3},
		{name: "too late", wait: 900 * time.Millisecond, wellAt: 100, asked: 4, says: "not within 900ms: sick"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked := 0
				err := Await(t.Context(), tt.wait, func(context.Context) error {
					if asked++; asked < tt.wellAt {
						return sick
					}
					return nil
				})
				if tt.says == "" && err != nil || tt.says != "" && (err == nil || err.Error() != tt.says) || asked != tt.asked {
					t.Errorf("asked %d times: %v", asked, err)
				}
			})
		})
	}
}

func TestLocal(t *testing.T) {
	for listen, want := range map[string]string{
		"0.0.0.0:8080": "127.0.0.1:8080", ":8080": "127.0.0.1:8080", "[::]:8080": "127.0.0.1:8080",
		"127.0.0.1:1": "127.0.0.1:1", "10.0.0.7:80": "10.0.0.7:80", "gantry:80": "gantry:80", "8080": "",
	} {
		if got, err := Local(listen); got != want || (want == "") != (err != nil) {
			t.Errorf("%s: %q, %v", listen, got, err)
		}
	}
}
