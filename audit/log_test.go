package audit_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gantryhq/gantry/audit"
)

// open opens a log that the test closes.
func open(t *testing.T, o audit.Options) *audit.Log {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	o.Replica, o.Logger = "a", slog.New(slog.DiscardHandler)
	l, err := audit.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// record records decisions of ann on the runs.
func record(t *testing.T, l *audit.Log, runs ...string) {
	t.Helper()
	for _, run := range runs {
		if err := l.Record(t.Context(), entry(run)); err != nil {
			t.Fatal(err)
		}
	}
}

func entry(run string) audit.Entry {
	return audit.Entry{By: "ann", Via: "token ann", Action: "decideRun", Account: "acme", Stack: "net", Run: run, Why: "looks <good>", Result: audit.Done}
}

// runs returns the runs of a page's entries.
func runs(page []audit.Stored) (all []string) {
	for _, e := range page {
		all = append(all, e.Run)
	}
	return all
}

func TestEntriesOutliveTheProcess(t *testing.T) {
	dir := t.TempDir()
	l := open(t, audit.Options{Dir: dir})
	record(t, l, "1", "2")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, audit.Options{Dir: dir})
	record(t, l, "3")
	page, next, err := l.List(t.Context(), audit.Filter{}, 0, 10)
	if err != nil || next != 0 {
		t.Fatalf("List: next %d, %v", next, err)
	}
	if diff := cmp.Diff([]string{"3", "2", "1"}, runs(page)); diff != "" {
		t.Errorf("entries, newest first (-want +got):\n%s", diff)
	}
	if page[0].Sequence != 3 || page[0].Replica != "a" || page[0].Why != "looks <good>" {
		t.Errorf("newest entry: %+v", page[0])
	}
	if report, err := audit.Verify(dir); err != nil || len(report.Problems) > 0 || report.Head != l.Head() {
		t.Errorf("Verify: %+v, %v; want no problem, and the head %+v", report, err, l.Head())
	}
}

// What others wrote can't control the terminal that shows the file.
func TestLinesArePrintable(t *testing.T) {
	dir := t.TempDir()
	l := open(t, audit.Options{Dir: dir})
	e := entry("1")
	e.Why = "\x1b[2J\u009b1m\u202ereversed 😀\x7f"
	if err := l.Record(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	content, _ := os.ReadFile(newest(t, dir))
	for _, b := range bytes.TrimSuffix(content, []byte("\n")) {
		if b < ' ' || b > '~' {
			t.Fatalf("the file holds the byte %#x: %q", b, content)
		}
	}
	if page, _, err := l.List(t.Context(), audit.Filter{}, 0, 1); err != nil || page[0].Why != e.Why {
		t.Errorf("listed as %+v, %v; want the text that was recorded", page, err)
	}
}

func TestPagesCoverAllFiles(t *testing.T) {
	l := open(t, audit.Options{FileBytes: 900})
	var want []string
	for i := range 40 {
		record(t, l, strconv.Itoa(i))
		if i%2 == 0 {
			want = append([]string{strconv.Itoa(i)}, want...)
		}
	}
	even := audit.Filter{By: "ANN", Visible: func(e audit.Entry) bool { return e.Sequence%2 == 1 }}
	var got []string
	for before := int64(0); ; {
		page, next, err := l.List(t.Context(), even, before, 3)
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, runs(page)...); next == 0 {
			break
		}
		before = next
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
}

func TestListFilters(t *testing.T) {
	l := open(t, audit.Options{})
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for i, e := range []audit.Entry{
		{By: "ann", Action: "decideRun", Account: "acme", Stack: "net", Run: "1", Result: audit.Done},
		{By: "bob", Action: "decideRun", Account: "acme", Stack: "net", Run: "2", Result: audit.Refused},
		{By: "bob", Action: "stopRun", Account: "other", Stack: "app", Run: "3", Result: audit.Done},
		{By: "Jos\u00e9", Action: "lift", Account: "third", Stack: "dns", Run: "4", Result: audit.Done},
	} {
		e.At = at.Add(time.Duration(i) * time.Hour)
		if err := l.Record(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name string
		f    audit.Filter
		want []string
	}{
		{"by", audit.Filter{By: "Bob"}, []string{"3", "2"}},
		{"by, composed otherwise", audit.Filter{By: "JOSE\u0301"}, []string{"4"}},
		{"action", audit.Filter{Action: "decideRun"}, []string{"2", "1"}},
		{"account", audit.Filter{Account: "other"}, []string{"3"}},
		{"stack", audit.Filter{Stack: "net"}, []string{"2", "1"}},
		{"run", audit.Filter{Run: "2"}, []string{"2"}},
		{"result", audit.Filter{Result: audit.Refused}, []string{"2"}},
		{"since", audit.Filter{Since: at.Add(time.Hour)}, []string{"4", "3", "2"}},
		{"until", audit.Filter{Until: at.Add(time.Hour)}, []string{"1"}},
	} {
		page, _, err := l.List(t.Context(), tt.f, 0, 10)
		if diff := cmp.Diff(tt.want, runs(page)); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", tt.name, err, diff)
		}
	}
}

// A full disk must lose nothing that people did meanwhile.
func TestEntriesWaitForAFullDisk(t *testing.T) {
	full := false
	dir := t.TempDir()
	l := open(t, audit.Options{Dir: dir, Write: func(f *os.File, line []byte) error {
		if full {
			_, _ = f.Write(line[:len(line)/2])
			return syscall.ENOSPC
		}
		_, err := f.Write(line)
		return err
	}})
	record(t, l, "1")
	full = true
	if err := l.Record(t.Context(), entry("2")); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Record on a full disk: %v, want %v", err, syscall.ENOSPC)
	}
	if err := l.Ready(); err == nil || l.Waiting() != 1 {
		t.Errorf("Ready on a full disk: %v with %d waiting; want an error and 1", err, l.Waiting())
	}
	full = false
	if err := l.Ready(); err != nil || l.Waiting() != 0 {
		t.Errorf("Ready with room again: %v with %d waiting; want none", err, l.Waiting())
	}
	record(t, l, "3")
	page, _, _ := l.List(t.Context(), audit.Filter{}, 0, 10)
	if diff := cmp.Diff([]string{"3", "2", "1"}, runs(page)); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	if report, err := audit.Verify(dir); err != nil || len(report.Problems) > 0 {
		t.Errorf("Verify: %+v, %v", report, err)
	}
}

