package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/inbox"
	"github.com/gantryhq/gantry/inbox/archive"
	"github.com/gantryhq/gantry/inbox/executions"
	"github.com/gantryhq/gantry/spacelift"
	"github.com/gantryhq/gantry/temporalserver"
)

// The concurrent runs of this measurement, and the waiting events of each.
const (
	hotRuns      = 40
	eventsPerRun = 25
)

// forwarding drains the same backlog into the same Temporal, once with one
// signal for all waiting events of a run and once with one per event.
func (b *bench) forwarding(ctx context.Context) error {
	temporal, err := temporalserver.Start(ctx, temporalserver.Options{SearchAttributes: temporalserver.Keywords(managed.SearchAttributes()...)})
	if err != nil {
		return err
	}
	defer temporal.Stop()
	c, err := client.DialContext(ctx, client.Options{HostPort: temporal.HostPort(), Logger: log.NewStructuredLogger(b.log)})
	if err != nil {
		return err
	}
	defer c.Close()

	var single, coalesced []result
	for round := range b.rounds {
		for name, batch := range map[string]int{"single": 1, "coalesced": 0} {
			rate, err := drain(ctx, c, fmt.Sprintf("%s-%d", name, round), batch)
			if err != nil {
				return err
			}
			if batch == 1 {
				single = append(single, result{perSecond: rate})
			} else {
				coalesced = append(coalesced, result{perSecond: rate})
			}
		}
	}
	one, all := median(single).perSecond, median(coalesced).perSecond
	fmt.Printf("one SignalWithStart per event  %8.0f events/s\ncoalesced per run              %8.0f events/s   %.1f × (target ≥ 3 ×: %s)\n", one, all, all/one, verdict(all/one >= 3))
	return nil
}

// drain fills an inbox and measures how fast Temporal accepts its events. A batch
// of 0 is the forwarder's default.
func drain(ctx context.Context, c client.Client, name string, batch int) (rate float64, err error) {
	dir, err := os.MkdirTemp("", "gantry-bench-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	box, err := inbox.Open(ctx, inbox.Options{Dir: dir})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, box.Close()) }()
	for version := range eventsPerRun {
		for run := range hotRuns {
			ref := spacelift.RunRef{Account: "acme", Stack: spacelift.StackID(name), Run: spacelift.RunID(fmt.Sprintf("%s-%d", name, run))}
			d := archive.Delivery{ReceivedAt: time.Now(), Run: ref, Type: spacelift.RunTypeTracked, State: spacelift.RunStatePlanning, StateVersion: version}
			if _, err := box.Accept(ctx, d, nil); err != nil {
				return 0, err
			}
		}
	}
	run, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	began := time.Now()
	go func() {
		ended <- inbox.NewForwarder(box, &executions.Target{Client: c, TaskQueue: "bench"}, inbox.ForwarderOptions{BatchEvents: batch}).Run(run)
	}()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for box.Health().Pending > 0 {
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-tick.C:
		}
	}
	took := time.Since(began)
	stop()
	return hotRuns * eventsPerRun / took.Seconds(), <-ended
}
