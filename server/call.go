package server

import (
	"context"
	"net/http"
	"net/url"
	"slices"

	"github.com/go-chi/chi/v5"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/decide"
	genserver "github.com/gantryhq/gantry/gen/server"
	"github.com/gantryhq/gantry/spacelift"
)

// call is a request to the API: its caller, the account and run in its path, and the
// change that it asks for.
type call struct {
	by      decide.Person
	account *Account          // nil if the path names none
	stack   spacelift.StackID // in the path
	run     spacelift.RunRef  // for a chain, the run that began it, without a stack
	change

	request   *http.Request
	requestID string

	path []any // names and values in the path, for the log
	note []any // more of them, from the handler
}

type callKey struct{}

// callOf returns the call that begin prepared.
func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

// begin prepares a call for its handler, and logs a change that the handler made or
// that may still count.
func (h *handlers) begin(next genserver.StrictHandlerFunc, operation string) genserver.StrictHandlerFunc {
	return func(ctx context.Context, w http.ResponseWriter, r *http.Request, request any) (any, error) {
		c, err := h.readCall(r, operation, request)
		if err != nil {
			return nil, err
		}
		c.requestID = requestIDOf(w)
		answer, err := next(context.WithValue(ctx, callKey{}, c), w, r, request)
		if r.Method != http.MethodGet && c.by.Name != "" {
			line := slices.Concat([]any{"requestId", c.requestID, "operation", operation, "by", c.by.Name}, c.path, c.note)
			switch {
			case err == nil:
				h.log.InfoContext(ctx, "change", line...)
			case is[*unansweredError](err):
				h.log.WarnContext(ctx, "change unanswered", append(line, "error", err)...)
			}
		}
		return answer, err
	}
}

func (h *handlers) readCall(r *http.Request, operation string, request any) (*call, error) {
	c := &call{by: personOf(r.Context()), request: r}
	var err error
	if c.change, err = changeOf(c.by.Name, r.Header.Values("Idempotency-Key"), operation, request); err != nil {
		return nil, err
	}
	named := map[string]string{}
	for i, name := range chi.RouteContext(r.Context()).URLParams.Keys {
		value := chi.RouteContext(r.Context()).URLParams.Values[i]
		if r.URL.RawPath != "" {
			if value, err = url.PathUnescape(value); err != nil {
				return nil, &refusal{badPlaces(parameterError(name, "can't be read; percent-encode it"))}
			}
		}
		named[name] = value
		c.path = append(c.path, name, value)
	}
	if name, ok := named["account"]; ok {
		if c.account, err = h.account(name); err != nil {
			return nil, err
		}
	}
	c.stack = spacelift.StackID(named["stack"])
	if run, ok := named["run"]; ok {
		c.run = spacelift.RunRef{Account: c.account.Name, Stack: c.stack, Run: spacelift.RunID(run)}
		if err := validRun(c.run); err != nil {
			return nil, &refusal{badRequest(err.Error())}
		}
	}
	return c, nil
}

// validRun checks the ids of a run. The run that began a chain has no stack.
func validRun(ref spacelift.RunRef) error {
	if ref.Stack == "" {
		ref.Stack = "any"
	}
	return ref.Validate()
}

// account returns an account that Gantry serves. Another installation may manage the
// others in the same Temporal namespace.
func (h *handlers) account(name string) (*Account, error) {
	if a := h.door.account(spacelift.Account(name)); a != nil {
		return &a.Account, nil
	}
	return nil, &refusal{notFound("Gantry serves no account of this name; GET /v1/accounts lists its accounts")}
}

// accounts returns the accounts that a list covers: the one in its filter, or all that
// Gantry serves and of which the caller may see something.
func (h *handlers) accounts(ctx context.Context, only *string) (all []spacelift.Account, err error) {
	p := principalOf(ctx)
	if only != nil {
		a, err := h.account(*only)
		if err != nil {
			return nil, err
		}
		if !p.HasIn(authority.RoleViewer, *only) {
			return nil, lacks(p, authority.RoleViewer, "account "+*only)
		}
		return []spacelift.Account{a.Name}, nil
	}
	all = []spacelift.Account{}
	for _, a := range h.served() {
		if p.HasIn(authority.RoleViewer, string(a)) {
			all = append(all, a)
		}
	}
	return all, nil
}
