package main

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/web"
)

// Targets of the page Waiting.
const (
	waitingTime  = 100 * time.Millisecond
	waitingBytes = 150 << 10
)

// waiting loads the page Waiting with 500 runs over an API that has its answers ready. It
// takes in reading the answers, rendering and compressing.
func (b *bench) waiting(ctx context.Context) error {
	handler, err := waitingPages(500)
	if err != nil {
		return err
	}
	load := func(path string) (*httptest.ResponseRecorder, time.Duration) {
		req := httptest.NewRequestWithContext(ctx, http.MethodGet, path, nil)
		req.Header.Set("Accept-Encoding", "gzip")
		w := httptest.NewRecorder()
		began := time.Now()
		handler.ServeHTTP(w, req)
		return w, time.Since(began)
	}
	var times []time.Duration
	var page *httptest.ResponseRecorder
	for range 50 {
		w, took := load("/?show=all")
		page, times = w, append(times, took)
	}
	slices.Sort(times)
	total := page.Body.Len()
	zip, err := gzip.NewReader(page.Body)
	if err != nil {
		return fmt.Errorf("read the page: %w", err)
	}
	html, err := io.ReadAll(zip)
	if err != nil {
		return fmt.Errorf("read the page: %w", err)
	}
	assets := regexp.MustCompile(`(?:href|src)="\.(/assets/[^"]+)"`).FindAllSubmatch(html, -1)
	if len(assets) < 5 {
		return errors.New("the page loads no assets")
	}
	loaded := map[string]bool{}
	for _, a := range assets {
		if address := string(a[1]); !loaded[address] {
			loaded[address] = true
			w, _ := load(address)
			total += w.Body.Len()
		}
	}
	median := times[len(times)/2]
	fmt.Printf("server time      median %s, slowest %s   target < %s   %s\n", round(median), round(times[len(times)-1]), waitingTime, verdict(median < waitingTime))
	fmt.Printf("first load       %d KB with all assets, compressed   target < %d KB   %s\n", total>>10, waitingBytes>>10, verdict(total < waitingBytes))
	return nil
}

// waitingPages returns pages over an API where a number of runs wait.
func waitingPages(n int) (http.Handler, error) {
	at := time.Now().Add(-time.Hour)
	runs := make([]api.RunSummary, n)
	for i := range runs {
		runs[i] = api.RunSummary{
			Account: "acme", Stack: fmt.Sprintf("service-%03d-prod", i), Run: fmt.Sprintf("01M8J7QT000000000000%06d", i), Type: "TRACKED", State: "UNCONFIRMED",
			StateVersion: new(5), Phase: api.PhaseWaiting, CanDecide: []api.Verdict{api.VerdictApprove, api.VerdictReject}, StartedAt: at,
			WaitingFor: &api.WaitingFor{What: "person", Since: at, Reason: fmt.Sprintf("the plan (+%d ~0 -2) deletes 2 resources; 0 of 1 approval: nobody has approved yet", i)},
			Approvals:  &api.Approvals{Needed: 1, Decided: []api.Decided{}}, Delta: &api.Delta{Added: i, Deleted: 2},
			Commit: &api.Commit{Hash: new(fmt.Sprintf("%040x", i)), Message: new(fmt.Sprintf("Change number %d", i)), AuthorLogin: new("jdoe")},
			Resources: &api.PlannedResources{StateVersion: 5, Total: 2, Deletes: new(2), First: []api.Resource{
				{Address: fmt.Sprintf("module.service.aws_db_instance.main[%d]", i), Change: "delete"}, {Address: fmt.Sprintf("module.service.aws_subnet.private[%d]", i), Change: "delete"},
			}},
		}
	}
	answers := map[string][]byte{}
	for _, a := range []struct {
		path  string
		value any
	}{
		{"me", api.Caller{Name: "carol", Groups: []string{"platform"}, How: "session", Credential: "sso", Grants: []api.Grant{{Role: "approver"}}}},
		{"runs/counts", api.RunCounts{Waiting: n, CanDecide: n}}, {"runs", api.RunList{Runs: runs[:50], NextPageToken: new("2")}},
	} {
		body, err := json.Marshal(a.value)
		if err != nil {
			return nil, fmt.Errorf("prepare the API's answers: %w", err)
		}
		answers[a.path] = body
	}
	return web.New(web.Config{Log: slog.New(slog.DiscardHandler), API: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := answers[strings.TrimPrefix(r.URL.Path, "/v1/")]
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body)
	})})
}
