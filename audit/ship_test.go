package audit_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gantryhq/gantry/audit"
)

func TestShippingResumes(t *testing.T) {
	var refuse atomic.Bool
	bodies := make(chan string, 10)
	attempts := make(chan string, 10)
	sink := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		attempts <- r.Header.Get("Signature-Of")
		if refuse.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		bodies <- string(body)
	}))
	defer sink.Close()
	to := audit.Shipment{URL: sink.URL, Client: sink.Client(), Sign: func(h http.Header, id string, _ time.Time, _ []byte) error {
		h.Set("Signature-Of", id)
		return nil
	}}
	dir := t.TempDir()
	l := open(t, audit.Options{Dir: dir})
	record(t, l, "1", "2")
	ship := func(l *audit.Log) (stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- l.Ship(ctx, to) }()
		return func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	stop := ship(l)
	if body := <-bodies; strings.Count(body, "\n") != 2 || <-attempts != "a-1-2" {
		t.Errorf("first batch: %s; want two entries, signed as a-1-2", body)
	}
	refuse.Store(true)
	record(t, l, "3")
	if id := <-attempts; id != "a-3-3" {
		t.Errorf("second batch: %s, want a-3-3", id)
	}
	stop()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	refuse.Store(false)
	l = open(t, audit.Options{Dir: dir})
	defer ship(l)()
	body := <-bodies
	if report, err := audit.VerifyStream("batch", strings.NewReader(body)); err != nil || report.First != 3 || report.Entries != 1 || len(report.Problems) > 0 {
		t.Errorf("batch after a restart: %+v, %v; want entry 3 alone", report, err)
	}
}
