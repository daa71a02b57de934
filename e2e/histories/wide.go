package histories

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/temporalserver"
	"github.com/gantryhq/gantry/workflows"
)

// Wide is the cost of a chain of many stacks.
type Wide struct {
	Stacks, Labels int // that follow, and their labels
	Took           time.Duration
	Executions     int // each continues the previous one
	Events         int // in all of them
	History        int // bytes of the longest
	Status         int // bytes of its answer
}

// The limits of Wide: Temporal's hard limit of a history, and of one payload.
const (
	wideHistory = 50 << 20
	widePayload = 2 << 20
)

// Missed reports whether the chain exceeded Temporal's limits.
func (w Wide) Missed() bool { return w.History > wideHistory || w.Status > widePayload }

// Report prints the costs.
func (w Wide) Report(out io.Writer) {
	verdict := "pass"
	if w.Missed() {
		verdict = "MISS"
	}
	fmt.Fprintf(out, "%d stacks, %d labels      %s, %d executions, %d events (%.1f for each stack), history %.1f MB at most, status %d KB (within Temporal's limits: %s)\n",
		w.Stacks, w.Labels, w.Took.Round(time.Second), w.Executions, w.Events, float64(w.Events)/float64(w.Stacks), float64(w.History)/1e6, w.Status>>10, verdict)
}

// RunWide runs a chain of layers × width stacks, each of which follows `after`
// stacks of the previous layer, on a Temporal server of its own. The executions of
// the runs only notify the chain.
func RunWide(ctx context.Context, layers, width, after int) (cost Wide, err error) {
	cost.Stacks = layers * width
	err = isolated(ctx, "gantry-wide", func(t *player) error {
		cost.Labels, err = t.layers(layers, width, after)
		return err
	}, func(w worker.Worker) {
		w.RegisterWorkflowWithOptions(workflows.Chain, workflow.RegisterOptions{Name: chain.Type})
		w.RegisterWorkflowWithOptions(endsImmediately, workflow.RegisterOptions{Name: managed.ManageRunType})
	}, func(ctx context.Context, t *player) error {
		cost, err = t.wide(ctx, cost)
		return err
	})
	return cost, err
}

// isolated calls prepare and play with a Temporal server and an account of their
// own, and a worker that runs the registered workflows and every activity.
func isolated(ctx context.Context, queue string, prepare func(*player) error, register func(worker.Worker), play func(context.Context, *player) error) error {
	ctx, cancel := context.WithTimeout(ctx, 8*time.Minute)
	defer cancel()
	temporal, err := temporalserver.Start(ctx, temporalserver.Options{SearchAttributes: temporalserver.Keywords(managed.SearchAttributes()...)})
	if err != nil {
		return err
	}
	defer temporal.Stop()
	c, err := client.DialContext(ctx, client.Options{
		HostPort: temporal.HostPort(), Identity: identity, Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler)),
	})
	if err != nil {
		return fmt.Errorf("dial temporal: %w", err)
	}
	defer c.Close()

	t := &player{temporal: c, queue: queue}
	t.sim = simulator.New(simulator.Options{Account: account, Phases: simulator.Instant()}) //nolint:contextcheck // it ends with Close
	defer t.sim.Close()
	if err := prepare(t); err != nil {
		return err
	}
	stopServing, api, err := t.serve(ctx)
	if err != nil {
		return err
	}
	defer stopServing()
	w := worker.New(c, t.queue, worker.Options{Identity: identity})
	register(w)
	w.RegisterActivity(&activities.Activities{Accounts: map[spacelift.Account]activities.Spacelift{account: api}, Temporal: c, Notifier: silent{}})
	if err := w.Start(); err != nil {
		return fmt.Errorf("start worker: %w", err)
	}
	defer w.Stop()
	return play(ctx, t)
}

