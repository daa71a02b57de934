package server_test

import (
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/decide/freeze"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/server"
	"github.com/gantryhq/gantry/spacelift"
)

const (
	decisions = runPath + "/decisions"
	approve   = `{"verdict":"approve"}`
)

var (
	theRun  = spacelift.RunRef{Account: "acme", Stack: "network-prod", Run: "01KDX3V4T8Q2M5N7P9R1S3T5V7"}
	planned = time.Date(2026, 1, 1, 10, 1, 1, 0, time.UTC)
)

// asking is the status of a run that asks people.
func asking() managed.RunStatus {
	return managed.RunStatus{
		Run: theRun, Type: "TRACKED", State: "UNCONFIRMED", StateVersion: 5, Phase: managed.PhaseWaiting, Managed: true, StartedAt: planned,
		Policy: ordinaryPolicy(),
		Approvals: &managed.Approvals{Needed: 2, Given: 1, Group: "platform", Excluded: []string{"jdoe"}, Decided: []managed.Decided{
			{Verdict: managed.Approve, By: "Ann", Note: "fine", At: planned, State: "UNCONFIRMED", StateVersion: 5},
		}},
		Decisions: []managed.Decided{
			{Verdict: managed.Approve, By: "Bob", At: planned, State: "UNCONFIRMED", StateVersion: 3, Revoked: true},
			{Verdict: managed.Approve, By: "Ann", Note: "fine", At: planned, State: "UNCONFIRMED", StateVersion: 5},
		},
	}
}

// ordinaryPolicy is that of a stack with no label but gantry:managed.
func ordinaryPolicy() policy.Policy {
	return (*policy.Definitions)(nil).Resolve(policy.Labelled([]string{spacelift.LabelManaged}))
}

// counts lets every update count.
func counts(client.UpdateWorkflowOptions) (any, error) { return asking(), nil }

// post sends a change.
func (r *rig) post(token, path, body string, headers ...string) *httptest.ResponseRecorder {
	r.t.Helper()
	if body != "" {
		headers = append(headers, "Content-Type", "application/json")
	}
	return r.send(http.MethodPost, path, body, append(headers, "Authorization", "Bearer "+token)...)
}

// keyed is the header of a request with an idempotency key.
func keyed(key string) []string { return []string{"Idempotency-Key", key} }

func TestADecisionReachesItsRun(t *testing.T) {
	r := newRig(t)
	r.temporal.update = counts
	w := r.post(approverToken, decisions, `{"verdict":"approve","note":"fine","stateVersion":5}`)
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	got := decode[api.Run](t, w)
	want := &api.Approvals{Needed: 2, Given: 1, Group: new("platform"), Excluded: []string{"jdoe"}, Decided: []api.Decided{
		{Verdict: api.VerdictApprove, By: "Ann", Note: new("fine"), At: planned, State: "UNCONFIRMED", StateVersion: 5},
	}}
	if diff := cmp.Diff(want, got.Approvals); diff != "" {
		t.Errorf("approvals (-want +got):\n%s", diff)
	}
	if len(got.Decisions) != 2 || got.Decisions[0].Revoked == nil || got.Decisions[1].Revoked != nil {
		t.Errorf("decisions %s", show(got.Decisions))
	}

	sent := r.temporal.updates[0]
	if sent.WorkflowID != managed.ManageRunID(theRun) || sent.UpdateName != managed.DecideUpdate || sent.WaitForStage != client.WorkflowUpdateStageCompleted {
		t.Errorf("sent %+v", sent)
	}
	decision := managed.Decision{
		Verdict: managed.Approve, Note: "fine", StateVersion: new(5),
		By: decide.Person{Name: "Ann", Aliases: []string{"ann", "ann-laptop", "acook"}, Groups: []string{"platform"}},
	}
	if diff := cmp.Diff([]any{decision}, sent.Args); diff != "" {
		t.Errorf("decision (-want +got):\n%s", diff)
	}
	if lines := r.log.entries(t, "change"); len(lines) != 1 || lines[0]["by"] != "Ann" || lines[0]["verdict"] != "approve" || lines[0]["run"] != string(theRun.Run) {
		t.Errorf("the log does not say who decided what: %v", lines)
	}
	if diff := cmp.Diff(map[string]float64{"result=counted,verdict=approve": 1}, r.counter("gantry_decisions_total")); diff != "" {
		t.Errorf("metric (-want +got):\n%s", diff)
	}
}

