// Command bench measures Gantry against the numbers it promises, each as a ratio
// to a baseline measured in the same run: `make bench`.
//
// It connects only to 127.0.0.1, is limited, and stops on its own. On a small or
// busy machine the absolute numbers vary; the ratios count.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM) // it ends what it started
	defer stop()
	var b bench
	var bare, handler, temporal, rows string
	flag.StringVar(&b.gantry, "gantry", "bin/gantry", "the product binary to measure")
	flag.StringVar(&b.lab, "lab", "bin/gantry-dev", "the lab binary to measure")
	flag.DurationVar(&b.span, "span", 2*time.Second, "length of one measurement under load")
	flag.IntVar(&b.rounds, "rounds", 3, "interleaved rounds; medians are shown")
	flag.StringVar(&rows, "rows", "", "the measurements to make, such as webhook,memory; all without it")
	flag.StringVar(&bare, "bare", "", "internal: serve the bare handler on this address")
	flag.StringVar(&handler, "handler", "", "internal: serve Gantry's handler without a store on this address")
	flag.StringVar(&temporal, "temporal", "", "internal: serve Temporal on this port")
	flag.Parse()
	switch {
	case bare != "":
		exitOn(serveBare(ctx, bare))
		return
	case handler != "":
		exitOn(serveHandler(ctx, handler))
		return
	case temporal != "":
		exitOn(serveTemporal(ctx, temporal))
		return
	}
	b.log = slog.New(slog.DiscardHandler)
	chosen, err := b.rows(rows)
	exitOn(err)
	exitOn(run(ctx, chosen))
}

// verdict returns whether a target is met. A miss is no error: a busy machine may
// be the cause.
func verdict(met bool) string {
	if met {
		return "pass"
	}
	return "MISS"
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: "+err.Error())
		os.Exit(1)
	}
}

// bench is one run of all measurements.
type bench struct {
	gantry, lab string
	span        time.Duration
	rounds      int
	log         *slog.Logger
}

// row is a measurement with a title for people and a name for -rows.
type row struct {
	name, title string
	measure     func(context.Context) error
}

// rows returns the measurements that a list of names chooses; all for an empty one.
func (b *bench) rows(names string) (chosen []row, err error) {
	all := []row{
		{"webhook", "Front door: accepted webhooks (verify, decode, fsync), against a bare handler that verifies and decodes; with Temporal up, of 1,500 runs", b.frontDoor},
		{"memory", "Memory and disk: a million accepted webhooks; with Temporal up, of 1,500 runs", b.memory},
		{"viewers", "Viewers: accepted webhooks while eight people list the deliveries of single runs", b.viewers},
		{"forwarding", "Forwarding: events of hot runs, coalesced against one SignalWithStart per event", b.forwarding},
		{"history", "History: Temporal's events for the standard stories, against the notifications that came", b.history},
		{"chains", "Chains: 1,000 stacks that follow each other", b.chains},
		{"reconcile", "Reconcile: a tick over 2,000 stacks that finds nothing, against one stack", b.reconcile},
		{"lists", "Lists: what 500 waiting runs wait for, and which a caller may decide, against Temporal's own list", b.lists},
		{"reaction", "From UNCONFIRMED to runConfirm, warm worker, idle machine; from Gantry's check to runConfirm, slow API", b.reaction},
		{"waiting", "Pages: Waiting with 500 runs, without the API's own time", b.waiting},
		{"pages", "Pages: an account of 2,000 stacks", b.pages},
		{"open-pages", "Pages: 200 open, each of which renews itself after an event", b.openPages},
		{"sizes", "Sizes and starts", b.sizes},
	}
	if names == "" {
		return all, nil
	}
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(all, func(r row) bool { return r.name == name })
		if i < 0 {
			return nil, fmt.Errorf("choose rows: there is no row %q; see the list in e2e/bench/main.go", name)
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

func run(ctx context.Context, rows []row) error {
	for _, r := range rows {
		fmt.Printf("\n%s\n\n", r.title)
		if err := r.measure(ctx); err != nil {
			return fmt.Errorf("%s: %w", r.title, err)
		}
	}
	return nil
}
