package histories

import (
	"context"
	"fmt"
	"io"

	"go.temporal.io/sdk/worker"

	"github.com/gantryhq/gantry/simulator"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/workflows"
)

// Tick is the cost of a tick of Reconcile that finds nothing.
type Tick struct {
	Stacks   int // managed ones
	Events   int // in its history
	History  int // bytes
	APICalls int
}

// maxTickHistory limits the history of such a tick, in bytes.
const maxTickHistory = 4 << 10

// Missed reports whether the tick recorded more than the limit.
func (t Tick) Missed() bool { return t.History > maxTickHistory }

// Report prints the cost, against that of another tick.
func (t Tick) Report(out io.Writer, baseline Tick) {
	verdict := "pass"
	if t.Missed() {
		verdict = "MISS"
	}
	fmt.Fprintf(out, "%d managed stacks      %d events, history %d bytes, %.2f x that with %d (at most %d: %s); %d API calls against %d\n",
		t.Stacks, t.Events, t.History, float64(t.History)/float64(baseline.History), baseline.Stacks, maxTickHistory, verdict, t.APICalls, baseline.APICalls)
}

// RunTick runs Reconcile over an account with this number of managed stacks, on a
// Temporal server of its own.
func RunTick(ctx context.Context, stacks int) (Tick, error) {
	cost := Tick{Stacks: stacks}
	err := isolated(ctx, "gantry-tick", func(t *player) error {
		for i := range stacks {
			id := spacelift.StackID(fmt.Sprintf("service-prod-eu-central-1-%04d", i))
			if err := t.sim.AddStack(simulator.Stack{ID: id, Labels: []string{spacelift.LabelManaged}}); err != nil {
				return err
			}
		}
		return t.webhook()
	}, func(w worker.Worker) { workflows.Register(w) }, func(ctx context.Context, t *player) error {
		before := len(t.sim.Requests())
		if err := t.reconcile(ctx); err != nil {
			return err
		}
		cost.APICalls = len(t.sim.Requests()) - before
		found, err := t.temporal.DescribeWorkflowExecution(ctx, t.ticks[0], "")
		if err != nil {
			return err
		}
		info := found.GetWorkflowExecutionInfo()
		cost.Events, cost.History = int(info.GetHistoryLength()), int(info.GetHistorySizeBytes())
		return nil
	})
	return cost, err
}
