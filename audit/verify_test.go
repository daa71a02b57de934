package audit_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/gantryhq/gantry/audit"
)

// Whatever line is changed, dropped, doubled or moved, verification finds it.
func TestVerifyFindsTampering(t *testing.T) {
	dir := t.TempDir()
	l := open(t, audit.Options{Dir: dir, FileBytes: 1500})
	for i := range 20 {
		record(t, l, strconv.Itoa(i))
	}
	original := map[string][]byte{}
	names, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, name := range names {
		original[name], _ = os.ReadFile(name)
	}
	logs := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !strings.HasSuffix(n, ".jsonl") })
	if report, err := audit.Verify(dir); err != nil || len(report.Problems) > 0 || report.Entries != 20 || len(logs) < 3 {
		t.Fatalf("Verify of the untouched log of %d files: %+v, %v", len(logs), report, err)
	}
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom(logs).Draw(t, "file")
		lines := strings.SplitAfter(strings.TrimSuffix(string(original[name]), "\n"), "\n")
		lines[len(lines)-1] += "\n"
		before := strings.Join(lines, "")
		i := rapid.IntRange(0, len(lines)-1).Draw(t, "line")
		j := rapid.IntRange(0, len(lines)-1).Draw(t, "other line")
		kind := rapid.SampledFrom([]string{"change", "drop", "double", "move", "insert"}).Draw(t, "kind")
		switch kind {
		case "change":
			at := rapid.IntRange(0, len(lines[i])-2).Draw(t, "byte")
			changed := []byte(lines[i])
			changed[at] ^= byte(1 << rapid.IntRange(0, 7).Draw(t, "bit"))
			lines[i] = string(changed)
		case "drop":
			lines = slices.Delete(lines, i, i+1)
		case "double":
			lines = slices.Insert(lines, j, lines[i])
		case "move":
			line := lines[i]
			lines = slices.Insert(slices.Delete(lines, i, i+1), j, line)
		case "insert":
			lines = slices.Insert(lines, i, `{"sequence":`+strconv.Itoa(i)+`,"by":"eve"}`+"\n")
		}
		after := strings.Join(lines, "")
		if after == before {
			return
		}
		if err := os.WriteFile(name, []byte(after), 0o600); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = os.WriteFile(name, original[name], 0o600) }()
		if report, err := audit.Verify(dir); err != nil || len(report.Problems) == 0 {
			t.Fatalf("Verify after %s of line %d in %s: %+v, %v; want a problem", kind, i+1, filepath.Base(name), report, err)
		}
	})
}

// An operator may remove old files: retention is theirs.
func TestVerifyAcceptsALaterBeginning(t *testing.T) {
	dir := t.TempDir()
	l := open(t, audit.Options{Dir: dir, FileBytes: 1500})
	for i := range 20 {
		record(t, l, strconv.Itoa(i))
	}
	names, _ := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err := os.Remove(names[0]); err != nil {
		t.Fatal(err)
	}
	report, err := audit.Verify(dir)
	if err != nil || len(report.Problems) > 0 || report.First < 2 || report.Entries != int(21-report.First) {
		t.Errorf("Verify: %+v, %v; want no problem, and the first entry", report, err)
	}
}

func TestVerifyRefusesAnotherFolder(t *testing.T) {
	if _, err := audit.Verify(t.TempDir()); err == nil || !strings.Contains(err.Error(), "there is no audit log") {
		t.Errorf("Verify of a folder without a log: %v", err)
	}
}
