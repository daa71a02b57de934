// Record plays the stories of e2e/histories on a real Temporal, and writes the
// histories that all later code must replay. It prints the number of events in
// each.
//
// Record again only when a change requires it: the old histories are those of
// executions that are still open somewhere.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"

	"github.com/gantryhq/gantry/e2e/histories"
)

func main() {
	out := flag.String("out", "workflows/testdata/histories", "directory for the histories")
	only := flag.String("only", "", "record this story alone")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var names []string
	if *only != "" {
		names = []string{*only}
	}
	costs, err := histories.Record(ctx, *out, names...)
	if err := errors.Join(err, histories.Report(os.Stdout, costs)); err != nil {
		fmt.Fprintln(os.Stderr, "record:", err)
		stop()
		os.Exit(1)
	}
}
