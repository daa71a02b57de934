package server_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/go-cmp/cmp"
	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/gantryhq/gantry/audit"
	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/decide/freeze"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/inbox/archive"
	"github.com/gantryhq/gantry/server"
	"github.com/gantryhq/gantry/spacelift"
)

// place is a scope of a role. It says whether that includes anything of account acme,
// its stack network-prod, and all of it.
type place struct {
	where                 authority.Where
	account, stack, whole bool
}

// places are some where a role may hold.
var places = map[string]place{
	"everywhere":                  {authority.Where{}, true, true, true},
	"the account":                 {authority.Where{Accounts: []string{"acme"}}, true, true, true},
	"its stacks by name":          {authority.Where{Stacks: []string{"network-*"}}, true, true, false},
	"two stacks by name":          {authority.Where{Accounts: []string{"acme"}, Stacks: []string{"network-prod", "network-dev"}}, true, true, false},
	"its space":                   {authority.Where{Spaces: []string{"net"}}, true, true, false},
	"a space above":               {authority.Where{Accounts: []string{"acme"}, Spaces: []string{"prod"}}, true, true, false},
	"its label":                   {authority.Where{Labels: []string{"team:x", "team:net"}}, true, true, false},
	"another account":             {authority.Where{Accounts: []string{"globex"}}, false, false, false},
	"other stacks":                {authority.Where{Stacks: []string{"app-*"}}, true, false, false},
	"a space beside":              {authority.Where{Spaces: []string{"apps"}}, true, false, false},
	"another label":               {authority.Where{Labels: []string{"team:app"}}, true, false, false},
	"its name with another label": {authority.Where{Stacks: []string{"network-*"}, Labels: []string{"team:app"}}, true, false, false},
	"its name elsewhere":          {authority.Where{Accounts: []string{"globex"}, Stacks: []string{"network-*"}}, false, false, false},
}

func tokenFor(role authority.Role, where string) string {
	return fmt.Sprintf("gantry_%s_%s", role, where)
}

// scopesRig is a server that knows a run, a chain, a freeze and a delivery of the stack
// network-prod, and has a token for each role in each place.
func scopesRig(t *testing.T) (r *rig, box *watchedInbox, delivery string) {
	t.Helper()
	acme := &account{
		stacks: []spacelift.Stack{
			{Account: "acme", ID: "network-prod", Name: "network", Space: "net", Labels: []string{spacelift.LabelManaged, "team:net"}},
			{Account: "acme", ID: "app-prod", Name: "app", Space: "apps", Labels: []string{spacelift.LabelManaged, "team:app"}},
		},
		spaces: []spacelift.Space{{ID: "root"}, {ID: "prod", Parent: "root"}, {ID: "net", Parent: "prod"}, {ID: "apps", Parent: "prod"}},
	}
	record, err := audit.Open(t.Context(), audit.Options{Dir: inMemory(t), Logger: discard()})
	if err == nil {
		t.Cleanup(func() { _ = record.Close() })
		err = record.Record(t.Context(), audit.Entry{By: "joe", Action: "stopRun", Account: "acme", Stack: "network-prod", Result: audit.Done})
	}
	if err != nil {
		t.Fatal(err)
	}
	configure := func(c *server.Config) {
		c.Audit = record
		c.Refusals = server.RefusalLimit{Burst: 1000}
		c.Accounts[0].Stacks, c.Accounts[1].Stacks = acme, &account{}
		for _, role := range authority.Roles {
			for name, p := range places {
				token := tokenFor(role, name)
				c.Tokens = append(c.Tokens, authority.Token{Name: token, Hash: authority.TokenHash(token)})
				c.Bindings = append(c.Bindings, authority.Binding{Who: []string{"token:" + token}, Role: role, Where: p.where})
			}
		}
	}
	r = newRig(t, configure)
	delivery = r.receipt(example(t, "run_tracked_queued")).Delivery
	box = &watchedInbox{Inbox: r.inbox}
	cfg := ordinary()
	configure(&cfg)
	handler, err := server.New(cfg, box, r.temporal, newRegistry(), discard())
	if err != nil {
		t.Fatal(err)
	}
	r.handler = handler

	theirs := aChain()
	theirs.Root.Run, theirs.Nodes = theRun.Run, theirs.Nodes[:1]
	r.temporal.set(inState("FAILED", managed.PhaseDone))
	r.temporal.why = map[string]managed.Explanation{managed.ManageRunID(theRun): {Run: theRun, Phase: managed.PhaseDone, Summary: "it failed"}}
	r.temporal.chains = map[string]chain.Status{managed.ChainID(theirs.Root): theirs}
	frozen := policy.Freeze{ID: "01KDX4A7B3C5D7E9F1G3H5J7K9", Reason: "audit", Stacks: []string{"network-prod"}, From: planned, DeclaredBy: "ann", DeclaredAt: planned}
	r.temporal.freezes = []policy.Freeze{frozen}
	r.temporal.update = func(o client.UpdateWorkflowOptions) (any, error) {
		switch o.Args[0].(type) {
		case chain.Skip, chain.Stop:
			return theirs, nil
		case freeze.Declare, freeze.Lift:
			return frozen, nil
		}
		return asking(), nil
	}
	r.temporal.retry = &managed.RetryRunOutcome{New: theRun}
	r.temporal.trigger = &managed.TriggerRunOutcome{Run: theRun}
	return r, box, delivery
}

