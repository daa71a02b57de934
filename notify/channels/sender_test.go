package channels_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gantryhq/gantry/notify"
	"github.com/gantryhq/gantry/notify/channels"
)

func TestWebhookAnswers(t *testing.T) {
	for status, want := range map[int]string{
		200: "sent", 201: "sent", 202: "sent", 204: "sent", 299: "sent",
		304: "refused", 400: "refused", 401: "refused", 403: "refused", 404: "refused", 409: "refused", 410: "refused", 422: "refused", 499: "refused",
		408: "unavailable", 425: "unavailable", 429: "unavailable", 500: "unavailable", 502: "unavailable", 503: "unavailable", 504: "unavailable",
	} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			r := newReceiver(t, answer(status, ""))
			err := r.sender(t, channels.Webhook).Send(t.Context(), "it", decision())
			if want != "sent" {
				want += " with status " + strconv.Itoa(status)
			}
			if got := outcome(err); got != want {
				t.Errorf("got %s (%v), want %s", got, err, want)
			}
			r.one(t) // Send never retries
		})
	}
}

func TestGoneIsExplained(t *testing.T) {
	r := newReceiver(t, answer(http.StatusGone, ""))
	err := r.sender(t, channels.Webhook).Send(t.Context(), "it", decision())
	want := `channel "it" refused the message with status 410: the receiver is gone and wants no more messages; remove the channel or set its new URL`
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestRetryAfter(t *testing.T) {
	for _, kind := range []channels.Kind{channels.Slack, channels.Webhook} {
		for header, want := range map[string]time.Duration{
			"":                     0,
			"30":                   30 * time.Second,
			" 7 ":                  7 * time.Second,
			"0":                    0,
			"-5":                   0,
			"1.5":                  0,
			"soon":                 0,
			"999999":               time.Hour, // no message should wait for as long as a target likes
			"99999999999999999999": 0,
			sent.Add(90 * time.Second).Format(http.TimeFormat): 90 * time.Second,
			sent.Add(-time.Minute).Format(http.TimeFormat):     0,
			sent.AddDate(1, 0, 0).Format(http.TimeFormat):      time.Hour,
		} {
			for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
				r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Retry-After", header)
					w.WriteHeader(status)
				})
				err := r.sender(t, kind).Send(t.Context(), "it", decision())
				unavailable, ok := errors.AsType[*notify.UnavailableError](err)
				if !ok || unavailable.RetryAfter != want {
					t.Errorf("%s, status %d, Retry-After %q: got %v, want a retry in %s", kind, status, header, err, want)
				}
			}
		}
	}
}

func TestInvalidMessages(t *testing.T) {
	r := newReceiver(t, answer(http.StatusOK, "ok"))
	for _, tt := range []struct {
		name   string
		change func(*notify.Message)
		want   string
	}{
		{"id", func(m *notify.Message) { m.ID = "" }, "the message has no id"},
		{"long id", func(m *notify.Message) { m.ID = strings.Repeat("x", 129) }, "the message has an id of more than 128 characters"},
		{"id with a full stop", func(m *notify.Message) { m.ID = "msg.1" }, "the message has an id with other characters than letters, digits, _ and -"},
		{"id with a header", func(m *notify.Message) { m.ID = "a\r\nX-Evil: 1" }, "the message has an id with other characters than letters, digits, _ and -"},
		{"type", func(m *notify.Message) { m.Type = "" }, "the message has no type"},
		{"type with space", func(m *notify.Message) { m.Type = "run ended" }, "the message has a type with other characters than letters, digits, _ and full stops"},
		{"time", func(m *notify.Message) { m.At = time.Time{} }, "the message has no time"},
		{"far time", func(m *notify.Message) { m.At = happened.AddDate(9000, 0, 0) }, "the message has a time outside the years 0 to 9999"},
		{"title", func(m *notify.Message) { m.Title = " \n\u202e" }, "the message has no title"},
		{"urgency", func(m *notify.Message) { m.Urgency = "panic" }, "the message has an unknown urgency"},
	} {
		for _, kind := range []channels.Kind{channels.Slack, channels.Webhook} {
			m := decision()
			tt.change(&m)
			err := r.sender(t, kind).Send(t.Context(), "it", m)
			if _, ok := errors.AsType[*notify.InvalidMessageError](err); !ok || err.Error() != tt.want {
				t.Errorf("%s: got %v, want an InvalidMessageError: %s", tt.name, err, tt.want)
			}
		}
	}
	if n := len(r.received()); n != 0 {
		t.Errorf("%d of them were sent", n)
	}
}

