package server_test

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/gantryhq/gantry/audit"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/server"
)

// auditRig is a server with an audit log, whose disk may be full.
func auditRig(t *testing.T) (r *rig, full *atomic.Bool) {
	t.Helper()
	full = &atomic.Bool{}
	log, err := audit.Open(t.Context(), audit.Options{Dir: t.TempDir(), Replica: "gantry-0", Logger: discard(), Write: func(f *os.File, line []byte) error {
		if full.Load() {
			return syscall.ENOSPC
		}
		_, err := f.Write(line)
		return err
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	r = newRig(t, func(c *server.Config) { c.Audit = log })
	r.temporal.update = counts
	return r, full
}

// entries lists the audit log.
func (r *rig) entries(query string) []api.AuditEntry {
	r.t.Helper()
	w := r.get("/v1/audit"+query, adminToken)
	if w.Code != http.StatusOK {
		r.t.Fatalf("audit: %d %s", w.Code, w.Body)
	}
	return decode[api.AuditList](r.t, w).Entries
}

// Every change is in the audit log with who asked, what for and the outcome; so is what
// was refused. Reading is not.
func TestAuditRecordsChanges(t *testing.T) {
	r, _ := auditRig(t)
	r.get("/v1/runs", viewerToken)
	r.get("/v1/runs", "gantry_wrong")
	if w := r.post(approverToken, decisions, `{"verdict":"approve","note":"reviewed"}`, "X-Request-Id", "r1"); w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	r.post(viewerToken, decisions, approve)
	r.temporal.update = func(client.UpdateWorkflowOptions) (any, error) {
		return nil, temporal.NewNonRetryableApplicationError("ann wrote the commit", "SelfApproval", nil)
	}
	r.post(approverToken, decisions, approve)

	run := func(e api.AuditEntry) api.AuditEntry {
		e.Action, e.Account, e.Stack, e.Run = "decideRun", new("acme"), new(string(theRun.Stack)), new(string(theRun.Run))
		return e
	}
	want := []api.AuditEntry{
		run(api.AuditEntry{By: "Ann", Via: new("token ann"), After: new(approve), Result: "refused", Detail: new("self-approval: ann wrote the commit")}),
		run(api.AuditEntry{By: "vera", Via: new("token vera"), After: new(approve), Result: "refused", Detail: new("forbidden: vera has the roles [viewer]; this needs approver")}),
		run(api.AuditEntry{By: "Ann", Via: new("token ann"), After: new(`{"note":"reviewed","verdict":"approve"}`), Why: new("reviewed"), Result: "done", RequestID: new("r1")}),
		{By: "unknown", Action: "authenticate", On: new("GET /v1/runs"), Result: "refused", Detail: new("unknown-token")},
	}
	ignored := cmpopts.IgnoreFields(api.AuditEntry{}, "Sequence", "At", "Source", "Replica", "Plan", "Line")
	ids := cmp.FilterPath(func(p cmp.Path) bool { return strings.HasSuffix(p.String(), "RequestID") }, cmp.Comparer(func(a, b *string) bool { return a == nil || b == nil || *a == *b }))
	got := r.entries("")
	if diff := cmp.Diff(want, got, ignored, ids, cmp.Transformer("compact", strings.TrimSpace)); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	for i, e := range got {
		if e.Sequence != int64(len(got)-i) || e.At.IsZero() || *e.Replica != "gantry-0" || *e.Source == "" || e.RequestID == nil || !strings.Contains(e.Line, `"hash":`) {
			t.Errorf("entry %d: %+v", i, e)
		}
	}
}

func TestAuditFiltersAndPages(t *testing.T) {
	r, _ := auditRig(t)
	for range 3 {
		r.post(approverToken, decisions, approve)
		r.post(viewerToken, decisions, approve)
	}
	for query, want := range map[string]int{
		"?by=ann": 3, "?result=refused": 3, "?account=acme&action=decideRun": 6, "?account=globex": 0, "?stack=" + url.QueryEscape(string(theRun.Stack)): 6,
	} {
		if got := r.entries(query); len(got) != want {
			t.Errorf("%s: %d entries, want %d", query, len(got), want)
		}
	}
	var sequences []int64
	for token := ""; ; {
		page := decode[api.AuditList](t, r.get("/v1/audit?pageSize=4"+token, adminToken))
		for _, e := range page.Entries {
			sequences = append(sequences, e.Sequence)
		}
		if page.Head == nil || page.Head.Sequence != 6 || page.Head.Hash == "" {
			t.Errorf("head: %+v", page.Head)
		}
		if page.NextPageToken == nil {
			break
		}
		token = "&pageToken=" + *page.NextPageToken
	}
	if diff := cmp.Diff([]int64{6, 5, 4, 3, 2, 1}, sequences); diff != "" {
		t.Errorf("entries of all pages (-want +got):\n%s", diff)
	}
}

// What can't be recorded is not done, and nothing that was done is left out.
func TestNothingChangesWithoutARecord(t *testing.T) {
	r, full := auditRig(t)
	full.Store(true)
	r.post(approverToken, decisions, approve) // its own entry is the first that can't be written
	sent := len(r.temporal.updates)
	w := r.post(approverToken, decisions, approve)
	wantProblem(t, w, http.StatusServiceUnavailable, "not-recorded")
	if w.Header().Get("Retry-After") == "" || len(r.temporal.updates) != sent {
		t.Errorf("answered %v after %d updates, want Retry-After and %d", w.Header(), len(r.temporal.updates), sent)
	}
	if w := r.get("/v1/runs/", approverToken); w.Code == http.StatusServiceUnavailable {
		t.Errorf("reading: %d", w.Code)
	}
	full.Store(false)
	if w := r.post(approverToken, decisions, approve); w.Code != http.StatusOK {
		t.Errorf("with room again: %d %s", w.Code, w.Body)
	}
	if got := r.entries("?result=done"); len(got) != 2 {
		t.Errorf("%d entries, want both decisions", len(got))
	}
}

// The log is verified where it lies, and what is wrong with it is named.
func TestVerifyAudit(t *testing.T) {
	dir := t.TempDir()
	log, err := audit.Open(t.Context(), audit.Options{Dir: dir, Replica: "gantry-0", Logger: discard()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	verify := func() api.AuditVerification {
		t.Helper()
		r := newRig(t, func(c *server.Config) { c.Audit, c.Replica = log, "gantry-0" })
		r.post(approverToken, decisions, approve)
		w := r.get("/v1/audit/verification", adminToken)
		if w.Code != http.StatusOK {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		return decode[api.AuditVerification](t, w)
	}
	got := verify()
	if l := got.Logs; len(l) != 1 || l[0].Entries != 1 || len(l[0].Problems) != 0 || l[0].Head.Sequence != 1 || l[0].Replica != "gantry-0" {
		t.Errorf("%s", show(got))
	}
	names, err := filepath.Glob(filepath.Join(dir, "audit-*.jsonl"))
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	content, err := os.ReadFile(names[0])
	if err == nil {
		err = os.WriteFile(names[0], []byte(strings.Replace(string(content), "decideRun", "stopRun", 1)), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got = verify(); len(got.Logs[0].Problems) == 0 {
		t.Errorf("it was changed: %s", show(got))
	}
	if w := newRig(t).get("/v1/audit/verification", adminToken); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"logs":[]`) {
		t.Errorf("without a log: %d %s", w.Code, w.Body)
	}
}
