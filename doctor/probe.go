package doctor

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

	"github.com/gantryhq/gantry/deploy"
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

// ReplyKind is the kind of answer to a signed notification.
type ReplyKind int

// The kinds of replies.
const (
	NoReply  ReplyKind = iota // no answer, or one from something in front of it
	Accepted                  // Gantry accepts it as authentic
	Refused                   // Gantry refuses it
	Foreign                   // something other than Gantry's webhook is there
)

// Reply is the answer to a signed notification, and a sentence about it.
type Reply struct {
	Kind   ReplyKind
	Text   string
	Reason string // why Gantry refuses, such as signature-mismatch
}

// gantrys reports whether Gantry's webhook is at the address.
func (r Reply) gantrys() bool { return r.Kind == Accepted || r.Kind == Refused }

// Gantry is a running Gantry, as the checks and gantry setup call it for an account.
type Gantry struct {
	Webhook string // its address; empty if it isn't known
	Account string
	Version string // of this program

	// Token returns the token for its API; an error leaves out what takes one.
	Token func() (string, error)
}

// Probe sends a notification of an internal error of Spacelift: Gantry must accept
// it as authentic, and starts nothing for it.
func (g Gantry) Probe(ctx context.Context, known Secrets) Reply {
	body, err := json.Marshal(map[string]string{
		"account": g.Account, "title": "gantry doctor", "body": "A test of the webhook's address and secret.",
		"error": "none: this is a test by gantry doctor", "severity": "INFO",
	})
	if err != nil {
		return Reply{Text: err.Error()}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.Webhook, bytes.NewReader(body))
	if err != nil {
		return Reply{Text: err.Error()}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", server.TestUserAgent+"/"+g.Version)
	req.Header.Set(spacelift.SignatureHeader, spacelift.Sign([]byte(known.Live[0]), body))
	if known.Header != "" {
		req.Header.Set(known.Header, string(known.HeaderValue))
	}
	answer, err := direct.Do(req)
	if err != nil {
		return Reply{Text: err.Error()}
	}
	defer func() { _ = answer.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return Reply{Text: "read answer: " + err.Error()}
	}
	return readReply(answer, raw)
}

// inFront are the statuses with which proxies and firewalls answer on behalf of
// what is behind them.
var inFront = []int{
	http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired, http.StatusRequestTimeout, http.StatusTooManyRequests,
	http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout,
}

func readReply(answer *http.Response, raw []byte) Reply {
	var content struct{ Delivery, Outcome, Type, Detail string }
	known := json.Unmarshal(raw, &content) == nil
	problem, isProblem := strings.CutPrefix(content.Type, "urn:gantry:problem:")
	switch {
	case known && answer.StatusCode == http.StatusAccepted && content.Outcome != "":
		return Reply{Kind: Accepted, Text: "Gantry accepts a signed notification (delivery " + content.Delivery + ")"}
	case known && isProblem && (answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusTooManyRequests || answer.StatusCode == http.StatusServiceUnavailable):
		return Reply{Kind: Refused, Reason: problem, Text: "Gantry refuses a signed notification as " + problem + ": " + content.Detail}
	}
	text := "the answer to a signed notification is " + answer.Status + ", which is not an answer of Gantry's webhook"
	if slices.Contains(inFront, answer.StatusCode) {
		return Reply{Text: text}
	}
	return Reply{Kind: Foreign, Text: text}
}

// Below returns the address of Gantry's webhook below an address where it isn't; empty if
// it isn't there either.
func (g Gantry) Below(ctx context.Context, known Secrets) string {
	u, err := url.Parse(g.Webhook)
	if err != nil || strings.HasSuffix(u.Path, deploy.WebhookPath) {
		return ""
	}
	u.Path = strings.TrimSuffix(u.Path, "/") + deploy.WebhookPath
	g.Webhook = u.String()
	if g.Probe(ctx, known).gantrys() {
		return g.Webhook
	}
	return ""
}
