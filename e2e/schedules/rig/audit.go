package rig

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gantryhq/gantry/e2e/schedules/history"
)

// RecordAudit records the audit log of each process, and whether the product says that
// it is whole.
func (r *Rig) RecordAudit(ctx context.Context) error {
	for _, g := range r.Gantries() {
		folder := filepath.Join(g.dir, "inbox", "audit")
		files, err := filepath.Glob(filepath.Join(folder, "audit-*.jsonl"))
		if err != nil {
			return fmt.Errorf("record the audit log of %s: %w", g.Name, err)
		}
		slices.Sort(files)
		for _, file := range files {
			if err := r.recordEntries(g.Name, file); err != nil {
				return err
			}
		}
		verified := &history.AuditLog{Process: g.Name}
		if out, err := r.program(r.options.Programs.Gantry, nil, "audit", "verify", folder).CombinedOutput(); err != nil {
			verified.Problem = strings.TrimSpace(string(out))
		}
		r.History.Add(history.Record{AuditLog: verified})
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

func (r *Rig) recordEntries(process, file string) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("record the audit log of %s: %w", process, err)
	}
	for line := range bytes.Lines(content) {
		entry := &history.Audit{Process: process}
		if err := json.Unmarshal(line, entry); err != nil {
			continue // the product's own check names it
		}
		entry.Process = process
		r.History.Add(history.Record{Schedule: history.ScheduleOf(entry.Stack), Audit: entry})
	}
	return nil
}
