package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
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
	"github.com/gantryhq/gantry/inbox"
	"github.com/gantryhq/gantry/server"
	"github.com/gantryhq/gantry/spacelift"
)

const (
	annToken   = "gantry_ann"
	ottoToken  = "gantry_otto"
	adaToken   = "gantry_ada"
	theRunName = "acme/network-prod/01KDX3V4T8Q2M5N7P9R1S3T5V7"
)

var (
	theRun = spacelift.RunRef{Account: "acme", Stack: "network-prod", Run: "01KDX3V4T8Q2M5N7P9R1S3T5V7"}
	began  = time.Date(2026, 1, 1, 10, 1, 1, 0, time.UTC)
)

// apiRig is a Gantry: its real HTTP side and inbox over executions that are
// made of a map.
type apiRig struct {
	t          *testing.T
	server     *httptest.Server
	executions *executions
	losing     atomic.Bool // the next decision is taken, and answered as if nobody knew
}

func newAPIRig(t *testing.T, options ...func(*server.Config)) *apiRig {
	t.Helper()
	for _, v := range os.Environ() { // the surrounding environment must not matter
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "GANTRY_") {
			t.Setenv(name, "")
			os.Unsetenv(name)
		}
	}
	registry, log := prometheus.NewRegistry(), slog.New(slog.DiscardHandler)
	box, err := inbox.Open(t.Context(), inbox.Options{Dir: filepath.Join(t.TempDir(), "inbox"), Logger: log, Metrics: registry})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = box.Close() })
	record, err := audit.Open(t.Context(), audit.Options{Dir: filepath.Join(t.TempDir(), "audit"), Replica: "gantry-0", Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = record.Close() })
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	r := &apiRig{t: t, executions: &executions{runs: map[string]managed.RunStatus{}}}
	cfg := server.Config{
		Accounts: []server.Account{{Name: "acme", Secrets: func() []string { return []string{testSecret} }, Stacks: stacks{}}},
		Tokens: []authority.Token{
			{Name: "ann", Role: authority.RoleApprover, Hash: authority.TokenHash(annToken)},
			{Name: "otto", Role: authority.RoleOperator, Hash: authority.TokenHash(ottoToken)},
			{Name: "ada", Role: authority.RoleAdmin, Hash: authority.TokenHash(adaToken)},
		},
		TaskQueue: "gantry", Audit: record,
	}
	for _, o := range options {
		o(&cfg)
	}
	handler, err := server.New(cfg, box, r.executions, registry, log)
	if err != nil {
		t.Fatal(err)
	}
	r.server = httptest.NewServer(r.loses(handler))
	t.Cleanup(r.server.Close)
	t.Setenv("GANTRY_URL", r.server.URL)
	r.as(annToken)
	return r
}

func (r *apiRig) loses(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if !strings.HasSuffix(req.URL.Path, "/decisions") || !r.losing.Swap(false) {
			next.ServeHTTP(w, req)
			return
		}
		next.ServeHTTP(httptest.NewRecorder(), req)
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, `{"type":"urn:gantry:problem:unanswered","title":"No answer yet","status":503}`)
	})
}

// as gives the commands a token.
func (r *apiRig) as(token string) { r.t.Setenv("GANTRY_TOKEN", token) }

// run runs the program. The token is never printed.
func (r *apiRig) run(args ...string) (out, errors string, code int) {
	r.t.Helper()
	var printed, complained bytes.Buffer
	code = run(r.t.Context(), args, nil, &printed, &complained)
	if all := printed.String() + complained.String(); strings.Contains(all, annToken) || strings.Contains(all, ottoToken) {
		r.t.Errorf("the token is printed:\n%s", all)
	}
	return printed.String(), complained.String(), code
}