// Who decides is the bearer: nothing in a body can say otherwise, and a body
// with more in it than the contract knows does not reach the run.
func TestNobodyDecidesInTheNameOfAnother(t *testing.T) {
	for name, body := range map[string]string{
		"a person":          `{"verdict":"approve","by":"root"}`,
		"a person as a map": `{"verdict":"approve","By":{"name":"root"}}`,
		"groups":            `{"verdict":"approve","groups":["platform"]}`,
		"no verdict":        `{"note":"hm"}`,
		"another verdict":   `{"verdict":"confirm"}`,
		"a long note":       `{"verdict":"approve","note":"` + strings.Repeat("x", 1001) + `"}`,
		"a negative plan":   `{"verdict":"approve","stateVersion":-1}`,
		"no object":         `[]`,
		"no JSON":           `verdict=approve`,
		"nothing":           ``,
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.temporal.update = counts
			wantProblem(t, r.post(approverToken, decisions, body), http.StatusBadRequest, "bad-request")
			if len(r.temporal.updates) != 0 {
				t.Errorf("it was sent: %+v", r.temporal.updates)
			}
		})
	}
}

// An endless body is not read to its end.
func TestBodiesOfTheAPIAreBounded(t *testing.T) {
	r := newRig(t)
	wantProblem(t, r.post(approverToken, decisions, `{"verdict":"`+strings.Repeat("x", 200<<10)+`"}`), http.StatusRequestEntityTooLarge, "body-too-large")
}

// refusals is the problem of each refusal that an execution makes.
var refusals = map[string]struct {
	status int
	kind   string
}{
	managed.ErrTypeNotAsked:        {http.StatusConflict, "not-asked"},
	managed.ErrTypeNotEntitled:     {http.StatusForbidden, "not-entitled"},
	managed.ErrTypeSelfApproval:    {http.StatusForbidden, "self-approval"},
	managed.ErrTypeAlreadyDecided:  {http.StatusConflict, "already-decided"},
	managed.ErrTypeStalePlan:       {http.StatusConflict, "stale-plan"},
	managed.ErrTypeNothingToRevoke: {http.StatusConflict, "nothing-to-revoke"},
	managed.ErrTypeTooLate:         {http.StatusConflict, "too-late"},
	managed.ErrTypeNotStoppable:    {http.StatusConflict, "not-stoppable"},
	decide.ErrTypeKeyReused:        {http.StatusUnprocessableEntity, "idempotency-key-reused"},
	managed.ErrTypeUnknownVerdict:  {http.StatusUnprocessableEntity, "unknown-verdict"},
	freeze.ErrTypeUnknown:          {http.StatusNotFound, "unknown-freeze"},
	freeze.ErrTypeFull:             {http.StatusConflict, "freezes-full"},
	freeze.ErrTypeInvalid:          {http.StatusUnprocessableEntity, "bad-freeze"},
	chain.ErrTypeNotInChain:        {http.StatusConflict, "not-in-chain"},
	chain.ErrTypeNotSkippable:      {http.StatusConflict, "not-skippable"},
}

func TestRefusalsOfExecutions(t *testing.T) {
	for errType, want := range refusals {
		t.Run(errType, func(t *testing.T) {
			r := newRig(t)
			r.temporal.update = func(client.UpdateWorkflowOptions) (any, error) {
				return nil, temporal.NewNonRetryableApplicationError("because of the reason", errType, nil)
			}
			p := wantProblem(t, r.post(approverToken, decisions, approve), want.status, want.kind)
			if errType != decide.ErrTypeKeyReused && *p.Detail != "because of the reason" {
				t.Errorf("detail %q does not pass the reason on", *p.Detail)
			}
			if got := r.counter("gantry_decisions_total"); got["result=refused,verdict=approve"] != 1 {
				t.Errorf("metric %v", got)
			}
		})
	}
}

// A refusal that is new in decide needs its problem here.
func TestEveryRefusalHasItsProblem(t *testing.T) {
	var declared []string
	files, err := filepath.Glob("../decide/*/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range append(files, "../decide/keys.go") {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^(?:\t|const )ErrType\w+\s*= "(\w+)"`).FindAllSubmatch(source, -1) {
			ends := strings.HasPrefix(string(m[1]), "Impossible") || string(m[1]) == managed.ErrTypeFault // an execution, and refuses nobody
			if !ends {
				declared = append(declared, string(m[1]))
			}
		}
	}
	slices.Sort(declared)
	if diff := cmp.Diff(declared, slices.Sorted(maps.Keys(refusals))); diff != "" {
		t.Errorf("refusals (-declared +known here):\n%s", diff)
	}
}

