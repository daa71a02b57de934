package channels

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/notify"
	"github.com/gantryhq/gantry/untrusted"
)

func TestEscape(t *testing.T) {
	tests := []struct {
		name, text string
		limit      int
		want       string
	}{
		{"nothing to do", "plan: +2 ~1 -1", 50, "plan: +2 ~1 -1"},
		{"mention of everybody", "<!channel> look", 50, "&lt;!channel&gt; look"},
		{"mention of a person", "<@U012AB3CD>", 50, "&lt;@U012AB3CD&gt;"},
		{"link", "<https://evil.example|your bank>", 80, "&lt;https://evil.example|your bank&gt;"},
		{"already escaped", "&lt;!channel&gt;", 50, "&amp;lt;!channel&amp;gt;"},
		{"hidden in invalid bytes", "<\xff!channel>", 50, "&lt;\uFFFD!channel&gt;"},
		{"hidden in control characters", "<\x00!chan\x1bnel>", 50, "&lt;\uFFFD!chan\uFFFDnel&gt;"},
		{"right to left", "approved \u202egnihton\u202c", 50, "approved \uFFFDgnihton\uFFFD"},
		{"lines", "a\r\nb\rc\u2028d\te", 50, "a\nb\nc\nd e"},
		{"just fits", "abcde", 5, "abcde"},
		{"cut", "abcdef", 5, "abcd…"},
		{"an entity is not cut", "ab<c", 5, "ab…"},
		{"an entity fits", "ab<cd", 7, "ab&lt;…"},
		{"a pair is not cut", "ab🚀cd", 4, "ab…"},
		{"only space", " \n\t ", 5, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, escape(tt.text, tt.limit)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

var unescape = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&")

// FuzzEscape checks that escaped text has no character that Slack parses, and that
// people read the text as written, or its beginning.
func FuzzEscape(f *testing.F) {
	for _, text := range []string{"", "plain", "<!channel>", "&lt;!here&gt;", "a&b<c>d", "🚀\u202e<@U1>\xff", "&&&&&&&&&&", "line\r\nline"} {
		f.Add(text, uint16(20))
		f.Add(text, uint16(3))
	}
	loose := regexp.MustCompile(`&(?:amp|lt|gt);`)
	f.Fuzz(func(t *testing.T, text string, limit uint16) {
		if limit == 0 {
			return // a limit has room for an "…"
		}
		got := escape(text, int(limit))
		if !utf8.ValidString(got) {
			t.Errorf("%q is not UTF-8", got)
		}
		if rest := loose.ReplaceAllString(got, ""); strings.ContainsAny(rest, "<>&") {
			t.Errorf("%q holds what Slack parses", got)
		}
		if length(got) > int(limit) {
			t.Errorf("%q has a length of %d, more than %d", got, length(got), limit)
		}
		shown, written := unescape.Replace(got), untrusted.Lines(text)
		if shown != written && !strings.HasPrefix(written, strings.TrimSuffix(shown, "…")) {
			t.Errorf("%q reads %q", written, shown)
		}
	})
}

// FuzzSlackMessage checks that Slack parses nothing in a message but our date and
// links to http addresses.
func FuzzSlackMessage(f *testing.F) {
	f.Add("title", "text", "name", "value", "link", "https://example.com/")
	f.Add("<!channel>", "<!here|x>", "<@U1>", "<#C1>", "<!subteam^S1>", "https://example.com/?<!channel>")
	f.Add("title", "text", "name", "value", "link", "https://example.com/?a\u2028b\u00a0c\u202e")
	f.Add("&lt;!channel&gt;", "*b* _i_ `c`\n> q", "a\nb", "c\x00d", "|<https://evil.example|ok>", "https://a.example|b> <!channel>")
	allowed := regexp.MustCompile("^<(?:https?://[^<>|\\s`]+\\|[^<>]+|!date\\^-?[0-9]+\\^\\{date_short_pretty\\} \\{time\\}\\|[-0-9: UTC]+)>$")
	parsed := regexp.MustCompile(`<[^>]*>?`)
	f.Fuzz(func(t *testing.T, title, text, name, value, linkText, linkURL string) {
		m := notify.Message{
			ID: "msg_1", Type: notify.RunFailed, At: time.Date(2026, 11, 23, 9, 30, 0, 0, time.UTC), Title: title, Text: text,
			Account: name, Stack: value, StackName: name, Run: text, State: value, URL: linkURL,
			Facts: []notify.Fact{{Name: name, Value: value}}, Links: []notify.Link{{Text: linkText, URL: linkURL}},
		}
		if validate(&m) != nil {
			return // Send refuses it
		}
		raw, err := encodeSlack(m)
		if err != nil {
			t.Fatal(err)
		}
		var body slackMessage
		if err := json.Unmarshal(raw, &body); err != nil {
			t.Fatal(err)
		}
		texts := []slackText{{Type: "plain_text", Text: body.Text}}
		for _, b := range body.Blocks {
			if b.Text != nil {
				texts = append(texts, *b.Text)
			}
			texts = append(append(texts, b.Fields...), b.Elements...)
		}
		for _, x := range texts {
			if x.Text == "" {
				t.Error("an empty text: Slack refuses the message")
			}
			for _, special := range parsed.FindAllString(x.Text, -1) {
				if x.Type != "mrkdwn" || !allowed.MatchString(special) {
					t.Errorf("%s in a %s text", special, x.Type)
				}
			}
		}
	})
}