// wants runs the program and checks that it does well and prints each text.
func (r *apiRig) wants(texts []string, args ...string) string {
	r.t.Helper()
	out, complaints, code := r.run(args...)
	if code != 0 {
		r.t.Errorf("%v: exit code %d: %s", args, code, complaints)
	}
	for _, text := range texts {
		if !strings.Contains(out, text) {
			r.t.Errorf("%v does not print %q:\n%s", args, text, out)
		}
	}
	return out
}

// refused runs the program and checks its exit code and what it complains of.
func (r *apiRig) refused(code int, texts []string, args ...string) {
	r.t.Helper()
	_, complaints, got := r.run(args...)
	if got != code {
		r.t.Errorf("%v: exit code %d, want %d: %s", args, got, code, complaints)
	}
	for _, text := range texts {
		if !strings.Contains(complaints, text) {
			r.t.Errorf("%v does not say %q: %s", args, text, complaints)
		}
	}
}

// printed reads what -o json printed.
func printed[T any](t *testing.T, out string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatalf("%v in\n%s", err, out)
	}
	return v
}

// asking is a run that asks people.
func asking() managed.RunStatus {
	return managed.RunStatus{
		Run: theRun, Type: "TRACKED", State: "UNCONFIRMED", StateVersion: 5, Phase: managed.PhaseWaiting, Managed: true, StartedAt: began, LastEventAt: began,
		WaitingFor: &managed.WaitingFor{What: managed.WaitPerson, Reason: "the plan deletes 1 resource", Since: began, Who: "the group platform"},
		Delta:      &spacelift.Delta{Added: 3, Deleted: 1}, Commit: spacelift.Commit{Hash: "9f2c1d7e4b8a06f3", Message: "Widen subnets\n\nmore", AuthorName: "Jane"},
		Approvals: &managed.Approvals{Needed: 2, Given: 1, Group: "platform", Excluded: []string{"jdoe"}, Decided: []managed.Decided{
			{Verdict: managed.Approve, By: "bob", Note: "fine by me", At: began, State: "UNCONFIRMED", StateVersion: 5},
		}},
		Resources: &managed.Resources{StateVersion: 5, Total: 4, Deletes: 1, First: []spacelift.Resource{
			{Address: "aws_db_instance.main", Change: spacelift.ChangeDelete}, {Address: "aws_subnet.a", Change: spacelift.ChangeAdd}, {Address: "aws_subnet.b", Change: spacelift.ChangeAdd},
		}},
		Policy: (*policy.Definitions)(nil).Resolve(policy.Labelled([]string{"gantry:managed", "gantry:approvals=2", "gantry:confirm=manual"})),
		Timeline: []managed.TimelineEntry{
			{At: began, Kind: managed.KindEvent, Source: "webhook", Summary: "the run is UNCONFIRMED"},
			{At: began, Kind: managed.KindDecision, Source: "gantry", Actor: "bob", Summary: "bob approves"},
		},
	}
}

func ended(state spacelift.RunState) managed.RunStatus {
	s := asking()
	s.State, s.Phase, s.WaitingFor, s.Outcome = state, managed.PhaseDone, nil, "it is over"
	return s
}

// PlannedResources lists those of the one run.
func (stacks) PlannedResources(_ context.Context, ref spacelift.RunRef) (spacelift.PlannedResources, error) {
	if ref != theRun {
		return spacelift.PlannedResources{}, spacelift.ErrNotFound
	}
	return spacelift.PlannedResources{Run: spacelift.Run{StateVersion: 5}, Complete: true, Resources: []spacelift.Resource{
		{Address: "aws_db_instance.main", Change: spacelift.ChangeDelete}, {Address: "aws_subnet.b", PreviousAddress: "aws_subnet.a", Change: spacelift.ChangeMove},
	}}, nil
}

// stacks is Spacelift as far as stacks go.
type stacks struct{}

func (stacks) Stack(_ context.Context, id spacelift.StackID) (spacelift.Stack, error) {
	if id != "network-prod" {
		return spacelift.Stack{}, spacelift.ErrNotFound
	}
	return spacelift.Stack{Account: "acme", ID: id, Name: "network / prod", Labels: []string{"gantry:managed", "gantry:approvals=2", "gantry:confirm=atuo"}}, nil
}

