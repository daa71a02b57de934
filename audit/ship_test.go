package audit_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gantryhq/gantry/audit"
)

func TestShippingResumes(t *testing.T) {
	var refuse atomic.Bool
	bodies := make(chan string, 10)
	attempts := make(chan string, 10)
	send := func(_ context.Context, id string, lines []byte) error {
		attempts <- id
		if refuse.Load() {
			return errors.New("503")
		}
		bodies <- string(lines)
		return nil
	}
	dir := t.TempDir()
	l := open(t, audit.Options{Dir: dir})
	record(t, l, "1", "2")
	ship := func(l *audit.Log) (stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- l.Ship(ctx, send) }()
		return func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	stop := ship(l)
	if body := <-bodies; strings.Count(body, "\n") != 2 || <-attempts != "a-1-2" {
		t.Errorf("first batch: %s; want two entries, named a-1-2", body)
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
