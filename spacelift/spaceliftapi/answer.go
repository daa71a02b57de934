package spaceliftapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gantryhq/gantry/spacelift"
)

// answerError is one GraphQL error.
type answerError struct {
	Message    string         `json:"message"`
	Path       []any          `json:"path"`
	Extensions map[string]any `json:"extensions"` // flat: argument → what is wrong with it
}

// errRefused is in the chain of every error that comes from GraphQL errors, except
// those that report trouble of the server.
var errRefused = errors.New("refused")

// unauthorizedWord is Spacelift's word for a bad token and for an object out of
// reach.
const unauthorizedWord = "unauthorized"

func newGraphQLError(all []answerError) *spacelift.GraphQLError {
	if len(all) == 0 {
		return nil
	}
	e := &spacelift.GraphQLError{}
	for _, one := range all {
		text := one.Message
		if len(one.Extensions) > 0 {
			var parts []string
			for _, key := range slices.Sorted(maps.Keys(one.Extensions)) {
				parts = append(parts, fmt.Sprintf("%s: %v", key, one.Extensions[key]))
			}
			text += " (" + strings.Join(parts, ", ") + ")"
		}
		e.Messages = append(e.Messages, text)
	}
	return e
}

// classify returns the failure that GraphQL errors report.
//
// Known wordings are `unauthorized`, `not found`, and those of the validation,
// which nearly all GraphQL servers share.
//
// Assumption: GraphQL errors that report server trouble or rate limits use these
// words.
func classify(said *spacelift.GraphQLError, all []answerError, data json.RawMessage) *failure {
	refused := func(kind error) error {
		if kind == nil {
			return &refusal{said}
		}
		return fmt.Errorf("%w: %w", kind, &refusal{said})
	}
	untouched := !begun(all, data)
	switch {
	case saysAny(said, unauthorizedWord):
		return &failure{err: refused(nil), untouched: untouched, unauthorized: true}
	case saysAny(said, "unknown type", "cannot query field", "unknown argument", "unknown field", "is not defined by type", "unknown fragment"):
		return &failure{err: refused(spacelift.ErrSchemaMismatch), untouched: untouched}
	case saysAny(said, "not found"):
		return &failure{err: refused(spacelift.ErrNotFound), untouched: untouched}
	case saysAny(said, "rate limit", "too many requests"):
		return &failure{err: fmt.Errorf("%w: %w", &spacelift.RateLimitedError{}, said), untouched: untouched, transient: true}
	case saysAny(said, "internal ", "timeout", "timed out", "deadline exceeded", "context canceled", "unavailable", "try again"):
		return &failure{err: said, transient: true}
	}
	return &failure{err: refused(nil), untouched: untouched}
}

// begun reports whether errors came after the operation's own field was
// resolved: a field below it failed, or the answer has data as well. A mutation
// then did its work, but its answer is incomplete.
func begun(all []answerError, data json.RawMessage) bool {
	if slices.ContainsFunc(all, func(e answerError) bool { return len(e.Path) > 1 }) {
		return true
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(data, &fields) != nil {
		return false
	}
	for _, value := range fields {
		if !bytes.Equal(bytes.TrimSpace(value), []byte("null")) {
			return true
		}
	}
	return false
}

// refusal is a GraphQLError that has errRefused in its chain.
type refusal struct{ said *spacelift.GraphQLError }

func (r *refusal) Error() string   { return r.said.Error() }
func (r *refusal) Unwrap() []error { return []error{r.said, errRefused} }
