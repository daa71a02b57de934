package main

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/gantryhq/gantry/gen/client"
)

func checkReady(ctx context.Context, p *localState) finding {
	if p.url == "" {
		return leftOut
	}
	u, err := url.Parse(p.url)
	if err != nil {
		return fail("correct --url", "%s", err)
	}
	u.Path = strings.TrimSuffix(u.Path, webhookPath)
	const fix = "check that gantry serve runs there, and that every proxy on the way passes requests on"
	api, err := client.NewClient(u.String(), client.WithHTTPClient(direct), client.WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
		// Only those with a token get the causes.
		if token, err := readToken(""); err == nil && encrypted(u) {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		return nil
	}))
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
		return warn("let /readyz through, or ask Gantry from inside", "%s/readyz answers %s, which is not an answer of Gantry", u, raw.Status)
	case answer.JSON503 != nil:
		return fail("repair the disk or folder of the inbox", "it can't store events: %s", text(answer.JSON503.Inbox.Problem))
	case answer.JSON200 == nil:
		return warn("let /readyz through, or ask Gantry from inside", "%s/readyz answers %s, which is not an answer of Gantry", u, raw.Status)
	case answer.JSON200.Forwarding.Down:
		return warn("see temporal-reachable", "it stores events, but Temporal is down: %s; %d events wait", text(answer.JSON200.Forwarding.Problem), answer.JSON200.Inbox.Pending)
	}
	return ok("%s", answer.JSON200.Status)
}

func text(s *string) string {
	if s == nil || *s == "" {
		return "it doesn't say why"
	}
	return *s
}

// checkSignature gathers the evidence before it sends a test.
func checkSignature(ctx context.Context, a *accountState) finding {
	a.evidence = gather(ctx, a.wanted.Endpoint, a.Name)
	if a.wanted.Endpoint == "" || a.secretsErr != nil {
		return leftOut
	}
	a.reply = probe(ctx, a.wanted.Endpoint, a.Name, a.known)
	switch a.reply.kind {
	case replyAccepted:
		return ok("%s", a.reply.text)
	case replyRefused:
		if !strings.HasSuffix(a.reply.reason, "-mismatch") {
			return fail("try again once Gantry can store events", "%s", a.reply.text)
		}
		return fail("give gantry serve the same configuration as this command, and restart it", "%s", a.reply.text)
	case replyForeign:
		fix := "give --url the address of Gantry's webhook, which ends in " + webhookPath
		if there := webhookBelow(ctx, a.wanted.Endpoint, a.Name, a.known); there != "" {
			fix = "give --url " + there + ": Gantry answers there"
		}
		return fail(fix, "%s", a.reply.text)
	}
	return fail("check that gantry serve runs there and that Spacelift's addresses can reach it", "%s", a.reply.text)
}

// checkProxy reads what Gantry noticed about the ways of notifications.
func checkProxy(_ context.Context, a *accountState) finding {
	switch {
	case a.wanted.Endpoint == "":
		return leftOut
	case a.evidence.missing != "":
		return unknown("give a viewer's token with GANTRY_TOKEN", "%s", a.evidence.missing)
	case a.evidence.proxy != nil:
		return warn(a.evidence.proxy.Fix, "%s", a.evidence.proxy.Summary)
	}
	return ok("no notification came through a proxy that trustedProxies doesn't list")
}
