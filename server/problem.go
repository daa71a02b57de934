package server

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/decide/freeze"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/inbox"
	"github.com/gantryhq/gantry/spacelift"
)

// problemTypePrefix starts every problem type. The types are a contract with
// callers and are listed in docs/reference/problems.md.
const problemTypePrefix = "urn:gantry:problem:"

// kind is a kind of problem: a row of the one table that gives errors a status.
type kind struct {
	status int
	slug   string // a contract with callers, listed in docs/reference/problems.md
	title  string

	// of reports whether an error is of this kind, and the detail to answer. It is nil for
	// kinds that only problem creates.
	of func(error) (detail string, ok bool)

	retryAfter time.Duration // the Retry-After header; 0 for none
}

// kinds lists every kind of problem. The first kind that an error matches counts: an
// *unansweredError wraps an error of Temporal, which matches a later kind.
var kinds = []kind{
	{status: 400, slug: "bad-request", title: "Invalid request", of: matching(is[*serviceerror.InvalidArgument],
		"Temporal refused a filter or the page token; leave pageToken out to start from the first page")},
	{status: 401, slug: "unauthenticated", title: "Missing or invalid token"},
	{status: 401, slug: reasonSignatureMissing, title: "Invalid signature"},
	{status: 401, slug: reasonSHA1Only, title: "Invalid signature"},
	{status: 401, slug: reasonSignatureMalformed, title: "Invalid signature"},
	{status: 401, slug: reasonSignatureMismatch, title: "Invalid signature"},
	{status: 401, slug: reasonOtherAccount, title: "Invalid signature"},
	{status: 401, slug: reasonSecretHeader, title: "Invalid secret header"},
	{status: 403, slug: "forbidden", title: "Insufficient role"},
	{status: 403, slug: "cross-site", title: "Cross-site request", of: matching(wraps(errCrossSite),
		"another site may have sent it; a page of Gantry sends the header X-CSRF-Token with the cookie's value, and programs send a bearer token")},
	{status: 403, slug: "not-entitled", title: "Not an eligible approver", of: refusedAs(managed.ErrTypeNotEntitled)},
	{status: 403, slug: "self-approval", title: "You can't approve your own run", of: refusedAs(managed.ErrTypeSelfApproval)},
	{status: 404, slug: "unknown-freeze", title: "Unknown freeze", of: refusedAs(freeze.ErrTypeUnknown)},
	{status: 405, slug: "method-not-allowed", title: "Method not allowed"},
	{status: 409, slug: "not-asked", title: "No decision pending", of: refusedAs(managed.ErrTypeNotAsked)},
	{status: 409, slug: "already-decided", title: "Already decided", of: refusedAs(managed.ErrTypeAlreadyDecided)},
	{status: 409, slug: "stale-plan", title: "Plan has changed", of: refusedAs(managed.ErrTypeStalePlan)},
	{status: 409, slug: "nothing-to-revoke", title: "Nothing to revoke", of: refusedAs(managed.ErrTypeNothingToRevoke)},
	{status: 409, slug: "too-late", title: "Decision too late", of: refusedAs(managed.ErrTypeTooLate)},
	{status: 409, slug: "not-stoppable", title: "Run not stoppable", of: refusedAs(managed.ErrTypeNotStoppable)},
	{status: 409, slug: "not-in-chain", title: "Stack outside the chain", of: refusedAs(chain.ErrTypeNotInChain)},
	{status: 409, slug: "not-skippable", title: "Stack not skippable", of: refusedAs(chain.ErrTypeNotSkippable)},
	{status: 409, slug: "freezes-full", title: "Too many freezes", of: refusedAs(freeze.ErrTypeFull)},
	{status: 409, slug: "run-ended", title: "Run has ended"},
	{status: 409, slug: "chain-ended", title: "Chain has ended"},
	{status: 409, slug: "not-failed", title: "Run not retryable"},
	{status: 409, slug: "retry-refused", title: "Retry refused", of: as(func(e *retryRefusedError) string { return e.reason })},
	{status: 409, slug: "trigger-refused", title: "Trigger refused"},
	{status: 409, slug: "already-retried", title: "Already retried"},
	{status: 409, slug: "still-unreadable", title: "Event still unreadable", of: as((*stillUnreadableError).Error)},
	{status: 409, slug: "not-redeliverable", title: "Nothing to forward", of: matching(wraps(inbox.ErrNotRedeliverable),
		"the delivery was not accepted, so it has no event to forward")},
	{status: 413, slug: reasonBodyTooLarge, title: "Body too large"},
	{status: 415, slug: "unsupported-media-type", title: "Unsupported content type"},
	{status: 422, slug: "idempotency-key-reused", title: "Idempotency-Key reused", of: matching(keyReused,
		"this key was used for another request; create a new key for each request")},
	{status: 422, slug: "unknown-verdict", title: "Unknown verdict", of: refusedAs(managed.ErrTypeUnknownVerdict)},
	{status: 422, slug: "unmatched-freeze", title: "Freeze matches nothing"},
	{status: 422, slug: "bad-freeze", title: "Invalid freeze", of: refusedAs(freeze.ErrTypeInvalid)},
	{status: 429, slug: reasonTooMany, title: "Too many failed requests"},
	{status: 429, slug: "too-many-streams", title: "Too many streams", of: as((*tooManyStreamsError).Error), retryAfter: 30 * time.Second},
	{status: 503, slug: "unanswered", title: "No answer yet", of: as((*unansweredError).remedy), retryAfter: retryTemporal},
	{status: 502, slug: "spacelift-refused", title: "Spacelift access denied", of: spaceliftRefused},
	{status: 404, slug: "not-found", title: "Not found", of: missing},
	{status: 500, slug: "internal", title: "Internal error", of: matching(spaceliftCanceled, causeInLog)},
	{status: 503, slug: "spacelift-unavailable", title: "Spacelift unavailable", of: matching(is[*spaceliftError],
		"Spacelift's API did not answer or limits Gantry's calls; try again"), retryAfter: 10 * time.Second},
	{status: 503, slug: "issuer-unavailable", title: "Issuer unavailable", of: matching(is[*authority.IssuerUnavailableError],
		"Gantry can't read the keys of the issuer that signed the token; try again, or use a token of Gantry's own"), retryAfter: 5 * time.Second},
	{status: 503, slug: "replica-unavailable", title: "Replica unavailable", of: as(replicaAwayError.Error), retryAfter: retryPeers},
	{status: 503, slug: reasonLargeBodies, title: "Too many large bodies", retryAfter: retryBodies},
	{status: 503, slug: reasonNotStored, title: "Event not stored", of: matching(wraps(inbox.ErrUnavailable),
		"the inbox can't be written now; send the event again. /readyz explains why"), retryAfter: retryStore},
	{status: 503, slug: "not-recorded", title: "Change not recorded", of: matching(is[*unrecordedError],
		"the audit log can't be written, so nothing was changed; Gantry's log has the cause"), retryAfter: retryStore},
	{status: 503, slug: "temporal-unavailable", title: "Temporal unavailable", of: matching(temporalAway,
		"Gantry got no answer in time; try again. It still accepts webhooks"), retryAfter: retryTemporal},
}

