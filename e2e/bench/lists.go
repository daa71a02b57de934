package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/server"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/temporalserver"
)

const (
	waitingRuns  = 500
	listRequests = 30
	benchToken   = "gantry_bench"
)

// lists measures how long the server takes to say which of 500 waiting runs a caller may
// decide about, and why each waits, against Temporal's own list of them, which it reads
// for that, and against one request for each run.
func (b *bench) lists(ctx context.Context) error {
	host, err := temporalserver.Start(ctx, temporalserver.Options{SearchAttributes: temporalserver.Keywords(managed.SearchAttributes()...)})
	if err != nil {
		return err
	}
	defer host.Stop()
	c, err := client.DialContext(ctx, client.Options{HostPort: host.HostPort(), Logger: log.NewStructuredLogger(b.log)})
	if err != nil {
		return err
	}
	defer c.Close()
	handler, err := server.New(server.Config{
		Accounts: []server.Account{{Name: "acme", Secrets: func() []string { return []string{webhookSecret} }}},
		Tokens:   []authority.Token{{Name: "ann", Role: authority.RoleApprover, Groups: []string{"platform"}, Hash: authority.TokenHash(benchToken)}},
	}, noStore{}, c, prometheus.NewRegistry(), b.log)
	if err != nil {
		return err
	}
	for i := range waitingRuns {
		if err := startWaiting(ctx, c, i); err != nil {
			return err
		}
	}
	const all = "/v1/runs?canDecide=me&order=oldest&pageSize=200"
	for visible := 0; visible < waitingRuns/5; { // those whose stacks begin with 4, which started last
		page, err := listOnce(ctx, handler, all+"&stack=stack-4*&waiting=person")
		if err != nil {
			return err
		}
		visible = len(page.Runs)
	}
	one, err := timed(waitingRuns, func(i int) error {
		_, err := c.DescribeWorkflowExecution(ctx, managed.ManageRunID(waitingRun(i).Run), "")
		return err
	})
	if err != nil {
		return err
	}
	var bare, list []result
	for range listRequests {
		for measured, call := range map[*[]result]func(int) error{
			&bare: func(int) error {
				_, err := c.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{PageSize: 1000, Query: "WorkflowType = 'ManageRun' AND ExecutionStatus = 'Running'"})
				return err
			},
			&list: func(int) error {
				_, err := listOnce(ctx, handler, all)
				return err
			},
		} {
			took, err := timed(1, call)
			if err != nil {
				return err
			}
			*measured = append(*measured, result{p50: took})
		}
	}
	own, took := median(bare).p50, median(list).p50
	ratio := float64(took) / float64(own)
	fmt.Printf("one request for each run  %8s\nTemporal's list           %8s\nGantry's list             %8s   %.1f × Temporal's (targets < 100 ms and ≤ 2 ×: %s)\n", round(waitingRuns*one), round(own), round(took), ratio,
		verdict(took < 100*time.Millisecond && ratio <= 2))
	return nil
}

// timed returns the median duration of a number of calls.
func timed(n int, call func(i int) error) (time.Duration, error) {
	all := make([]time.Duration, n)
	for i := range all {
		began := time.Now()
		if err := call(i); err != nil {
			return 0, err
		}
		all[i] = time.Since(began)
	}
	slices.Sort(all)
	return all[n/2], nil
}

func listOnce(ctx context.Context, handler http.Handler, path string) (list api.RunList, err error) {
	req := httptest.NewRequestWithContext(ctx, http.MethodGet, path, nil)
	req.Header.Set("Authorization", "Bearer "+benchToken)
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, req)
	if w.Code != http.StatusOK {
		return list, fmt.Errorf("%s: %d %s", path, w.Code, w.Body)
	}
	return list, json.Unmarshal(w.Body.Bytes(), &list)
}

// waitingRun returns a run that waits for two approvals of a plan.
func waitingRun(i int) *managed.RunStatus {
	since := time.Now().Add(-time.Duration(i) * time.Minute)
	return &managed.RunStatus{
		Run:  spacelift.RunRef{Account: "acme", Stack: spacelift.StackID(fmt.Sprintf("stack-%03d", i)), Run: spacelift.RunID(fmt.Sprintf("01KDX3V4T8%016d", i))},
		Type: spacelift.RunTypeTracked, State: spacelift.RunStateUnconfirmed, StateVersion: 5, Phase: managed.PhaseWaiting, StartedAt: since,
		WaitingFor: &managed.WaitingFor{What: managed.WaitPerson, Reason: "the plan has changes and people decide; 0 of 2 approvals: nobody has approved yet", Since: since, Who: "anyone in the group platform, but not jdoe"},
		Approvals:  &managed.Approvals{Needed: 2, Group: "platform", Excluded: []string{"jdoe"}},
		Ballot:     &managed.Ballot{Takes: managed.Verdicts[:2], Electorate: managed.Electorate{Group: "platform", Excluded: []string{"jdoe"}}},
		Branch:     "main", TriggeredBy: "jdoe", StackName: "Stack", Delta: &spacelift.Delta{Added: 3, Changed: 1, Resources: 42},
		Commit:    spacelift.Commit{Hash: "9f2c1d7e4b8a06f35c21de90ab7741f6c3e85d12", Message: "Widen private subnets", AuthorLogin: "jdoe", AuthorName: "Jane Doe"},
		Labels:    []string{"gantry:approvals=2", "gantry:approvers=platform", "gantry:managed"},
		Resources: &managed.Resources{StateVersion: 5, Total: 4, First: []spacelift.Resource{{Address: "module.network.aws_subnet.private", Change: spacelift.ChangeAdd}}},
	}
}

// startWaiting starts an execution that lists show as such a run. No worker runs it.
func startWaiting(ctx context.Context, c client.Client, i int) error {
	s := waitingRun(i)
	attributes := []temporal.SearchAttributeUpdate{temporal.NewSearchAttributeKeyKeyword(managed.AttrChanged).ValueSet(managed.ListedTime(time.Now()))}
	for _, a := range managed.Attributes(s) {
		if a.Value != "" {
			attributes = append(attributes, temporal.NewSearchAttributeKeyKeyword(a.Name).ValueSet(a.Value))
		}
	}
	_, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: managed.ManageRunID(s.Run), TaskQueue: "bench", TypedSearchAttributes: temporal.NewSearchAttributes(attributes...),
		Memo: map[string]any{managed.ListedMemo: managed.ListRun(s)},
	}, managed.ManageRunType, managed.ManageRunInput{Run: s.Run})
	return err
}
