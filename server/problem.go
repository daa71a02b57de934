package server

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

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

// Times after which a caller is asked to try again.
const (
	retryStore    = 5 * time.Second // the inbox can't be written: a person frees space
	retryTemporal = 2 * time.Second // Temporal is away
)

func problem(status int, kind, title, detail string) api.Problem {
	return api.Problem{Type: problemTypePrefix + kind, Title: title, Status: status, Detail: &detail}
}

func badRequest(detail string) api.Problem {
	return problem(http.StatusBadRequest, "bad-request", "Invalid request", detail)
}

// namesPlaces is the detail of a bad request whose errors name each place.
const namesPlaces = "errors names each place that does not fit; /docs shows the contract"

func notFound(detail string) api.Problem {
	return problem(http.StatusNotFound, "not-found", "There is no such thing", detail)
}

func bodyTooLarge(detail string) api.Problem {
	return problem(http.StatusRequestEntityTooLarge, reasonBodyTooLarge, "Body too large", detail)
}

// internalProblem is the answer to every error nobody planned for. It carries
// no error text: that is in the log.
func internalProblem() api.Problem {
	return problem(http.StatusInternalServerError, "internal", "Gantry failed to answer", "the cause is in Gantry's log")
}

func parameterError(name, detail string) api.ProblemError {
	return api.ProblemError{Parameter: &name, Detail: detail}
}

// refusal is an error that knows its own problem.
type refusal struct{ api.Problem }

func (r *refusal) Error() string { return r.Title }

// problemOf is the one place that picks a status for an error. The duration is
// what Retry-After should say, zero for nothing.
func problemOf(err error) (api.Problem, time.Duration) {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r.Problem, 0
	}
	if e, ok := errors.AsType[*temporal.ApplicationError](err); ok {
		if p, ok := refusedByExecution(e); ok {
			return p, 0
		}
	}
	if p, after, ok := problemOfRun(err); ok {
		return p, after
	}
	if e, ok := errors.AsType[*spaceliftError](err); ok {
		return problemOfSpacelift(e.err)
	}
	switch {
	case errors.Is(err, inbox.ErrUnavailable):
		return problem(http.StatusServiceUnavailable, "not-stored", "The event could not be stored",
			"the inbox can't be written now; send it again. /readyz says why"), retryStore
	case errors.Is(err, inbox.ErrNotFound):
		return notFound("there is no such delivery on this replica; it may have been trimmed from the log"), 0
	case errors.Is(err, inbox.ErrBadPageToken):
		return problemOf(badPageToken("is none that this API gave; leave it out to start from the first page"))
	case errors.Is(err, inbox.ErrNotRedeliverable):
		return problem(http.StatusConflict, "not-redeliverable", "This delivery can't be forwarded",
			"it was not accepted, so there is no event to forward"), 0
	}
	if _, ok := errors.AsType[*serviceerror.NotFound](err); ok {
		return notFound("Gantry has no execution for this run: it never heard of it, the stack is not managed, or Temporal's retention has passed"), 0
	}
	if _, ok := errors.AsType[*serviceerror.InvalidArgument](err); ok {
		return badRequest("Temporal refused a filter or the page token; leave pageToken out to start from the first page"), 0
	}
	if temporalAway(err) {
		return problem(http.StatusServiceUnavailable, "temporal-unavailable", "Temporal did not answer",
			"Temporal is away or slow; try again. Webhooks are still accepted meanwhile"), retryTemporal
	}
	return internalProblem(), 0
}

// temporalAway reports errors that pass by themselves. An Internal or Unknown
// error of the frontend is what a client sees while the server restarts.
func temporalAway(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || is[*client.WorkflowUpdateServiceTimeoutOrCanceledError](err) {
		return true
	}
	for _, away := range []func(error) bool{
		is[*serviceerror.Unavailable], is[*serviceerror.DeadlineExceeded], is[*serviceerror.ResourceExhausted],
		is[*serviceerror.NamespaceNotFound], is[*serviceerror.Canceled], is[*serviceerror.WorkflowNotReady],
		is[*serviceerror.QueryFailed],
	} {
		if away(err) {
			return true
		}
	}
	return false
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// decodeProblem says what is wrong with a JSON body without naming Go types.
func decodeProblem(err error) string {
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		field := e.Field
		if field == "" {
			return "the body is a JSON " + e.Value + ", not an object"
		}
		return field + " holds a JSON " + e.Value + ", which does not fit"
	}
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return "it is not JSON: unexpected byte at offset " + strconv.FormatInt(e.Offset, 10)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return "it is not JSON: it ends too early"
	}
	return "it is not the JSON the contract asks for"
}

func writeProblem(w http.ResponseWriter, p api.Problem) { writeProblemAfter(w, p, 0) }

func writeProblemAfter(w http.ResponseWriter, p api.Problem, retryAfter time.Duration) {
	if retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(max(1, retryAfter.Seconds()))))
	}
	writeJSON(w, "application/problem+json", p.Status, p)
}

func writeJSON(w http.ResponseWriter, contentType string, status int, body any) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	// An error here means that the caller is gone.
	_ = json.NewEncoder(w).Encode(body)
}

// retryStream is when a place for a stream may be free again.
const retryStream = 30 * time.Second

// errKeyReused is a key whose first request this process or Temporal remembers.
var errKeyReused = errors.New("the idempotency key was used for another request")

var errTooManyStreams = errors.New("too many streams are open")