// endsImmediately replaces the execution of a run that has ended: it notifies its
// chains.
func endsImmediately(ctx workflow.Context, in managed.ManageRunInput) (managed.RunStatus, error) {
	for _, ref := range in.Chains {
		news := chain.News{Run: in.Run, State: finished}
		if err := workflow.SignalExternalWorkflow(ctx, managed.ChainID(ref.Root), "", chain.NewsSignal, news).Get(ctx, nil); err != nil {
			return managed.RunStatus{}, err
		}
	}
	return managed.RunStatus{}, nil
}

// layers adds the stacks and the run that begins the chain.
func (t *player) layers(layers, width, after int) (labels int, err error) {
	if err := t.sim.AddStack(simulator.Stack{ID: stack, Labels: []string{spacelift.LabelManaged}}); err != nil {
		return 0, err
	}
	name := func(layer, i int) spacelift.StackID {
		return spacelift.StackID(fmt.Sprintf("service-prod-eu-central-1-%02d-%03d", layer, i))
	}
	for layer := range layers {
		for i := range width {
			own := []string{spacelift.LabelManaged}
			for j := range after {
				parent := stack
				if layer > 0 {
					parent = name(layer-1, (i+j)%width)
				} else if j > 0 {
					break
				}
				own, labels = append(own, "gantry:after="+string(parent)), labels+1
			}
			if err := t.sim.AddStack(simulator.Stack{ID: name(layer, i), Labels: own}); err != nil {
				return labels, err
			}
		}
	}
	run, err := t.sim.Push(stack, simulator.Commit{}, simulator.Plan{})
	t.ref = spacelift.RunRef{Account: account, Stack: stack, Run: run}
	return labels, err
}

// wide runs the chain and measures it.
func (t *player) wide(ctx context.Context, w Wide) (Wide, error) {
	if _, err := t.sim.WaitState(ctx, stack, t.ref.Run, finished); err != nil {
		return w, err
	}
	begun := time.Now()
	first, err := t.temporal.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: managed.ChainID(t.ref), TaskQueue: t.queue}, chain.Type, chain.Input{Root: t.ref})
	if err != nil {
		return w, err
	}
	run := first.GetRunID() // before the wait, which changes it
	var status chain.Status
	if err := first.Get(ctx, &status); err != nil {
		return w, fmt.Errorf("wait for the chain: %w", err)
	}
	w.Took = time.Since(begun)
	for _, n := range status.Nodes {
		if n.State != chain.NodeFinished {
			return w, fmt.Errorf("%s is %s: %s", n.Stack, n.State, n.Reason)
		}
	}
	answer, err := json.Marshal(status)
	if err != nil {
		return w, err
	}
	if len(status.Nodes) != w.Stacks+1 {
		return w, fmt.Errorf("the chain had %d stacks", len(status.Nodes))
	}
	w.Status = len(answer)
	for ; run != ""; w.Executions++ {
		if run, err = t.measure(ctx, run, &w); err != nil {
			return w, err
		}
	}
	return w, nil
}

// measure adds the cost of one execution of the chain, and returns the next one's
// run id, or "" if it was the last.
func (t *player) measure(ctx context.Context, run string, w *Wide) (next string, err error) {
	id := managed.ChainID(t.ref)
	found, err := t.temporal.DescribeWorkflowExecution(ctx, id, run)
	if err != nil {
		return "", err
	}
	info := found.GetWorkflowExecutionInfo()
	w.Events += int(info.GetHistoryLength())
	w.History = max(w.History, int(info.GetHistorySizeBytes()))
	if info.GetStatus() != enums.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW {
		return "", nil
	}
	closing := t.temporal.GetWorkflowHistory(ctx, id, run, false, enums.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT)
	if !closing.HasNext() {
		return "", errors.New("an execution that continued as new has no end")
	}
	e, err := closing.Next()
	if err != nil {
		return "", err
	}
	return e.GetWorkflowExecutionContinuedAsNewEventAttributes().GetNewExecutionRunId(), nil
}