// Times after which a caller should try again.
const (
	retryStore    = 5 * time.Second // the inbox can't be written until an operator frees space
	retryTemporal = 2 * time.Second // Temporal is unavailable
	retryPeers    = 5 * time.Second // another replica doesn't answer
	retryBodies   = 5 * time.Second // large bodies use up the memory set aside for them
)

// causeInLog is the detail of every unexpected error; only the log holds its text.
const causeInLog = "the cause is in Gantry's log"

// problemOf is the one place that picks a status for an error. It also returns the
// time for Retry-After, 0 for none.
func problemOf(err error) (api.Problem, time.Duration) {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r.Problem, 0
	}
	for _, k := range kinds {
		if k.of == nil {
			continue
		}
		if detail, ok := k.of(err); ok {
			after := k.retryAfter
			if limited, ok := errors.AsType[*spacelift.RateLimitedError](err); ok {
				after = max(after, limited.RetryAfter)
			}
			return k.problem(detail), after
		}
	}
	return internalProblem(), 0
}

// problem returns a problem of the kind with this slug, which must be in the table.
func problem(slug, detail string) api.Problem {
	return kinds[slices.IndexFunc(kinds, func(k kind) bool { return k.slug == slug })].problem(detail)
}

func (k kind) problem(detail string) api.Problem {
	return api.Problem{Type: problemTypePrefix + k.slug, Title: k.title, Status: k.status, Detail: &detail}
}

func badRequest(detail string) api.Problem { return problem("bad-request", detail) }

// badPlaces returns the problem of a request with these mistakes.
func badPlaces(places ...api.ProblemError) api.Problem {
	p := badRequest("errors names each mistake; /docs shows the contract")
	p.Errors = places
	return p
}

func notFound(detail string) api.Problem { return problem("not-found", detail) }

func internalProblem() api.Problem { return problem("internal", causeInLog) }

