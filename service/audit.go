package service

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gantryhq/gantry/activities"
	"github.com/gantryhq/gantry/audit"
	"github.com/gantryhq/gantry/config"
)

// openAudit opens the audit log and records the start of the process, with what changed in
// the configuration since its last one.
func (p *process) openAudit(ctx context.Context) error {
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("read the host's name: %w", err)
	}
	folder := cmp.Or(p.Config.Audit.Folder, filepath.Join(p.Config.Data, "audit"))
	log, err := audit.Open(ctx, audit.Options{Dir: folder, Replica: cmp.Or(p.Config.Replica, host), LockWait: cmp.Or(p.LockWait, 30*time.Second), Metrics: p.registry, Logger: p.Log})
	if err != nil {
		return err
	}
	start := audit.Entry{By: audit.Gantry, Action: audit.ActionStart, Result: audit.Done, Detail: "version " + p.Version}
	p.configurationNote = filepath.Join(folder, "configuration.json")
	start.Before, start.After = changesSince(p.configurationNote, p.Config.Values())
	if err = log.Record(ctx, start); err == nil {
		err = p.noteConfiguration(p.Config)
	}
	if err != nil {
		return errors.Join(err, log.Close())
	}
	p.audit = log
	return nil
}

// changesSince compares settings with those in a note: before has those that were changed
// or removed, after those that were changed or added.
func changesSince(note string, values map[string]string) (before, after string) {
	var old map[string]string
	content, err := os.ReadFile(note)
	if err != nil || json.Unmarshal(content, &old) != nil {
		return "", "" // the first start
	}
	return differing(old, values), differing(values, old)
}

// differing lists the settings that have another value in other, or none.
func differing(values, other map[string]string) string {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if value, ok := other[name]; !ok || value != values[name] {
			lines = append(lines, name+"="+values[name])
		}
	}
	return strings.Join(lines, "; ")
}

// noteConfiguration keeps the values of a configuration for the next start.
func (p *process) noteConfiguration(c config.Config) error {
	content, err := json.Marshal(c.Values())
	if err == nil {
		err = os.WriteFile(p.configurationNote, content, 0o600)
	}
	if err != nil {
		return fmt.Errorf("note the configuration for the audit log: %w", err)
	}
	return nil
}

// onBypassed counts a bypass and records it.
func (p *process) onBypassed() func(context.Context, activities.ReportBypassInput) {
	count := bypassed(p.registry)
	return func(ctx context.Context, in activities.ReportBypassInput) {
		count.Inc()
		e := of(in.Run, in.Bypass.Reason)
		e.By, e.Via, e.Action, e.Account, e.Result = cmp.Or(in.Bypass.Actor, "unknown"), "Spacelift", audit.ActionBypass, string(in.Run.Account), audit.Done
		e.Detail = fmt.Sprintf("state version %d, at %s", in.Bypass.StateVersion, in.Bypass.At.UTC().Format(time.RFC3339))
		_ = p.audit.Record(context.WithoutCancel(ctx), e) // which logs what can't be written
	}
}

func (p *process) sendAudit(ctx context.Context, id string, lines []byte) error {
	return p.reloader.effect.Load().channels.SendLines(ctx, p.Config.Audit.Channel, id, lines)
}
