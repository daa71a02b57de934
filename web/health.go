package web

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gantryhq/gantry/gen/api"
)

// health shows whether all is well.
func (p *Pages) health(c *call) (answer, error) {
	found, err := c.API.GetStatusWithResponse(c.Context())
	if err != nil {
		return answer{}, err
	}
	return show(healthPage(healthView{found.JSON200}))
}

// healthView is the page of the status.
type healthView struct{ *api.Status }

// light returns the style and the word of the level.
func (v healthView) light() (class, word string) {
	switch v.Level {
	case "ok":
		return "go", "All is well"
	case "warning":
		return "warn", "Needs attention"
	}
	return "stop", "Act now"
}

// findingClass returns the style of a finding.
func findingClass(f api.AccountFinding) string {
	if f.Severity == api.SeverityCritical {
		return "late"
	}
	return "soon"
}

// trafficRow is the traffic of an account, or of none.
type trafficRow struct {
	account                               string
	accepted, duplicate, ignored, refused int
	unavailable                           int
	reasons                               []api.Traffic // of those that were not accepted
}

// empty reports whether nothing arrived.
func (t trafficRow) empty() bool {
	return t.accepted+t.duplicate+t.ignored+t.refused+t.unavailable == 0
}

// trafficRows sums up the traffic by account, that of no account last.
func (v healthView) trafficRows() (all []trafficRow) {
	names := make([]string, 0, len(v.Accounts)+1)
	for _, a := range v.Accounts {
		names = append(names, a.Name)
	}
	for _, name := range append(names, "") {
		row := trafficRow{account: name}
		for _, t := range v.Traffic {
			if deref(t.Account) != name {
				continue
			}
			switch t.Outcome {
			case api.OutcomeAccepted:
				row.accepted += t.Count
			case api.OutcomeDuplicate:
				row.duplicate += t.Count
			case api.OutcomeIgnored:
				row.ignored += t.Count
			case api.OutcomeRefused:
				row.refused += t.Count
			case api.OutcomeUnavailable:
				row.unavailable += t.Count
			}
			if t.Outcome != api.OutcomeAccepted && t.Outcome != api.OutcomeDuplicate {
				row.reasons = append(row.reasons, t)
			}
		}
		if name != "" || len(row.reasons) > 0 {
			all = append(all, row)
		}
	}
	return all
}

// reasons says why requests were ignored or refused. Others are shown as the log has them.
var reasons = map[string]string{
	"unmanaged-stack": "of stacks without gantry:managed", "not-a-run-event": "not about a run", "audit-event": "audit events", "unknown-account": "of an unknown account",
	"signature-missing": "without a signature", "signature-malformed": "with an unreadable signature", "signature-mismatch": "with a wrong signature",
	"signature-of-other-account": "signed for another account", "sha1-only": "signed with SHA-1 alone", "secret-header-mismatch": "with a wrong secret header",
	"body-too-large": "too large", "body-empty": "empty", "too-many-failures": "after too many failures", "not-stored": "could not be stored",
}

// reasonWords says a reason in words.
func reasonWords(t api.Traffic) string {
	reason := deref(t.Reason)
	return cmp.Or(reasons[reason], strings.ReplaceAll(reason, "-", " "))
}

// versions returns the versions that run.
func (v healthView) versions() (all []string) {
	for _, r := range v.Replicas {
		if version := deref(r.Version); version != "" && !slices.Contains(all, version) {
			all = append(all, version)
		}
	}
	return all
}

// temporal says how Temporal is, by a replica.
func temporal(r api.ReplicaStatus) (class, text string, since *time.Time) {
	f := deref(r.Forwarding)
	if f.Down {
		return "stop", "doesn't answer", f.DownSince
	}
	return "go", "answers", nil
}

// inboxWords says what waits in a replica's inbox.
func inboxWords(r api.ReplicaStatus) string {
	in := deref(r.Inbox)
	switch {
	case !in.Writable:
		return "can't store events"
	case in.Pending == 0:
		return "empty"
	}
	text := plural(in.Pending, "event") + " waits"
	if in.Pending > 1 {
		text = plural(in.Pending, "event") + " wait"
	}
	if lag := deref(deref(r.Forwarding).LagSeconds); lag >= 1 {
		text += ", the oldest for " + span(time.Duration(lag)*time.Second)
	}
	return text
}

// outcomeClass returns the style of the outcome of a comparison with Spacelift.
func outcomeClass(outcome string) string {
	switch outcome {
	case "done":
		return "go"
	case "failed":
		return "stop"
	}
	return "warn"
}

// number returns a count, and a dash for none.
func number(n int) string {
	if n == 0 {
		return "–"
	}
	return strconv.Itoa(n)
}
