package service

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
)

// watchInterval is the time between two checks of Temporal.
const watchInterval = 5 * time.Second

// outage stores since when Temporal doesn't answer, and why.
type outage struct {
	mu    sync.Mutex
	since time.Time
	why   string
}

// problem returns the outage; why is empty while Temporal answers.
func (o *outage) problem() (since time.Time, why string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.since, o.why
}

// record stores the result of a check.
func (o *outage) record(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case err == nil:
		o.since, o.why = time.Time{}, ""
	case o.why == "":
		o.since, o.why = time.Now(), err.Error()
	default:
		o.why = err.Error()
	}
}

// watchTemporal checks Temporal until ctx ends, so that readiness knows of an outage
// before an event fails, and no probe waits for Temporal.
func (p *process) watchTemporal(ctx context.Context) error {
	again := time.NewTicker(watchInterval)
	defer again.Stop()
	for {
		check, cancel := context.WithTimeout(ctx, probeTimeout)
		err := p.checkTemporal(check)
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		p.outage.record(err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-again.C:
		}
	}
}

// checkTemporal reports why no event could be forwarded now. A client that may not read
// its namespace may still use it, so only a missing one counts.
func (p *process) checkTemporal(ctx context.Context) error {
	if _, err := p.temporal.CheckHealth(ctx, nil); err != nil {
		return fmt.Errorf("check Temporal: %w", err)
	}
	name := p.Temporal.Namespace
	_, err := p.temporal.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: name})
	if _, missing := errors.AsType[*serviceerror.NamespaceNotFound](err); missing {
		return fmt.Errorf("check Temporal: %w; create the namespace %s, or set TEMPORAL_NAMESPACE", err, name)
	}
	return nil
}
