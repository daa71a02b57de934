package web

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gantryhq/gantry/gen/api"
)

// auditView is a page of the audit log.
type auditView struct {
	query    url.Values
	zone     *time.Location
	list     *api.AuditList
	refusal  *Refusal               // why there is no list
	verified *api.AuditVerification // nil if the caller may not verify logs
}

// auditFilters are the filters of the page, which are those of the API.
var auditFilters = []string{"by", "action", "account", "stack", "run", "result", "since", "until"}

// audit lists who decided what.
func (p *Pages) audit(c *call) (answer, error) {
	v := &auditView{query: c.URL.Query()}
	v.zone, _, _ = zoneOf(c.Request)
	a := answer{page: auditPage(v)}
	params, err := v.params()
	if err == nil {
		list, e := c.API.ListAuditWithResponse(c.Context(), &params)
		if err = e; e == nil {
			v.list = list.JSON200
		}
	}
	if refusal, ok := errors.AsType[*Refusal](err); ok {
		if refusal.Status == http.StatusForbidden {
			return answer{}, err
		}
		v.refusal, a.status = refusal, refusal.Status
		return a, nil
	}
	if err != nil {
		return answer{}, err
	}
	if verified, err := c.API.VerifyAuditWithResponse(c.Context()); err == nil {
		v.verified = verified.JSON200
	} else if refusal, ok := errors.AsType[*Refusal](err); !ok || refusal.Status != http.StatusForbidden {
		return answer{}, err
	}
	return a, nil
}

// params returns the question of the page's address.
func (v *auditView) params() (p api.ListAuditParams, err error) {
	given := func(name string) *string {
		if value := strings.TrimSpace(v.query.Get(name)); value != "" {
			return &value
		}
		return nil
	}
	p.By, p.Action, p.Account, p.Stack, p.Run, p.PageToken = given("by"), given("action"), given("account"), given("stack"), given("run"), given("pageToken")
	if result := given("result"); result != nil {
		p.Result = new(api.AuditResult(*result))
	}
	for name, to := range map[string]**time.Time{"since": &p.Since, "until": &p.Until} {
		day := given(name)
		if day == nil {
			continue
		}
		t, err := time.ParseInLocation(time.DateOnly, *day, v.zone)
		if err != nil {
			return p, &Refusal{api.Problem{Status: http.StatusBadRequest, Title: "Invalid day", Detail: new(name + " is not a day such as 2026-01-31")}}
		}
		if name == "until" { // the day counts whole
			t = t.AddDate(0, 0, 1)
		}
		*to = new(t.UTC())
	}
	return p, nil
}

// filtered reports whether the page shows a part of the log.
func (v *auditView) filtered() bool {
	return slices.ContainsFunc(auditFilters, func(name string) bool { return v.query.Get(name) != "" })
}

// more returns the address of a page of the list.
func (v *auditView) more(token *string) string {
	q := url.Values{"pageToken": {deref(token)}}
	for _, name := range append(auditFilters, "zone") {
		if value := v.query.Get(name); value != "" {
			q.Set(name, value)
		}
	}
	return "?" + q.Encode()
}

// moment returns a time for people, in the page's zone.
func (v *auditView) moment(t time.Time) string { return t.In(v.zone).Format("2 Jan 2006 15:04:05") }

// results are the values of the filter.
var results = []api.AuditResult{api.AuditResultDone, api.AuditResultRefused, api.AuditResultFailed, api.AuditResultUnanswered}

func resultClass(r api.AuditResult) string {
	switch r {
	case api.AuditResultDone:
		return "go"
	case api.AuditResultRefused:
		return "warn"
	case api.AuditResultFailed:
		return "stop"
	}
	return "soft"
}

// actions says actions in words; others are shown as the log has them.
var actions = map[string]string{
	"decideRun": "decided about a plan", "retryRun": "retried a run", "stopRun": "stopped a run", "triggerRun": "triggered a run",
	"skipChainStack": "skipped a stack of a chain", "stopChain": "stopped a chain", "declareFreeze": "declared a freeze", "liftFreeze": "lifted a freeze",
	"redeliver": "forwarded a delivery again", "redeliverDead": "forwarded dead deliveries again",
	"runConfirm": "confirmed a plan", "runDiscard": "discarded a plan", "runReview": "reviewed a run", "runRetry": "retried a run in Spacelift",
	"runStop": "stopped a run in Spacelift", "runTrigger": "triggered a run in Spacelift",
	"start": "started", "authenticate": "signed in", "bypass": "went around Gantry", "recover": "recovered the log",
}

// did says what an entry records, such as "approved a plan".
func did(e api.AuditEntry) string {
	if e.Action == "decideRun" {
		for verdict, text := range map[string]string{"approve": "approved a plan", "reject": "rejected a plan", "revoke": "revoked an approval"} {
			if strings.Contains(deref(e.After), `"verdict":"`+verdict+`"`) {
				return text
			}
		}
	}
	return cmp.Or(actions[e.Action], e.Action)
}

// tried says what an entry records, whether it took effect or not.
func tried(e api.AuditEntry) string {
	if e.Result == api.AuditResultDone {
		return did(e)
	}
	return "tried: " + did(e)
}

// whole says how a log was found.
func whole(l api.VerifiedLog) string {
	if l.Entries == 0 {
		return "no entries yet"
	}
	text := strconv.Itoa(l.Entries) + " entries are whole"
	if l.Entries == 1 {
		text = "1 entry is whole"
	}
	if first := deref(l.First); first > 1 {
		text += ", from " + strconv.FormatInt(first, 10) + " on: older files were removed"
	}
	return text
}

// detail is a member of an entry, for people.
type detail struct{ name, value string }

// auditDetail lists the members of an entry that the table doesn't show.
func auditDetail(e api.AuditEntry) (all []detail) {
	for _, d := range []detail{
		{"Before", deref(e.Before)}, {"After", deref(e.After)}, {"Source", deref(e.Source)}, {"Run", deref(e.Run)}, {"Request", deref(e.RequestID)}, {"Replica", deref(e.Replica)},
	} {
		if d.value != "" {
			all = append(all, d)
		}
	}
	return all
}
