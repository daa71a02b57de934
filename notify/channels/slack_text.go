package channels

import (
	"strings"
	"unicode"
	"unicode/utf16"
)

const ellipsis = "…"

var slackEscapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// escape returns text that Slack shows as it was written, cut to a length.
// "<!channel>", "<@U012>" and "<https://evil.example|your bank>" stay plain letters:
// Slack parses nothing without a "<"
// (docs.slack.dev/messaging/formatting-message-text#escaping, for plain text and
// mrkdwn).
func escape(text string, limit int) string {
	text = clean(text)
	if whole := slackEscapes.Replace(text); length(whole) <= limit {
		return whole
	}
	var b strings.Builder
	left := limit - length(ellipsis)
	for _, r := range text {
		next := slackEscapes.Replace(string(r)) // an entity is cut as a whole
		if left -= length(next); left < 0 {
			break
		}
		b.WriteString(next)
	}
	return b.String() + ellipsis
}

// escapeURL percent-encodes the characters that would end a URL in mrkdwn's
// "<url|text>". url.URL.String leaves them in queries.
func escapeURL(u string) string {
	return strings.NewReplacer("<", "%3C", ">", "%3E", "|", "%7C", " ", "%20", "\"", "%22", "`", "%60", "&", "&amp;").Replace(u)
}

// clean replaces bytes that aren't UTF-8 and drops control characters and those
// that change the direction of text, which can disguise it. Lines end in "\n".
func clean(text string) string {
	text = strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\r\n", "\n")
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return r
		case r == '\r', r == '\u2028', r == '\u2029':
			return '\n'
		case r == '\t':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r):
			return -1
		}
		return r
	}, text))
}

// oneLine joins lines, so that a value can't look like several.
func oneLine(text string) string {
	return strings.Join(strings.Fields(text), " ")
}

// shorten cuts text to a length and marks the cut.
func shorten(text string, limit int) string {
	if length(text) <= limit {
		return text
	}
	left := limit - length(ellipsis)
	for i, r := range text {
		if left -= utf16.RuneLen(r); left < 0 {
			return text[:i] + ellipsis
		}
	}
	return text
}

// length counts UTF-16 units: at least as many as there are characters.
func length(text string) int {
	n := 0
	for _, r := range text {
		n += utf16.RuneLen(r)
	}
	return n
}
