package web_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/web"
	"github.com/gantryhq/gantry/web/webtest"
)

// However many pages are asked for in the same moment, few are made at the same time. If
// the API is slow, none of them waits for long.
func TestPagesAreMadeInTurns(t *testing.T) {
	for _, c := range []struct {
		api, whole  time.Duration // of one call, and of all pages
		most, least int64         // pages at the same time
	}{
		{10 * time.Millisecond, 2 * time.Second, 4, 4},
		{time.Minute, 4 * time.Minute, 200, 100},
	} {
		synctest.Test(t, func(t *testing.T) {
			var now, most atomic.Int64
			pages, err := web.New(web.Config{Log: slog.New(slog.DiscardHandler), API: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if n := now.Add(1); n > most.Load() {
					most.Store(n)
				}
				defer now.Add(-1)
				<-time.After(c.api)
				if r.URL.Path == "/v1/me" {
					webtest.Write(w, http.StatusOK, api.Caller{Name: "carol", Grants: []api.Grant{{Role: "approver"}}})
					return
				}
				webtest.Write(w, http.StatusOK, api.RunList{Runs: []api.RunSummary{}})
			})})
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			var all sync.WaitGroup
			for range 200 {
				all.Go(func() {
					w := httptest.NewRecorder()
					pages.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
					if w.Code != http.StatusOK {
						t.Errorf("%d %s", w.Code, w.Body)
					}
				})
			}
			all.Wait()
			if took := time.Since(began); took > c.whole {
				t.Errorf("with an API that takes %s, all pages took %s", c.api, took)
			}
			if n := most.Load(); n > c.most || n < c.least {
				t.Errorf("%d pages at the same time, want %d to %d", n, c.least, c.most)
			}
		})
	}
}