// listedAs makes Temporal list one execution of network-prod.
func (r *rig) listedAs(id string) {
	r.t.Helper()
	stack, err := converter.GetDefaultDataConverter().ToPayload("network-prod")
	if err != nil {
		r.t.Fatal(err)
	}
	r.temporal.list = &workflowservice.ListWorkflowExecutionsResponse{Executions: []*workflowpb.WorkflowExecutionInfo{{
		Execution: &commonpb.WorkflowExecution{WorkflowId: id, RunId: "temporal-run"}, StartTime: timestamppb.New(planned),
		SearchAttributes: &commonpb.SearchAttributes{IndexedFields: map[string]*commonpb.Payload{managed.AttrStack: stack}},
	}}}
}

// reach says how an operation treats a caller: whether they got at what is in scope.
type reach struct {
	// got reports it by the answer. By default, anything but a 403 means that they did.
	got func(r *rig, w *httptest.ResponseRecorder) bool

	// holds reports whether a place includes what the operation is about; by default,
	// network-prod.
	holds func(place) bool

	body    string // in place of the contract's example
	query   string
	anyRole bool // it takes no role
	endless bool // it streams: only the headers are asked for
}

func shown(text string) func(*rig, *httptest.ResponseRecorder) bool {
	return func(_ *rig, w *httptest.ResponseRecorder) bool {
		return w.Code == http.StatusOK && strings.Contains(w.Body.String(), text)
	}
}

func found(_ *rig, w *httptest.ResponseRecorder) bool {
	return w.Code != http.StatusNotFound && w.Code != http.StatusForbidden
}