// A decision without a state version carries the one that Gantry knew when it came: it
// may reach the execution when there is another plan.
func TestADecisionIsAboutWhatWasKnown(t *testing.T) {
	r := newRig(t)
	r.temporal.update = counts
	known := func() *managed.StateKey {
		t.Helper()
		if w := r.post(approverToken, decisions, approve); w.Code != http.StatusOK {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		return r.temporal.updates[len(r.temporal.updates)-1].Args[0].(managed.Decision).Known
	}
	if diff := cmp.Diff(&managed.StateKey{}, known()); diff != "" {
		t.Errorf("of a run that Gantry doesn't know (-want +got):\n%s", diff)
	}
	r.temporal.set(asking())
	if diff := cmp.Diff(&managed.StateKey{StateVersion: 5, State: "UNCONFIRMED"}, known()); diff != "" {
		t.Errorf("of a plan (-want +got):\n%s", diff)
	}
}

func TestDecisionsThatFindNoOpenExecution(t *testing.T) {
	ended := asking()
	ended.Phase, ended.Outcome = managed.PhaseDone, "bob discarded it in Spacelift"
	closed := func(client.UpdateWorkflowOptions) (any, error) {
		return nil, serviceerror.NewNotFound("workflow execution already completed")
	}
	for name, tt := range map[string]struct {
		versioned bool // the decision names the plan
		known     *managed.RunStatus
		execution enums.WorkflowExecutionStatus
		update    func(client.UpdateWorkflowOptions) (any, error)
		err       error
		status    int
		kind      string
		detail    string
	}{
		"unknown":       {update: closed, status: http.StatusNotFound, kind: "not-found"},
		"ended":         {known: &ended, update: closed, status: http.StatusConflict, kind: "run-ended", detail: "bob discarded it in Spacelift"},
		"terminated":    {known: new(asking()), execution: enums.WORKFLOW_EXECUTION_STATUS_TERMINATED, update: closed, status: http.StatusConflict, kind: "run-ended", detail: "an operator closed its execution"},
		"continues now": {known: new(asking()), execution: enums.WORKFLOW_EXECUTION_STATUS_RUNNING, update: closed, status: http.StatusServiceUnavailable, kind: "unanswered"},
		"ended meanwhile": {known: &ended, update: func(client.UpdateWorkflowOptions) (any, error) {
			return nil, temporal.NewNonRetryableApplicationError("it completed before the update", "AcceptedUpdateCompletedWorkflow", nil)
		}, status: http.StatusConflict, kind: "run-ended", detail: "bob discarded it in Spacelift"},
		"no worker":         {known: new(asking()), update: func(client.UpdateWorkflowOptions) (any, error) { return nil, errNobodyWorks }, status: http.StatusServiceUnavailable, kind: "unanswered"},
		"Temporal is away":  {err: serviceerror.NewUnavailable("connection refused"), status: http.StatusServiceUnavailable, kind: "temporal-unavailable"},
		"… for a plan":      {versioned: true, err: serviceerror.NewUnavailable("connection refused"), status: http.StatusServiceUnavailable, kind: "unanswered"},
		"nobody planned it": {err: errors.New("secret details"), status: http.StatusInternalServerError, kind: "internal"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.temporal.update, r.temporal.execution, r.temporal.err = tt.update, tt.execution, tt.err
				if tt.known != nil {
					r.temporal.set(*tt.known)
				}
				body := approve
				if tt.versioned {
					body = `{"verdict":"approve","stateVersion":5}`
				}
				w := r.post(approverToken, decisions, body)
				p := wantProblem(t, w, tt.status, tt.kind)
				if !strings.Contains(*p.Detail, tt.detail) || strings.Contains(*p.Detail, "secret details") {
					t.Errorf("detail %q", *p.Detail)
				}
				if (tt.status == http.StatusServiceUnavailable) != (w.Header().Get("Retry-After") != "") {
					t.Errorf("Retry-After is %q", w.Header().Get("Retry-After"))
				}
			})
		})
	}
}