func (stacks) Policies(context.Context, ...string) (spacelift.Listing[spacelift.Policy], error) {
	return spacelift.Listing[spacelift.Policy]{Complete: true}, nil
}

func (stacks) Viewer(context.Context) (spacelift.Viewer, error) { return spacelift.Viewer{}, nil }

func (stacks) Spaces(context.Context) ([]spacelift.Space, error) { return nil, nil }

func (s stacks) StacksAtOnce(ctx context.Context) ([]spacelift.Stack, error) {
	stack, err := s.Stack(ctx, "network-prod")
	return []spacelift.Stack{stack}, err
}

func (stacks) DependenciesOfStacks(context.Context) (map[spacelift.StackID][]spacelift.StackID, error) {
	return nil, nil
}

// executions fakes Temporal and its workflows.
type executions struct {
	mu      sync.Mutex
	runs    map[string]managed.RunStatus // by workflow id
	chains  map[string]chain.Status      // by workflow id
	freezes []policy.Freeze
	retry   *managed.RetryRunOutcome // of every retry
	retries []client.StartWorkflowOptions

	// decided answers updates of runs. Those it does not answer in time are sent
	// again under the same id.
	decided func(o client.UpdateWorkflowOptions) (managed.RunStatus, error)
	updates []client.UpdateWorkflowOptions
}

func (e *executions) set(s managed.RunStatus) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.runs[managed.ManageRunID(s.Run)] = s
}

func (e *executions) QueryWorkflow(_ context.Context, id, _, query string, _ ...any) (converter.EncodedValue, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	run, known := e.runs[id]
	switch {
	case query == chain.Query && e.chains[id].Root.Run != "":
		return payloads(e.chains[id])
	case query == freeze.Query && len(e.freezes) > 0:
		return payloads(e.freezes)
	case query == managed.ExplainQuery && known:
		return payloads(managed.Explanation{
			Run: run.Run, State: run.State, Phase: run.Phase, Summary: "one more of platform must approve", WaitingFor: run.WaitingFor, Approvals: run.Approvals,
			Unblock: []managed.Unblock{{Who: "platform without jdoe", How: "approve or reject it"}},
			Next:    []managed.NextStep{{What: "the plan is discarded"}},
			Rules:   []managed.Rule{{Name: "approvals", Value: "2", Origin: "gantry:approvals=2", Effect: managed.EffectAsks}},
		})
	case known:
		return payloads(run)
	}
	return nil, serviceerror.NewNotFound("workflow not found")
}

func (e *executions) ListWorkflow(_ context.Context, req *workflowservice.ListWorkflowExecutionsRequest) (*workflowservice.ListWorkflowExecutionsResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	page := &workflowservice.ListWorkflowExecutionsResponse{}
	if strings.Contains(req.GetQuery(), chain.Type) {
		for id, chain := range e.chains {
			listed := map[string]*commonpb.Payload{}
			for name, value := range map[string]string{managed.AttrStack: string(chain.Root.Stack), managed.AttrPhase: string(chain.Phase)} {
				attr, err := converter.GetDefaultDataConverter().ToPayload(value)
				if err != nil {
					return nil, err
				}
				listed[name] = attr
			}
			page.Executions = append(page.Executions, &workflowpb.WorkflowExecutionInfo{
				Execution: &commonpb.WorkflowExecution{WorkflowId: id}, StartTime: timestamppb.New(began),
				SearchAttributes: &commonpb.SearchAttributes{IndexedFields: listed},
			})
		}
		return page, nil
	}
	for id, run := range e.runs {
		if len(page.Executions) == int(req.GetPageSize()) {
			page.NextPageToken = []byte("more")
			break
		}
		attr, err := converter.GetDefaultDataConverter().ToPayload(string(run.State))
		if err != nil {
			return nil, err
		}
		page.Executions = append(page.Executions, &workflowpb.WorkflowExecutionInfo{
			Execution: &commonpb.WorkflowExecution{WorkflowId: id}, StartTime: timestamppb.New(run.StartedAt),
			SearchAttributes: &commonpb.SearchAttributes{IndexedFields: map[string]*commonpb.Payload{managed.AttrRunState: attr}},
		})
	}
	return page, nil
}