// TestNetworkFailures checks that every failure is temporary, and that no error
// holds the channel's URL, though the receiver repeats it wherever it can.
func TestNetworkFailures(t *testing.T) {
	raw := func(bytes string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = conn.Close() }()
			_, _ = io.WriteString(conn, bytes)
		}
	}
	tests := []struct {
		name   string
		answer http.HandlerFunc
		change func(*channels.Channel, *channels.Options)
		want   string // in the error
	}{
		{name: "closed without an answer", answer: raw(""), want: "the connection was closed without an answer"},
		{name: "not HTTP", answer: raw("SSH-2.0-" + slackPath + "\r\n\r\n"), want: "the answer is not HTTP"},
		{name: "a header without end", answer: raw("HTTP/1.1 200 " + strings.Repeat(slackPath, 10_000)), want: "the answer is not HTTP"},
		{name: "an answer that breaks off", answer: raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\no"), want: "it answered with status 200: the connection was closed"},
		{name: "an unknown certificate", answer: answer(200, "ok"), want: "failed to verify certificate",
			change: func(_ *channels.Channel, o *channels.Options) { o.RootCAs = x509.NewCertPool() }},
		{name: "no answer in time", answer: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, want: "no answer within 50ms",
			change: func(_ *channels.Channel, o *channels.Options) { o.Timeout = 50 * time.Millisecond }},
		{name: "half an answer in time", want: "no answer within 50ms",
			answer: func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(http.StatusOK)
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
			},
			change: func(_ *channels.Channel, o *channels.Options) { o.Timeout = 50 * time.Millisecond }},
		{name: "an unknown host", answer: answer(200, "ok"), want: "lookup hooks.example.com",
			change: func(c *channels.Channel, o *channels.Options) {
				c.URL = text("https://hooks.example.com" + slackPath)
				o.Resolver = (&resolver{}).resolver(t)
			}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newReceiver(t, tt.answer)
			var change []func(*channels.Channel, *channels.Options)
			if tt.change != nil {
				change = append(change, tt.change)
			}
			err := r.sender(t, channels.Slack, change...).Send(t.Context(), "it", decision())
			if _, ok := errors.AsType[*notify.UnavailableError](err); !ok {
				t.Fatalf("got %v, want an UnavailableError", err)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want it to contain %q", err, tt.want)
			}
			if strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), "T0000") {
				t.Errorf("the error holds the URL: %v", err)
			}
		})
	}
}

func TestConnectionRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	s, err := channels.New([]channels.Channel{{Name: "it", Kind: channels.Slack, URL: text("http://" + l.Addr().String() + slackPath), AllowPrivate: true}}, channels.Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = s.Send(t.Context(), "it", decision())
	if got, want := outcome(err), "unavailable with status 0"; got != want || !strings.Contains(err.Error(), "connection refused") || strings.Contains(err.Error(), "hush") {
		t.Errorf("got %s (%v), want %s, connection refused", got, err, want)
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	r := httptest.NewUnstartedServer(answer(http.StatusOK, "ok"))
	r.Config.ErrorLog = log.New(io.Discard, "", 0)
	r.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	r.StartTLS()
	defer r.Close()
	s, err := channels.New([]channels.Channel{{Name: "it", Kind: channels.Slack, URL: text(r.URL + slackPath), AllowPrivate: true}},
		channels.Options{RootCAs: r.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs})
	if err != nil {
		t.Fatal(err)
	}
	err = s.Send(t.Context(), "it", decision())
	if got, want := outcome(err), "unavailable with status 0"; got != want || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("got %s (%v), want %s because of the protocol version", got, err, want)
	}
}

// TestAnEndlessAnswerIsNotRead has a receiver that writes as long as Gantry reads: a
// Send that read all of it would never return.
func TestAnEndlessAnswerIsNotRead(t *testing.T) {
	for kind, want := range map[channels.Kind]string{channels.Slack: "refused with status 200", channels.Webhook: "sent"} {
		r := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
			for {
				if _, err := w.Write(bytes.Repeat([]byte("ok "), 1000)); err != nil {
					return
				}
			}
		})
		err := r.sender(t, kind).Send(t.Context(), "it", decision())
		if got := outcome(err); got != want {
			t.Errorf("%s: got %s (%v), want %s", kind, got, err, want)
		}
	}
}

// TestContextEndsASend checks that a canceled context isn't reported as an
// unavailable channel.
func TestContextEndsASend(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r := newReceiver(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	err := r.sender(t, channels.Webhook).Send(ctx, "it", decision())
	if !errors.Is(err, context.Canceled) || outcome(err) != "another error" {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

// TestUnreadableSettings checks that a message isn't lost while a secret file is
// being replaced.
func TestUnreadableSettings(t *testing.T) {
	r := newReceiver(t, answer(http.StatusOK, ""))
	address, signing := r.URL+slackPath, secret
	s := r.sender(t, channels.Webhook, func(c *channels.Channel, _ *channels.Options) {
		c.URL = func() string { return address }
		c.Secret = func() string { return signing }
	})
	send := func(wantError string) {
		t.Helper()
		err := s.Send(t.Context(), "it", decision())
		if wantError == "" && err == nil {
			return
		}
		if _, ok := errors.AsType[*notify.UnavailableError](err); !ok || err.Error() != wantError {
			t.Errorf("got %v, want an UnavailableError: %s", err, wantError)
		}
	}
	send("")
	signing = ""
	send(`channel "it" is unavailable: it has no signing secret`)
	signing, address = secret, ""
	send(`channel "it" is unavailable: it has no URL`)
	address = r.URL + "/new"
	send("")
}

func TestConcurrentSends(t *testing.T) {
	r := newReceiver(t, answer(http.StatusOK, ""))
	s := r.sender(t, channels.Webhook)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			m := decision()
			m.ID = notify.MessageID(strconv.Itoa(i))
			if err := s.Send(t.Context(), "it", m); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	seen := map[string]bool{}
	for _, got := range r.received() {
		seen[got.Header.Get("webhook-id")] = true
		if err := verifier(t, secret).VerifyIgnoringTimestamp(got.Body, got.Header); err != nil {
			t.Error(err)
		}
	}
	if len(seen) != 20 {
		t.Errorf("%d different messages arrived, want 20", len(seen))
	}
}
