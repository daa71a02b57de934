//go:build browser

package e2e

import (
	"context"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/gantryhq/gantry/e2e/chromium"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/spacelift"
)

// Two people sign in with their tokens, see why a plan waits, and approve it; the first
// sees the second's approval without loading the page again. An expired session leads to
// the sign-in page and back.
func TestBrowserPagesApprove(t *testing.T) {
	l := startPictured(t)
	pages := strings.TrimSuffix(l.docs, "docs")
	run := l.control("billing-prod/pushes", `{"commit":{"authorLogin":"alice","authorName":"Alice","message":"Drop the ledger replica"},"plan":{"changes":[
		{"address":"module.ledger.aws_db_instance.replica","action":"deleted"},
		{"address":"module.ledger.aws_cloudwatch_metric_alarm.lag","action":"added"},{"address":"module.ledger.aws_sns_topic.alarms","action":"added"}]}}`)
	l.phase("billing-prod", run, api.PhaseWaiting)

	for _, stack := range []string{"network-prod", "app-prod"} {
		l.paste("gantry-dev label " + stack + " gantry:managed gantry:confirm=manual")
		l.phase(spacelift.StackID(stack), l.control(stack+"/pushes", `{"commit":{"hash":"77ab310c4e0bd8f3","authorLogin":"erin","message":"Image 4.2.1"},"plan":{"delta":{"changed":1}}}`), api.PhaseWaiting)
	}

	b := chromium.Open(t)
	b.Open(pages)
	b.Shows("Sign in to Gantry")
	signIn(b, "gantry_nobody")
	b.Shows("Nobody has this token.")
	signIn(b, "gantry_bob")
	b.Shows("3 plans wait for you")
	for _, want := range []string{"billing / prod", "deletes 1 resource", "module.ledger.aws_db_instance.replica", "Drop the ledger replica", "0 of 2", "2 identical plans of one commit"} {
		b.Shows(want)
	}
	b.Picture("waiting")
	b.Do(chromium.Press(chromedp.CSS(`.item h2 a`)))
	b.Shows("What happened")
	b.Picture("run")
	b.Do(chromium.Press(chromedp.CSS("#approve")))
	b.Shows("You approved this plan.")

	other := chromium.Open(t)
	other.Open(pages + "accounts/acme/stacks/billing-prod/runs/" + string(run))
	signIn(other, "gantry_carol")
	other.Shows("1 of 2 approvals")
	forgetSession(other)
	other.Do(chromium.Press(chromedp.CSS("#approve")))
	other.Shows("Sign in to Gantry")
	signIn(other, "gantry_carol")
	other.Shows("1 of 2 approvals")
	other.Do(chromium.Press(chromedp.CSS("#approve")))

	l.phase("billing-prod", run, api.PhaseDone)
	for _, tab := range []*chromium.Tab{b, other} {
		tab.Shows("Finished") // live
	}
	b.Do(chromium.Press(chromedp.CSS("details.me summary")), chromium.Press(chromedp.CSS("details.me button")))
	b.Shows("Sign in to Gantry")
	for _, tab := range []*chromium.Tab{b, other} {
		if away := tab.RequestsAway(); away != nil {
			t.Errorf("the pages ask for %q", away)
		}
	}
}

// signIn signs a person in with a token, on the page where they are to sign in.
func signIn(b *chromium.Tab, token string) {
	b.Shows("Sign in to Gantry")
	b.Do(chromedp.SetValue(chromedp.CSS("#token"), token), chromium.Press(chromedp.CSS(".sign-in form button")))
}

// forgetSession makes the browser forget its cookies, as when a session ends.
func forgetSession(b *chromium.Tab) {
	b.Do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, network.ClearBrowserCookies, cdp.Empty{})
		return err
	}))
}
