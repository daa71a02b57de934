package activities_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.temporal.io/sdk/temporal"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/notify"
	"github.com/gantryhq/gantry/notify/channels"
)

var message = notify.Message{ID: "msg_1", Type: notify.RunDecisionNeeded, At: noon, Title: "A plan waits."}

// notifier answers every message with an error.
type notifier struct {
	err  error
	sent []string
	last notify.Message
}

func (c *notifier) Send(_ context.Context, channel string, m notify.Message) error {
	c.sent, c.last = append(c.sent, channel+" "+m.ID), m
	return c.err
}

func TestNotify(t *testing.T) {
	for _, tc := range []struct {
		name  string
		err   error
		fails bool
		final bool
		delay time.Duration
	}{
		{name: "sent"},
		{name: "no such channel", err: &notify.UnknownChannelError{Channel: "deploys"}, fails: true, final: true},
		{name: "refused", err: fmt.Errorf("send: %w", &notify.RefusedError{Channel: "deploys", Status: 410}), fails: true, final: true},
		{name: "blocked", err: &notify.BlockedAddressError{Channel: "deploys", Address: netip.MustParseAddr("10.0.0.1")}, fails: true, final: true},
		{name: "no title", err: &notify.InvalidMessageError{Reason: "has no title"}, fails: true, final: true},
		{name: "away", err: &notify.UnavailableError{Channel: "deploys", Status: 503}, fails: true},
		{name: "busy", err: &notify.UnavailableError{Channel: "deploys", Status: 429, RetryAfter: time.Minute}, fails: true, delay: time.Minute},
		{name: "canceled", err: context.Canceled, fails: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			to := &notifier{err: tc.err}
			err := (&activities.Activities{Notifier: to}).Notify(t.Context(), activities.NotifyInput{Channel: "deploys", Message: message})
			if diff := cmp.Diff([]string{"deploys msg_1"}, to.sent); diff != "" {
				t.Errorf("sent (-want +got):\n%s", diff)
			}
			if (err != nil) != tc.fails || nonRetryable(err) != tc.final {
				t.Errorf("%v, final: %t", err, nonRetryable(err))
			}
			app, _ := errors.AsType[*temporal.ApplicationError](err)
			if tc.final && app.Type() != activities.ErrTypeUndeliverable {
				t.Errorf("the type is %s", app.Type())
			}
			if app != nil && app.NextRetryDelay() != tc.delay || app == nil && tc.delay > 0 {
				t.Errorf("%v, want to come back in %s", err, tc.delay)
			}
		})
	}
}

// Through the real sender, to a channel that answers.
func TestNotifyArrives(t *testing.T) {
	got := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r.Header.Get("webhook-id") }))
	t.Cleanup(server.Close)
	sender, err := channels.New([]channels.Channel{{
		Name: "deploys", Kind: channels.Webhook, AllowPrivate: true, URL: func() string { return server.URL },
		Secret: func() string { return "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" },
	}}, channels.Options{})
	if err != nil {
		t.Fatal(err)
	}
	a := &activities.Activities{Notifier: sender}
	if err := a.Notify(t.Context(), activities.NotifyInput{Channel: "deploys", Message: message}); err != nil {
		t.Fatal(err)
	}
	if id := <-got; id != message.ID {
		t.Errorf("message %q arrived", id)
	}
	if err := a.Notify(t.Context(), activities.NotifyInput{Channel: "nowhere", Message: message}); !nonRetryable(err) {
		t.Errorf("%v, want it to be final", err)
	}
}

func TestNotifyWithoutChannels(t *testing.T) {
	if err := (&activities.Activities{}).Notify(t.Context(), activities.NotifyInput{Channel: "deploys", Message: message}); !nonRetryable(err) {
		t.Errorf("%v, want it to be final", err)
	}
}

// Every message links to the page of what it is about, once Gantry knows its own address.
func TestMessagesLinkToGantry(t *testing.T) {
	const gantry = "https://gantry.example.com"
	run := gantry + "/accounts/acme/stacks/network/runs/01A"
	for _, tc := range []struct{ kind, run, text, url string }{
		{notify.RunDecisionNeeded, "01A", "Approve or reject", run},
		{notify.RunReminder, "01A", "Approve or reject", run},
		{notify.RunDecided, "01A", "Open in Gantry", run},
		{notify.RunEnded, "01A", "Open in Gantry", run},
		{notify.ChainHeld, "01A", "Open in Gantry", run + "/chain"},
		{notify.AccountFinding, "", "Open in Gantry", gantry + "/health"},
	} {
		m := notify.Message{ID: "msg_1", Type: tc.kind, At: noon, Title: "x", Account: "acme", Stack: "network", Run: tc.run}
		for pages, want := range map[decide.Pages][]notify.Link{gantry: {{Text: tc.text, URL: tc.url}}, "": nil} {
			to := &notifier{}
			if err := (&activities.Activities{Notifier: to, Pages: pages}).Notify(t.Context(), activities.NotifyInput{Channel: "deploys", Message: m}); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, to.last.Links); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.kind, diff)
			}
		}
	}
}
