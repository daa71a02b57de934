package web_test

import (
	"encoding/csv"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/web/webtest"
)

// auditSite has a log of three entries on two pages; words replace a note.
func auditSite(t testing.TB, words ...string) *webtest.Site {
	note := "reviewed with dba"
	if len(words) > 0 {
		note = words[0]
	}
	entries := []api.AuditEntry{
		{Sequence: 44, By: "Gantry", Action: "runConfirm", Why: new("Approved by ann. [gantry: confirm 5]"), Result: api.AuditResultDone},
		{Sequence: 43, By: "ann", Via: new("token ann"), Source: new("203.0.113.7"), Action: "decideRun", Plan: new("state version 5, +1 ~0 -9"), After: new(`{"verdict":"approve","note":"reviewed with dba"}`), Why: &note, Result: api.AuditResultDone, RequestID: new("01KDX4A7B3C5D7E9F1G3H5J7K9")},
		{Sequence: 42, By: "bob", Via: new("session sso"), Action: "decideRun", After: new(`{"verdict":"approve"}`), Result: api.AuditResultRefused, Detail: new("self-approval: bob wrote the commit")},
		{Sequence: 41, By: "otto", Via: new("session sso"), Action: "declareFreeze", On: new("freeze 01KDX4A7B3C5D7E9F1G3H5J7K9"), Why: new("end of the year"), Result: api.AuditResultDone},
	}
	for i := range entries {
		e := &entries[i]
		e.At, e.Replica, e.Account = webtest.Now.Add(-time.Duration(i)*time.Hour), new("gantry-0"), new("acme")
		e.Line = fmt.Sprintf(`{"sequence":%d}`, e.Sequence)
		if e.Action != "declareFreeze" {
			e.Stack, e.Run = new("network-prod"), new("01KDX3V4T8Q2M5N7P9R1S3T5V7")
		}
	}
	s := webtest.New(t)
	s.Answer("GET /v1/me", api.Caller{Name: "ada", Groups: []string{}, How: "session", Credential: "sso", Grants: []api.Grant{{Role: "admin"}}})
	s.Handle("GET /v1/audit", func(w http.ResponseWriter, r *http.Request) {
		list := api.AuditList{Entries: entries[:3], NextPageToken: new("older")}
		if r.URL.Query().Get("pageToken") != "" {
			list = api.AuditList{Entries: entries[3:]}
		}
		if r.URL.Query().Get("by") == "nobody" {
			list = api.AuditList{Entries: []api.AuditEntry{}}
		}
		webtest.Write(w, http.StatusOK, list)
	})
	s.Answer("GET /v1/audit/verification", api.AuditVerification{
		Replicas: []api.Replica{{Name: "gantry-0", ID: new("E9F1G3H5J7K9")}},
		Logs:     []api.VerifiedLog{{Replica: "gantry-0", At: webtest.Now.Add(-20 * time.Second), Entries: 44, First: new(int64(1)), Head: &api.AuditHead{Sequence: 44, Hash: strings.Repeat("9f86d081", 8)}, Problems: []string{}}},
	})
	return s
}

// The log says in words who decided what, whether it counted, and that nobody changed it.
func TestAuditPage(t *testing.T) {
	s := auditSite(t)
	d := s.Get("audit?zone=Europe/Berlin&by=&result=")
	for _, want := range []string{
		"verified gantry-0: 44 entries are whole", "1 Jan 2026 13:00:00", "ann", "token ann", "approved a plan", "reviewed with dba", "tried: approved a plan", "self-approval: bob wrote the commit",
		"confirmed a plan", "network-prod", "Entry 43",
	} {
		if !strings.Contains(d.Text(), want) {
			t.Errorf("it lacks %q: %s", want, d.Text())
		}
	}
	if len(d.All("a", "href", "./audit")) != 1 || len(webtest.New(t).Get("nowhere").All("a", "href", "./audit")) != 0 {
		t.Error("the page is in the navigation of others than administrators, or not in theirs")
	}
	more := d.All("a", "rel", "next")
	if len(more) != 1 || !strings.Contains(more[0].Attr("href"), "pageToken=older") {
		t.Fatalf("%s", d.HTML)
	}
	if d = s.Get("audit" + more[0].Attr("href")); !strings.Contains(d.Text(), "declared a freeze") {
		t.Errorf("the next page: %s", d.Text())
	}
	if d = s.Get("audit?by=nobody"); !strings.Contains(d.Text(), "No entry fits these filters") {
		t.Errorf("%s", d.Text())
	}
	if d = s.Get("audit?since=yesterday"); d.Status != http.StatusBadRequest || !strings.Contains(d.Text(), "Since is not a day such as 2026-01-31") {
		t.Errorf("%d %s", d.Status, d.Text())
	}
}

