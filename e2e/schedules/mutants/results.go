package mutants

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Result is the fate of a mutant that was played alone: a line of the results.
type Result struct {
	Mutant    string `json:"mutant"`
	Caught    bool   `json:"caught"`
	Rule      string `json:"rule,omitempty"`
	Says      string `json:"says,omitempty"`
	Seed      uint64 `json:"seed,omitempty"` // of the batch that showed it
	Schedules int    `json:"schedules"`      // that were played
}

// None is the name of Gantry as it is, which must break no rule.
const None = "none"

func (r Result) String() string {
	switch {
	case r.Caught:
		return fmt.Sprintf("%-28s caught by %s after at most %d schedules: %s", r.Mutant, r.Rule, r.Schedules, r.Says)
	case r.Mutant == None:
		return fmt.Sprintf("%-28s broke no rule in %d schedules", r.Mutant, r.Schedules)
	}
	return fmt.Sprintf("%-28s SURVIVED %d schedules", r.Mutant, r.Schedules)
}

// ReadResults returns the results in a file, by mutant; none if there is no file.
func ReadResults(file string) (map[string]Result, error) {
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read the results: %w", err)
	}
	results := map[string]Result{}
	for line := range bytes.Lines(text) {
		var r Result
		if err := json.Unmarshal(line, &r); err != nil {
			return nil, fmt.Errorf("read %s: %w; remove the line that is damaged", file, err)
		}
		results[r.Mutant] = r
	}
	return results, nil
}

// Table shows what became of each mutant.
func Table(results map[string]Result) string {
	var b strings.Builder
	caught := 0
	for _, m := range All {
		if results[m.Name].Caught {
			caught++
		}
	}
	fmt.Fprintf(&b, "%d of %d mutants are caught.\n\n| Mutant | It breaks Gantry so that | Caught by | Schedules |\n| --- | --- | --- | ---: |\n", caught, len(All))
	for _, m := range All {
		rule, schedules := "not played yet", ""
		if r, played := results[m.Name]; played {
			rule, schedules = "**nothing**", strconv.Itoa(r.Schedules)
			if r.Caught {
				rule = "`" + r.Rule + "`"
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", m.Name, m.Breaks, rule, schedules)
	}
	return b.String()
}
