package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"unicode"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/gantryhq/gantry/gen/api"
	genserver "github.com/gantryhq/gantry/gen/server"
	"github.com/gantryhq/gantry/openapi"
)

// roleExtension is where the contract says which role an operation needs.
const roleExtension = "x-gantry-role"

// contract checks requests against the OpenAPI document.
type contract struct {
	router   routers.Router
	roles    map[string]Role // by operation, as the generated code spells it
	unrouted http.HandlerFunc
}

// document returns the OpenAPI document, which is read once per process. Its
// version is set to 3.0.3 in this copy alone: for 3.1 the validator compiles
// every schema anew on each request, some twenty times slower, and the document
// uses no keyword that the 3.0 rules pass over (a test makes sure).
var document = sync.OnceValues(func() (*openapi3.T, error) {
	doc, err := openapi3.NewLoader().LoadFromData(openapi.Document)
	if err != nil {
		return nil, fmt.Errorf("read the contract: %w", err)
	}
	doc.OpenAPI, doc.Servers = "3.0.3", nil
	return doc, nil
})

// loadContract prepares the document's operations. Requests that match none are
// left to unrouted.
func loadContract(unrouted http.HandlerFunc) (*contract, error) {
	doc, err := document()
	if err != nil {
		return nil, err
	}
	roles, err := rolesOf(doc)
	if err != nil {
		return nil, err
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		return nil, fmt.Errorf("route by the contract: %w", err)
	}
	return &contract{router: router, roles: roles, unrouted: unrouted}, nil
}

// validate refuses requests that do not fit the contract.
func (c *contract) validate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		route, params, err := c.router.FindRoute(r)
		if err != nil {
			c.unrouted(w, r)
			return
		}
		if p, ok := checkRequest(r, route, params); !ok {
			writeProblem(w, p)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// checkRequest compares a request with its operation. It is not ok, with the
// problem to answer, when the two differ. The validator of the library knows
// nothing of parameters that the operation does not have, and reads the first of
// two that are the same, so those are compared here.
func checkRequest(r *http.Request, route *routers.Route, path map[string]string) (p api.Problem, ok bool) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return badQuery(r.URL.RawQuery), false
	}
	if p, ok := checkBody(r, route.Operation); !ok {
		return p, false
	}
	wrong := append(wrongQuery(query, route.Operation.Parameters), wrongHeaders(r.Header, route.Operation.Parameters)...)
	err = openapi3filter.ValidateRequest(r.Context(), &openapi3filter.RequestValidationInput{
		Request: r, PathParams: path, QueryParams: query, Route: route,
		Options: &openapi3filter.Options{
			AuthenticationFunc:  openapi3filter.NoopAuthenticationFunc, // tokens are checked before
			MultiError:          true,
			SkipSettingDefaults: true,
		},
	})
	for _, e := range each(err) {
		wrong = append(wrong, placesOf(e)...)
	}
	if len(wrong) == 0 {
		return api.Problem{}, true
	}
	return badPlaces(wrong...), false
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
			return nil, &refusal{problem("forbidden", fmt.Sprintf("%s has the role %s; this needs %s", t.Name, t.Role, needed))}
		}
		return next(ctx, w, r, request)
	}
}

