package server_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"go.temporal.io/api/workflowservice/v1"

	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/inbox"
	"github.com/gantryhq/gantry/inbox/archive"
	"github.com/gantryhq/gantry/server"
	"github.com/gantryhq/gantry/spacelift"
)

// foreign is an account that another installation serves in the same namespace of
// Temporal.
const foreign = "initech"

// watchedInbox notes which deliveries a list and a redelivery of all dead ones are about.
type watchedInbox struct {
	*inbox.Inbox
	only   func(spacelift.RunRef, string) bool
	listed archive.Filter
}

func (i *watchedInbox) List(ctx context.Context, f archive.Filter, pageSize int, pageToken string) ([]archive.Delivery, string, error) {
	i.listed = f
	return i.Inbox.List(ctx, f, pageSize, pageToken)
}

func (i *watchedInbox) RedeliverDead(_ context.Context, only func(spacelift.RunRef, string) bool) (int, error) {
	i.only = only
	return 0, nil
}

// foreignRig is a server whose Temporal knows a run, a chain and freezes of a
// foreign account, and whose inbox a notification of it, which was accepted while
// the account was served here.
func foreignRig(t *testing.T) (r *rig, box *watchedInbox, delivery string) {
	t.Helper()
	r = newRig(t, func(c *server.Config) {
		c.Accounts = append(c.Accounts, server.Account{Name: foreign, Secrets: fixed("s")})
	})
	delivery = decode[api.Receipt](t, r.deliver("s", edited(t, func(b map[string]any) { b["account"] = foreign }))).Delivery
	box = &watchedInbox{Inbox: r.inbox}
	r.handler = r.serve(box)

	status, theirs := inState("FAILED", managed.PhaseDone), aChain()
	status.Run.Account, theirs.Root.Account, theirs.Root.Run = foreign, foreign, theRun.Run
	r.temporal.set(status)
	r.temporal.chains = map[string]chain.Status{managed.ChainID(theirs.Root): theirs}
	r.temporal.list = &workflowservice.ListWorkflowExecutionsResponse{}
	r.temporal.update = counts
	return r, box, delivery
}