// TestScopes walks every operation of the contract with every role, in and out of
// scope. A new operation needs a row.
func TestScopes(t *testing.T) {
	r, box, delivery := scopesRig(t)
	inAccount := func(p place) bool { return p.account }
	rows := map[string]reach{
		"listRuns":       {got: shown(`"stack":"network-prod"`)},
		"countRuns":      {got: shown(`"bypassed":1`)},
		"listAccounts":   {got: shown(`"name":"acme"`), holds: inAccount},
		"getRun":         {},
		"decideRun":      {},
		"explainRun":     {},
		"listTimeline":   {},
		"retryRun":       {},
		"triggerRun":     {},
		"stopRun":        {},
		"streamRun":      {},
		"listResources":  {},
		"streamEvents":   {got: shown(""), holds: func(place) bool { return true }, endless: true}, // TestEventsInScope reads them
		"listAudit":      {query: "?by=joe", got: shown(`"by":"joe"`), holds: func(p place) bool { return p.whole }},
		"listStacks":     {got: shown(`"stack":"network-prod"`)},
		"getStackPolicy": {},

		"previewFollowers": {},

		"listChains":     {got: shown(`"stack":"network-prod"`)},
		"getChain":       {},
		"skipChainStack": {body: `{"stack":"network-prod"}`},
		"stopChain":      {},
		"listFreezes":    {got: shown(`"network-prod"`)},
		"declareFreeze":  {body: `{"reason":"audit","stacks":["network-prod"]}`},
		"liftFreeze":     {},
		"getCaller":      {got: shown(`"name":"gantry_`), holds: func(place) bool { return true }, anyRole: true},
		"listWindows":    {query: "?stack=network-prod", got: shown(`"name":"network-prod"`)},
		"getStatus":      {got: shown(`"name":"acme"`), holds: func(p place) bool { return p.whole }},
		"listFindings":   {query: "?account=acme", got: shown(`"findings"`), holds: func(p place) bool { return p.whole }},
		"getVersion":     {got: shown(`"contract"`), holds: func(place) bool { return true }, anyRole: true},
		"verifyAudit":    {got: shown(`"entries":`), holds: func(p place) bool { return cmp.Equal(p.where, authority.Where{}) }},
		"listTokens":     {got: shown(`"tokens"`), holds: func(p place) bool { return cmp.Equal(p.where, authority.Where{}) }},
		"listDeliveries": {got: shown(delivery)},
		"getDelivery":    {got: found},
		"redeliver":      {got: found},
		"redeliverDead": {got: func(_ *rig, w *httptest.ResponseRecorder) bool {
			return w.Code == http.StatusAccepted && box.only(theRun, "")
		}},
	}
	walked := 0
	for path, item := range contractOf(t).Paths.Map() {
		if !strings.HasPrefix(path, "/v1/") {
			continue
		}
		for method, op := range item.Operations() {
			row, known := rows[op.OperationID]
			if !known {
				t.Errorf("%s needs a row: what does it show and change out of scope?", op.OperationID)
				continue
			}
			delete(rows, op.OperationID)
			row.fill(t, op)
			if row.endless {
				method = http.MethodHead
			}
			id := managed.ManageRunID(theRun)
			if op.OperationID == "listChains" {
				id = managed.ChainID(theRun)
			}
			r.listedAs(id)
			path := strings.ReplaceAll(filled(path, "acme"), "deliveries/01KDX4A7B3C5D7E9F1G3H5J7K9", "deliveries/"+delivery)
			needs, _ := op.Extensions["x-gantry-role"].(string)
			for _, bad := range []string{"", "Bearer gantry_wrong", "Basic " + tokenFor(authority.RoleAdmin, "everywhere")} {
				wantProblem(t, r.send(method, path, "", "Authorization", bad), http.StatusUnauthorized, "unauthenticated")
			}
			for _, role := range authority.Roles {
				for name, p := range places {
					w := r.send(method, path+row.query, row.body, "Authorization", "Bearer "+tokenFor(role, name), "Content-Type", "application/json")
					want := (row.anyRole || role.Includes(authority.Role(needs))) && row.holds(p)
					if got := row.got(r, w); got != want || w.Code >= 500 {
						t.Errorf("%s as %s of %s: got at it: %t, want %t: %d %.300s", op.OperationID, role, name, got, want, w.Code, w.Body)
					}
					walked++
				}
			}
		}
	}
	for operation := range rows {
		t.Errorf("there is no operation %s", operation)
	}
	if walked < 1000 {
		t.Errorf("only %d combinations were walked", walked)
	}
}

// fill sets what the row leaves open.
func (row *reach) fill(t *testing.T, op *openapi3.Operation) {
	t.Helper()
	if row.got == nil {
		row.got = func(_ *rig, w *httptest.ResponseRecorder) bool { return w.Code != http.StatusForbidden }
	}
	if row.holds == nil {
		row.holds = func(p place) bool { return p.stack }
	}
	if row.body == "" {
		row.body = exampleBody(t, op)
	}
}

// A list of deliveries asks the archive only for accounts and stacks that its caller may
// see, as far as these can be listed.
func TestDeliveriesAreReadInScope(t *testing.T) {
	r, box, _ := scopesRig(t)
	acme, prod := []spacelift.Account{"acme"}, []spacelift.StackID{"network-prod"}
	for name, want := range map[string]archive.Filter{
		"everywhere":                  {},
		"the account":                 {Accounts: acme},
		"its stacks by name":          {Accounts: []spacelift.Account{"acme", "globex"}},
		"a space above":               {Accounts: acme, Stacks: []spacelift.StackID{"app-prod", "network-prod"}},
		"its label":                   {Accounts: []spacelift.Account{"acme", "globex"}, Stacks: prod},
		"its name with another label": {Accounts: []spacelift.Account{"acme", "globex"}, Stacks: []spacelift.StackID{}},
		"two stacks by name":          {Accounts: acme, Stacks: []spacelift.StackID{"network-dev", "network-prod"}},
	} {
		viewer := tokenFor(authority.RoleViewer, name)
		if w := r.get("/v1/deliveries", viewer); w.Code != http.StatusOK {
			t.Fatalf("as viewer of %s: %d %s", name, w.Code, w.Body)
		}
		slices.Sort(box.listed.Stacks)
		got := archive.Filter{Accounts: box.listed.Accounts, Stacks: box.listed.Stacks}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("as viewer of %s (-want +got):\n%s", name, diff)
		}
		r.get("/v1/deliveries?account=acme&stack=network-prod", viewer)
		if diff := cmp.Diff(archive.Filter{Accounts: acme, Stacks: prod}, archive.Filter{Accounts: box.listed.Accounts, Stacks: box.listed.Stacks}); diff != "" {
			t.Errorf("of one stack as viewer of %s (-want +got):\n%s", name, diff)
		}
	}
}