// refusedByExecution is the problem of each refusal that an execution makes.
// Their messages are sentences for the person who asked. It is not ok for
// errors that are no refusal.
func refusedByExecution(e *temporal.ApplicationError) (p api.Problem, ok bool) {
	switch e.Type() {
	case managed.ErrTypeNotAsked:
		return problem(http.StatusConflict, "not-asked", "The run does not ask for a decision", e.Message()), true
	case managed.ErrTypeNotEntitled:
		return problem(http.StatusForbidden, "not-entitled", "Others decide about this run", e.Message()), true
	case managed.ErrTypeSelfApproval:
		return problem(http.StatusForbidden, "self-approval", "You can't approve your own run", e.Message()), true
	case managed.ErrTypeAlreadyDecided:
		return problem(http.StatusConflict, "already-decided", "You have decided so already", e.Message()), true
	case managed.ErrTypeStalePlan:
		return problem(http.StatusConflict, "stale-plan", "There is another plan now", e.Message()), true
	case managed.ErrTypeNothingToRevoke:
		return problem(http.StatusConflict, "nothing-to-revoke", "Nothing to revoke", e.Message()), true
	case managed.ErrTypeTooLate:
		return problem(http.StatusConflict, "too-late", "It is too late for this decision", e.Message()), true
	case managed.ErrTypeNotStoppable:
		return problem(http.StatusConflict, "not-stoppable", "The run can't be stopped", e.Message()), true
	case decide.ErrTypeKeyReused:
		return keyReused(), true
	case managed.ErrTypeUnknownVerdict:
		return problem(http.StatusUnprocessableEntity, "unknown-verdict", "There is no such verdict", e.Message()), true
	case freeze.ErrTypeUnknownFreeze:
		return unknownFreeze(e.Message()), true
	case chain.ErrTypeNotInChain:
		return problem(http.StatusConflict, "not-in-chain", "Stack outside the chain", e.Message()), true
	case chain.ErrTypeNotSkippable:
		return problem(http.StatusConflict, "not-skippable", "The stack can't be skipped now", e.Message()), true
	case freeze.ErrTypeFreezesFull:
		return problem(http.StatusConflict, "freezes-full", "No room for another freeze", e.Message()), true
	case freeze.ErrTypeBadFreeze:
		return problem(http.StatusUnprocessableEntity, "bad-freeze", "This can't be a freeze", e.Message()), true
	}
	return api.Problem{}, false
}

// problemOfRun is the problem of the errors that requests about runs meet here.
func problemOfRun(err error) (p api.Problem, retryAfter time.Duration, ok bool) {
	if e, ok := errors.AsType[*unansweredError](err); ok {
		detail := "it was sent and may still count: look at it before sending it again. With an Idempotency-Key it could be sent again safely"
		if e.repeatable {
			detail = "it was sent and may still count: send it again with the same Idempotency-Key, and it counts once"
		}
		return problem(http.StatusServiceUnavailable, "unanswered", "There is no answer yet", detail), retryTemporal, true
	}
	if e, ok := errors.AsType[*endedError](err); ok {
		return problem(http.StatusConflict, "run-ended", "The run has ended", e.outcome), 0, true
	}
	if e, ok := errors.AsType[*chainEndedError](err); ok {
		return problem(http.StatusConflict, "chain-ended", "The chain has ended", e.outcome), 0, true
	}
	if e, ok := errors.AsType[*notFailedError](err); ok {
		return problem(http.StatusConflict, "not-failed", "Only failed runs can be retried", e.Error()), 0, true
	}
	if e, ok := errors.AsType[*retryRefusedError](err); ok {
		return problem(http.StatusConflict, "retry-refused", "The run was not retried", e.reason), 0, true
	}
	if e, ok := errors.AsType[*alreadyRetriedError](err); ok {
		return problem(http.StatusConflict, "already-retried", "The run is retried already", e.Error()), 0, true
	}
	switch {
	case errors.Is(err, errKeyReused):
		return keyReused(), 0, true
	case errors.Is(err, errTooManyStreams):
		return problem(http.StatusTooManyRequests, "too-many-streams", "Too many streams are open",
			"ask for the run itself, or come back later"), retryStream, true
	}
	return api.Problem{}, 0, false
}

// problemOfSpacelift is the problem of an error of Spacelift's API. Its text is
// not passed on: it is for operators.
func problemOfSpacelift(err error) (api.Problem, time.Duration) {
	limited, isLimited := errors.AsType[*spacelift.RateLimitedError](err)
	switch {
	case errors.Is(err, spacelift.ErrNotFound):
		return notFound("Spacelift has no such stack, or Gantry's API key may not see it"), 0
	case errors.Is(err, spacelift.ErrUnauthorized), errors.Is(err, spacelift.ErrSchemaMismatch):
		return problem(http.StatusBadGateway, "spacelift-refused", "Spacelift does not let Gantry read this",
			"gantry doctor tells what Gantry's API key may not do and how to mend it"), 0
	case isLimited:
		return spaceliftAway(), max(limited.RetryAfter, retrySpacelift)
	case errors.Is(err, context.Canceled):
		return internalProblem(), 0
	}
	return spaceliftAway(), retrySpacelift
}

// retrySpacelift is when Spacelift may answer again.
const retrySpacelift = 10 * time.Second

func spaceliftAway() api.Problem {
	return problem(http.StatusServiceUnavailable, "spacelift-unavailable", "Spacelift did not answer",
		"Spacelift's API is away, slow or wants fewer calls; try again")
}

func keyReused() api.Problem {
	return problem(http.StatusUnprocessableEntity, "idempotency-key-reused", "The Idempotency-Key was used for another request",
		"make a new key for each request, and repeat one only with the request it was made for")
}

func unknownFreeze(detail string) api.Problem {
	return problem(http.StatusNotFound, "unknown-freeze", "Unknown freeze", detail)
}
