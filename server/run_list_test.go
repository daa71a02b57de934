package server_test

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/decide/policy"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/server"
	"github.com/gantryhq/gantry/spacelift"
)

// executionOf returns the execution of a run as Temporal lists it.
func executionOf(t *testing.T, s managed.RunStatus) *workflowpb.WorkflowExecutionInfo {
	t.Helper()
	payload := func(v any) *commonpb.Payload {
		p, err := converter.GetDefaultDataConverter().ToPayload(v)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	attributes := map[string]*commonpb.Payload{managed.AttrChanged: payload(managed.ListedTime(s.StartedAt))}
	for _, a := range managed.Attributes(&s) {
		if a.Value != "" {
			attributes[a.Name] = payload(a.Value)
		}
	}
	status := enums.WORKFLOW_EXECUTION_STATUS_RUNNING
	if s.Phase == managed.PhaseDone {
		status = enums.WORKFLOW_EXECUTION_STATUS_COMPLETED
	}
	return &workflowpb.WorkflowExecutionInfo{
		Execution: &commonpb.WorkflowExecution{WorkflowId: managed.ManageRunID(s.Run), RunId: "temporal-" + string(s.Run.Run)},
		Status:    status, StartTime: timestamppb.New(s.StartedAt),
		SearchAttributes: &commonpb.SearchAttributes{IndexedFields: attributes},
		Memo:             &commonpb.Memo{Fields: map[string]*commonpb.Payload{managed.ListedMemo: payload(managed.ListRun(&s))}},
	}
}

// lists lets Temporal list runs by phase, state and stack, in pages, as it would.
func (r *rig) lists(runs ...managed.RunStatus) {
	phases, stacks := regexp.MustCompile(`GantryPhase (?:IN \(|= )([^)]*?)(?:\)|$| AND)`), regexp.MustCompile(`GantryStack (=|STARTS_WITH) '([^']*)'`)
	r.temporal.pages = func(req *workflowservice.ListWorkflowExecutionsRequest) *workflowservice.ListWorkflowExecutionsResponse {
		var found []*workflowpb.WorkflowExecutionInfo
		for _, s := range runs {
			fits := true
			for _, m := range phases.FindAllStringSubmatch(req.GetQuery(), -1) {
				fits = fits && strings.Contains(m[1], "'"+string(s.Phase)+"'")
			}
			for _, m := range stacks.FindAllStringSubmatch(req.GetQuery(), -1) {
				fits = fits && strings.HasPrefix(string(s.Run.Stack), m[2]) && (m[1] != "=" || string(s.Run.Stack) == m[2])
			}
			if state := managed.AttrRunState + " = '"; strings.Contains(req.GetQuery(), state) {
				fits = fits && strings.Contains(req.GetQuery(), state+string(s.State)+"'")
			}
			if fits {
				found = append(found, executionOf(r.t, s))
			}
		}
		from, _ := strconv.Atoi(string(req.GetNextPageToken()))
		to := min(from+int(req.GetPageSize()), len(found))
		page := &workflowservice.ListWorkflowExecutionsResponse{Executions: found[from:to]}
		if to < len(found) {
			page.NextPageToken = []byte(strconv.Itoa(to))
		}
		return page
	}
}

// listed returns the ids of the runs that a query lists, over all its pages.
func (r *rig) listed(token, query string) (ids []string) {
	r.t.Helper()
	next := ""
	for range 100 {
		w := r.get("/v1/runs?"+query+next, token)
		if w.Code != http.StatusOK {
			r.t.Fatalf("%s: %d %s", query, w.Code, w.Body)
		}
		page := decode[api.RunList](r.t, w)
		for _, run := range page.Runs {
			ids = append(ids, run.Run)
		}
		if page.NextPageToken == nil {
			return ids
		}
		next = "&pageToken=" + url.QueryEscape(*page.NextPageToken)
	}
	r.t.Fatalf("%s has no end", query)
	return nil
}

// waits is a run that waits for people since a number of minutes.
func waits(id string, minutes int, change ...func(*managed.RunStatus)) managed.RunStatus {
	s := asking()
	s.Run.Run = spacelift.RunID(id)
	s.WaitingFor = &managed.WaitingFor{What: managed.WaitPerson, Reason: "people decide", Since: planned.Add(-time.Duration(minutes) * time.Minute), Who: "platform"}
	s.Ballot = &managed.Ballot{Takes: managed.Verdicts[:2], Electorate: managed.Electorate{Group: "platform", Excluded: []string{"jdoe"}}}
	for _, c := range change {
		c(&s)
	}
	return s
}

// A list says all that its page needs, without a question per run.
func TestAListedRunSaysWhyItWaits(t *testing.T) {
	r := newRig(t, func(c *server.Config) {
		c.Accounts[0].Stacks = &account{
			spaces: []spacelift.Space{{ID: "root"}, {ID: "net", Parent: "root"}},
			stacks: []spacelift.Stack{{Account: "acme", ID: "network-prod", Space: "net", Labels: []string{spacelift.LabelManaged}}},
		}
	})
	s := waits("01", 3, func(s *managed.RunStatus) {
		s.Delta, s.Branch, s.TriggeredBy, s.StackName, s.URL = &spacelift.Delta{Deleted: 9, Resources: 42}, "main", "jdoe", "Network", "https://x/run/01"
		s.Commit = spacelift.Commit{Hash: "9f2c", Message: "Remove subnets\n\nAll of them.", AuthorLogin: "jdoe"}
		s.Labels = []string{"gantry:approvals=2", "gantry:managed"}
		s.Resources = &managed.Resources{StateVersion: 5, Total: 9, Deletes: 9}
		for i := range 9 {
			s.Resources.First = append(s.Resources.First, spacelift.Resource{Address: fmt.Sprintf("aws_subnet.s%d", i), Change: spacelift.ChangeDelete})
		}
		s.Enforcement = &policy.Enforcement{Level: policy.Advisory, Reason: "no policy is attached"}
		s.Chains = []managed.ChainRef{{Root: spacelift.RunRef{Account: "acme", Stack: "vpc", Run: "00"}, After: []spacelift.StackID{"vpc"}}}
	})
	r.lists(s)
	w := r.get("/v1/runs?space=net&label=gantry:managed", approverToken)
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	got := decode[api.RunList](t, w).Runs[0]
	resources := got.Resources.First
	got.Resources.First, got.Approvals.Decided = nil, got.Approvals.Decided[:0]
	want := api.RunSummary{
		Account: "acme", Stack: "network-prod", Run: "01", Type: "TRACKED", State: "UNCONFIRMED", StateVersion: new(5), Phase: api.PhaseWaiting,
		WaitingFor: &api.WaitingFor{What: "person", Reason: "people decide", Since: planned.Add(-3 * time.Minute), Who: new("platform")},
		Approvals:  &api.Approvals{Needed: 2, Given: 1, Group: new("platform"), Excluded: []string{"jdoe"}, Decided: []api.Decided{}},
		CanDecide:  []api.Verdict{api.VerdictApprove, api.VerdictReject}, Delta: &api.Delta{Deleted: 9, Resources: 42},
		Resources:   &api.PlannedResources{StateVersion: 5, Total: 9, Deletes: new(9)},
		Enforcement: &api.Enforcement{Level: "advisory", Reason: "no policy is attached"},
		Branch:      new("main"), Commit: &api.Commit{Hash: new("9f2c"), Message: new("Remove subnets"), AuthorLogin: new("jdoe")}, TriggeredBy: new("jdoe"),
		URL: new("https://x/run/01"), StackName: new("Network"), Space: new("net"), Labels: []string{"gantry:approvals=2", "gantry:managed"},
		Chains:    []api.ChainRef{{Run: "00", Stack: "vpc", After: []string{"vpc"}}},
		StartedAt: planned, ChangedAt: &planned, Execution: api.Execution{WorkflowID: "run/acme/network-prod/01", TemporalRunID: "temporal-01", Status: "Running"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("run (-want +got):\n%s", diff)
	}
	if len(resources) != 5 || resources[0].Address != "aws_subnet.s0" {
		t.Errorf("resources %s", show(resources))
	}
	if asked := r.temporal.queries(); asked != 0 {
		t.Errorf("executions were asked %d times", asked)
	}
}

func TestWhatListsSelect(t *testing.T) {
	r := newRig(t, func(c *server.Config) {
		c.Accounts[0].Stacks = &account{
			spaces: []spacelift.Space{{ID: "root"}, {ID: "net", Parent: "root"}},
			stacks: []spacelift.Stack{
				{Account: "acme", ID: "network-prod", Space: "net", Labels: []string{spacelift.LabelManaged, "team:net"}},
				{Account: "acme", ID: "app-prod", Space: "root", Labels: []string{spacelift.LabelManaged}},
			},
		}
	})
	app := func(s *managed.RunStatus) { s.Run.Stack = "app-prod" }
	r.lists(
		waits("01", 1, func(s *managed.RunStatus) { s.TriggeredBy, s.Commit.Hash = "ACook", "9f2c77ab" }),
		waits("02", 9, app, func(s *managed.RunStatus) {
			s.Chains = []managed.ChainRef{{Root: spacelift.RunRef{Account: "acme", Stack: "vpc", Run: "00"}}}
			s.Approvals = &managed.Approvals{Needed: 1, Group: "dba", Required: []managed.RequiredApprovals{{Needed: 1, Group: "platform", Reason: "it deletes"}}}
		}),
		waits("03", 5, func(s *managed.RunStatus) { s.Phase, s.WaitingFor.What = managed.PhaseHolding, managed.WaitGate }),
		waits("04", 2, app, func(s *managed.RunStatus) {
			s.Phase, s.WaitingFor, s.Commit.AuthorName = managed.PhaseApplying, nil, "Ann"
		}),
	)
	for query, want := range map[string]string{
		"":                                   "01 02 03 04",
		"order=newest":                       "01 02 03 04",
		"order=oldest":                       "02 03 01 04",
		"waiting=any":                        "01 02 03",
		"waiting=person":                     "01 02",
		"waiting=gate":                       "03",
		"held=true":                          "03",
		"author=me":                          "01 04",
		"author=ann":                         "04",
		"author=nobody":                      "",
		"label=team:net":                     "01 03",
		"space=net":                          "01 03",
		"space=root":                         "01 02 03 04",
		"stack=app-*":                        "02 04",
		"stack=*prod":                        "01 02 03 04",
		"stack=net*dev":                      "",
		"canDecide=me":                       "02 01 03",
		"waiting=any&author=me":              "01",
		"commit=9F2C":                        "01",
		"commit=f2c7":                        "",
		"run=0":                              "01 02 03 04",
		"run=03":                             "03",
		"account=acme&stack=app-prod&run=02": "02",
		"chain=00":                           "02",
		"group=me":                           "01 02",
		"group=dba":                          "02",
		"group=nobody":                       "",
		"canDecide=me&order=oldest&waiting=person": "02 01",
	} {
		for _, paged := range []string{"", "&pageSize=1"} {
			if got := strings.Join(r.listed(approverToken, query+paged), " "); got != want {
				t.Errorf("%s%s lists %q, want %q", query, paged, got, want)
			}
		}
	}
	r.get("/v1/runs?since=2026-01-01T10:00:00Z&until=2026-01-02T00:00:00%2B01:00&ended=false", viewerToken)
	for _, says := range []string{"StartTime >= '2026-01-01T10:00:00Z'", "StartTime < '2026-01-01T23:00:00Z'", "ExecutionStatus = 'Running'"} {
		if !strings.Contains(r.temporal.asked.GetQuery(), says) {
			t.Errorf("asked for %s, without %s", r.temporal.asked.GetQuery(), says)
		}
	}
	p := wantProblem(t, r.get("/v1/runs?order=latest&canDecide=ann&held=yes", viewerToken), http.StatusBadRequest, "bad-request")
	for _, name := range []string{"order", "canDecide", "held"} {
		named(t, p, name)
	}
}

// What a list leaves out can't be ordered silently.
func TestTooManyRunsToOrder(t *testing.T) {
	r := newRig(t)
	runs := make([]managed.RunStatus, 5001)
	for i := range runs {
		runs[i] = waits(fmt.Sprintf("%05d", i), i)
	}
	r.lists(runs[:5000]...)
	if got := r.listed(viewerToken, "order=oldest&pageSize=200"); len(got) != 5000 || got[0] != "04999" {
		t.Errorf("lists %d, from %s", len(got), got[0])
	}
	r.lists(runs...)
	p := wantProblem(t, r.get("/v1/runs?order=oldest", viewerToken), http.StatusBadRequest, "bad-request")
	if !strings.Contains(*p.Detail, "5000") || !strings.Contains(*p.Detail, "waiting") {
		t.Errorf("it says %s", *p.Detail)
	}
}

// aRecord returns all that an execution knows of a run that waits for a decision about
// its plan, after what people decided.
func aRecord(id string, labels []string, triggeredBy string, decisions ...managed.Decision) *managed.Record {
	ref := theRun
	ref.Run = spacelift.RunID(id)
	r := &managed.Record{Run: ref, StartedAt: planned}
	labels = append([]string{spacelift.LabelManaged}, labels...)
	run := spacelift.Run{
		Ref: ref, Type: spacelift.RunTypeTracked, State: spacelift.RunStateUnconfirmed, StateVersion: 5, StackLabels: labels, TriggeredBy: triggeredBy,
		Delta: &spacelift.Delta{Added: 1, Resources: 1}, History: []spacelift.Transition{{State: spacelift.RunStateUnconfirmed, StateVersion: 5, At: planned}},
	}
	r.Compare(planned, run)
	r.Arrive(planned)
	r.TakeRules(planned, managed.Rules{Labels: labels, Policy: (*policy.Definitions)(nil).Resolve(policy.Labelled(labels)), Gate: policy.Gate{Open: true, At: planned}}, true)
	for range 5 {
		if n, _ := r.Decide(planned); n.Do == managed.DoAsk {
			r.Announce(planned, n)
		}
	}
	for _, d := range decisions {
		r.TakeDecision(planned, d)
	}
	return r
}

// allKinds returns runs that wait for a decision, of many policies, people behind them and
// approvals, by their ids and as lists show them.
func allKinds() (records map[string]*managed.Record, listed []managed.RunStatus) {
	vote := func(v managed.Verdict, name string) managed.Decision {
		return managed.Decision{Verdict: v, By: decide.Person{Name: name}}
	}
	somewhere := tokenFor(authority.RoleApprover, "its label")
	records = map[string]*managed.Record{}
	for _, labels := range [][]string{nil, {"gantry:confirm=manual"}, {"gantry:confirm=manual", "gantry:approvers=platform", "gantry:approvals=2"}, {"gantry:confirm=auto"}, {"gantry:confirm=atuo"}} {
		for _, triggeredBy := range []string{"", "acook", somewhere} {
			for _, decisions := range [][]managed.Decision{
				nil, {vote(managed.Approve, "Ann")}, {vote(managed.Approve, somewhere)}, {vote(managed.Reject, "bob")}, {vote(managed.Approve, "Ann"), vote(managed.Revoke, "Ann")},
			} {
				id := fmt.Sprintf("%02d", len(records))
				records[id] = aRecord(id, labels, triggeredBy, decisions...)
				records[id].Decide(planned)
				listed = append(listed, *records[id].Status(planned))
			}
		}
	}
	return records, listed
}

// A run is listed for whom the API takes an approval, and for nobody else: whatever its
// policy, by anyone who triggered or approved it, and wherever the caller has a role.
func TestTheListAndTheDecisionAgree(t *testing.T) {
	r, _, _ := scopesRig(t)
	records, listed := allKinds()
	r.lists(listed...)
	for _, s := range listed {
		r.temporal.set(s)
	}
	r.temporal.update = func(o client.UpdateWorkflowOptions) (any, error) {
		record := records[o.WorkflowID[strings.LastIndex(o.WorkflowID, "/")+1:]]
		now := record.Situation(planned)
		if no := record.RefuseDecision(now, o.Args[0].(managed.Decision), now.Key()); no != nil {
			return nil, temporal.NewApplicationError(no.Reason, no.Type)
		}
		return record.Status(planned), nil
	}
	tokens := []string{approverToken, adminToken, operatorToken}
	for _, where := range []string{"everywhere", "its label", "a space beside"} {
		tokens = append(tokens, tokenFor(authority.RoleApprover, where))
	}
	accepted := 0
	for _, token := range tokens {
		mine := r.get("/v1/runs?canDecide=me&pageSize=200", token)
		for _, run := range decode[api.RunList](t, r.get("/v1/runs?pageSize=200", token)).Runs {
			for _, verdict := range []api.Verdict{api.VerdictApprove, api.VerdictReject, api.VerdictRevoke} {
				w := r.post(token, strings.TrimSuffix(runPath, string(theRun.Run))+run.Run+"/decisions", fmt.Sprintf(`{"verdict":%q}`, verdict))
				if taken := w.Code == http.StatusOK; taken != slices.Contains(run.CanDecide, verdict) {
					t.Errorf("%s offers %v of %s; the API answers %s with %d %s", token, run.CanDecide, run.Run, verdict, w.Code, w.Body)
				} else if taken {
					accepted++
				}
				if verdict == api.VerdictApprove && (w.Code == http.StatusOK) != strings.Contains(mine.Body.String(), `"run":"`+run.Run+`"`) {
					t.Errorf("%s may approve %s: %d; it is listed otherwise", token, run.Run, w.Code)
				}
			}
		}
	}
	if accepted < 100 {
		t.Errorf("only %d decisions were taken", accepted)
	}
}
