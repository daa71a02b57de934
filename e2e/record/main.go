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
	"os"
	"os/signal"
	"path/filepath"
	"text/tabwriter"
	"time"

	"go.temporal.io/api/temporalproto"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"

	"log/slog"

	"github.com/gantryhq/gantry/devserver"
	"github.com/gantryhq/gantry/workflows"
)

// taskQueue and identity end up in the histories: they say nothing of the
// machine.
const (
	taskQueue = "gantry"
	identity  = "record"
)

func main() {
	out := flag.String("out", "workflows/testdata/histories", "directory for the histories")
	only := flag.String("only", "", "record this story alone")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := record(ctx, *out, *only, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "record:", err)
		stop()
		os.Exit(1)
	}
}

func record(ctx context.Context, out, only string, report io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	temporal, err := devserver.Start(ctx, devserver.Options{SearchAttributes: workflows.SearchAttributes()})
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
	if err := os.MkdirAll(out, 0o750); err != nil {
		return err
	}

	// Sticky queues are named after the machine.
	worker.SetStickyWorkflowCacheSize(0)
	table := tabwriter.NewWriter(report, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "story\tnotifications\tsignals\tevents")
	found := false
	for _, s := range stories {
		if only != "" && s.name != only {
			continue
		}
		found = true
		t, err := s.tell(ctx, c)
		if err != nil {
			return fmt.Errorf("story %s: %w", s.name, err)
		}
		history, err := t.history(ctx)
		if err != nil {
			return fmt.Errorf("story %s: read its history: %w", s.name, err)
		}
		json, err := temporalproto.CustomJSONMarshalOptions{Indent: "  "}.Marshal(history)
		if err != nil {
			return fmt.Errorf("story %s: %w", s.name, err)
		}
		if err := os.WriteFile(filepath.Join(out, s.name+".json"), append(json, '\n'), 0o600); err != nil {
			return err
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\n", s.name, t.notifications, t.signals, len(history.GetEvents()))
	}
	if !found {
		return errors.New("there is no such story")
	}
	return table.Flush()
}
