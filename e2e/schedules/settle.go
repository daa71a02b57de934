package schedules

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gantryhq/gantry/e2e/schedules/rig"
	"github.com/gantryhq/gantry/e2e/schedules/script"
)

// settle lets the janitor work until everything has ended, or nothing has moved for
// the bound, or everything together took too long. It reports whether something still
// moved then: a busy machine makes a batch slow, and not wrong.
func (b *Batch) settle(ctx context.Context) (moving bool) {
	j := &janitor{b: b, tries: map[string]int{}}
	began, shown, moved := time.Now(), time.Now(), time.Now()
	last := -1
	for ctx.Err() == nil {
		open := b.unsettled(ctx)
		if n := b.Spacelift.Moves() - open.executions; n != last {
			last, moved = n, time.Now()
		}
		switch after := time.Since(began).Round(time.Second); {
		case open.what == "":
			b.options.Progress("settled %s after the storm", after)
			return false
		case time.Since(moved) > b.options.Bound:
			b.options.Progress("stuck: nothing has moved for %s, %s after the storm: %s", time.Since(moved).Round(time.Second), after, open.what)
			return false
		case time.Since(began) > mostBounds*b.options.Bound:
			b.options.Progress("not settled %s after the storm: %s", after, open.what)
			return true
		case time.Since(shown) > 10*time.Second:
			b.options.Progress("%s after the storm: %s", after, open.what)
			if shown = time.Now(); b.enough() {
				return true
			}
		}
		j.round(ctx)
		sleep(ctx, time.Second)
	}
	return true
}

// mostBounds times the bound is the longest time that a batch may take to settle.
const mostBounds = 3

// unsettled has what has not ended yet: nothing if everything has.
type unsettled struct {
	what       string
	executions int
}

func (b *Batch) unsettled(ctx context.Context) (u unsettled) {
	var open []string
	runs := b.Spacelift.Open()
	if n := len(runs); n > 0 {
		open = append(open, fmt.Sprintf("%d runs are open (such as %s of %s, %s)", n, runs[0].ID, runs[0].Stack, runs[0].State))
	}
	switch executions, err := b.OpenExecutions(ctx); {
	case err != nil:
		open = append(open, err.Error())
	case len(executions) > 0:
		u.executions = len(executions)
		open = append(open, fmt.Sprintf("%d executions are open (such as %s)", len(executions), executions[0].ID))
	}
	for i := range b.Replicas {
		switch n, err := b.Client.Pending(ctx, i); {
		case err != nil:
			open = append(open, err.Error())
		case n > 0:
			open = append(open, fmt.Sprintf("%d events wait in the inbox of replica %d", n, i+1))
		}
	}
	u.what = strings.Join(open, ", ")
	return u
}

// conclude reads at the end all that Gantry and Temporal show, for those who
// judge it.
func (b *Batch) conclude(ctx context.Context) error {
	var work sync.WaitGroup
	limit := make(chan struct{}, hands)
	for _, run := range b.Spacelift.All() {
		limit <- struct{}{}
		work.Go(func() {
			defer func() { <-limit }()
			operations := []string{"getRun"}
			if !run.Ended() || run.ID[len(run.ID)-1]%4 == 0 { // Temporal replays all of an execution for each query
				operations = append(operations, "explainRun")
			}
			b.read(ctx, rig.Ask{Who: operatorName, Method: http.MethodGet, Stack: run.Stack, Run: run.ID, Replica: -1}, operations...)
		})
	}
	work.Wait()
	if runs := b.Spacelift.All(); len(runs) > 0 {
		for i := range b.Replicas {
			b.read(ctx, rig.Ask{Who: script.Revocable, Method: http.MethodGet, Stack: runs[0].Stack, Run: runs[0].ID, Replica: i}, "getRun")
		}
	}
	none := func([]byte) {}
	b.pages(ctx, rig.Ask{Who: operatorName, Operation: "listRuns", Path: "/v1/runs?pageSize=200"}, none)
	b.pages(ctx, rig.Ask{Who: operatorName, Operation: "listRuns", Path: "/v1/runs?pageSize=200&bypassed=true"}, none)
	for _, c := range b.chains(ctx, operatorName, "?pageSize=200", false) {
		b.Client.Do(ctx, rig.Ask{Who: operatorName, Operation: "getChain", Method: http.MethodGet, Path: "chains/" + c.Run, Stack: c.Stack, Run: c.Run, Replica: -1})
	}
	for operation, path := range map[string]string{"listAccounts": "/v1/accounts", "listFreezes": "freezes", "listStacks": "stacks"} {
		b.Client.Do(ctx, rig.Ask{Who: operatorName, Operation: operation, Method: http.MethodGet, Path: path, Replica: -1})
	}
	b.pages(ctx, rig.Ask{Who: operatorName, Operation: "listDeliveries", Path: "/v1/deliveries?forwarding=dead"}, none)
	b.RecordUsage()
	if err := b.RecordAudit(ctx); err != nil {
		return err
	}
	return b.RecordExecutions(ctx)
}
