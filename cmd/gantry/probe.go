package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/server"
	"github.com/gantryhq/gantry/spacelift"
)

// direct is a client that doesn't follow redirects: Spacelift doesn't document
// whether it does, and a redirected POST arrives as a GET.
var direct = &http.Client{
	Timeout:       15 * time.Second,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// maxAnswer bounds how much is read of an answer that anyone may have sent.
const maxAnswer = 64 << 10

// replyKind is the kind of answer to a signed notification.
type replyKind int

const (
	replyNone     replyKind = iota // no answer, or one from something in front of it
	replyAccepted                  // Gantry accepts it as authentic
	replyRefused                   // Gantry refuses it
	replyForeign                   // something other than Gantry's webhook is there
)

// reply is the answer to a signed notification, and a sentence about it.
type reply struct {
	kind   replyKind
	text   string
	reason string // why Gantry refuses, such as signature-mismatch
}

// gantrys reports whether Gantry's webhook is at the address.
func (r reply) gantrys() bool { return r.kind == replyAccepted || r.kind == replyRefused }

// probe sends a notification of an internal error of Spacelift: Gantry must accept
// it as authentic, and starts nothing for it.
func probe(ctx context.Context, address, account string, known secrets) reply {
	body, err := json.Marshal(map[string]string{
		"account": account, "title": "gantry doctor", "body": "A test of the webhook's address and secret.",
		"error": "none: this is a test by gantry doctor", "severity": "INFO",
	})
	if err != nil {
		return reply{text: err.Error()}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return reply{text: err.Error()}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", server.TestUserAgent+"/"+version)
	req.Header.Set(spacelift.SignatureHeader, spacelift.Sign([]byte(known.live[0]), body))
	if known.header != "" {
		req.Header.Set(known.header, string(known.headerValue))
	}
	answer, err := direct.Do(req)
	if err != nil {
		return reply{text: err.Error()}
	}
	defer func() { _ = answer.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return reply{text: "read answer: " + err.Error()}
	}
	return readReply(answer, raw)
}

// inFront are the statuses with which proxies and firewalls answer on behalf of
// what is behind them.
var inFront = []int{
	http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired, http.StatusRequestTimeout, http.StatusTooManyRequests,
	http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout,
}

func readReply(answer *http.Response, raw []byte) reply {
	var content struct{ Delivery, Outcome, Type, Detail string }
	known := json.Unmarshal(raw, &content) == nil
	problem, isProblem := strings.CutPrefix(content.Type, "urn:gantry:problem:")
	switch {
	case known && answer.StatusCode == http.StatusAccepted && content.Outcome != "":
		return reply{kind: replyAccepted, text: "Gantry accepts a signed notification (delivery " + content.Delivery + ")"}
	case known && isProblem && (answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusTooManyRequests || answer.StatusCode == http.StatusServiceUnavailable):
		return reply{kind: replyRefused, reason: problem, text: "Gantry refuses a signed notification as " + problem + ": " + content.Detail}
	}
	text := "the answer to a signed notification is " + answer.Status + ", which is not an answer of Gantry's webhook"
	if slices.Contains(inFront, answer.StatusCode) {
		return reply{text: text}
	}
	return reply{kind: replyForeign, text: text}
}

// webhookBelow returns the address of Gantry's webhook below an address where it
// isn't; empty if it isn't there either.
func webhookBelow(ctx context.Context, address, account string, known secrets) string {
	u, err := url.Parse(address)
	if err != nil || strings.HasSuffix(u.Path, webhookPath) {
		return ""
	}
	u.Path = strings.TrimSuffix(u.Path, "/") + webhookPath
	if probe(ctx, u.String(), account, known).gantrys() {
		return u.String()
	}
	return ""
}
