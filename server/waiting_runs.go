package server

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/proto"

	"github.com/gantryhq/gantry/decide/managed"
)

// Bounds of the runs that a hub keeps. Beyond them, each list reads Temporal.
const (
	waitingInterval = 30 * time.Second // between its readings of all of them, which find those that an operator terminated
	waitingBytes    = 16 << 20         // of their executions, as Temporal lists them
)

// waitingRuns are the runs that wait for something else than Spacelift or Gantry, as the
// hub has read them. Its mutex guards them.
type waitingRuns struct {
	read   time.Time             // when all of them were read last, or were too many
	byID   map[string]*listedRun // by workflow id; nil if there are too many, or if they haven't been read
	oldest []*listedRun          // the same, the longest wait first; nil after a change. Callers share it
}

// waits reports whether a run belongs to those that wait.
func (r *listedRun) waits() bool { return r.running() && r.phase.Waits() }

// take takes what has changed.
func (w *waitingRuns) take(changed map[string]entry) {
	if w.byID == nil {
		return
	}
	for id, e := range changed {
		if e.run == nil {
			continue
		}
		w.oldest = nil
		if e.run.waits() {
			w.byID[id] = e.run
		} else {
			delete(w.byID, id)
		}
	}
}

func (w *waitingRuns) sorted() []*listedRun {
	if w.oldest == nil {
		w.oldest = slices.SortedFunc(maps.Values(w.byID), func(a, c *listedRun) int { return strings.Compare(a.oldestKey, c.oldestKey) })
	}
	return w.oldest
}

// waitingSearch selects the runs that wait.
func (h *handlers) waitingSearch() search {
	return search{workflowTypes: []string{managed.ManageRunType}, accounts: h.served(), filters: waitingFilters}
}

var waitingFilters = []filter{
	{attribute: "ExecutionStatus", value: "Running"},
	{attribute: managed.AttrPhase, operator: "IN", values: words(managed.WaitingPhases)},
}

// readWaiting reads all runs that wait, unless they are too many.
func (b *hub) readWaiting(ctx context.Context) error {
	query, err := b.h.waitingSearch().query()
	if err != nil {
		return err
	}
	asking, cancel := context.WithTimeout(ctx, temporalTimeout)
	defer cancel()
	all, size := map[string]*listedRun{}, 0
	for token := []byte(nil); ; {
		page, err := b.h.temporal.ListWorkflow(asking, &workflowservice.ListWorkflowExecutionsRequest{PageSize: maxTemporalPage, NextPageToken: token, Query: query})
		if err != nil {
			return err
		}
		for _, e := range page.GetExecutions() {
			if run, err := listedRunOf(e); err == nil && run.waits() {
				all[e.GetExecution().GetWorkflowId()] = run
				size += proto.Size(e)
			}
		}
		if token = page.GetNextPageToken(); len(token) == 0 {
			break
		}
		if size > waitingBytes || len(all) > maxSorted {
			all = nil
			break
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if ctx.Err() == nil { // otherwise another reading may have begun
		b.waiting = waitingRuns{read: time.Now(), byID: all}
	}
	return nil
}

// waitingRuns returns the runs that wait, the longest wait first, as they were recentAge
// ago or later, and after each change that this replica has made. Nobody may change the
// result. It reports whether the hub knows them: otherwise the caller reads Temporal.
func (b *hub) waitingRuns(ctx context.Context) ([]*listedRun, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	need, changes := time.Now().Add(-recentAge), b.changes
	for b.stop != nil && b.waiting.byID != nil && !b.failing {
		if !b.began.Before(need) && b.has >= changes {
			return b.waiting.sorted(), true
		}
		b.hurry()
		b.awaitNext(ctx)
		if ctx.Err() != nil {
			return nil, false
		}
	}
	return nil, false
}

// hurry has the hub read now. Called with mu held.
func (b *hub) hurry() {
	select {
	case b.wake <- struct{}{}:
	default: // it is awake
	}
}

// outdate makes lists wait for a reading that begins after a change of this replica's.
func (b *hub) outdate() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.changes++
	if b.stop != nil {
		b.hurry()
	}
}
