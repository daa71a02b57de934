package server

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"go.temporal.io/api/enums/v1"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/spacelift"
)

// The pace at which a hub describes an execution that streams watch: less often while
// nothing changes, and hardly ever once it has ended.
const (
	watchFastest = time.Second
	watchSlowest = 5 * time.Second
	watchEnded   = time.Minute

	watchAtOnce = 8   // descriptions at the same time
	watchMost   = 200 // descriptions in watchFastest; others come later
)

// watched is an execution that listeners follow in more detail than lists show. The length
// of its history says whether anything has happened, and asks no worker.
type watched struct {
	listeners int
	version   string            // differs after each event of the history; empty before the first description
	stack     spacelift.StackID // that it is about, as Temporal knows it
	wait      time.Duration     // between descriptions
	due       time.Time         // when it is described next
}

// watch adds a listener to the execution that it watches, and takes it as news if its
// version is known. Called with mu held.
func (b *hub) watch(l *listener) {
	if l.watches == "" {
		return
	}
	w := b.watched[l.watches]
	if w == nil {
		w = &watched{}
		b.watched[l.watches] = w
	}
	w.listeners++
	w.wait, w.due = watchFastest, time.Time{}
	if w.version != "" {
		l.progress = true
		l.wake()
	}
}

// unwatch removes a listener. Called with mu held.
func (b *hub) unwatch(l *listener) {
	if w := b.watched[l.watches]; w != nil {
		if w.listeners--; w.listeners == 0 {
			delete(b.watched, l.watches)
		}
	}
}

// describe describes watched executions until nobody listens.
func (b *hub) describe(ctx context.Context) {
	tick := time.NewTicker(watchFastest)
	defer tick.Stop()
	for {
		var all sync.WaitGroup
		places := make(chan struct{}, watchAtOnce)
		for _, id := range b.toDescribe(time.Now()) {
			places <- struct{}{}
			all.Go(func() {
				defer func() { <-places }()
				b.describeOne(ctx, id)
			})
		}
		all.Wait()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// toDescribe returns the executions whose description is due, the longest due first.
func (b *hub) toDescribe(now time.Time) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	due := slices.SortedFunc(maps.Keys(b.watched), func(a, c string) int { return b.watched[a].due.Compare(b.watched[c].due) })
	due = slices.DeleteFunc(due, func(id string) bool { return b.watched[id].due.After(now) })
	return due[:min(len(due), watchMost)]
}

// describeOne describes an execution, and notifies the listeners who watch it if something
// has happened. Without an answer, the last one stays.
func (b *hub) describeOne(ctx context.Context, id string) {
	asking, cancel := context.WithTimeout(ctx, temporalTimeout)
	defer cancel()
	found, err := b.h.temporal.DescribeWorkflowExecution(asking, id, "")
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.watched[id]
	if w == nil {
		return
	}
	info := found.GetWorkflowExecutionInfo()
	version := fmt.Sprint(info.GetExecution().GetRunId(), info.GetHistoryLength(), info.GetStatus())
	w.wait = min(w.wait*3/2, watchSlowest)
	if err == nil && version != w.version {
		w.version, w.stack, w.wait = version, spacelift.StackID(keyword(info.GetSearchAttributes(), managed.AttrStack)), watchFastest
		if run, err := managed.ParseRunID(id); err == nil {
			w.stack = run.Stack // its first task may not have set attributes yet
		}
		for l := range b.listeners {
			if l.watches == id {
				l.progress = true
				l.wake()
			}
		}
	}
	if err == nil && info.GetStatus() != enums.WORKFLOW_EXECUTION_STATUS_RUNNING {
		w.wait = watchEnded
	}
	w.due = time.Now().Add(w.wait - watchFastest/2)
}
