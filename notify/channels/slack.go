package channels

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gantryhq/gantry/notify"
	"github.com/gantryhq/gantry/untrusted"
)

// Limits of Block Kit, in characters: docs.slack.dev/reference/block-kit/blocks,
// header-block and section-block. Assumption: Slack counts the text as sent, with
// "&lt;" for "<" as four characters, and in UTF-16 as JavaScript counts. Other ways
// of counting give less.
const (
	maxHeader        = 150
	maxSection       = 3000
	maxFields        = 10
	maxField         = 2000
	maxFieldSections = 4
	maxLinkText      = 200
	maxLinkURL       = 1000
	maxFallback      = 3000 // of 40,000; previews of notifications show it
)

// slackMessage is the JSON of an incoming webhook:
// docs.slack.dev/messaging/sending-messages-using-incoming-webhooks.
type slackMessage struct {
	Text        string       `json:"text"` // for previews and screen readers
	Markdown    bool         `json:"mrkdwn"`
	UnfurlLinks bool         `json:"unfurl_links"` // Slack's crawler would fetch what a message links to
	UnfurlMedia bool         `json:"unfurl_media"`
	Blocks      []slackBlock `json:"blocks"`
}

type slackBlock struct {
	Type     string      `json:"type"`
	Text     *slackText  `json:"text,omitempty"`
	Fields   []slackText `json:"fields,omitempty"`
	Elements []slackText `json:"elements,omitempty"`
}

// slackText is plain text or mrkdwn. Text from others is always plain; mrkdwn is
// for links and dates only.
type slackText struct {
	Type     string `json:"type"`
	Text     string `json:"text"`
	Emoji    *bool  `json:"emoji,omitempty"`    // of plain text: whether ":fire:" becomes a picture
	Verbatim *bool  `json:"verbatim,omitempty"` // of mrkdwn: whether "@here" and "#general" stay words
}

func plain(text string) slackText {
	return slackText{Type: "plain_text", Text: text, Emoji: new(false)}
}

func markdown(text string) slackText {
	return slackText{Type: "mrkdwn", Text: text, Verbatim: new(true)}
}

func encodeSlack(m notify.Message) ([]byte, error) {
	title := untrusted.Lines(m.Title)
	switch m.Urgency {
	case notify.Action:
		title = "✋ " + title
	case notify.Alarm:
		title = "🚨 " + title
	}
	fallback := title
	if text := untrusted.Lines(m.Text); text != "" {
		fallback += "\n" + text
	}
	out := slackMessage{
		Text:   escape(fallback, maxFallback),
		Blocks: []slackBlock{{Type: "header", Text: new(plain(escape(untrusted.Line(title), maxHeader)))}},
	}
	if text := escape(m.Text, maxSection); text != "" {
		out.Blocks = append(out.Blocks, slackBlock{Type: "section", Text: new(plain(text))})
	}
	sections, left := fields(m)
	out.Blocks = append(out.Blocks, sections...)
	if links := links(m); links != "" {
		out.Blocks = append(out.Blocks, slackBlock{Type: "section", Text: new(markdown(links))})
	}
	context := []slackText{markdown(date(m.At)), plain(escape(m.Type, maxField))}
	if left > 0 {
		context = append(context, plain(fmt.Sprintf("%d more facts are not shown", left)))
	}
	out.Blocks = append(out.Blocks, slackBlock{Type: "context", Elements: context})
	return encodeJSON(out)
}

