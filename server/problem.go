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

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/inbox"
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
