package server

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/gantryhq/gantry/gen/api"
)

// badQuery is the problem of a query that is not made of names and values.
func badQuery(raw string) api.Problem {
	p := badRequest("the query must be name=value, joined by &, with other characters percent-encoded")
	for piece := range strings.SplitSeq(raw, "&") {
		if _, err := url.ParseQuery(piece); err == nil {
			continue
		}
		name, _, _ := strings.Cut(piece, "=")
		if name, err := url.QueryUnescape(name); err == nil && !strings.Contains(name, ";") {
			p.Errors = append(p.Errors, parameterError(name, "can't be read; write ; as %3B and % as %25"))
		}
	}
	return p
}

// wrongQuery names the parameters of a query that an operation does not have,
// and those that are given more than once: a filter with a typing error must not
// select everything.
func wrongQuery(query url.Values, known openapi3.Parameters) (wrong []api.ProblemError) {
	var names []string
	for _, p := range known {
		if p.Value.In == openapi3.ParameterInQuery {
			names = append(names, p.Value.Name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		switch {
		case !slices.Contains(names, name):
			wrong = append(wrong, parameterError(name, "is no parameter here; "+instead(name, names)))
		case len(query[name]) > 1:
			wrong = append(wrong, parameterError(name, "is given more than once; give it once"))
		}
	}
	return wrong
}

// wrongHeaders names the headers of an operation that are given more than once.
func wrongHeaders(headers http.Header, known openapi3.Parameters) (wrong []api.ProblemError) {
	for _, p := range known {
		if p.Value.In == openapi3.ParameterInHeader && len(headers.Values(p.Value.Name)) > 1 {
			wrong = append(wrong, parameterError(p.Value.Name, "is given more than once; give it once"))
		}
	}
	return wrong
}

// instead says which parameter a caller may have meant.
func instead(name string, known []string) string {
	if len(known) == 0 {
		return "this takes none"
	}
	nearest := slices.MinFunc(known, func(a, b string) int { return typos(name, a) - typos(name, b) })
	if typos(name, nearest) <= max(1, len(nearest)/3) {
		return "is " + nearest + " meant?"
	}
	return "this takes " + strings.Join(known, ", ")
}

// typos counts the letters to insert, delete or replace to make one name of
// another, whatever their case: the Levenshtein distance.
func typos(a, b string) int {
	a, b = strings.ToLower(a), strings.ToLower(b)
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := corner
			if a[i] != b[j] {
				replaced++
			}
			corner = row[j+1]
			row[j+1] = min(replaced, row[j]+1, corner+1)
		}
	}
	return row[len(b)]
}
