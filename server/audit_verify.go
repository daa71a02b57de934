package server

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gantryhq/gantry/audit"
	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/gen/api"
	genserver "github.com/gantryhq/gantry/gen/server"
)

// Verifying a log reads all of it, so callers share a result for verifiedFor.
const verifiedFor = time.Minute

const maxAuditProblems = 20

// verification keeps the result of the last verification of this replica's log.
type verification struct {
	mu     sync.Mutex
	at     time.Time
	report audit.Report
}

func (v *verification) latest(now time.Time, verify func() (audit.Report, error)) (audit.Report, time.Time, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.at.IsZero() || now.Sub(v.at) >= verifiedFor {
		report, err := verify()
		if err != nil {
			return report, now, err
		}
		v.report, v.at = report, now
	}
	return v.report, v.at, nil
}

// VerifyAudit verifies the audit logs of all replicas.
func (h *handlers) VerifyAudit(ctx context.Context, _ genserver.VerifyAuditRequestObject) (genserver.VerifyAuditResponseObject, error) {
	if p := principalOf(ctx); !p.HasEverywhere(authority.RoleAdmin) {
		return nil, lacks(p, authority.RoleAdmin, "everything")
	}
	result := genserver.VerifyAudit200JSONResponse{Logs: []api.VerifiedLog{}}
	if h.audit != nil {
		report, at, err := h.verified.latest(time.Now().UTC(), h.audit.Verify)
		if err != nil {
			return nil, fmt.Errorf("verify the audit log: %w", err)
		}
		result.Logs = append(result.Logs, toAPIVerifiedLog(h.replica, at, report))
	}
	var others []api.VerifiedLog
	result.Replicas = askPeers(ctx, h, func(v api.AuditVerification) []api.Replica { return v.Replicas }, func(v api.AuditVerification) {
		others = append(others, v.Logs...)
	})
	slices.SortFunc(others, func(a, b api.VerifiedLog) int { return strings.Compare(a.Replica, b.Replica) })
	result.Logs = append(result.Logs, others...)
	return result, nil
}

func toAPIVerifiedLog(replica string, at time.Time, r audit.Report) api.VerifiedLog {
	v := api.VerifiedLog{
		Replica: replica, At: at, Entries: r.Entries,
		Problems: toAPIList(r.Problems[:min(len(r.Problems), maxAuditProblems)], audit.Problem.String),
	}
	if r.Entries > 0 {
		v.First = &r.First
	}
	if r.Head.Sequence > 0 && r.Head.Hash != "" {
		v.Head = &api.AuditHead{Sequence: r.Head.Sequence, Hash: r.Head.Hash}
	}
	return v
}