// A freeze of all stacks, and what belongs to no account, takes a role for all of it.
func TestWhatConcernsAWholeAccount(t *testing.T) {
	r, _, _ := scopesRig(t)
	r.send(http.MethodPost, "/webhook", "{}") // not signed: of no account
	for name, p := range places {
		operator, viewer := tokenFor(authority.RoleOperator, name), tokenFor(authority.RoleViewer, name)
		w := r.post(operator, freezes, `{"reason":"audit"}`)
		if (w.Code != http.StatusForbidden) != p.whole {
			t.Errorf("freeze of all as operator of %s: %d %s", name, w.Code, w.Body)
		}
		w = r.post(operator, freezes, `{"reason":"audit","stacks":["network-prod","app-prod"]}`)
		if (w.Code != http.StatusForbidden) != (p.whole || name == "a space above") {
			t.Errorf("freeze of two stacks as operator of %s: %d %s", name, w.Code, w.Body)
		}
		w = r.get("/v1/deliveries?outcome=refused", viewer)
		if strings.Contains(w.Body.String(), "signature-missing") != (name == "everywhere") {
			t.Errorf("deliveries of no account as viewer of %s: %s", name, w.Body)
		}
		var list api.AccountList
		if w = r.get("/v1/accounts", viewer); w.Code == http.StatusOK {
			list = decode[api.AccountList](t, w)
		}
		for _, a := range list.Accounts {
			if a.Name == "acme" && (len(a.Unknown) == 0) != p.whole {
				t.Errorf("account as viewer of %s: %s", name, show(a))
			}
		}
	}
}

