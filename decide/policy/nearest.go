package policy

import (
	"slices"
	"strings"
)

// Nearest returns the name that was most likely meant by a misspelt one. ok is false
// if none is close: more than a third of its letters would have to change. Of names that
// are equally close it is one that the misspelt name contains, then the first by letters.
func Nearest(misspelt string, all []string) (name string, ok bool) {
	misspelt = strings.ToLower(misspelt)
	best, within := 1+max(1, len(misspelt)/3), false
	for _, candidate := range slices.Sorted(slices.Values(all)) {
		word := strings.ToLower(candidate)
		d, inside := distance(misspelt, word), strings.Contains(misspelt, word)
		if candidate != "" && (d < best || d == best && name != "" && inside && !within) {
			name, best, within = candidate, d, inside
		}
	}
	return name, name != ""
}

// distance counts the letters to insert, remove, replace or swap with their
// neighbour to get from one word to the other.
func distance(a, b string) int {
	from, to := []rune(a), []rune(b)
	var before []int // the row of the prefix that is two letters shorter
	last := make([]int, len(to)+1)
	for j := range last {
		last[j] = j
	}
	for i := range from {
		row := make([]int, len(to)+1)
		row[0] = i + 1
		for j := range to {
			cost := 1
			if from[i] == to[j] {
				cost = 0
			}
			row[j+1] = min(last[j]+cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && from[i] == to[j-1] && from[i-1] == to[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(to)]
}
