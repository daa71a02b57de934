package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	middleware "github.com/oapi-codegen/nethttp-middleware"

	"github.com/gantryhq/gantry/gen/api"
	genserver "github.com/gantryhq/gantry/gen/server"
	"github.com/gantryhq/gantry/openapi"
)

// roleExtension is where the contract says which role an operation needs.
const roleExtension = "x-gantry-role"

// contract checks requests against the OpenAPI document.
type contract struct {
	validate func(http.Handler) http.Handler
	roles    map[string]Role // by operation, as the generated code spells it
}

// loadContract reads the document. Its version is set to 3.0.3 in this copy
// alone: for 3.1 the validator compiles every schema anew on each request, some
// twenty times slower, and the document uses no keyword that the 3.0 rules pass
// over (a test makes sure). What no operation matches is left to unrouted.
func loadContract(unrouted http.HandlerFunc) (*contract, error) {
	doc, err := openapi3.NewLoader().LoadFromData(openapi.Document)
	if err != nil {
		return nil, fmt.Errorf("read the contract: %w", err)
	}
	doc.OpenAPI, doc.Servers = "3.0.3", nil
	roles, err := rolesOf(doc)
	if err != nil {
		return nil, err
	}
	return &contract{
		roles: roles,
		validate: middleware.OapiRequestValidatorWithOptions(doc, &middleware.Options{
			DoNotValidateServers: true,
			Options: openapi3filter.Options{
				AuthenticationFunc:  openapi3filter.NoopAuthenticationFunc, // tokens are checked before
				MultiError:          true,
				SkipSettingDefaults: true,
			},
			ErrorHandlerWithOpts: func(_ context.Context, err error, w http.ResponseWriter, r *http.Request, _ middleware.ErrorHandlerOpts) {
				if errors.Is(err, routers.ErrPathNotFound) || errors.Is(err, routers.ErrMethodNotAllowed) {
					unrouted(w, r)
					return
				}
				writeProblem(w, validationProblem(err))
			},
		}),
	}, nil
}

// rolesOf reads each operation's role. An operation under /v1 without one is a
// mistake in the contract, not an open door.
func rolesOf(doc *openapi3.T) (map[string]Role, error) {
	roles := map[string]Role{}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			role, _ := op.Extensions[roleExtension].(string)
			if !strings.HasPrefix(path, "/v1/") {
				continue
			}
			if !RoleAdmin.Includes(Role(role)) {
				return nil, fmt.Errorf("the contract gives %s %s no role", method, path)
			}
			roles[exported(op.OperationID)] = Role(role)
		}
	}
	return roles, nil
}

func exported(operationID string) string {
	r := []rune(operationID)
	r[0] = unicode.ToUpper(r[0])
	return string(r)
}

// authorize refuses what the token's role does not allow.
func (c *contract) authorize(next genserver.StrictHandlerFunc, operation string) genserver.StrictHandlerFunc {
	needed, guarded := c.roles[operation]
	if !guarded {
		return next
	}
	return func(ctx context.Context, w http.ResponseWriter, r *http.Request, request any) (any, error) {
		if t := tokenOf(ctx); !t.Role.Includes(needed) {
			return nil, &refusal{problem(http.StatusForbidden, "forbidden", "The token's role does not allow this",
				fmt.Sprintf("%s has the role %s; this needs %s", t.Name, t.Role, needed))}
		}
		return next(ctx, w, r, request)
	}
}

// validationProblem names each place of a request that does not fit. The
// validator's own text is not passed on: it quotes schemas and values.
func validationProblem(err error) api.Problem {
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return problem(http.StatusRequestEntityTooLarge, "body-too-large", "The body is too large", fmt.Sprintf("the body has more than %d bytes", tooLarge.Limit))
	}
	p := badRequest("the request does not fit the contract; errors names each place, /docs shows the contract")
	for _, e := range each(err) {
		p.Errors = append(p.Errors, placesOf(e)...)
	}
	return p
}

// each returns the errors of a MultiError, or the one error itself.
func each(err error) []error {
	many, ok := err.(openapi3.MultiError) //nolint:errorlint // those that are wrapped belong to one place
	if !ok {
		return []error{err}
	}
	var all []error
	for _, e := range many {
		all = append(all, each(e)...)
	}
	return all
}

// placesOf names what one error is about: a parameter, or places in the body.
func placesOf(err error) []api.ProblemError {
	request, ok := errors.AsType[*openapi3filter.RequestError](err)
	if !ok {
		return []api.ProblemError{{Detail: "does not fit the contract"}}
	}
	var places []api.ProblemError
	for _, e := range each(request.Err) {
		reason := request.Reason
		schema, ok := errors.AsType[*openapi3.SchemaError](e)
		if ok {
			reason = schema.Reason
		}
		if reason == "" {
			reason = "does not fit the contract"
		}
		switch {
		case request.Parameter != nil:
			return []api.ProblemError{parameterError(request.Parameter.Name, reason)}
		case ok:
			places = append(places, api.ProblemError{Pointer: new("/" + strings.Join(schema.JSONPointer(), "/")), Detail: reason})
		default:
			places = append(places, api.ProblemError{Detail: reason})
		}
	}
	return places
}
