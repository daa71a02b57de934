package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gantryhq/gantry/gen/client"
	"github.com/gantryhq/gantry/spacelift"
)

// direct is a client that doesn't follow redirects: Spacelift's following of
// them is not documented, and a redirected POST arrives as a GET.
var direct = &http.Client{
	Timeout:       15 * time.Second,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func checkReady(ctx context.Context, p *patient) finding {
	if p.url == "" {
		return leftOut
	}
	u, err := url.Parse(p.url)
	if err != nil {
		return fail("correct --url", "%s", err)
	}
	u.Path = strings.TrimSuffix(u.Path, webhookPath)
	const fix = "is gantry serve running there, and does the way to it lead past every proxy?"
	api, err := client.NewClient(u.String(), client.WithHTTPClient(direct))
	if err != nil {
		return fail("correct --url", "%s", err)
	}
	raw, err := api.GetReadiness(ctx)
	if err != nil {
		return fail(fix, "%s", err)
	}
	defer func() { _ = raw.Body.Close() }()
	raw.Body = http.MaxBytesReader(nil, raw.Body, maxAnswer)
	answer, err := client.ParseGetReadinessResponse(raw)
	switch {
	case err != nil:
		return warn("let /readyz through, or ask Gantry from inside", "%s/readyz answers %s, and nothing Gantry would say", u, raw.Status)
	case answer.JSON503 != nil:
		return fail("mend the disk or folder that the inbox is on", "it can't store events: %s", text(answer.JSON503.Inbox.Problem))
	case answer.JSON200 == nil:
		return warn("let /readyz through, or ask Gantry from inside", "%s/readyz answers %s, and nothing Gantry would say", u, raw.Status)
	case answer.JSON200.Forwarding.Down:
		return warn("see temporal-reachable", "it stores events, but Temporal is away: %s; %d events wait", text(answer.JSON200.Forwarding.Problem), answer.JSON200.Inbox.Pending)
	}
	return ok("%s", answer.JSON200.Status)
}

func text(s *string) string {
	if s == nil || *s == "" {
		return "it doesn't say why"
	}
	return *s
}

// maxAnswer bounds what is read of an answer that may come from anybody.
const maxAnswer = 64 << 10

// checkSignature sends what Spacelift sends when it reports an error of its own:
// Gantry must find it authentic, and starts nothing for it.
func checkSignature(ctx context.Context, a *accountPatient) finding {
	if a.wanted.Endpoint == "" || a.secretsErr != nil {
		return leftOut
	}
	body, err := json.Marshal(map[string]string{
		"account": a.Name, "title": "gantry doctor", "body": "A test of the webhook's address and secret.",
		"error": "none: this is a test by gantry doctor", "severity": "INFO",
	})
	if err != nil {
		return fail("", "%s", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.wanted.Endpoint, bytes.NewReader(body))
	if err != nil {
		return fail("correct --url", "%s", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "gantry-doctor/"+version)
	req.Header.Set(spacelift.SignatureHeader, spacelift.Sign([]byte(a.known.live[0]), body))
	if a.known.header != "" {
		req.Header.Set(a.known.header, string(a.known.headerValue))
	}
	answer, err := direct.Do(req)
	if err != nil {
		return fail("is gantry serve running there, and may Spacelift's addresses reach it?", "%s", err)
	}
	defer func() { _ = answer.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return fail("send it again", "read answer: %s", err)
	}
	var receipt struct{ Delivery, Outcome, Type, Detail string }
	known := json.Unmarshal(raw, &receipt) == nil
	switch {
	case answer.StatusCode == http.StatusAccepted && known && receipt.Outcome != "":
		return ok("a signed notification is taken for authentic (delivery %s)", receipt.Delivery)
	case answer.StatusCode == http.StatusUnauthorized && known && receipt.Type != "":
		return fail("give gantry serve the same configuration as this command, and start it anew",
			"a signed notification is refused as %s: %s", strings.TrimPrefix(receipt.Type, "urn:gantry:problem:"), receipt.Detail)
	}
	return fail("is --url the address of Gantry's webhook? It listens at "+webhookPath,
		"a signed notification is answered %s, by something that isn't Gantry or can't do its work", answer.Status)
}
