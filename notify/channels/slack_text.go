package channels

import (
	"strings"
	"unicode/utf16"

	"github.com/gantryhq/gantry/untrusted"
)

var slackEscapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// escape returns text that Slack shows as it was written, cut to a length.
// "<!channel>", "<@U012>" and "<https://evil.example|your bank>" stay plain letters:
// Slack parses nothing without a "<"
// (docs.slack.dev/messaging/formatting-message-text#escaping, for plain text and
// mrkdwn).
func escape(text string, limit int) string {
	return slackEscapes.Replace(untrusted.Cut(untrusted.Lines(text), limit, escapedLength))
}

// escapedLength counts an entity as a whole, so that none is cut.
func escapedLength(r rune) int { return length(slackEscapes.Replace(string(r))) }

// escapeURL percent-encodes the characters that would end a URL in mrkdwn's
// "<url|text>". url.URL.String leaves them in queries.
func escapeURL(u string) string {
	return strings.NewReplacer("<", "%3C", ">", "%3E", "|", "%7C", " ", "%20", "\"", "%22", "`", "%60", "&", "&amp;").Replace(u)
}

// length counts UTF-16 units: at least as many as there are characters.
func length(text string) int {
	n := 0
	for _, r := range text {
		n += utf16.RuneLen(r)
	}
	return n
}
