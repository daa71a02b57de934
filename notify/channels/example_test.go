package channels_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/gantryhq/gantry/notify"
	"github.com/gantryhq/gantry/notify/channels"
)

// receive is the handler that docs/how-to/notifications.md shows.
func receive(secret string, handle func(id, kind string, data json.RawMessage) error) (http.HandlerFunc, error) {
	webhook, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		return nil, err
	}
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil {
			http.Error(w, "too long", http.StatusRequestEntityTooLarge)
			return
		}
		if err := webhook.Verify(body, r.Header); err != nil { // the raw body, before anything decodes it
			http.Error(w, "not signed by Gantry", http.StatusUnauthorized)
			return
		}
		var message struct {
			Type string
			Data json.RawMessage
		}
		if err := json.Unmarshal(body, &message); err != nil {
			http.Error(w, "not JSON", http.StatusBadRequest)
			return
		}
		if err := handle(r.Header.Get("webhook-id"), message.Type, message.Data); err != nil {
			http.Error(w, "try again later", http.StatusServiceUnavailable)
		}
	}, nil
}

func Example() {
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	handler, err := receive(secret, func(_, kind string, data json.RawMessage) error {
		var m notify.Message
		if err := json.Unmarshal(data, &m); err != nil {
			return err
		}
		fmt.Printf("%s: %s\n", kind, m.Title)
		return nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	receiver := httptest.NewServer(handler)
	defer receiver.Close()

	sender, err := channels.New([]channels.Channel{{
		Name: "#deploys", Kind: channels.Webhook, AllowPrivate: true, // the receiver is on this machine
		URL:    func() string { return receiver.URL },
		Secret: func() string { return secret },
	}}, channels.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sender.CloseIdleConnections()

	message := notify.Message{
		ID:    notify.MessageID(notify.RunEnded, "acme", "network", "01J8ZK3V5Q2N7M4R6T8W0Y1XAB", "17"),
		Type:  notify.RunEnded,
		At:    time.Date(2026, 11, 23, 9, 30, 0, 0, time.UTC),
		Title: "network: the run finished",
	}
	fmt.Println(sender.Send(context.Background(), "#deploys", message))

	// The type of an error decides whether to retry.
	err = sender.Send(context.Background(), "#nowhere", message)
	_, again := errors.AsType[*notify.UnavailableError](err)
	fmt.Println(err, again)
	// Output:
	// run.ended: network: the run finished
	// <nil>
	// unknown notification channel "#nowhere" false
}
