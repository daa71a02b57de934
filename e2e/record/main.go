// Record runs stories of runs through ManageRun on a real Temporal, and writes
// the histories that today's code must still replay tomorrow. It prints how
// many events each took.
//
// Record anew only when a change needs it: the old histories are those of
// executions that are open somewhere.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"go.temporal.io/api/temporalproto"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"

	"github.com/gantryhq/gantry/devserver"
	"github.com/gantryhq/gantry/workflows"
)

// identity ends up in the histories: it says nothing of the machine.
const identity = "record"

func main() {
	out := flag.String("out", "workflows/testdata/histories", "directory for the histories")
	only := flag.String("only", "", "record this story alone")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	results, err := record(ctx, *out, *only)
	report(os.Stdout, results)
	if err != nil {
		fmt.Fprintln(os.Stderr, "record:", err)
		stop()
		os.Exit(1)
	}
}

// result is what one story cost.
type result struct {
	story                          string
	notifications, signals, events int
}

func report(w io.Writer, results []result) {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "story\tnotifications\tsignals\tevents")
	for _, r := range results {
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\n", r.story, r.notifications, r.signals, r.events)
	}
	_ = table.Flush()
}

// record tells the stories, or one of them, and writes the history of each to a
// file of its name.
func record(ctx context.Context, out, only string) ([]result, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	temporal, err := devserver.Start(ctx, devserver.Options{SearchAttributes: workflows.SearchAttributes()})
	if err != nil {
		return nil, err
	}
	defer temporal.Stop()
	c, err := client.DialContext(ctx, client.Options{
		HostPort: temporal.HostPort(), Identity: identity, Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler)),
	})
	if err != nil {
		return nil, fmt.Errorf("dial temporal: %w", err)
	}
	defer c.Close()
	if err := os.MkdirAll(out, 0o750); err != nil {
		return nil, err
	}

	// Sticky queues are named after the machine.
	worker.SetStickyWorkflowCacheSize(0)
	var results []result
	for _, s := range slices.Concat(stories, people, apart, chained) {
		if only != "" && s.name != only {
			continue
		}
		r, err := s.record(ctx, c, filepath.Join(out, s.name+".json"))
		if err != nil {
			return results, fmt.Errorf("story %s: %w", s.name, err)
		}
		results = append(results, r)
	}
	if len(results) == 0 {
		return nil, errors.New("there is no such story")
	}
	return results, nil
}

func (s story) record(ctx context.Context, c client.Client, file string) (result, error) {
	t, err := s.tell(ctx, c)
	if err != nil {
		return result{}, err
	}
	id := workflows.ManageRunID(t.ref)
	if s.tick > 0 {
		id = t.ticks[s.tick-1]
	}
	history, err := t.history(ctx, id)
	if err != nil {
		return result{}, fmt.Errorf("read the history: %w", err)
	}
	if err := t.forget(ctx); err != nil {
		return result{}, err
	}
	json, err := temporalproto.CustomJSONMarshalOptions{Indent: "  "}.Marshal(history)
	if err != nil {
		return result{}, err
	}
	if err := os.WriteFile(file, append(json, '\n'), 0o600); err != nil {
		return result{}, err
	}
	return result{s.name, t.notifications, t.signals, len(history.GetEvents())}, nil
}
