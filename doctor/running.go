package doctor

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/gantryhq/gantry/deploy"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/gen/gantry"
)

func checkReady(ctx context.Context, p *Machine) Finding {
	if p.URL == "" {
		return leftOut
	}
	u, err := url.Parse(p.URL)
	if err != nil {
		return fail("correct --url", "%s", err)
	}
	u.Path = strings.TrimSuffix(u.Path, deploy.WebhookPath)
	const fix = "check that gantry serve runs there, and that every proxy on the way passes requests on"
	options := []gantry.Option{gantry.WithUserAgent("gantry/" + p.Version), gantry.WithPatience(0)}
	if token, err := p.Token(); err == nil && Encrypted(u) { // only those with a token get the causes
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
		return fail("repair the disk or folder of the inbox", "it can't store events: %s", Problem(ready.Inbox.Problem))
	case ready.Forwarding.Down:
		return warn("see temporal-reachable", "it stores events, but Temporal is down: %s; %d events wait", Problem(ready.Forwarding.Problem), ready.Inbox.Pending)
	}
	return ok("%s", ready.Status)
}

// Problem returns a problem that Gantry names, or says that it names none.
func Problem(s *string) string {
	if s == nil || *s == "" {
		return "it doesn't say why"
	}
	return *s
}

// checkSignature gathers the evidence before it sends a test.
func checkSignature(ctx context.Context, a *account) Finding {
	a.evidence = a.gantry.Evidence(ctx)
	if a.wanted.Endpoint == "" || a.secretsErr != nil {
		return leftOut
	}
	a.reply = a.gantry.Probe(ctx, a.known)
	switch a.reply.Kind {
	case Accepted:
		return ok("%s", a.reply.Text)
	case Refused:
		if !strings.HasSuffix(a.reply.Reason, "-mismatch") {
			return fail("try again once Gantry can store events", "%s", a.reply.Text)
		}
		return fail("give gantry serve the same configuration as this command, and restart it", "%s", a.reply.Text)
	case Foreign:
		fix := "give --url the address of Gantry's webhook, which ends in " + deploy.WebhookPath
		if there := a.gantry.Below(ctx, a.known); there != "" {
			fix = "give --url " + there + ": Gantry answers there"
		}
		return fail(fix, "%s", a.reply.Text)
	}
	return fail("check that gantry serve runs there and that Spacelift's addresses can reach it", "%s", a.reply.Text)
}

// checkProxy reads what Gantry noticed about the ways of notifications.
func checkProxy(_ context.Context, a *account) Finding {
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