func (e *executions) UpdateWorkflow(_ context.Context, o client.UpdateWorkflowOptions) (client.WorkflowUpdateHandle, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.updates = append(e.updates, o)
	if chain, known := e.chains[o.WorkflowID]; known {
		return handle{result: chain}, nil
	}
	if wish, ok := o.Args[0].(freeze.Lift); ok {
		for i, f := range e.freezes {
			if f.ID == wish.ID {
				e.freezes = append(e.freezes[:i], e.freezes[i+1:]...)
				return handle{result: f}, nil
			}
		}
		return nil, serviceerror.NewNotFound("no freezes")
	}
	status, err := e.decided(o)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, err
	}
	return handle{result: status, err: err}, nil
}

func (e *executions) UpdateWithStartWorkflow(_ context.Context, o client.UpdateWithStartWorkflowOptions) (client.WorkflowUpdateHandle, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	wish := o.UpdateOptions.Args[0].(freeze.Declare)
	freeze := policy.Freeze{ID: wish.ID, Reason: wish.Reason, Stacks: wish.Stacks, From: wish.From, Until: wish.Until, DeclaredBy: wish.By, DeclaredAt: began}
	e.freezes = append(e.freezes, freeze)
	return handle{result: freeze}, nil
}

func (*executions) NewWithStartWorkflowOperation(client.StartWorkflowOptions, any, ...any) client.WithStartWorkflowOperation {
	return nil
}

func (e *executions) ExecuteWorkflow(_ context.Context, o client.StartWorkflowOptions, _ any, _ ...any) (client.WorkflowRun, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.retries) > 0 {
		return nil, serviceerror.NewWorkflowExecutionAlreadyStarted("started", "", "")
	}
	e.retries = append(e.retries, o)
	return nil, nil
}

func (e *executions) DescribeWorkflowExecution(context.Context, string, string) (*workflowservice.DescribeWorkflowExecutionResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	info := &workflowpb.WorkflowExecutionInfo{Status: enums.WORKFLOW_EXECUTION_STATUS_RUNNING, Memo: &commonpb.Memo{Fields: map[string]*commonpb.Payload{}}}
	for _, r := range e.retries {
		for name, value := range r.Memo {
			payload, err := converter.GetDefaultDataConverter().ToPayload(value)
			if err != nil {
				return nil, err
			}
			info.Memo.Fields[name] = payload
		}
	}
	return &workflowservice.DescribeWorkflowExecutionResponse{WorkflowExecutionInfo: info}, nil
}

func (e *executions) GetWorkflow(context.Context, string, string) client.WorkflowRun {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.retry == nil {
		return outcome{of: handle{err: context.DeadlineExceeded}}
	}
	return outcome{of: handle{result: *e.retry}}
}

type handle struct {
	client.WorkflowUpdateHandle
	result any
	err    error
}

func (h handle) Get(_ context.Context, into any) error {
	b, err := json.Marshal(h.result)
	if h.err != nil || err != nil {
		return errors.Join(h.err, err)
	}
	return json.Unmarshal(b, into)
}

type outcome struct {
	client.WorkflowRun
	of handle
}

func (o outcome) Get(ctx context.Context, into any) error { return o.of.Get(ctx, into) }

func payloads(v any) (converter.EncodedValue, error) {
	p, err := converter.GetDefaultDataConverter().ToPayloads(v)
	return client.NewValue(p), err
}
