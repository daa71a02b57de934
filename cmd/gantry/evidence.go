package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gantryhq/gantry/decide/reconcile"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/gen/client"
)

// evidence is what a running Gantry took and refused of an account's
// notifications. It shows by its effect what Spacelift doesn't show. It must be
// gathered before Gantry is sent a test.
type evidence struct {
	mismatch string // what Gantry says of a webhook that signs with another secret; empty if it says nothing
	took     time.Time
	refused  []api.Delivery // since then, for their signature or secret header, newest first
	missing  string         // why deliveries could not be looked at; empty if they were
}

// maxRefused bounds how many refused deliveries are looked at.
const maxRefused = 50

// gather asks the Gantry whose webhook is at an address. Its metrics need no
// token; its deliveries need one that may view.
func gather(ctx context.Context, address, account string) evidence {
	if address == "" {
		return evidence{missing: "give --url to have what Gantry took and refused looked at"}
	}
	base, whole := strings.CutSuffix(address, webhookPath)
	if !whole {
		return evidence{missing: "what Gantry took and refused is not known: its API is looked for beside " + webhookPath}
	}
	e := evidence{mismatch: mismatchMetric(ctx, base, account)}
	if u, err := url.Parse(base); err != nil || u.Scheme == "http" && !near(u) {
		e.missing = "what Gantry took and refused is not looked at: a token would travel in the clear to " + base
		return e
	}
	token, err := readToken("")
	if err != nil {
		e.missing = "set GANTRY_TOKEN or GANTRY_TOKEN_FILE to a viewer's token to have what Gantry took and refused looked at"
		return e
	}
	gantry, err := newClient(base, token, direct.Timeout)
	if err == nil {
		err = e.ask(ctx, gantry, account)
	}
	if err != nil {
		e.missing = "what Gantry took and refused could not be looked at: " + err.Error()
	}
	return e
}

func (e *evidence) ask(ctx context.Context, gantry *client.Client, account string) error {
	accounts, err := receive[api.AccountList](gantry.ListAccounts(ctx))
	if err != nil {
		return err
	}
	for _, a := range accounts.Accounts {
		for _, f := range a.Findings {
			if a.Name == account && f.Kind == string(reconcile.FindingSecretMismatch) {
				e.mismatch = f.Summary
			}
		}
	}
	list := func(p api.ListDeliveriesParams) (api.DeliveryList, error) {
		return receive[api.DeliveryList](gantry.ListDeliveries(ctx, &p))
	}
	// Only runs count: this command's own tests are no runs.
	taken, err := list(api.ListDeliveriesParams{Outcome: new(api.Outcome("accepted")), Account: &account, PageSize: new(1)})
	if err != nil {
		return err
	}
	for _, d := range taken.Deliveries {
		e.took = d.ReceivedAt
	}
	refused, err := list(api.ListDeliveriesParams{Outcome: new(api.Outcome("refused")), Since: given(e.took), PageSize: new(maxRefused)})
	for _, d := range refused.Deliveries {
		if reason := deref(d.Reason); reason == "signature-mismatch" || reason == "signature-missing" || reason == "secret-header-mismatch" {
			e.refused = append(e.refused, d)
		}
	}
	return err
}

// says is the evidence in words.
func (e evidence) says() string {
	switch {
	case e.missing != "":
		return e.missing
	case len(e.refused) == 0 && e.took.IsZero():
		return "Gantry's delivery log holds no notification of the account"
	case len(e.refused) == 0:
		return fmt.Sprintf("Gantry took a notification at %s and refused none since", e.took.UTC().Format(time.RFC3339))
	}
	latest := fmt.Sprintf("%d of late, the last one at %s as %s", len(e.refused), e.refused[0].ReceivedAt.UTC().Format(time.RFC3339), deref(e.refused[0].Reason))
	if e.took.IsZero() {
		return "Gantry took no notification of the account and refused requests: " + latest
	}
	return fmt.Sprintf("Gantry has refused requests since the last notification it took, at %s: %s", e.took.UTC().Format(time.RFC3339), latest)
}

// proves reports whether Gantry took what comes, and refused nothing since.
func (e evidence) proves() bool {
	return e.missing == "" && e.mismatch == "" && !e.took.IsZero() && len(e.refused) == 0
}

// mismatchMetric reads from Gantry's metrics whether it suspects that the
// account's webhook signs with another secret.
func mismatchMetric(ctx context.Context, base, account string) string {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/metrics", nil)
	if err != nil {
		return ""
	}
	answer, err := direct.Do(req)
	if err != nil {
		return ""
	}
	defer func() { _ = answer.Body.Close() }()
	wanted := fmt.Sprintf(`gantry_guardian_findings{account=%q,kind=%q} 1`, account, reconcile.FindingSecretMismatch)
	lines := bufio.NewScanner(io.LimitReader(answer.Body, maxResponse))
	for answer.StatusCode == http.StatusOK && lines.Scan() {
		if lines.Text() == wanted {
			return "Gantry refuses signatures that no configured secret made, and takes nothing of the account"
		}
	}
	return ""
}
