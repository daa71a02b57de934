package server

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"unicode"

	"github.com/go-chi/chi/v5"

	"github.com/gantryhq/gantry/audit"
	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/gen/api"
	genserver "github.com/gantryhq/gantry/gen/server"
)

// recorded records changes, and refusals for want of rights, in the audit log. Nothing is
// changed while the log can't be written.
func (h *handlers) recorded(next genserver.StrictHandlerFunc, operation string) genserver.StrictHandlerFunc {
	return func(ctx context.Context, w http.ResponseWriter, r *http.Request, request any) (any, error) {
		changes := r.Method != http.MethodGet
		caller := principalOf(ctx)
		if !caller.Is() { // the public operations
			return next(ctx, w, r, request)
		}
		if changes {
			if err := h.audit.Ready(); err != nil {
				return nil, &unrecordedError{err}
			}
		}
		about := &note{}
		answer, err := next(context.WithValue(ctx, noteKey{}, about), w, r, request)
		if !changes && !forbidden(err) {
			return answer, err
		}
		result, detail := resultOf(err)
		e := audit.Entry{
			By: caller.Person.Name, Via: string(caller.How) + " " + caller.Credential, Source: sourceName(h.door.sources.of(r), r),
			Action: unexported(operation), After: content(request), Plan: about.plan, RequestID: requestIDOf(w),
			Result: result, Detail: detail,
		}
		nameResource(&e, r, about.on)
		var text struct{ Note, Reason string }
		if json.Unmarshal([]byte(e.After), &text) == nil {
			e.Why = cmp.Or(text.Note, text.Reason)
		}
		_ = h.audit.Record(ctx, e) // which logs what can't be written; the change is made
		return answer, err
	}
}

// note is a handler's addition to the entry of its call.
type note struct{ plan, on string }

type noteKey struct{}

// noteTo returns the note of a call.
func noteTo(ctx context.Context) *note {
	if n, ok := ctx.Value(noteKey{}).(*note); ok {
		return n
	}
	return &note{}
}

// nameResource copies the names in the path. A handler names a resource that it made.
func nameResource(e *audit.Entry, r *http.Request, made string) {
	e.On = made
	path := chi.RouteContext(r.Context()).URLParams
	for i, name := range path.Keys {
		value := path.Values[i]
		if plain, err := url.PathUnescape(value); err == nil && r.URL.RawPath != "" {
			value = plain
		}
		switch name {
		case "account":
			e.Account = value
		case "stack":
			e.Stack = value
		case "run":
			e.Run = value
		default:
			e.On = name + " " + value
		}
	}
}

// content returns the body of a request as JSON; empty if it has none.
func content(request any) string {
	text, err := json.Marshal(request)
	var parts struct{ Body json.RawMessage }
	if err != nil || json.Unmarshal(text, &parts) != nil || string(parts.Body) == "null" {
		return ""
	}
	return string(parts.Body)
}

func resultOf(err error) (audit.Result, string) {
	if err == nil {
		return audit.Done, ""
	}
	p, _ := problemOf(err)
	detail := p.Type[len(problemTypePrefix):] + ": " + deref(p.Detail)
	switch {
	case is[*unansweredError](err):
		return audit.Unanswered, detail
	case p.Status < http.StatusInternalServerError:
		return audit.Refused, detail
	}
	return audit.Failed, detail
}

func forbidden(err error) bool {
	if err == nil {
		return false
	}
	p, _ := problemOf(err)
	return p.Status == http.StatusForbidden
}

func unexported(operation string) string {
	r := []rune(operation)
	r[0] = unicode.ToLower(r[0])
	return string(r)
}

// unrecordedError reports that a change was not made because it can't be recorded.
type unrecordedError struct{ err error }

func (e *unrecordedError) Error() string { return e.err.Error() }

func (e *unrecordedError) Unwrap() error { return e.err }

// ListAudit lists the entries of this replica's audit log.
func (h *handlers) ListAudit(ctx context.Context, req genserver.ListAuditRequestObject) (genserver.ListAuditResponseObject, error) {
	p := req.Params
	if p.Account != nil {
		if _, err := h.account(*p.Account); err != nil {
			return nil, err
		}
	}
	f := audit.Filter{
		By: deref(p.By), Action: deref(p.Action), Account: deref(p.Account), Stack: deref(p.Stack), Run: deref(p.Run),
		Result: audit.Result(deref(p.Result)), Since: deref(p.Since), Until: deref(p.Until), Visible: auditVisible(ctx),
	}
	listing := listingOf("audit", f.By, f.Action, f.Account, f.Stack, f.Run, string(f.Result), f.Since.UTC().String(), f.Until.UTC().String())
	place, err := listing.place(p.PageToken)
	if err != nil {
		return nil, err
	}
	var before int64
	if place != "" {
		if before, err = strconv.ParseInt(place, 10, 64); err != nil {
			return nil, badPageToken("was not issued by this API; leave it out to start from the first page")
		}
	}
	page, next, err := h.audit.List(ctx, f, before, pageSize(p.PageSize))
	if err != nil {
		return nil, fmt.Errorf("list the audit log: %w", err)
	}
	list := genserver.ListAudit200JSONResponse{Entries: toAPIList(page, toAPIAuditEntry)}
	if head := h.audit.Head(); head.Sequence > 0 {
		list.Head = &api.AuditHead{Sequence: head.Sequence, Hash: head.Hash}
	}
	if next > 0 {
		list.NextPageToken = listing.token(strconv.FormatInt(next, 10))
	}
	return list, nil
}

// auditVisible returns what the caller may read of the log: all of it, or what concerns
// the accounts that they administer.
func auditVisible(ctx context.Context) func(audit.Entry) bool {
	p := principalOf(ctx)
	if p.HasEverywhere(authority.RoleAdmin) {
		return nil
	}
	return func(e audit.Entry) bool { return e.Account != "" && p.Rules(authority.RoleAdmin, e.Account) }
}

func toAPIAuditEntry(e audit.Stored) api.AuditEntry {
	return api.AuditEntry{
		Sequence: e.Sequence, At: e.At, Replica: nonEmpty(e.Replica), By: e.By, Via: nonEmpty(e.Via), Source: nonEmpty(e.Source), Action: e.Action,
		Account: nonEmpty(e.Account), Stack: nonEmpty(e.Stack), Run: nonEmpty(e.Run), On: nonEmpty(e.On), Plan: nonEmpty(e.Plan),
		Before: nonEmpty(e.Before), After: nonEmpty(e.After), Why: nonEmpty(e.Why), Result: api.AuditResult(e.Result), Detail: nonEmpty(e.Detail),
		RequestID: nonEmpty(e.RequestID), Line: e.Line,
	}
}