// refusedAs matches the refusals of executions. Their messages are written for the caller.
func refusedAs(errType string) func(error) (string, bool) {
	return func(err error) (string, bool) {
		e, ok := errors.AsType[*temporal.ApplicationError](err)
		if !ok || e.Type() != errType {
			return "", false
		}
		return e.Message(), true
	}
}

// as matches errors of type E, and takes the detail from them.
func as[E error](detail func(E) string) func(error) (string, bool) {
	return func(err error) (string, bool) {
		e, ok := errors.AsType[E](err)
		if !ok {
			return "", false
		}
		return detail(e), true
	}
}

// matching gives all errors that fit the same detail.
func matching(fits func(error) bool, detail string) func(error) (string, bool) {
	return func(err error) (string, bool) { return detail, fits(err) }
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

func wraps(target error) func(error) bool {
	return func(err error) bool { return errors.Is(err, target) }
}

func isType(err error, errType string) bool {
	_, ok := refusedAs(errType)(err)
	return ok
}

// errKeyReused reports an Idempotency-Key that this process remembers for another request.
var errKeyReused = errors.New("the Idempotency-Key was used for another request")

func keyReused(err error) bool {
	return errors.Is(err, errKeyReused) || isType(err, decide.ErrTypeKeyReused)
}

// spaceliftRefused matches errors that an operator must fix in Spacelift.
func spaceliftRefused(err error) (string, bool) {
	return "gantry doctor shows what Gantry's API key lacks and how to fix it",
		is[*spaceliftError](err) && (errors.Is(err, spacelift.ErrUnauthorized) || errors.Is(err, spacelift.ErrSchemaMismatch))
}

// spaceliftCanceled matches calls whose caller has disconnected.
func spaceliftCanceled(err error) bool {
	return is[*spaceliftError](err) && errors.Is(err, context.Canceled) && !is[*spacelift.RateLimitedError](err)
}

// missing matches lookups that Spacelift, the inbox or Temporal answers with "not found".
func missing(err error) (string, bool) {
	switch {
	case is[*spaceliftError](err):
		return "Spacelift has no such stack or run, or Gantry's API key can't see it", errors.Is(err, spacelift.ErrNotFound)
	case errors.Is(err, inbox.ErrNotFound):
		return "this replica has no such delivery; another one may have it, or the log has dropped it", true
	case is[*serviceerror.NotFound](err):
		return "Gantry has no execution for this run: no event of it arrived, its stack is not managed, or Temporal's retention has passed", true
	}
	return "", false
}

func parameterError(name, detail string) api.ProblemError {
	return api.ProblemError{Parameter: &name, Detail: detail}
}

// refusal is an error that carries its own problem.
type refusal struct{ api.Problem }

func (r *refusal) Error() string { return r.Title }

// temporalAway reports whether an error is temporary: Temporal is unavailable, slow or
// starting, or no worker polls, which a query fails with as FailedPrecondition.
func temporalAway(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || is[*client.WorkflowUpdateServiceTimeoutOrCanceledError](err) {
		return true
	}
	for _, away := range []func(error) bool{
		is[*serviceerror.Unavailable], is[*serviceerror.DeadlineExceeded], is[*serviceerror.ResourceExhausted],
		is[*serviceerror.NamespaceNotFound], is[*serviceerror.Canceled], is[*serviceerror.WorkflowNotReady],
		is[*serviceerror.QueryFailed], is[*serviceerror.FailedPrecondition],
	} {
		if away(err) {
			return true
		}
	}
	return false
}

// decodeProblem explains what is wrong with a JSON body without naming Go types.
func decodeProblem(err error) string {
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		field := e.Field
		if field == "" {
			return "the body is a JSON " + e.Value + ", not an object"
		}
		return field + " is a JSON " + e.Value + ", which does not fit"
	}
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return "it is not JSON: unexpected byte at offset " + strconv.FormatInt(e.Offset, 10)
	}
	if e, ok := errors.AsType[*time.ParseError](err); ok {
		return e.Value + " is not a time; write it like 2026-01-31T09:00:00Z"
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return "it is not JSON: it ends too early"
	}
	return "it is not the JSON that the contract requires"
}

func writeProblem(w http.ResponseWriter, p api.Problem) { writeProblemAfter(w, p, 0) }

func writeProblemAfter(w http.ResponseWriter, p api.Problem, retryAfter time.Duration) {
	p.RequestID = nonEmpty(requestIDOf(w))
	if retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(max(1, retryAfter.Seconds()))))
	}
	writeJSON(w, "application/problem+json", p.Status, p)
}

func writeJSON(w http.ResponseWriter, contentType string, status int, body any) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	// An error here means that the caller has disconnected.
	_ = json.NewEncoder(w).Encode(body)
}
