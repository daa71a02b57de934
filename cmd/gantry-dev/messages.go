package main

import (
	_ "embed"
	"encoding/json"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// messagesPath is the path of the page, and of the channel that it shows.
const messagesPath = "/messages"

// labChannel is the channel of the lab's stacks.
const labChannel = "lab"

// maxMessages bounds the messages that the page keeps, and maxMessage the bytes of one.
const (
	maxMessages = 200
	maxMessage  = 1 << 20
)

// slack takes what a Slack channel would receive, and shows it on a page.
type slack struct {
	mu       sync.Mutex
	messages []slackMessage // newest first
}

// slackMessage is as much of an incoming webhook's message as the page shows.
type slackMessage struct {
	At     time.Time    `json:"-"`
	Blocks []slackBlock `json:"blocks"`
}

type slackBlock struct {
	Type     string      `json:"type"` // header, section or context
	Text     slackText   `json:"text"`
	Fields   []slackText `json:"fields"`
	Elements []slackText `json:"elements"`
}

type slackText struct {
	Type string `json:"type"` // plain_text or mrkdwn
	Text string `json:"text"`
}

// ServeHTTP takes a message by POST, as Slack's webhooks do, and shows all by GET.
func (s *slack) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		s.take(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = messagesPage.Execute(w, s.messages) // a failed write means that the browser is gone
}

func (s *slack) take(w http.ResponseWriter, r *http.Request) {
	var m slackMessage
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxMessage))
	if err == nil {
		err = json.Unmarshal(body, &m)
	}
	if err != nil || len(m.Blocks) == 0 {
		http.Error(w, "invalid_payload", http.StatusBadRequest)
		return
	}
	m.At = time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = append([]slackMessage{m}, s.messages[:min(len(s.messages), maxMessages-1)]...)
	_, _ = io.WriteString(w, "ok")
}

//go:embed messages.gohtml
var messagesHTML string

var messagesPage = template.Must(template.New("messages").Parse(messagesHTML))

// piece is a part of a text: a link if it has an address.
type piece struct{ Text, Address string }

// reference is a link or a date in Slack's mrkdwn: <address|text>, <!date^seconds^format|text>.
var reference = regexp.MustCompile(`<([^<>|]+)\|([^<>]*)>`)

var slackEntities = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&")

// Pieces returns the parts of a text as Slack would show them.
func (t slackText) Pieces() (all []piece) {
	if t.Type != "mrkdwn" {
		return []piece{{Text: slackEntities.Replace(t.Text)}}
	}
	left := t.Text
	for _, m := range reference.FindAllStringSubmatch(t.Text, -1) {
		before, after, _ := strings.Cut(left, m[0])
		all, left = append(all, piece{Text: slackEntities.Replace(before)}), after
		p := piece{Text: slackEntities.Replace(m[2])}
		if seconds, ok := strings.CutPrefix(m[1], "!date^"); ok {
			seconds, _, _ = strings.Cut(seconds, "^")
			if at, err := strconv.ParseInt(seconds, 10, 64); err == nil {
				p.Text = time.Unix(at, 0).UTC().Format("2 Jan 15:04 MST")
			}
		} else if u, err := url.Parse(slackEntities.Replace(m[1])); err == nil && (u.Scheme == "https" || u.Scheme == "http") {
			p.Address = u.String()
		}
		all = append(all, p)
	}
	return append(all, piece{Text: slackEntities.Replace(left)})
}