// fields returns the sections with the message's stack, run, account and facts,
// and how many facts had no space.
func fields(m notify.Message) (sections []slackBlock, left int) {
	stack := m.Stack
	if m.StackName != "" && m.StackName != m.Stack {
		stack = strings.TrimSpace(m.StackName + " (" + m.Stack + ")")
	}
	facts := append([]notify.Fact{
		{Name: "Stack", Value: stack}, {Name: "State", Value: m.State}, {Name: "Run", Value: m.Run}, {Name: "Account", Value: m.Account},
	}, m.Facts...)
	texts := make([]slackText, 0, len(facts))
	for _, f := range facts {
		if value := untrusted.Line(f.Value); value != "" {
			texts = append(texts, plain(escape(untrusted.Line(f.Name)+": "+value, maxField)))
		}
	}
	for some := range slices.Chunk(texts, maxFields) {
		if len(sections) == maxFieldSections {
			left += len(some)
			continue
		}
		sections = append(sections, slackBlock{Type: "section", Fields: some})
	}
	return sections, left
}

// links returns as many of the message's links as fit into a section.
func links(m notify.Message) string {
	all := m.Links
	if m.URL != "" {
		all = append(slices.Clone(all), notify.Link{Text: "Open in Spacelift", URL: m.URL})
	}
	const between = " · "
	line := ""
	for _, l := range all {
		next := link(l)
		if next == "" || length(line)+length(between)+length(next) > maxSection {
			continue
		}
		if line != "" {
			line += between
		}
		line += next
	}
	return line
}

// link returns a link in mrkdwn, or only its text if the URL isn't one that a
// browser should open from a message.
func link(l notify.Link) string {
	text := escape(untrusted.Line(l.Text), maxLinkText)
	u, err := url.Parse(untrusted.Line(l.URL))
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || len(l.URL) > maxLinkURL {
		return text
	}
	if text == "" {
		text = escape(u.Host, maxLinkText)
	}
	return "<" + escapeURL(u.String()) + "|" + text + ">"
}

// date returns mrkdwn that Slack shows in the reader's time zone:
// docs.slack.dev/messaging/formatting-message-text#date-formatting.
func date(at time.Time) string {
	return "<!date^" + strconv.FormatInt(at.Unix(), 10) + "^{date_short_pretty} {time}|" + at.UTC().Format("2006-01-02 15:04 UTC") + ">"
}

// slackRefusals maps Slack's error codes that a retry can't fix to their meanings:
// docs.slack.dev/messaging/sending-messages-using-incoming-webhooks#handling-errors
// and docs.slack.dev/changelog/2016-05-17-changes-to-errors-for-incoming-webhooks.
var slackRefusals = map[string]string{ //nolint:gosec // error codes, one of which mentions a token
	"action_prohibited":                       "an administrator restricts what this webhook may post",
	"channel_is_archived":                     "the Slack channel is archived",
	"channel_not_found":                       "the Slack channel is gone",
	"invalid_blocks":                          "Slack doesn't accept the message's blocks",
	"invalid_payload":                         "Slack can't read the message",
	"invalid_token":                           "the webhook's URL is wrong or was revoked",
	"missing_text_or_fallback_or_attachments": "Slack found no text in the message",
	"no_active_hooks":                         "the webhook is disabled",
	"no_service":                              "the webhook is disabled, removed or its URL is wrong",
	"no_service_id":                           "the webhook's URL is incomplete",
	"no_team":                                 "the Slack workspace is gone or the URL is wrong",
	"no_text":                                 "Slack found no text in the message",
	"posting_to_general_channel_denied":       "only some may post to this Slack channel",
	"team_disabled":                           "the Slack workspace is disabled",
	"too_many_attachments":                    "Slack found too many attachments",
	"user_not_found":                          "the Slack user is gone",
}

// readSlackAnswer reports whether Slack accepted the message, or why it always
// will refuse it. For other answers, the status decides.
func readSlackAnswer(status int, answer []byte) (accepted bool, refusal string) {
	code := strings.TrimSpace(string(answer))
	if status >= http.StatusOK && status < http.StatusMultipleChoices {
		if code == "ok" {
			return true, ""
		}
		return false, "the answer is not ok; check that this is the URL of an incoming webhook"
	}
	if meaning, known := slackRefusals[code]; known {
		return false, code + ": " + meaning
	}
	return false, ""
}