// A key counts together with who gave it and what for.
func TestKeysOfDecisions(t *testing.T) {
	r := newRig(t, func(c *server.Config) {
		c.Tokens = append(c.Tokens, authority.Token{Name: "bob", Role: authority.RoleAdmin, Hash: authority.TokenHash("gantry_bob")})
	})
	r.temporal.update = counts
	sent := func(token, path, body, key string) (id, seen string) {
		t.Helper()
		if w := r.post(token, path, body, keyed(key)...); w.Code != http.StatusOK {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		u := r.temporal.updates[len(r.temporal.updates)-1]
		switch arg := u.Args[0].(type) {
		case managed.Decision:
			return u.UpdateID, arg.Key
		case managed.StopRequest:
			return u.UpdateID, arg.Key
		}
		t.Fatalf("sent %+v", u)
		return "", ""
	}
	id, key := sent(approverToken, decisions, approve, "k")
	if id == "" || key == "" || strings.Contains(id, "ann") {
		t.Errorf("id %q, key %q", id, key)
	}
	for name, tt := range map[string]struct {
		token, path, body, key string
		sameID, sameKey        bool
	}{
		"the same":                     {approverToken, decisions, ` { "verdict" : "approve" } `, "k", true, true},
		"another token of hers":        {otherToken, decisions, approve, "k", true, true},
		"another verdict":              {approverToken, decisions, `{"verdict":"reject"}`, "k", false, true},
		"another note":                 {approverToken, decisions, `{"verdict":"approve","note":"x"}`, "k", false, true},
		"another plan":                 {approverToken, decisions, `{"verdict":"approve","stateVersion":0}`, "k", false, true},
		"another key":                  {approverToken, decisions, approve, "k2", false, false},
		"another person":               {"gantry_bob", decisions, approve, "k", false, false},
		"another person, another deed": {"gantry_bob", runPath + "/stop", ``, "k", false, false},
	} {
		if gotID, gotKey := sent(tt.token, tt.path, tt.body, tt.key); (gotID == id) != tt.sameID || (gotKey == key) != tt.sameKey {
			t.Errorf("%s: id %q, key %q; the first had %q, %q", name, gotID, gotKey, id, key)
		}
	}
	stop, stopKey := sent("gantry_bob", runPath+"/stop", ``, "k")
	if other, otherKey := sent("gantry_bob", decisions, approve, "k"); other == stop || otherKey != stopKey {
		t.Error("a stop and a decision under one key have the same content")
	}
}

func TestKeysThatAreNone(t *testing.T) {
	for name, key := range map[string]string{"empty": "", "too long": strings.Repeat("k", 256), "not printable": "a\tb", "not ASCII": "ключ"} {
		r := newRig(t)
		r.temporal.update = counts
		p := wantProblem(t, r.post(approverToken, decisions, approve, keyed(key)...), http.StatusBadRequest, "bad-request")
		if len(p.Errors) != 1 || p.Errors[0].Parameter == nil || *p.Errors[0].Parameter != "Idempotency-Key" {
			t.Errorf("%s: it does not name the header: %s", name, show(p))
		}
	}
	r := newRig(t)
	r.temporal.update = counts
	if w := r.post(approverToken, decisions, approve, keyed(strings.Repeat("~", 255))...); w.Code != http.StatusOK {
		t.Errorf("the longest key: %d %s", w.Code, w.Body)
	}
}

func TestStop(t *testing.T) {
	r := newRig(t)
	r.temporal.update = counts
	for _, body := range []string{``, `{}`, `{"note":"wrong branch"}`} {
		w := r.post(operatorToken, runPath+"/stop", body)
		if w.Code != http.StatusOK || decode[api.Run](t, w).Run != string(theRun.Run) {
			t.Errorf("%q: %d %s", body, w.Code, w.Body)
		}
	}
	want := []any{managed.StopRequest{By: decide.Person{Name: "otto"}, Note: "wrong branch"}}
	if diff := cmp.Diff(want, r.temporal.updates[2].Args); diff != "" || r.temporal.updates[2].UpdateName != managed.StopUpdate {
		t.Errorf("sent %s (-want +got):\n%s", r.temporal.updates[2].UpdateName, diff)
	}
	if lines := r.log.entries(t, "change"); len(lines) != 3 || lines[0]["operation"] != "StopRun" || lines[0]["by"] != "otto" {
		t.Errorf("the log does not say who stopped it: %v", lines)
	}
	wantProblem(t, r.post(operatorToken, runPath+"/stop", `{"force":true}`), http.StatusBadRequest, "bad-request")
}

// Whose approvals count as whose is too important to guess.
func TestPeopleThatCannotBe(t *testing.T) {
	token := func(name string) authority.Token {
		return authority.Token{Name: name, Role: authority.RoleApprover, Hash: authority.TokenHash(name)}
	}
	for name, tt := range map[string]struct {
		tokens []authority.Token
		people []decide.Person
		says   string
	}{
		"a name of two people":       {people: []decide.Person{{Name: "ann", Aliases: []string{"acook"}}, {Name: "bob", Aliases: []string{"ACook"}}}, says: "people[1].name: ACook is a name of ann too"},
		"a name that is an alias":    {people: []decide.Person{{Name: "ann", Aliases: []string{"bob"}}, {Name: "Bob"}}, says: "people[1].name: Bob is a name of ann too"},
		"no name":                    {people: []decide.Person{{Aliases: []string{"x"}}}, says: "people[0].name"},
		"an empty alias":             {people: []decide.Person{{Name: "ann", Aliases: []string{""}}}, says: "people[0].aliases: one is empty"},
		"tokens that differ in case": {tokens: []authority.Token{token("ann"), token("Ann")}, says: "tokens[1].name: it is configured twice"},
	} {
		_, err := server.New(server.Config{
			Accounts: []server.Account{{Name: "acme", Secrets: fixed(acmeSecret)}}, Tokens: tt.tokens, People: tt.people,
		}, nil, nil, newRegistry(), discard())
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