// A chain shows only the stacks that its caller may see, and takes a role for all of
// them to stop.
func TestChainInScope(t *testing.T) {
	r, _, _ := scopesRig(t)
	whole := aChain()
	whole.Root.Run = theRun.Run
	r.temporal.chains = map[string]chain.Status{managed.ChainID(theRun): whole}
	path := "/v1/accounts/acme/chains/" + string(theRun.Run)
	w := r.get(path, tokenFor(authority.RoleViewer, "its stacks by name"))
	got := decode[api.Chain](t, w)
	if len(got.Nodes) != 1 || len(got.Edges) != 0 || len(got.Timeline) != 0 || strings.Contains(w.Body.String(), "app-prod") {
		t.Errorf("it shows %s", w.Body)
	}
	if all := decode[api.Chain](t, r.get(path, tokenFor(authority.RoleViewer, "a space above"))); len(all.Nodes) != 2 {
		t.Errorf("with both in scope it shows %s", show(all))
	}
	payload := func(v any) *commonpb.Payload {
		p, err := converter.GetDefaultDataConverter().ToPayload(v)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	r.temporal.list = &workflowservice.ListWorkflowExecutionsResponse{Executions: []*workflowpb.WorkflowExecutionInfo{{
		Execution: &commonpb.WorkflowExecution{WorkflowId: managed.ChainID(theRun), RunId: "temporal-run"}, Status: enums.WORKFLOW_EXECUTION_STATUS_RUNNING, StartTime: timestamppb.New(planned),
		SearchAttributes: &commonpb.SearchAttributes{IndexedFields: map[string]*commonpb.Payload{"GantryStack": payload("network-prod"), "GantryPhase": payload("held")}},
		Memo:             &commonpb.Memo{Fields: map[string]*commonpb.Payload{chain.HeldMemo: payload(chain.Held{Since: planned, InTheWay: []spacelift.StackID{"app-prod"}, Reason: "run 1 of app-prod failed"})}},
	}}}
	if w := r.get("/v1/accounts/acme/chains", tokenFor(authority.RoleViewer, "its stacks by name")); strings.Contains(w.Body.String(), "app-prod") || !strings.Contains(w.Body.String(), "heldSince") {
		t.Errorf("the list shows %s", w.Body)
	}
	if w := r.get("/v1/accounts/acme/chains", tokenFor(authority.RoleViewer, "a space above")); !strings.Contains(w.Body.String(), "run 1 of app-prod failed") {
		t.Errorf("with both in scope the list shows %s", w.Body)
	}
	wantProblem(t, r.post(tokenFor(authority.RoleOperator, "its stacks by name"), path+"/stop", ""), http.StatusForbidden, "forbidden")
	wantProblem(t, r.post(tokenFor(authority.RoleOperator, "its stacks by name"), path+"/skip", `{"stack":"app-prod"}`), http.StatusForbidden, "forbidden")
	if w := r.post(tokenFor(authority.RoleOperator, "a space above"), path+"/stop", ""); w.Code == http.StatusForbidden {
		t.Errorf("with all in scope: %s", w.Body)
	}
}

// A page is filled with what is in scope, however much is not, and says where the next
// begins.
func TestPagesInScope(t *testing.T) {
	r, _, _ := scopesRig(t)
	pages := map[string][]string{"": {"app-prod", "network-prod"}, "2": {"app-prod"}, "3": {"network-prod", "network-prod"}}
	next := map[string]string{"": "2", "2": "3", "3": "4"}
	r.temporal.pages = func(req *workflowservice.ListWorkflowExecutionsRequest) *workflowservice.ListWorkflowExecutionsResponse {
		page := &workflowservice.ListWorkflowExecutionsResponse{NextPageToken: []byte(next[string(req.GetNextPageToken())])}
		for i, stack := range pages[string(req.GetNextPageToken())] {
			id := fmt.Sprintf("run/acme/%s/R%s%d", stack, req.GetNextPageToken(), i)
			page.Executions = append(page.Executions, &workflowpb.WorkflowExecutionInfo{
				Execution: &commonpb.WorkflowExecution{WorkflowId: id, RunId: "temporal-run"}, StartTime: timestamppb.New(planned),
			})
		}
		return page
	}
	list := decode[api.RunList](t, r.get("/v1/runs?pageSize=3", tokenFor(authority.RoleViewer, "its label")))
	var runs []string
	for _, run := range list.Runs {
		runs = append(runs, run.Stack+" "+run.Run)
	}
	if diff := cmp.Diff([]string{"network-prod R1", "network-prod R30", "network-prod R31"}, runs); diff != "" || list.NextPageToken == nil {
		t.Errorf("(-want +got)\n%s\nnext page %v", diff, list.NextPageToken)
	}
	wantProblem(t, r.get("/v1/runs?account=globex", tokenFor(authority.RoleViewer, "the account")), http.StatusForbidden, "forbidden")
}

// Spaces and labels are those that Spacelift's API shows: a change counts within half a
// minute, and while Spacelift is away nobody gets more than they had.
func TestScopesFollowSpacelift(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		acme := &account{stacks: []spacelift.Stack{
			{Account: "acme", ID: "network-prod", Labels: []string{spacelift.LabelManaged, "team:net"}},
		}}
		r := newRig(t, func(c *server.Config) {
			c.Accounts[0].Stacks, c.Accounts[1].Stacks = acme, &account{}
			c.Tokens = append(c.Tokens, authority.Token{Name: "net", Groups: []string{"net"}, Hash: authority.TokenHash("net")})
			c.Bindings = []authority.Binding{{Who: []string{"group:net"}, Role: authority.RoleViewer, Where: authority.Where{Labels: []string{"team:net"}}}}
		})
		r.temporal.set(asking())
		sees := func() int { return r.get(runPath, "net").Code }
		if got := sees(); got != http.StatusOK {
			t.Errorf("with the label: %d", got)
		}
		acme.stacks[0].Labels = []string{spacelift.LabelManaged}
		<-time.After(31 * time.Second)
		if got := sees(); got != http.StatusForbidden {
			t.Errorf("without the label: %d", got)
		}
		acme.stacks[0].Labels = append(acme.stacks[0].Labels, "team:net")
		acme.err = errors.New("away")
		<-time.After(time.Minute)
		if got := sees(); got != http.StatusForbidden {
			t.Errorf("while Spacelift is away: %d", got)
		}
		<-time.After(10 * time.Minute)
		wantProblem(t, r.get(runPath, "net"), http.StatusServiceUnavailable, "spacelift-unavailable")
	})
}

// A program that repairs must not approve.
func TestAnOperatorMayNotApprove(t *testing.T) {
	r := newRig(t)
	r.temporal.set(asking())
	wantProblem(t, r.post(operatorToken, decisions, approve), http.StatusForbidden, "forbidden")
	if len(r.temporal.updates) != 0 {
		t.Error("it reached the run")
	}
}
