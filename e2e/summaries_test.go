package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/sdk/v1"
	"go.temporal.io/api/workflowservice/v1"
	temporal "go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
)

// Temporal's own pages say of every execution what it is for and, as far as a worker
// answers, where it is and who can move it on; and the history says it of each step.
func TestTemporalShowsWhatExecutionsWaitFor(t *testing.T) {
	const page = "https://gantry.example.com"
	w := newWorld(t, twoApprove, simulator.Stack{ID: "app-prod", Labels: []string{"gantry:managed", "gantry:approvals=1", "gantry:after=billing-prod"}})
	w.must(w.spacelift.SetNextPlan("app-prod", simulator.Plan{Delta: spacelift.Delta{Added: 1}}))
	who, _ := w.servePeople("publicUrl: " + page + "\nreconcile: {interval: 2s}\n")
	pages := w.temporalPages()

	id, err := w.spacelift.Push("billing-prod", simulator.Commit{AuthorLogin: "alice-gh", Message: "[your bank](https://evil.test)"}, simulator.Plan{Delta: spacelift.Delta{Deleted: 9}})
	w.must(err)
	w.phase("billing-prod", id, api.PhaseWaiting)
	run := "run/acme/billing-prod/" + string(id)
	pages.shows(run, "billing-prod", string(id), `\[your bank\](https\://evil.test), alice-gh`)
	pages.details(run, `**billing-prod: waits for 2 approvals since `, `UTC, +0 \~0 -9, alice-gh**`, "[Open in Gantry](<"+page+"/accounts/acme/stacks/billing-prod/runs/"+string(id)+">)", `\[your bank\]`)

	frozen, err := w.client.DeclareFreezeWithResponse(t.Context(), "acme", nil, api.FreezeRequest{Reason: "year-end *close*", Stacks: []api.ID{"app-prod"}})
	w.must(err)
	if frozen.JSON201 == nil {
		t.Fatalf("%d %s", frozen.StatusCode(), frozen.Body)
	}
	pages.shows("freezes/acme", "Freezes of the account acme")
	pages.details("freezes/acme", `acme: 1 freezes in effect`, `app-prod from `, `year-end \*close\*`)

	w.counts(who.bob, "billing-prod", id, api.VerdictApprove)
	pages.details(run, "waits for 1 approval since ")
	w.counts(who.carol, "billing-prod", id, api.VerdictApprove)
	w.phase("billing-prod", id, api.PhaseDone)
	pages.details(run, `billing-prod: the run finished`)
	chain := managed.ChainID(spacelift.RunRef{Account: "acme", Stack: "billing-prod", Run: id})
	pages.shows(chain, "billing-prod: chain of run "+string(id))
	pages.details(chain, `chain moving, 1 of 2 stacks through`, `**app-prod**: running`, page+"/accounts/acme/stacks/billing-prod/runs/"+string(id)+"/chain")
	w.eventually("a tick of Reconcile says what it did", func(ctx context.Context) error {
		ticks, err := pages.client.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Query: "WorkflowType = 'Reconcile' AND ExecutionStatus = 'Completed'"})
		if err != nil || len(ticks.GetExecutions()) == 0 {
			return fmt.Errorf("%v %w", ticks, err)
		}
		tick := ticks.GetExecutions()[0].GetExecution().GetWorkflowId()
		return pages.has(ctx, tick, `**acme: done, `, "[Open in Gantry](<"+page+"/health>)")
	})

	steps := pages.steps(run)
	for _, want := range []string{
		"TimerStarted: Check the run unless news arrives. billing-prod: ",
		"MarkerRecorded: the plan (0 to add, 0 to change, 9 to delete) has changes and people decide",
		"ActivityTaskScheduled: the plan (0 to add, 0 to change, 9 to delete) has changes and bob and carol approved it",
		"MarkerRecorded: Gantry reads the rules in effect",
		"StartChildWorkflowExecutionInitiated: billing-prod: chain of run",
	} {
		if !strings.Contains(steps, want) {
			t.Errorf("no step says %q:\n%s", want, steps)
		}
	}
}

// temporalPages reads what Temporal's own pages show.
type temporalPages struct {
	*world
	client temporal.Client
}

func (w *world) temporalPages() temporalPages {
	w.t.Helper()
	c, err := temporal.DialContext(w.t.Context(), temporal.Options{HostPort: w.temporal.HostPort()})
	w.must(err)
	w.t.Cleanup(c.Close)
	return temporalPages{w, c}
}

// shows checks what an execution is for, which it says from its start.
func (p temporalPages) shows(id string, summary ...string) {
	p.t.Helper()
	found, err := p.client.DescribeWorkflow(p.t.Context(), id, "")
	p.must(err)
	got, err := found.GetStaticSummary()
	p.must(err)
	for _, want := range summary {
		if !strings.Contains(got, want) {
			p.t.Errorf("%s is for %q, want %q", id, got, want)
		}
	}
	if details, err := found.GetStaticDetails(); err != nil || !strings.Contains(details, "[Open in Gantry](<https://gantry.example.com/") {
		p.t.Errorf("%s has the details %q (%v)", id, details, err)
	}
}

// details waits until the current details of an execution hold all of this.
func (p temporalPages) details(id string, want ...string) {
	p.t.Helper()
	p.eventually("the details of "+id, func(ctx context.Context) error { return p.has(ctx, id, want...) })
}

func (p temporalPages) has(ctx context.Context, id string, want ...string) error {
	answer, err := p.client.QueryWorkflow(ctx, id, "", "__temporal_workflow_metadata")
	if err != nil {
		return err
	}
	var shown sdk.WorkflowMetadata
	if err := answer.Get(&shown); err != nil {
		return err
	}
	for _, w := range want {
		if !strings.Contains(shown.GetCurrentDetails(), w) {
			return fmt.Errorf("no %q in\n%s", w, shown.GetCurrentDetails())
		}
	}
	return nil
}

// steps lists the events of an execution with a summary, each with its type. Temporal
// takes summaries of 400 bytes.
func (p temporalPages) steps(id string) string {
	p.t.Helper()
	var all strings.Builder
	events := p.client.GetWorkflowHistory(p.t.Context(), id, "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		e, err := events.Next()
		p.must(err)
		if text := p.summary(e); text != "" {
			fmt.Fprintf(&all, "%s: %s\n", e.GetEventType(), text)
		}
	}
	return all.String()
}

func (p temporalPages) summary(e *historypb.HistoryEvent) (text string) {
	p.t.Helper()
	summary := e.GetUserMetadata().GetSummary()
	if summary == nil {
		return ""
	}
	if summary.Size() > 400 {
		p.t.Errorf("the summary of event %d has %d bytes", e.GetEventId(), summary.Size())
	}
	p.must(converter.GetDefaultDataConverter().FromPayload(summary, &text))
	return text
}
