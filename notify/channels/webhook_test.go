package channels_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/gantryhq/gantry/notify"
	"github.com/gantryhq/gantry/notify/channels"
)

func TestWebhookBody(t *testing.T) {
	r := newReceiver(t, answer(http.StatusNoContent, ""))
	if err := r.sender(t, channels.Webhook).Send(t.Context(), "it", decision()); err != nil {
		t.Fatal(err)
	}
	got := r.one(t)
	golden(t, "webhook_decision.json", got.Body)
	for name, want := range map[string]string{
		"Content-Type":      "application/json; charset=utf-8",
		"User-Agent":        "gantry",
		"Webhook-Id":        "msg_0123456789abcdef",
		"Webhook-Timestamp": strconv.FormatInt(sent.Unix(), 10), // of the attempt, not of the message
	} {
		if have := got.Header.Get(name); have != want {
			t.Errorf("header %s is %q, want %q", name, have, want)
		}
	}
}

func TestWebhookBodyOfAShortMessage(t *testing.T) {
	r := newReceiver(t, answer(http.StatusOK, ""))
	err := r.sender(t, channels.Webhook).Send(t.Context(), "it", notify.Message{
		ID: notify.MessageID("account.finding", "acme", "webhook-disabled"), Type: notify.AccountFinding,
		At:    happened.In(time.FixedZone("CET", 3600)), // sent in UTC
		Title: "Spacelift switched the webhook off",
	})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "webhook_finding.json", r.one(t).Body)
}

func TestLinesAreSigned(t *testing.T) {
	r := newReceiver(t, answer(http.StatusOK, ""))
	s := r.sender(t, channels.Webhook, func(_ *channels.Channel, o *channels.Options) { o.Now = time.Now })
	if err := s.SendLines(t.Context(), "it", "gantry-0-1-2", []byte("{}\n{}\n")); err != nil {
		t.Fatal(err)
	}
	got := r.one(t)
	if err := verifier(t, secret).Verify(got.Body, got.Header); err != nil {
		t.Errorf("the reference verifier: %v", err)
	}
	if string(got.Body) != "{}\n{}\n" || got.Header.Get("Content-Type") != "application/x-ndjson" || got.Header.Get("Webhook-Id") != "gantry-0-1-2" {
		t.Errorf("received %q with %v", got.Body, got.Header)
	}
}

func TestSlackTakesNoLines(t *testing.T) {
	r := newReceiver(t, answer(http.StatusOK, "ok"))
	if err := r.sender(t, channels.Slack).SendLines(t.Context(), "it", "id", []byte("{}\n")); err == nil {
		t.Error("no error")
	}
}

// TestSignaturesPassTheReferenceVerifier verifies our webhooks with the
// specification's own library, under each of the secrets.
func TestSignaturesPassTheReferenceVerifier(t *testing.T) {
	tests := []struct {
		name, secrets string
		accepted      []string
		refused       []string
	}{
		{"one secret", secret, []string{secret}, []string{newSecret}},
		{"without its prefix", strings.TrimPrefix(secret, "whsec_"), []string{secret}, []string{newSecret}},
		{"both, while the receiver goes from one to the other", secret + " " + newSecret + "\n", []string{secret, newSecret}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newReceiver(t, answer(http.StatusOK, ""))
			s := r.sender(t, channels.Webhook, func(c *channels.Channel, o *channels.Options) {
				c.Secret = text(tt.secrets)
				o.Now = time.Now // the verifier compares the timestamp with its clock
			})
			if err := s.Send(t.Context(), "it", decision()); err != nil {
				t.Fatal(err)
			}
			got := r.one(t)
			for _, known := range tt.accepted {
				if err := verifier(t, known).Verify(got.Body, got.Header); err != nil {
					t.Errorf("the reference verifier: %v", err)
				}
				if err := verifier(t, known).Verify(append(got.Body, ' '), got.Header); err == nil {
					t.Error("a changed body is accepted")
				}
			}
			for _, other := range tt.refused {
				if err := verifier(t, other).Verify(got.Body, got.Header); err == nil {
					t.Error("a secret we don't know is accepted")
				}
			}
		})
	}
}

func verifier(t *testing.T, secret string) *standardwebhooks.Webhook {
	t.Helper()
	v, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestARepeatIsRecognised checks that a repeat has the same id and body, and the
// time of the new attempt.
func TestARepeatIsRecognised(t *testing.T) {
	r := newReceiver(t, answer(http.StatusOK, ""))
	now := sent
	s := r.sender(t, channels.Webhook, func(_ *channels.Channel, o *channels.Options) { o.Now = func() time.Time { return now } })
	for range 2 {
		if err := s.Send(t.Context(), "it", decision()); err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Minute)
	}
	got := r.received()
	if len(got) != 2 {
		t.Fatalf("%d requests, want 2", len(got))
	}
	if string(got[0].Body) != string(got[1].Body) || got[0].Header.Get("webhook-id") != got[1].Header.Get("webhook-id") {
		t.Error("the repeat has another id or body")
	}
	if got[0].Header.Get("webhook-timestamp") == got[1].Header.Get("webhook-timestamp") {
		t.Error("the repeat has the first attempt's time")
	}
}

func TestSecretsAreReadForEachMessage(t *testing.T) {
	r := newReceiver(t, answer(http.StatusOK, ""))
	current := secret
	s := r.sender(t, channels.Webhook, func(c *channels.Channel, _ *channels.Options) { c.Secret = func() string { return current } })
	current = newSecret
	if err := s.Send(t.Context(), "it", decision()); err != nil {
		t.Fatal(err)
	}
	got := r.one(t)
	if err := verifier(t, newSecret).VerifyIgnoringTimestamp(got.Body, got.Header); err != nil {
		t.Error(err)
	}
}

func TestLongTextIsCutInWebhooks(t *testing.T) {
	r := newReceiver(t, answer(http.StatusOK, ""))
	m := decision()
	m.Text = strings.Repeat("a log line\n", 10_000)
	if err := r.sender(t, channels.Webhook).Send(t.Context(), "it", m); err != nil {
		t.Fatal(err)
	}
	if n := len(r.one(t).Body); n > 20_000 {
		t.Errorf("the body has %d bytes, more than the documented 20 KB", n)
	}
}