// each returns the errors of a MultiError, or the one error itself.
func each(err error) []error {
	if err == nil {
		return nil
	}
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
// The validator's own text is not passed on: it quotes schemas and values.
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

// badQuery is the problem of a query that is not made of names and values.
func badQuery(raw string) api.Problem {
	p := badRequest("the query must be name=value, joined by &, with other characters percent-encoded")
	for piece := range strings.SplitSeq(raw, "&") {
		if _, err := url.ParseQuery(piece); err == nil {
			continue
		}
		name, _, _ := strings.Cut(piece, "=")
		if name, err := url.QueryUnescape(name); err == nil && !strings.Contains(name, ";") {
			p.Errors = append(p.Errors, parameterError(name, "can't be read; write ; as %3B and % as %25"))
		}
	}
	return p
}

// wrongQuery names the parameters of a query that an operation does not have,
// and those that are given more than once: a filter with a typing error must not
// select everything.
func wrongQuery(query url.Values, known openapi3.Parameters) (wrong []api.ProblemError) {
	var names []string
	for _, p := range known {
		if p.Value.In == openapi3.ParameterInQuery {
			names = append(names, p.Value.Name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		switch {
		case !slices.Contains(names, name):
			wrong = append(wrong, parameterError(name, "is no parameter here; "+instead(name, names)))
		case len(query[name]) > 1:
			wrong = append(wrong, parameterError(name, "is given more than once; give it once"))
		}
	}
	return wrong
}

// wrongHeaders names the headers of an operation that are given more than once.
func wrongHeaders(headers http.Header, known openapi3.Parameters) (wrong []api.ProblemError) {
	for _, p := range known {
		if p.Value.In == openapi3.ParameterInHeader && len(headers.Values(p.Value.Name)) > 1 {
			wrong = append(wrong, parameterError(p.Value.Name, "is given more than once; give it once"))
		}
	}
	return wrong
}

// instead says which parameter a caller may have meant.
func instead(name string, known []string) string {
	if len(known) == 0 {
		return "this takes none"
	}
	nearest := slices.MinFunc(known, func(a, b string) int { return typos(name, a) - typos(name, b) })
	if typos(name, nearest) <= max(1, len(nearest)/3) {
		return "is " + nearest + " meant?"
	}
	return "this takes " + strings.Join(known, ", ")
}

// typos counts the letters to insert, delete or replace to make one name of
// another, whatever their case: the Levenshtein distance.
func typos(a, b string) int {
	a, b = strings.ToLower(a), strings.ToLower(b)
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := corner
			if a[i] != b[j] {
				replaced++
			}
			corner = row[j+1]
			row[j+1] = min(replaced, row[j]+1, corner+1)
		}
	}
	return row[len(b)]
}

// checkBody compares what a request's body is made of with what its operation
// takes; the validator looks at the values in it. It is not ok, with the problem
// to answer, when the two differ.
func checkBody(r *http.Request, op *openapi3.Operation) (p api.Problem, ok bool) {
	body, err := io.ReadAll(r.Body)
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return problem(reasonBodyTooLarge, fmt.Sprintf("a request to the API has at most %d bytes", tooLarge.Limit)), false
	}
	if err != nil {
		return badRequest("the body broke off; send it again"), false
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	switch {
	case len(body) == 0:
		return api.Problem{}, true // the validator knows whether it may be
	case op.RequestBody == nil:
		return badRequest("this takes no body; send it without one"), false
	case op.RequestBody.Value.Content.Get(r.Header.Get("Content-Type")) == nil:
		return problem("unsupported-media-type", "send JSON, with the header Content-Type: application/json"), false
	}
	if detail := ambiguous(body); detail != "" {
		return badRequest(detail), false
	}
	return api.Problem{}, true
}

// maxNesting bounds how deep the values of a body are nested.
const maxNesting = 100

// ambiguous says what keeps a body from being one JSON value that every reader
// understands alike; nothing if it is one. Of two members with one name, or of two
// values, some readers take the first and others the last.
func ambiguous(body []byte) string {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if detail := repeated(d, maxNesting); detail != "" {
		return detail
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return "the body is more than one JSON value; send one object"
	}
	return ""
}

// repeated reads a value, and says what is wrong if it is no JSON, if an object in
// it has two members with one name, or if it is nested deeper than the levels left.
func repeated(d *json.Decoder, levels int) string {
	token, err := d.Token()
	if err != nil {
		return "the body can't be read: " + decodeProblem(err)
	}
	opening, nested := token.(json.Delim)
	if !nested {
		return ""
	}
	if levels == 0 {
		return fmt.Sprintf("the body is nested deeper than %d levels", maxNesting)
	}
	names := map[json.Token]bool{}
	for d.More() {
		if opening == '{' {
			name, err := d.Token()
			if err != nil {
				return "the body can't be read: " + decodeProblem(err)
			}
			if names[name] {
				return fmt.Sprintf("the body has %q more than once; give it once", name)
			}
			names[name] = true
		}
		if detail := repeated(d, levels-1); detail != "" {
			return detail
		}
	}
	if _, err := d.Token(); err != nil { // the closing delimiter
		return "the body can't be read: " + decodeProblem(err)
	}
	return ""
}
