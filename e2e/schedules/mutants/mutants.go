// Package mutants is a list of changes that break Gantry, each in one of its
// promises. The checker must find every one of them within a thousand schedules: a
// mutant that survives shows that a rule is missing.
package mutants

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Mutant is a change that breaks Gantry.
type Mutant struct {
	Name   string
	Breaks string // what the mutant does, as a sentence
	Edits  []Edit
}

// Edit replaces a text that occurs once in a file.
type Edit struct {
	File     string // in the repository
	Old, New string
}

// Find returns the mutant of that name.
func Find(name string) (Mutant, bool) {
	for _, m := range All {
		if m.Name == name {
			return m, true
		}
	}
	return Mutant{}, false
}

// Overlay writes the changed files of some mutants to a folder, with a file for the
// flag -overlay of the go command, and returns that file's path. Nothing in the
// repository changes.
func Overlay(root, folder string, mutants ...Mutant) (string, error) {
	changed := map[string]string{}
	for _, m := range mutants {
		for _, e := range m.Edits {
			path := filepath.Join(root, e.File)
			text, known := changed[path]
			if !known {
				b, err := os.ReadFile(path)
				if err != nil {
					return "", fmt.Errorf("read what %s changes: %w", m.Name, err)
				}
				text = string(b)
			}
			if n := strings.Count(text, e.Old); n != 1 {
				return "", fmt.Errorf("apply mutant %s: %s has the text %d times, not once; adapt the list to the code:\n%s", m.Name, e.File, n, e.Old)
			}
			changed[path] = strings.Replace(text, e.Old, e.New, 1)
		}
	}
	replace := map[string]string{}
	for path, text := range changed {
		replace[path] = filepath.Join(folder, strconv.Itoa(len(replace))+"-"+filepath.Base(path))
		if err := os.WriteFile(replace[path], []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	overlay := filepath.Join(folder, "overlay.json")
	return overlay, os.WriteFile(overlay, b, 0o600)
}
