package server

import (
	"context"
	"errors"
	"net/http"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/gantryhq/gantry/decide"
	"github.com/gantryhq/gantry/decide/chain"
	"github.com/gantryhq/gantry/decide/freeze"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/spacelift"
)

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
