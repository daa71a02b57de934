package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gantryhq/gantry/gen/api"
)

func TestAudit(t *testing.T) {
	r := newAPIRig(t)
	r.refused(exitRefused, []string{"needs admin"}, "audit", "list")
	r.as(ottoToken)
	r.wants(nil, "freezes", "declare", "--reason", "an incident", "--until", "2h")
	r.as(adaToken)
	r.wants([]string{"declareFreeze", "otto", "done", "an incident", "listAudit", "ann", "refused", "needs admin"}, "audit", "list")
	if list := printed[api.AuditList](t, r.wants(nil, "audit", "list", "--by", "otto", "-o", "json")); len(list.Entries) != 1 || list.Head.Sequence != 2 {
		t.Errorf("entries of otto: %+v", list)
	}

	export := filepath.Join(t.TempDir(), "audit.jsonl")
	text := r.wants(nil, "audit", "export")
	verify := func(text string) { // writes an export
		if err := os.WriteFile(export, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	verify(text)
	out := r.wants([]string{"2 entries are whole, 1 to 2"}, "audit", "verify", export)
	head := strings.TrimPrefix(strings.TrimSpace(out[strings.Index(out, "head "):]), "head ")
	r.wants([]string{"whole"}, "audit", "verify", export, "--head", head)
	lines := strings.SplitAfter(text, "\n")
	verify(lines[0])
	r.refused(1, []string{"entries 2 to 2 are missing", "not whole"}, "audit", "verify", export, "--head", head)
	verify(strings.Replace(text, "otto", "ada1", 1))
	r.refused(1, []string{"audit.jsonl:2", "was changed"}, "audit", "verify", export)
	r.refused(1, []string{"--head"}, "audit", "verify", export, "--head", "x")
	r.refused(1, []string{"there is no audit log"}, "audit", "verify", t.TempDir())
}
