package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/notify"
	"github.com/gantryhq/gantry/notify/channels"
)

// The page shows what Gantry's own sender sends, as Slack would: newest first, with links
// and dates, and what others wrote as text.
func TestMessagesPage(t *testing.T) {
	s := httptest.NewServer(&slack{})
	t.Cleanup(s.Close)
	if page := page(t, s.URL); !strings.Contains(page, "No message has arrived") {
		t.Errorf("empty: %s", page)
	}
	sender, err := channels.New([]channels.Channel{{Name: "lab", Kind: channels.Slack, URL: func() string { return s.URL + "/messages" }, AllowPrivate: true}}, channels.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i, title := range []string{"the first", "<script>alert(1)</script> <!channel> & more"} {
		m := notify.Message{
			ID: "msg_1", Type: notify.RunDecisionNeeded, At: time.Date(2026, 11, 28, 23, 32, 0, 0, time.UTC).Add(time.Duration(i) * time.Minute), Title: title,
			Text: "[x](https://evil.test) <https://evil.test|bank>", URL: "https://acme.app.spacelift.io/run?a=1&b=2", Urgency: notify.Action,
			Links: []notify.Link{{Text: "Approve or reject", URL: "http://127.0.0.1:8080/accounts/acme"}}, Facts: []notify.Fact{{Name: "Plan", Value: "+0 ~0 -9"}},
		}
		if err := sender.Send(t.Context(), "lab", m); err != nil {
			t.Fatal(err)
		}
	}
	got := page(t, s.URL)
	for _, want := range []string{
		"✋ &lt;script&gt;alert(1)&lt;/script&gt; &lt;!channel&gt; &amp; more", "&lt;https://evil.test|bank&gt;", "Plan: &#43;0 ~0 -9", "28 Nov 23:33 UTC",
		`<a href="http://127.0.0.1:8080/accounts/acme" rel="noreferrer">Approve or reject</a>`, `<a href="https://acme.app.spacelift.io/run?a=1&amp;b=2" rel="noreferrer">Open in Spacelift</a>`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("it lacks %s:\n%s", want, got)
		}
	}
	if strings.Contains(got, `href="https://evil.test`) || strings.Index(got, "alert(1)") > strings.Index(got, "the first") {
		t.Errorf("it shows\n%s", got)
	}
}

// Slack refuses what is no message, and so does the lab.
func TestMessagesThatSlackWouldRefuse(t *testing.T) {
	for _, body := range []string{"", "{}", "[]", `{"blocks":"x"}`, strings.Repeat(" ", maxMessage+1)} {
		w := httptest.NewRecorder()
		new(slack).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/messages", strings.NewReader(body)))
		if w.Code != http.StatusBadRequest {
			t.Errorf("%.20q is answered with %d", body, w.Code)
		}
	}
}

func page(t *testing.T, address string) string {
	t.Helper()
	w := httptest.NewRecorder()
	res, err := http.Get(address) //nolint:noctx // of this test's own server
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if err := res.Write(w); err != nil {
		t.Fatal(err)
	}
	return w.Body.String()
}
