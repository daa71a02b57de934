package server_test

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/inbox"
)

// Damage of the inbox is a finding of every account while the damaged file exists, also
// after a restart. It doesn't name the folder.
func TestInboxDamageIsAFinding(t *testing.T) {
	r := newRig(t)
	dir := inMemory(t)
	var box *inbox.Inbox
	start := func() {
		t.Helper()
		var err error
		if box, err = inbox.Open(t.Context(), inbox.Options{Dir: dir}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = box.Close() })
		r.handler = r.serve(box)
	}
	stop := func() {
		t.Helper()
		if err := box.Close(); err != nil {
			t.Fatal(err)
		}
	}
	start()
	r.receipt(example(t, "run_tracked_unconfirmed"))
	if found := r.accounts()[0].Findings; len(found) != 0 {
		t.Errorf("without damage: %+v", found)
	}
	stop()
	segments, err := filepath.Glob(filepath.Join(dir, "*.wal"))
	if err != nil || len(segments) != 1 {
		t.Fatalf("segments %v (%v)", segments, err)
	}
	content, err := os.ReadFile(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	content[bytes.Index(content, []byte("network-prod"))] ^= 1
	if err := os.WriteFile(segments[0], content, 0o600); err != nil {
		t.Fatal(err)
	}

	start()
	aside, err := filepath.Glob(segments[0] + ".damaged-*")
	if err != nil || len(aside) != 1 {
		t.Fatalf("put aside %v (%v)", aside, err)
	}
	check := func(when string) {
		t.Helper()
		for _, a := range r.accounts() {
			if len(a.Findings) != 1 || a.Findings[0].Kind != "inbox-damaged" || time.Since(a.Findings[0].Since).Abs() > time.Minute {
				t.Fatalf("%s: account %s", when, show(a))
			}
			if f := a.Findings[0]; !strings.Contains(f.Summary, filepath.Base(aside[0])) || strings.Contains(f.Summary+f.Fix, dir) || !strings.Contains(f.Fix, "delete") {
				t.Errorf("%s: %+v", when, f)
			}
		}
		w := r.get("/v1/findings", viewerToken)
		if found := decode[api.FindingList](t, w).Findings; w.Code != http.StatusOK || len(found) != 2 || found[0].Kind != "inbox-damaged" || found[0].Severity != api.SeverityWarning {
			t.Errorf("%s: %s", when, w.Body)
		}
		if text := r.metrics(); !strings.Contains(text, `gantry_guardian_findings{account="globex",kind="inbox-damaged"} 1`) {
			t.Errorf("%s: it is not in the metrics", when)
		}
	}
	check("after the damage")
	stop()
	start()
	check("after a restart")
	if err := os.Remove(aside[0]); err != nil {
		t.Fatal(err)
	}
	for _, a := range r.accounts() {
		if len(a.Findings) != 0 {
			t.Errorf("after the file was deleted: %+v", a.Findings)
		}
	}
}
