package checker

import (
	"fmt"
	"net/http"
	"slices"
	"time"
)

// auditIsComplete finds audit logs that aren't whole, changes that were answered and have
// no entry, and entries that show something else than what was asked and answered
// (docs/how-to/audit.md).
func auditIsComplete(x *index) []Violation {
	var all []Violation
	for _, l := range x.auditLogs {
		x.judged(nil, span{l.Began, l.Ended})
		if l.AuditLog.Problem != "" {
			all = append(all, violation(l.AuditLog.Process, "the audit log isn't whole: "+l.AuditLog.Problem, l))
		}
	}
	entries := map[string]rec{}
	for _, e := range x.audit {
		if id := e.Audit.RequestID; id != "" {
			entries[e.Audit.Process+" "+id] = e
		}
	}
	asked := map[string]bool{}
	for _, q := range x.requests {
		asked[q.Request.Replica+" "+q.Request.ID] = true
		if q.Request.Method == http.MethodGet || q.Request.ID == "" || q.Request.Status == http.StatusUnauthorized || !x.audits(q.Request.Replica) {
			continue
		}
		e, found := entries[q.Request.Replica+" "+q.Request.ID]
		x.judged(nil, span{q.Began, q.Ended})
		switch {
		case answered(q) && !found && !x.diskFull(q):
			all = append(all, violation(q.Request.Path, "a change that was answered is not in the audit log", q))
		case found:
			all = append(all, x.entryFits(q, e)...)
		}
	}
	return append(all, x.inventedEntries(asked)...)
}

// entryFits compares an entry with the request that it is about.
func (x *index) entryFits(q, e rec) []Violation {
	result := e.Audit.Result
	switch {
	case x.who(e.Audit.By) != x.who(q.Request.Who) && !x.revoked(q):
		return []Violation{violation(q.Request.Path, fmt.Sprintf("the audit log says that %s asked for what %s asked for", e.Audit.By, q.Request.Who), q, e)}
	case e.Audit.Action != q.Request.Operation, q.Request.Run != "" && e.Audit.Run != q.Request.Run:
		return []Violation{violation(q.Request.Path, "the audit log shows another action: "+e.Audit.Action+" of "+e.Audit.Run, q, e)}
	case answered(q) && result != "done", refused(q) && result == "done":
		return []Violation{violation(q.Request.Path, fmt.Sprintf("the audit log says %s of what was answered with %d", result, q.Request.Status), q, e)}
	}
	return nil
}

// inventedEntries finds entries about decisions that nobody can have sent: no request has
// the id, and none of that person about that run was left without an answer.
func (x *index) inventedEntries(asked map[string]bool) (all []Violation) {
	for _, e := range x.audit {
		a := e.Audit
		if a.Action != "decideRun" || asked[a.Process+" "+a.RequestID] {
			continue
		}
		if !slices.ContainsFunc(x.requests, func(q rec) bool {
			return q.Request.Operation == a.Action && q.Request.Run == a.Run && q.Request.Replica == a.Process && q.Request.ID == "" && x.who(q.Request.Who) == x.who(a.By)
		}) {
			all = append(all, violation(key(a.Stack, a.Run), "the audit log shows a decision of "+a.By+" that was never sent", e))
		}
	}
	return all
}

// audits reports whether the history has the audit log of a process.
func (x *index) audits(process string) bool {
	return slices.ContainsFunc(x.auditLogs, func(l rec) bool { return l.AuditLog.Process == process })
}

// diskFull reports whether the entry of a request may have waited in memory, because the
// process couldn't write. One that is killed then loses it.
func (x *index) diskFull(q rec) bool {
	began := time.Duration(-1)
	for _, m := range x.mishaps {
		if m.Mishap.Kind != "disk-full" || m.Mishap.Target != q.Request.Replica {
			continue
		}
		if m.Mishap.On {
			began = m.Began
			continue
		}
		if began >= 0 && (span{began, m.Ended + time.Second}).overlaps(span{q.Began, q.Ended}) {
			return true
		}
		began = -1
	}
	return began >= 0 && q.Ended >= began
}