// Days of the filters are those of the viewer's zone, and the last one counts whole.
func TestAuditFilters(t *testing.T) {
	s := auditSite(t)
	s.Get("audit?since=2026-01-01&until=2026-01-01&zone=Europe/Berlin&by=ann&result=done&stack=network-prod")
	for _, c := range s.Calls() {
		if q := c.Query; c.Path == "/v1/audit" && (q.Get("since") != "2025-12-31T23:00:00Z" || q.Get("until") != "2026-01-01T23:00:00Z" || q.Get("by") != "ann" || q.Get("result") != "done" || q.Get("stack") != "network-prod") {
			t.Errorf("asked for %v", q)
		}
	}
}

// The download has each entry as the log stores it, oldest first, of all pages.
func TestAuditExport(t *testing.T) {
	s := auditSite(t)
	d := s.Get("audit/export?by=")
	if got := d.Header.Get("Content-Type"); got != "application/x-ndjson" || !strings.Contains(d.Header.Get("Content-Disposition"), "attachment; filename=\"gantry-audit-") {
		t.Errorf("%s", d.Header)
	}
	if want := "{\"sequence\":41}\n{\"sequence\":42}\n{\"sequence\":43}\n{\"sequence\":44}\n"; d.HTML != want {
		t.Errorf("%s", d.HTML)
	}
	for address, ending := range map[string]string{"./audit/export?as=csv&by=ann&zone=UTC": ".csv", "./audit/export?by=ann&zone=UTC": ".jsonl"} {
		if links := s.Get("audit?by=ann&zone=UTC").All("a", "href", address); len(links) != 1 || !strings.Contains(s.Get(strings.TrimPrefix(address, "./")).Header.Get("Content-Disposition"), ending) {
			t.Errorf("no link leads to the download %q: %v", ending, links)
		}
	}
	s.Refuse("GET /v1/audit", http.StatusForbidden, "Forbidden", "carol has the roles [approver]; this needs admin")
	for _, path := range []string{"audit/export", "audit"} {
		if d = s.Get(path); d.Status != http.StatusForbidden || !strings.Contains(d.Text(), "this needs admin") {
			t.Errorf("%s: %d %s", path, d.Status, d.Text())
		}
	}
}

// The table has a row for each entry, and no cell of it is a formula, whatever people
// wrote.
func TestAuditExportAsTable(t *testing.T) {
	s := auditSite(t, `=HYPERLINK("https://evil.example"), 1`)
	d := s.Get("audit/export?as=csv")
	if got := d.Header.Get("Content-Type"); got != "text/csv; charset=utf-8" {
		t.Errorf("%s", got)
	}
	rows, err := csv.NewReader(strings.NewReader(d.HTML)).ReadAll()
	if err != nil || len(rows) != 5 {
		t.Fatalf("%d rows, %v: %s", len(rows), err, d.HTML)
	}
	if got := strings.Join(rows[0][:5], " "); got != "time who with action result" || rows[1][17] != "41" || rows[4][17] != "44" || rows[4][0] != "2026-01-01T12:00:00Z" {
		t.Errorf("%q", rows)
	}
	formulas := 0
	for _, cell := range slices.Concat(rows...) {
		if strings.HasPrefix(cell, "=") {
			t.Errorf("%q is a formula", cell)
		}
		if strings.HasPrefix(cell, "'=HYPERLINK") {
			formulas++
		}
	}
	if formulas == 0 {
		t.Error("the table lacks what people wrote")
	}
}

// A log that was tampered with is an alarm at the top.
func TestAuditTampered(t *testing.T) {
	s := auditSite(t)
	s.Answer("GET /v1/audit/verification", api.AuditVerification{
		Replicas: []api.Replica{{Name: "gantry-0", ID: new("E9F1G3H5J7K9")}, {Name: "10.0.0.9:8080", Problem: new("it did not answer within 3s")}},
		Logs:     []api.VerifiedLog{{Replica: "gantry-0", At: webtest.Now, Entries: 44, First: new(int64(1)), Problems: []string{"audit-1.jsonl:7: entry 7 does not continue entry 6: one of them was replaced"}}},
	})
	d := s.Get("audit")
	for _, want := range []string{"The log of gantry-0 is not as it was written", "entry 7 does not continue entry 6", "its log was not verified"} {
		if !strings.Contains(d.Text(), want) {
			t.Errorf("it lacks %q: %s", want, d.Text())
		}
	}
	s.Refuse("GET /v1/audit/verification", http.StatusForbidden, "Forbidden", "not for you")
	if d = s.Get("audit"); d.Status != http.StatusOK || strings.Contains(d.Text(), "verified") {
		t.Errorf("%d %s", d.Status, d.Text())
	}
}
