package checker

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Totals are the counts of a run of many batches.
type Totals struct {
	Seeds      string `json:"seeds"` // such as "1 to 40"
	Schedules  int    `json:"schedules"`
	Violations int    `json:"violations"`
	Matrix     Matrix `json:"matrix"`
}

// Markdown writes the totals as a table of mishaps and groups of rules.
func (t Totals) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Last run: %s schedules (seeds %s), %d violations.\n\n", thousands(t.Schedules), t.Seeds, t.Violations)
	b.WriteString("| Mishap |")
	for _, g := range Groups {
		fmt.Fprintf(&b, " %s |", g)
	}
	b.WriteString("\n| --- |" + strings.Repeat(" ---: |", len(Groups)) + "\n")
	for _, mishap := range slices.Sorted(maps.Keys(t.Matrix)) {
		fmt.Fprintf(&b, "| %s |", mishap)
		for _, g := range Groups {
			var n Count
			for _, r := range Rules {
				if r.Group == g {
					cell := t.Matrix[mishap][r.Name]
					n = Count{n.Judged + cell.Judged, n.Broken + cell.Broken}
				}
			}
			text := thousands(n.Judged)
			if n.Broken > 0 {
				text += " (**" + thousands(n.Broken) + "**)"
			}
			fmt.Fprintf(&b, " %s |", text)
		}
		b.WriteString("\n")
	}
	b.WriteString("\nThe rules of each group:\n\n")
	for _, g := range Groups {
		var rules []string
		for _, r := range Rules {
			if r.Group == g {
				rules = append(rules, r.Promises+" (`"+r.Name+"`)")
			}
		}
		fmt.Fprintf(&b, "- %s: %s.\n", g, strings.Join(rules, "; "))
	}
	return b.String()
}

// thousands writes a number with commas.
func thousands(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