// A crash in the middle of a line leaves a log that continues.
func TestACutLineIsRemovedAndReported(t *testing.T) {
	dir := t.TempDir()
	l := open(t, audit.Options{Dir: dir})
	record(t, l, "1", "2")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	appendTo(t, dir, `{"sequence":3,"at":"2026`)
	l = open(t, audit.Options{Dir: dir})
	record(t, l, "4")
	page, _, _ := l.List(t.Context(), audit.Filter{}, 0, 10)
	if len(page) != 4 || page[1].Action != audit.ActionRecover || !strings.Contains(page[1].Detail, "24 bytes") {
		t.Errorf("entries: %+v; want 4, the third reporting the cut of 24 bytes", page)
	}
	if report, err := audit.Verify(dir); err != nil || len(report.Problems) > 0 {
		t.Errorf("Verify: %+v, %v", report, err)
	}
}

func TestAMissingEndIsReported(t *testing.T) {
	dir := t.TempDir()
	l := open(t, audit.Options{Dir: dir})
	record(t, l, "1", "2", "3")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	edit(t, dir, func(lines []string) []string { return lines[:1] })
	l = open(t, audit.Options{Dir: dir})
	page, _, _ := l.List(t.Context(), audit.Filter{}, 0, 1)
	if len(page) != 1 || page[0].Sequence != 4 || page[0].Detail != "entries 2 to 3 are missing at the end" {
		t.Errorf("newest entry: %+v; want one that reports the missing entries", page)
	}
	if report, err := audit.Verify(dir); err != nil || len(report.Problems) == 0 {
		t.Errorf("Verify: %+v, %v; want a problem", report, err)
	}
}

func TestOneProcessUsesAFolder(t *testing.T) {
	dir := t.TempDir()
	open(t, audit.Options{Dir: dir})
	if _, err := audit.Open(t.Context(), audit.Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "another process uses it") {
		t.Errorf("Open of a folder in use: %v", err)
	}
}

func appendTo(t *testing.T, dir, text string) {
	t.Helper()
	f, err := os.OpenFile(newest(t, dir), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(text)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// edit changes the lines of the newest file.
func edit(t *testing.T, dir string, change func([]string) []string) {
	t.Helper()
	content, err := os.ReadFile(newest(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	lines := change(strings.SplitAfter(strings.TrimSuffix(string(content), "\n"), "\n"))
	text := strings.TrimSuffix(strings.Join(lines, ""), "\n") + "\n"
	if err := os.WriteFile(newest(t, dir), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func newest(t *testing.T, dir string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "audit-*.jsonl"))
	if err != nil || len(names) == 0 {
		t.Fatalf("files: %v, %v", names, err)
	}
	return names[len(names)-1]
}
