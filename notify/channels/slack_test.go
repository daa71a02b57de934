package channels_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/gantryhq/gantry/notify"
	"github.com/gantryhq/gantry/notify/channels"
)

// slackBody is the part of a message that these tests check.
type slackBody struct {
	Text   string
	Blocks []struct {
		Type     string
		Text     *slackText
		Fields   []slackText
		Elements []slackText
	}
}

type slackText struct {
	Type, Text string
}

// post sends a message to Slack and returns the body that arrived.
func post(t *testing.T, m notify.Message) ([]byte, slackBody) {
	t.Helper()
	r := newReceiver(t, answer(http.StatusOK, "ok"))
	if err := r.sender(t, channels.Slack).Send(t.Context(), "it", m); err != nil {
		t.Fatal(err)
	}
	raw := r.one(t).Body
	var body slackBody
	if err := json.Unmarshal(raw, &body); err != nil {
		t.Fatal(err)
	}
	return raw, body
}

func TestSlackBody(t *testing.T) {
	raw, _ := post(t, decision())
	golden(t, "slack_decision.json", raw)
}

func TestSlackBodyOfAShortMessage(t *testing.T) {
	raw, _ := post(t, notify.Message{
		ID: "msg_1", Type: notify.AccountFinding, At: happened, Title: "Spacelift switched the webhook off", Urgency: notify.Alarm,
	})
	golden(t, "slack_finding.json", raw)
}

// TestSlackLimits covers every limit: Slack refuses a message of which one part is
// too long.
func TestSlackLimits(t *testing.T) {
	for name, filler := range map[string]string{"letters": "a", "entities": "&", "pairs of UTF-16": "🚀"} {
		t.Run(name, func(t *testing.T) {
			long := strings.Repeat(filler, 10_000)
			m := decision()
			m.Title, m.Text, m.StackName, m.State = long, long, long, long
			for i := range 60 {
				m.Facts = append(m.Facts, notify.Fact{Name: "Fact " + strconv.Itoa(i), Value: long})
				m.Links = append(m.Links, notify.Link{Text: long, URL: "https://example.com/" + strconv.Itoa(i)})
			}
			_, body := post(t, m)
			within := func(what string, got, limit int) {
				t.Helper()
				if got == 0 || got > limit {
					t.Errorf("%s: %d, want 1 to %d", what, got, limit)
				}
			}
			units := func(s string) int { return len(utf16.Encode([]rune(s))) }
			within("text", units(body.Text), 4000)
			within("blocks", len(body.Blocks), 50)
			for _, b := range body.Blocks {
				switch {
				case b.Type == "header":
					within("header", units(b.Text.Text), 150)
				case b.Text != nil:
					within("section", units(b.Text.Text), 3000)
				case b.Type == "section":
					within("fields", len(b.Fields), 10)
				}
				for _, f := range b.Fields {
					within("field", units(f.Text), 2000)
				}
				for _, e := range b.Elements {
					within("context", units(e.Text), 2000)
				}
			}
			last := body.Blocks[len(body.Blocks)-1].Elements
			if got, want := last[len(last)-1].Text, "26 more facts are not shown"; got != want {
				t.Errorf("the end is %q, want %q", got, want)
			}
		})
	}
}

// TestSlackLinks checks that only http addresses become links, and that no link is
// cut.
func TestSlackLinks(t *testing.T) {
	tests := []struct {
		name string
		link notify.Link
		want string
	}{
		{"plain", notify.Link{Text: "Explain", URL: "https://gantry.example.com/explain"}, "<https://gantry.example.com/explain|Explain>"},
		{"query", notify.Link{Text: "Explain", URL: "https://example.com/?a=1&b=2"}, "<https://example.com/?a=1&amp;b=2|Explain>"},
		{"text that ends the link", notify.Link{Text: "a> <!here>", URL: "https://example.com/"}, "<https://example.com/|a&gt; &lt;!here&gt;>"},
		{"URL that ends the link", notify.Link{Text: "a", URL: "https://example.com/?q=|b> <!here>"}, "<https://example.com/?q=%7Cb%3E%20%3C!here%3E|a>"},
		{"no text", notify.Link{URL: "https://example.com/x"}, "<https://example.com/x|example.com>"},
		{"script", notify.Link{Text: "click", URL: "javascript:alert(1)"}, "click"},
		{"no host", notify.Link{Text: "click", URL: "https:///x"}, "click"},
		{"a mention instead of a URL", notify.Link{Text: "click", URL: "!channel"}, "click"},
		{"too long", notify.Link{Text: "click", URL: "https://example.com/" + strings.Repeat("x", 4000)}, "click"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := decision()
			m.URL, m.Links = "", []notify.Link{tt.link}
			_, body := post(t, m)
			for _, b := range body.Blocks {
				if b.Text != nil && b.Text.Type == "mrkdwn" {
					if b.Text.Text != tt.want {
						t.Errorf("got %s, want %s", b.Text.Text, tt.want)
					}
					return
				}
			}
			t.Error("there is no block of links")
		})
	}
}

func TestSlackAnswers(t *testing.T) {
	refused := func(status int) string { return "refused with status " + strconv.Itoa(status) }
	unavailable := func(status int) string { return "unavailable with status " + strconv.Itoa(status) }
	tests := []struct {
		status int
		body   string
		want   string
	}{
		{200, "ok", "sent"},
		{200, "ok\n", "sent"},
		{200, "<html>Please sign in</html>", refused(200)},
		{200, "", refused(200)},
		{204, "", refused(204)},
		{400, "invalid_payload", refused(400)},
		{400, "something new", refused(400)},
		{403, "invalid_token", refused(403)},
		{403, "action_prohibited", refused(403)},
		{404, "channel_not_found", refused(404)},
		{404, "no_active_hooks", refused(404)},
		{404, "no_service", refused(404)},
		{410, "channel_is_archived", refused(410)},
		{500, "no_active_hooks", refused(500)}, // Slack's word counts for more than its status
		{500, "rollup_error", unavailable(500)},
		{503, "", unavailable(503)},
		{429, "rate_limited", unavailable(429)},
	}
	for _, tt := range tests {
		t.Run(strconv.Itoa(tt.status)+" "+tt.body, func(t *testing.T) {
			r := newReceiver(t, answer(tt.status, tt.body))
			err := r.sender(t, channels.Slack).Send(t.Context(), "it", decision())
			if got := outcome(err); got != tt.want {
				t.Errorf("got %s (%v), want %s", got, err, tt.want)
			}
		})
	}
}

func TestSlackRefusalIsExplained(t *testing.T) {
	r := newReceiver(t, answer(http.StatusNotFound, "no_active_hooks"))
	err := r.sender(t, channels.Slack).Send(t.Context(), "it", decision())
	want := `channel "it" refused the message with status 404: no_active_hooks: the webhook is disabled`
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// outcome returns an error of Send as one word.
func outcome(err error) string {
	if refused, ok := errors.AsType[*notify.RefusedError](err); ok {
		return "refused with status " + strconv.Itoa(refused.Status)
	}
	if unavailable, ok := errors.AsType[*notify.UnavailableError](err); ok {
		return "unavailable with status " + strconv.Itoa(unavailable.Status)
	}
	if err != nil {
		return "another error"
	}
	return "sent"
}
