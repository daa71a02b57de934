package rig

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync/atomic"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/gantryhq/gantry/e2e/schedules/history"
)

// Receiver receives Gantry's notifications.
type Receiver struct {
	history *history.Writer
	webhook *standardwebhooks.Webhook
	url     string
	down    atomic.Bool
}

func newReceiver(h *history.Writer) *Receiver {
	webhook, err := standardwebhooks.NewWebhook(channelSecret)
	if err != nil {
		panic(err) // the secret is a constant
	}
	return &Receiver{history: h, webhook: webhook}
}

// Fail makes the receiver answer every message with 503, or not any more.
func (r *Receiver) Fail(on bool) { r.down.Store(on) }

// ServeHTTP implements http.Handler.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	began := r.history.Now()
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, 1<<20))
	format, channel, _ := strings.Cut(strings.TrimPrefix(req.URL.Path, "/"), "/")
	m := &history.Message{Channel: channel, Format: format, Status: http.StatusOK, ID: req.Header.Get("webhook-id"), Body: history.RawOf(body)}
	switch {
	case err != nil:
		return // a sender that was killed
	case r.down.Load():
		m.Status = http.StatusServiceUnavailable
	case format == "webhook":
		m.Signed = r.webhook.Verify(body, req.Header) == nil
	}
	var message struct {
		Type string
		Data struct{ Stack, Run, State string }
	}
	if format == "webhook" && json.Unmarshal(body, &message) == nil {
		m.Type, m.Stack, m.Run, m.State = message.Type, message.Data.Stack, message.Data.Run, message.Data.State
	}
	w.WriteHeader(m.Status)
	r.history.AddSince(began, history.Record{Schedule: history.ScheduleOf(m.Stack), Message: m})
}
