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
)

// Limits of Block Kit, in characters: docs.slack.dev/reference/block-kit/blocks,
// header-block and section-block. Assumption: they count what is sent, with
// "&lt;" for "<" as four, and in UTF-16 as JavaScript counts. Counting so is never
// too long, whatever Slack counts.
const (
	maxHeader        = 150
	maxSection       = 3000
	maxFields        = 10
	maxField         = 2000
	maxFieldSections = 4
	maxLinkText      = 200
	maxLinkURL       = 1000
	maxFallback      = 3000 // of 40,000: it is what a notification's preview shows
)

// slackMessage is the JSON of an incoming webhook:
// docs.slack.dev/messaging/sending-messages-using-incoming-webhooks.
type slackMessage struct {
	Text        string       `json:"text"` // what notifications and screen readers show
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

// slackText is plain text, or mrkdwn. All that others wrote is plain: mrkdwn is
// for links and dates alone.
type slackText struct {
	Type     string `json:"type"`
	Text     string `json:"text"`
	Emoji    *bool  `json:"emoji,omitempty"`    // plain: whether ":fire:" is a picture
	Verbatim *bool  `json:"verbatim,omitempty"` // mrkdwn: whether "@here" and "#general" stay words
}

func plain(text string) slackText {
	return slackText{Type: "plain_text", Text: text, Emoji: new(false)}
}

func markdown(text string) slackText {
	return slackText{Type: "mrkdwn", Text: text, Verbatim: new(true)}
}

func encodeSlack(m notify.Message) ([]byte, error) {
	title := clean(m.Title)
	switch m.Urgency {
	case notify.Action:
		title = "✋ " + title
	case notify.Alarm:
		title = "🚨 " + title
	}
	fallback := title
	if text := clean(m.Text); text != "" {
		fallback += "\n" + text
	}
	out := slackMessage{
		Text:   escape(fallback, maxFallback),
		Blocks: []slackBlock{{Type: "header", Text: new(plain(escape(oneLine(title), maxHeader)))}},
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

// fields shows where the message belongs and its facts, and counts the facts
// that found no place.
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
		if value := oneLine(clean(f.Value)); value != "" {
			texts = append(texts, plain(escape(oneLine(clean(f.Name))+": "+value, maxField)))
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

// links are as many of the message's links as a section holds.
func links(m notify.Message) string {
	all := m.Links
	if m.URL != "" {
		all = append([]notify.Link{{Text: "Open in Spacelift", URL: m.URL}}, all...)
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

// link is a link of mrkdwn; its text alone, if its URL is not one that a browser
// should follow from a message.
func link(l notify.Link) string {
	text := escape(oneLine(clean(l.Text)), maxLinkText)
	u, err := url.Parse(oneLine(clean(l.URL)))
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || len(l.URL) > maxLinkURL {
		return text
	}
	if text == "" {
		text = escape(u.Host, maxLinkText)
	}
	return "<" + escapeURL(u.String()) + "|" + text + ">"
}

// date is shown in the reader's time zone:
// docs.slack.dev/messaging/formatting-message-text#date-formatting.
func date(at time.Time) string {
	return "<!date^" + strconv.FormatInt(at.Unix(), 10) + "^{date_short_pretty} {time}|" + at.UTC().Format("2006-01-02 15:04 UTC") + ">"
}

// slackRefusals are Slack's words for what sending again doesn't mend:
// docs.slack.dev/messaging/sending-messages-using-incoming-webhooks#handling-errors
// and docs.slack.dev/changelog/2016-05-17-changes-to-errors-for-incoming-webhooks.
var slackRefusals = map[string]string{ //nolint:gosec // words of an answer, one of which speaks of a token
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

// judgeSlack tells whether Slack took the message, or else why it never will. An
// answer that is neither is judged by its status.
func judgeSlack(status int, answer []byte) (took bool, refused string) {
	word := strings.TrimSpace(string(answer))
	if status >= http.StatusOK && status < http.StatusMultipleChoices {
		if word == "ok" {
			return true, ""
		}
		return false, "it didn't answer ok: is this the URL of an incoming webhook?"
	}
	if meaning, known := slackRefusals[word]; known {
		return false, word + ": " + meaning
	}
	return false, ""
}
