package main

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/gen/gantry"
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
	options := []gantry.Option{gantry.WithUserAgent("gantry/" + version), gantry.WithPatience(0)}
	if token, err := readToken(""); err == nil && encrypted(u) { // only those with a token get the causes
		options = append(options, gantry.WithToken(token))
	}
	c, err := gantry.New(u.String(), options...)
	if err != nil {
		return fail("correct --url", "%s", err)
	}
	ctx, cancel := context.WithTimeout(ctx, direct.Timeout)
	defer cancel()
	response, err := c.GetReadiness(ctx) //nolint:bodyclose // Answer closes it
	ready, err := gantry.Answer[api.Readiness](response, err)
	foreign, answered := errors.AsType[*gantry.Problem](err)
	switch {
	case answered:
		return warn("let /readyz through, or ask Gantry from inside", "%s/readyz: %s", u, foreign)
	case err != nil:
		return fail(fix, "%s", err)
	case response.StatusCode != http.StatusOK:
		return fail("repair the disk or folder of the inbox", "it can't store events: %s", text(ready.Inbox.Problem))
	case ready.Forwarding.Down:
		return warn("see temporal-reachable", "it stores events, but Temporal is down: %s; %d events wait", text(ready.Forwarding.Problem), ready.Inbox.Pending)
	}
	return ok("%s", ready.Status)
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
