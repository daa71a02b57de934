package web

import (
	"bufio"
	"encoding/csv"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/gen/gantry"
)

// maxExport bounds the entries of one download. gantry audit export has no bound.
const maxExport = 100_000

// exportAudit sends the entries that the page's filters select, oldest first: as logs
// store them, or as a table.
func (p *Pages) exportAudit(w http.ResponseWriter, r *http.Request) {
	securityHeaders(w)
	c, err := p.begin(w, r)
	if err != nil {
		p.fail(w, c.Request, err)
		return
	}
	v := &auditView{query: c.URL.Query()}
	v.zone, _, _ = zoneOf(c.Request)
	entries, err := v.entries(c)
	if err != nil {
		p.fail(w, c.Request, err)
		return
	}
	slices.Reverse(entries)
	kind, ending, write := "application/x-ndjson", ".jsonl", writeLines
	if v.query.Get("as") == "csv" {
		kind, ending, write = "text/csv; charset=utf-8", ".csv", writeTable
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Disposition", `attachment; filename="gantry-audit-`+viewOf(c.Context()).now.UTC().Format("2006-01-02T150405Z")+ending+`"`)
	out := bufio.NewWriter(w)
	write(out, entries)
	_ = out.Flush() // the browser has gone otherwise
}

// entries returns the selected entries, newest first.
func (v *auditView) entries(c *call) (all []api.AuditEntry, err error) {
	params, err := v.params()
	if err != nil {
		return nil, err
	}
	params.PageSize = new(200)
	return upTo(maxExport, &params.PageToken, func() ([]api.AuditEntry, *string, error) {
		page, err := c.API.ListAuditWithResponse(c.Context(), &params)
		if err != nil {
			return nil, nil, err
		}
		return page.JSON200.Entries, page.JSON200.NextPageToken, nil
	})
}

// upTo returns the items of all pages of a list, up to a bound.
func upTo[T any](most int, token **string, page func() ([]T, *string, error)) (all []T, err error) {
	for items, err := range gantry.Pages(token, page) {
		if err != nil {
			return nil, err
		}
		if all = append(all, items...); len(all) >= most {
			break
		}
	}
	return all, nil
}

// writeLines writes entries as JSON Lines, byte for byte as logs store them, so that they
// can be verified.
func writeLines(out io.Writer, entries []api.AuditEntry) {
	for _, e := range entries {
		_, _ = io.WriteString(out, e.Line+"\n")
	}
}

// auditColumns are the columns of a table of entries.
var auditColumns = []string{
	"time", "who", "with", "action", "result", "account", "stack", "run", "on", "plan", "why", "detail", "before", "after", "source", "request", "replica", "entry",
}

// writeTable writes entries as CSV. Times are in UTC.
func writeTable(out io.Writer, entries []api.AuditEntry) {
	table := csv.NewWriter(out)
	_ = table.Write(auditColumns)
	for _, e := range entries {
		row := []string{
			e.At.UTC().Format(time.RFC3339), e.By, deref(e.Via), e.Action, string(e.Result), deref(e.Account), deref(e.Stack), deref(e.Run), deref(e.On), deref(e.Plan),
			deref(e.Why), deref(e.Detail), deref(e.Before), deref(e.After), deref(e.Source), deref(e.RequestID), deref(e.Replica), strconv.FormatInt(e.Sequence, 10),
		}
		for i := range row {
			row[i] = inert(row[i])
		}
		_ = table.Write(row)
	}
	table.Flush()
}

// inert returns a cell that spreadsheets don't take for a formula
// (https://owasp.org/www-community/attacks/CSV_Injection).
func inert(cell string) string {
	if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
		return "'" + cell
	}
	return cell
}