// TestForeignAccounts walks every operation of the contract. What names an account
// that this Gantry does not serve is refused, and nothing of it reaches Temporal;
// other operations show nothing of it. A new operation needs its case here, unless
// its path or query names the account.
func TestForeignAccounts(t *testing.T) {
	cases := map[string]func(t *testing.T){
		"listRuns": func(t *testing.T) {
			r, _, _ := foreignRig(t)
			r.get("/v1/runs", viewerToken)
			if q := r.temporal.asked.GetQuery(); !strings.Contains(q, " AND GantryAccount IN ('acme', 'globex')") {
				t.Errorf("asked for %s", q)
			}
		},
		"countRuns": func(t *testing.T) {
			r, _, _ := foreignRig(t)
			r.get("/v1/runs/counts", viewerToken)
			if q := r.temporal.asked.GetQuery(); !strings.Contains(q, " AND GantryAccount IN ('acme', 'globex')") {
				t.Errorf("asked for %s", q)
			}
		},
		"streamEvents": func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, _, _ := foreignRig(t)
				asked := make(chan string, 1)
				r.temporal.pages = func(req *workflowservice.ListWorkflowExecutionsRequest) *workflowservice.ListWorkflowExecutionsResponse {
					if strings.Contains(req.GetQuery(), managed.AttrChanged) && len(asked) == 0 {
						asked <- req.GetQuery()
					}
					return &workflowservice.ListWorkflowExecutionsResponse{}
				}
				s := r.listen(viewerToken, "", "")
				defer s.leave()
				if q := <-asked; !strings.Contains(q, " AND GantryAccount IN ('acme', 'globex')") {
					t.Errorf("asked for %s", q)
				}
			})
		},
		"listAccounts": func(t *testing.T) {
			r, _, _ := foreignRig(t)
			for _, a := range r.accounts() {
				if a.Name == foreign {
					t.Error("it is listed")
				}
			}
		},
		"listDeliveries": func(t *testing.T) {
			r, _, _ := foreignRig(t)
			r.receipt(example(t, "run_tracked_queued"))
			// Signed with a secret of acme, so it is acme's to see what is wrong with it.
			unknown := r.receipt(edited(t, func(b map[string]any) { b["account"] = "nobody" }))
			r.send(http.MethodPost, "/webhook", "{}") // not signed: of no account
			if all := r.deliveries(""); len(all) != 3 || all[1].ID != unknown.Delivery {
				t.Errorf("deliveries %s", show(all))
			}
			if dead := r.deliveries("?stack=network-prod&outcome=accepted"); len(dead) != 1 {
				t.Errorf("by a filter that fits: %s", show(dead))
			}
		},
		"getDelivery": func(t *testing.T) {
			r, _, delivery := foreignRig(t)
			wantProblem(t, r.get("/v1/deliveries/"+delivery, viewerToken), http.StatusNotFound, "not-found")
		},
		"redeliver": func(t *testing.T) {
			r, _, delivery := foreignRig(t)
			wantProblem(t, r.post(operatorToken, "/v1/deliveries/"+delivery+"/redeliveries", ""), http.StatusNotFound, "not-found")
		},
		"redeliverDead": func(t *testing.T) {
			r, box, _ := foreignRig(t)
			if w := r.post(operatorToken, "/v1/redeliveries", ""); w.Code != http.StatusAccepted || box.only == nil {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			of := func(account spacelift.Account) bool {
				return box.only(spacelift.RunRef{Account: account}, "")
			}
			if of(foreign) || !of("acme") {
				t.Errorf("of %s: %t, of acme: %t", foreign, of(foreign), of("acme"))
			}
		},
		"listAudit": nil, // it shows this replica's own log to administrators, whatever they asked for
		"receiveNotification": func(t *testing.T) {
			r, _, _ := foreignRig(t)
			body := edited(t, func(b map[string]any) { b["account"] = foreign })
			wantProblem(t, r.deliver("s", body), http.StatusUnauthorized, "signature-mismatch")
			if got := decode[api.Receipt](t, r.deliver(acmeSecret, body)); got.Outcome != api.OutcomeIgnored || *got.Reason != "unknown-account" {
				t.Errorf("with a secret of acme: %s", show(got))
			}
		},
		"getMetrics": func(t *testing.T) {
			r, _, _ := foreignRig(t)
			for line := range strings.Lines(r.metrics()) {
				if strings.HasPrefix(line, "gantry_guardian") && strings.Contains(line, foreign) {
					t.Error(line)
				}
			}
		},
		"listFindings": func(t *testing.T) {
			r, _, _ := foreignRig(t)
			if w := r.get("/v1/findings", viewerToken); strings.Contains(w.Body.String(), foreign) {
				t.Error(w.Body)
			}
		},
		"getStatus": func(t *testing.T) {
			r, _, _ := foreignRig(t)
			if w := r.get("/v1/status", viewerToken); w.Code != http.StatusOK || strings.Contains(w.Body.String(), foreign) || !strings.Contains(w.Body.String(), `"traffic":[]`) {
				t.Errorf("%d %s", w.Code, w.Body)
			}
		},
		"getVersion":   nil, // of the process
		"verifyAudit":  nil, // of the replicas' own logs
		"getCaller":    nil, // of the caller
		"listTokens":   nil, // of the process
		"getHealth":    nil, // of the process
		"getReadiness": nil, // of the process
	}
	refused := func(t *testing.T, r *rig, w *httptest.ResponseRecorder) {
		t.Helper()
		p := wantProblem(t, w, http.StatusNotFound, "not-found")
		if !strings.Contains(*p.Detail, "serves no account of this name") {
			t.Errorf("detail %q", *p.Detail)
		}
		if r.temporal.asks != 0 || r.temporal.asked != nil || len(r.temporal.updates) != 0 || len(r.temporal.retries)+len(r.temporal.triggers) != 0 {
			t.Error("it reached Temporal")
		}
	}
	for path, item := range contractOf(t).Paths.Map() {
		for method, op := range item.Operations() {
			t.Run(op.OperationID, func(t *testing.T) {
				headers := []string{"Authorization", "Bearer " + adminToken, "Content-Type", "application/json"}
				inPath, inQuery := strings.Contains(path, "{account}"), op.Parameters.GetByInAndName("query", "account") != nil
				if inPath {
					r, _, _ := foreignRig(t)
					refused(t, r, r.send(method, filled(path, foreign), exampleBody(t, op), headers...))
				}
				if inQuery {
					r, _, _ := foreignRig(t)
					refused(t, r, r.send(method, filled(path, "acme")+"?account="+foreign, exampleBody(t, op), headers...))
				}
				test, known := cases[op.OperationID]
				if !known && !inPath {
					t.Error("this operation needs a case: what does it do with an account that is not served?")
				}
				if test != nil {
					test(t)
				}
				delete(cases, op.OperationID)
			})
		}
	}
	for operation := range cases {
		t.Errorf("there is no operation %s", operation)
	}
}
