// Package histories plays runs on a real Temporal, with Gantry's own workflows, and
// counts the history events of each.
package histories

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.temporal.io/api/history/v1"
	"go.temporal.io/api/temporalproto"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"

	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/temporalserver"
)

// identity is part of the histories: it doesn't reveal the machine.
const identity = "record"

// Record plays stories by name, or all of them, on a Temporal server of its own.
// If out names a folder, it writes the history of each to a file of its name
// there. With an error it also returns the costs of the stories before.
func Record(ctx context.Context, out string, names ...string) ([]Cost, error) {
	chosen := all()
	if len(names) > 0 {
		chosen = slices.DeleteFunc(chosen, func(s story) bool { return !slices.Contains(names, s.name) })
	}
	if len(chosen) == 0 || len(names) > len(chosen) {
		return nil, errors.New("no such story")
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	temporal, err := temporalserver.Start(ctx, temporalserver.Options{SearchAttributes: temporalserver.Keywords(managed.SearchAttributes()...)})
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

	// Sticky queues are named after the machine.
	worker.SetStickyWorkflowCacheSize(0)
	var costs []Cost
	for _, s := range chosen {
		cost, recorded, err := s.cost(ctx, c)
		if err == nil && out != "" {
			err = write(recorded, out, s.name)
		}
		if err != nil {
			return costs, fmt.Errorf("story %s: %w", s.name, err)
		}
		costs = append(costs, cost)
	}
	return costs, nil
}

// cost plays the story, returns its cost, and removes it from Temporal.
func (s story) cost(ctx context.Context, c client.Client) (Cost, *history.History, error) {
	t, err := s.play(ctx, c)
	if err != nil {
		return Cost{}, nil, err
	}
	cost, id := Cost{Story: s.name, Notifications: t.notifications, Signals: t.signals, Limit: limits[s.name]}, managed.ManageRunID(t.ref)
	if s.tick > 0 {
		id, cost.Notifications, cost.Signals = t.ticks[s.tick-1], 0, 0
	}
	recorded, err := t.history(ctx, id)
	if err != nil {
		return Cost{}, nil, fmt.Errorf("read the history: %w", err)
	}
	cost.Events = len(recorded.GetEvents())
	return cost, recorded, t.forget(ctx)
}

func write(recorded *history.History, dir, name string) error {
	json, err := temporalproto.CustomJSONMarshalOptions{Indent: "  "}.Marshal(recorded)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name+".json"), append(json, '\n'), 0o600)
}
