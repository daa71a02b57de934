package mutants

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gantryhq/gantry/docs"
	"github.com/gantryhq/gantry/e2e/schedules/checker"
	"github.com/gantryhq/gantry/e2e/schedules/script"
)

// TestMutantsApplyAndCompile builds what the mutants change, as many together as
// their changes allow.
func TestMutantsApplyAndCompile(t *testing.T) {
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	if len(All) < 25 {
		t.Errorf("there are %d mutants, fewer than 25", len(All))
	}
	var batches [][]Mutant
	for _, m := range All {
		if _, err := Overlay(root, t.TempDir(), m); err != nil {
			t.Errorf("%s: %v", m.Name, err)
			continue
		}
		batches = add(t, root, batches, m)
	}
	for _, batch := range batches {
		overlay, err := Overlay(root, t.TempDir(), batch...)
		if err != nil {
			t.Fatal(err)
		}
		args := []string{"build", "-overlay", overlay}
		for _, m := range batch {
			for _, e := range m.Edits {
				if dir := "./" + filepath.Dir(e.File); !slices.Contains(args, dir) {
					args = append(args, dir)
				}
			}
		}
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("the mutants %s don't compile: %v\n%s", names(batch), err, out)
		}
	}
}

// add puts a mutant into the first batch whose changes it leaves alone.
func add(t *testing.T, root string, batches [][]Mutant, m Mutant) [][]Mutant {
	for i, batch := range batches {
		if _, err := Overlay(root, t.TempDir(), append(slices.Clone(batch), m)...); err == nil {
			batches[i] = append(batches[i], m)
			return batches
		}
	}
	return append(batches, []Mutant{m})
}

func names(batch []Mutant) string {
	var all []string
	for _, m := range batch {
		all = append(all, m.Name)
	}
	return strings.Join(all, ", ")
}

func TestMutantsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range All {
		if seen[m.Name] || m.Name == "" || m.Breaks == "" || len(m.Edits) == 0 {
			t.Errorf("mutant %q has no name of its own, or breaks nothing", m.Name)
		}
		seen[m.Name] = true
	}
}

// Every mutant says which rules it breaks, and in which stories.
func TestMutantsHaveSigns(t *testing.T) {
	for _, m := range All {
		sign := SignOf(m)
		if len(sign.Rules) == 0 {
			t.Errorf("%s: no rule is named that it breaks", m.Name)
		}
		for _, rule := range sign.Rules {
			if !slices.ContainsFunc(checker.Rules, func(r checker.Rule) bool { return r.Name == rule }) {
				t.Errorf("%s: there is no rule %s", m.Name, rule)
			}
		}
		for _, story := range sign.Stories {
			if !slices.Contains(script.Kinds(), story) {
				t.Errorf("%s: there is no story %s", m.Name, story)
			}
		}
	}
	for name := range signs {
		if _, known := Find(name); !known {
			t.Errorf("there is no mutant %s", name)
		}
	}
}

// docs/guarantees.md shows the last results of `make mutants`, in which no mutant
// survives.
func TestTheTableShowsTheLastResults(t *testing.T) {
	results, err := ReadResults("testdata/results.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range results {
		if _, known := Find(name); !known && name != None {
			t.Errorf("there is no mutant %s", name)
		}
		if r.Caught == (name == None) || r.Schedules > 1000 {
			t.Error(r)
		}
	}
	docs.KeepSection(t, "../../../docs/guarantees.md", "mutants", Table(results))
}
