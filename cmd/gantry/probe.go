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

// direct is a client that doesn't follow redirects: Spacelift's following of
// them is not documented, and a redirected POST arrives as a GET.
var direct = &http.Client{
	Timeout:       15 * time.Second,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// maxAnswer bounds what is read of an answer that may come from anybody.
const maxAnswer = 64 << 10

// answered is how an address answers a signed notification.
type answered int

const (
	answeredNot     answered = iota // nothing answers, or something in front of it does: it could not be asked
	answeredTaken                   // Gantry finds it authentic
	answeredRefused                 // Gantry refuses it
	answeredOther                   // something else than Gantry's webhook is there
)

// reply is the answer with what to say of it.
type reply struct {
	how    answered
	text   string
	reason string // why Gantry refuses, such as signature-mismatch
}

// gantrys reports whether Gantry's webhook is at the address.
func (r reply) gantrys() bool { return r.how == answeredTaken || r.how == answeredRefused }

// probe sends what Spacelift sends when it reports an error of its own: Gantry
// must find it authentic, and starts nothing for it.
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
	return read(answer, raw)
}

// inFront are the statuses with which proxies and firewalls answer in the place
// of what is behind them.
var inFront = []int{
	http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired, http.StatusRequestTimeout, http.StatusTooManyRequests,
	http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout,
}

func read(answer *http.Response, raw []byte) reply {
	var said struct{ Delivery, Outcome, Type, Detail string }
	known := json.Unmarshal(raw, &said) == nil
	problem, isProblem := strings.CutPrefix(said.Type, "urn:gantry:problem:")
	switch {
	case known && answer.StatusCode == http.StatusAccepted && said.Outcome != "":
		return reply{how: answeredTaken, text: "a signed notification is taken for authentic (delivery " + said.Delivery + ")"}
	case known && isProblem && (answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusTooManyRequests || answer.StatusCode == http.StatusServiceUnavailable):
		return reply{how: answeredRefused, reason: problem, text: "a signed notification is refused as " + problem + ": " + said.Detail}
	}
	text := "a signed notification is answered " + answer.Status + ", by something that isn't Gantry's webhook or can't do its work"
	if slices.Contains(inFront, answer.StatusCode) {
		return reply{text: text}
	}
	return reply{how: answeredOther, text: text}
}

// better looks for Gantry's webhook below an address where it is not. It returns
// an address only if Gantry answers there.
func better(ctx context.Context, address, account string, known secrets) string {
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
