package web

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Page holds what the layout shows of a page.
type Page struct {
	Title string
	// Count is shown in the title of the window and in the navigation; 0 shows none.
	Count int
	// Nav is the name of the page in the navigation; empty for none.
	Nav string
	// Wide lets the page use the whole width of the window.
	Wide bool
}

// link is a page in the main navigation.
type link struct{ name, path string }

// navigation lists the main navigation.
var navigation = []link{
	{"Waiting", ""}, {"Runs", "runs"}, {"Chains", "chains"}, {"Stacks", "stacks"}, {"Calendar", "calendar"}, {"Health", "health"}, {"Audit", "audit"},
}

// groupsOf returns the groups of a person, shortened for the header.
func groupsOf(groups []string) string {
	if len(groups) > 3 {
		return strings.Join(groups[:3], ", ") + "…"
	}
	return strings.Join(groups, ", ")
}

// navigation returns the pages of the main navigation that the caller may open.
func (p *Pages) navigation(ctx context.Context) []link {
	return slices.DeleteFunc(slices.Clone(navigation), func(l link) bool {
		return l.path == "audit" && !administers(ctx) || !p.Serves(&http.Request{Method: http.MethodGet, URL: &url.URL{Path: "/" + l.path}, Host: "gantry"})
	})
}
