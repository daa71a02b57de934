package doctor

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/decide/reconcile"
	"github.com/gantryhq/gantry/deploy"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/gen/gantry"
)

// Evidence describes which notifications of an account a running Gantry accepted
// and refused. It shows indirectly what Spacelift doesn't show. Gather it before
// sending Gantry a test.
type Evidence struct {
	Mismatch string         // what Gantry reports of a webhook that signs with another secret; empty if nothing
	proxy    *api.Finding   // what it reports of a proxy that it doesn't trust; nil if nothing
	accepted time.Time      // the latest one
	refused  []api.Delivery // since then, for their signature or secret header, newest first
	missing  string         // why deliveries could not be read; empty if they were
}

// maxRefused bounds how many refused deliveries are read.
const maxRefused = 50

// Evidence reads the evidence. It needs a viewer's token.
func (g Gantry) Evidence(ctx context.Context) Evidence {
	if g.Webhook == "" {
		return Evidence{missing: "give --url to check what Gantry accepted and refused"}
	}
	base, whole := strings.CutSuffix(g.Webhook, deploy.WebhookPath)
	if !whole {
		return Evidence{missing: "what Gantry accepted and refused is unknown: its API is expected beside " + deploy.WebhookPath}
	}
	ctx, cancel := context.WithTimeout(ctx, direct.Timeout)
	defer cancel()
	var e Evidence
	if u, err := url.Parse(base); err != nil || !Encrypted(u) {
		e.missing = "what Gantry accepted and refused was not read: the token would be sent unencrypted to " + base
		return e
	}
	token, err := g.Token()
	if err != nil {
		e.missing = "set GANTRY_TOKEN or GANTRY_TOKEN_FILE to a viewer's token to check what Gantry accepted and refused"
		return e
	}
	c, err := gantry.New(base, gantry.WithToken(token), gantry.WithUserAgent("gantry/"+g.Version), gantry.WithPatience(0))
	if err == nil {
		err = e.read(ctx, c, g.Account)
	}
	if err != nil {
		e.missing = "what Gantry accepted and refused could not be read: " + err.Error()
	}
	return e
}

func (e *Evidence) read(ctx context.Context, c *gantry.Client, account string) error {
	accounts, err := gantry.Answer[api.AccountList](c.ListAccounts(ctx))
	if err != nil {
		return err
	}
	for _, a := range accounts.Accounts {
		for _, f := range a.Findings {
			switch {
			case a.Name != account:
			case f.Kind == string(reconcile.FindingSecretMismatch):
				e.Mismatch = f.Summary
			case f.Kind == string(reconcile.FindingUntrustedProxy):
				e.proxy = &f
			}
		}
	}
	list := func(p api.ListDeliveriesParams) (api.DeliveryList, error) {
		return gantry.Answer[api.DeliveryList](c.ListDeliveries(ctx, &p))
	}
	// Only notifications of runs are accepted; this command's own tests are ignored.
	taken, err := list(api.ListDeliveriesParams{Outcome: new(api.Outcome("accepted")), Account: &account, PageSize: new(1)})
	if err != nil {
		return err
	}
	for _, d := range taken.Deliveries {
		e.accepted = d.ReceivedAt
	}
	var since *time.Time
	if !e.accepted.IsZero() {
		since = &e.accepted
	}
	refused, err := list(api.ListDeliveriesParams{Outcome: new(api.Outcome("refused")), Since: since, PageSize: new(maxRefused)})
	for _, d := range refused.Deliveries {
		if d.Reason != nil && slices.Contains([]string{"signature-mismatch", "signature-missing", "secret-header-mismatch"}, *d.Reason) {
			e.refused = append(e.refused, d)
		}
	}
	return err
}

// String returns the evidence in words.
func (e Evidence) String() string {
	switch {
	case e.missing != "":
		return e.missing
	case len(e.refused) == 0 && e.accepted.IsZero():
		return "Gantry's delivery log holds no notification of the account"
	case len(e.refused) == 0:
		return fmt.Sprintf("Gantry accepted a notification at %s and refused none since", e.accepted.UTC().Format(time.RFC3339))
	}
	latest := fmt.Sprintf("%d, the last one at %s as %s", len(e.refused), e.refused[0].ReceivedAt.UTC().Format(time.RFC3339), *e.refused[0].Reason)
	if e.accepted.IsZero() {
		return "Gantry accepted no notification of the account and refused requests: " + latest
	}
	return fmt.Sprintf("Gantry has refused requests since the last notification that it accepted, at %s: %s", e.accepted.UTC().Format(time.RFC3339), latest)
}

// Proves reports whether Gantry accepted a notification and refused none since.
func (e Evidence) Proves() bool {
	return e.missing == "" && e.Mismatch == "" && !e.accepted.IsZero() && len(e.refused) == 0
}
