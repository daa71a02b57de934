package web

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/a-h/templ"

	"github.com/gantryhq/gantry/gen/api"
)

// view holds what templates know of the request, beside their arguments.
type view struct {
	pages *Pages
	me    *api.Caller // nil for nobody
	csrf  string
	depth int    // of the page's address
	path  string // of the page
	now   time.Time
	zone  *time.Location // of the viewer's browser, or UTC
}

type viewKey struct{}

func viewOf(ctx context.Context) *view {
	v, _ := ctx.Value(viewKey{}).(*view)
	return v
}

// depthOf returns how deep a request's path is.
func depthOf(r *http.Request) int {
	return strings.Count(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
}

// at returns the address of a page, given the segments of its path, relative to the page
// that is shown: a proxy may serve Gantry below a path prefix that Gantry doesn't know.
// Without segments it is the first page.
func at(ctx context.Context, segments ...string) string {
	return relative(viewOf(ctx).depth, segments...)
}

func relative(depth int, segments ...string) string {
	escaped := make([]string, len(segments))
	for i, s := range segments {
		escaped[i] = url.PathEscape(s)
	}
	return "./" + strings.Repeat("../", depth) + strings.Join(escaped, "/")
}

// linkTo is at as a link.
func linkTo(ctx context.Context, segments ...string) templ.SafeURL {
	return templ.SafeURL(at(ctx, segments...))
}

// events returns the address of the API's stream of events, relative to the page, with
// what it selects: names and values by turns. All pages share it.
func events(ctx context.Context, selected ...string) string {
	query := url.Values{}
	for i := 1; i < len(selected); i += 2 {
		query.Set(selected[i-1], selected[i])
	}
	if len(query) == 0 {
		return at(ctx, "v1", "events")
	}
	return at(ctx, "v1", "events") + "?" + query.Encode()
}

// runPath returns the segments of a run's page.
func runPath(account, stack, run string) []string {
	return []string{"accounts", account, "stacks", stack, "runs", run}
}

// with returns the page's own address with one more value in its query; an empty value
// takes it out.
func with(query url.Values, name, value string) templ.SafeURL {
	q := url.Values{}
	for n, v := range query {
		if n != "pageToken" && n != "from" {
			q[n] = v
		}
	}
	q.Del(name)
	if value != "" {
		q.Set(name, value)
	}
	return templ.SafeURL("?" + q.Encode())
}

// external returns an address outside of Gantry if it is one of the web, or else nothing.
func external(address string) templ.SafeURL {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return ""
	}
	return templ.SafeURL(u.String())
}
