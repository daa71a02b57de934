package server_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gantryhq/gantry/inbox/archive"
	"github.com/gantryhq/gantry/server"
	"github.com/gantryhq/gantry/spacelift"
)

// instantInbox stores nothing.
type instantInbox struct{ server.Inbox }

func (instantInbox) Accept(_ context.Context, d archive.Delivery, _ []byte) (archive.Delivery, error) {
	d.ID, d.Outcome = "01KDX4A7B3C5D7E9F1G3H5J7K9", archive.OutcomeAccepted
	return d, nil
}

// BenchmarkWebhook measures the handler without the network and the store, with
// the log level info as shipped.
func BenchmarkWebhook(b *testing.B) {
	log := slog.New(slog.NewJSONHandler(io.Discard, nil))
	handler, err := server.New(ordinary(), instantInbox{}, nil, prometheus.NewRegistry(), log)
	if err != nil {
		b.Fatal(err)
	}
	body, err := os.ReadFile("../openapi/examples/run_tracked_unconfirmed.json")
	if err != nil {
		b.Fatal(err)
	}
	header := http.Header{"Content-Type": {"application/json"}, spacelift.SignatureHeader: {spacelift.Sign([]byte(acmeSecret), body)}}
	w := &discardResponse{header: http.Header{}}
	in := bytes.NewReader(body)
	req := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "/webhook", nil)
	req.ContentLength = int64(len(body))
	b.ReportAllocs()
	for b.Loop() {
		in.Reset(body)
		clear(w.header)
		r := *req
		r.Body, r.Header = io.NopCloser(in), header
		handler.ServeHTTP(w, &r)
		if w.status != http.StatusAccepted {
			b.Fatal(w.status)
		}
	}
}

type discardResponse struct {
	header http.Header
	status int
}

func (w *discardResponse) Header() http.Header         { return w.header }
func (w *discardResponse) Write(p []byte) (int, error) { return len(p), nil }
func (w *discardResponse) WriteHeader(status int)      { w.status = status }
