package server

import (
	"bytes"
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

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/openapi"
)

// Members of an operation that say what it asks of its caller.
const (
	roleExtension  = "x-gantry-role"
	scopeExtension = "x-gantry-scope"
)

// contract checks requests against the OpenAPI document.
type contract struct {
	router   routers.Router
	guards   map[string]guard // by operation, as the generated code spells it
	unrouted http.HandlerFunc
	version  string
}

// document returns the OpenAPI document, which is read once per process. It sets the
// version of this copy to 3.0.3: for 3.1 the validator compiles every schema on each
// request, which takes some twenty times longer, and the document uses no keyword that
// the 3.0 rules ignore (a test makes sure).
var document = sync.OnceValues(func() (*openapi3.T, error) {
	doc, err := openapi3.NewLoader().LoadFromData(openapi.Document)
	if err != nil {
		return nil, fmt.Errorf("read the contract: %w", err)
	}
	doc.OpenAPI, doc.Servers = "3.0.3", nil
	return doc, nil
})

// loadContract prepares the document's operations. Requests that match none go to
// unrouted.
func loadContract(unrouted http.HandlerFunc) (*contract, error) {
	doc, err := document()
	if err != nil {
		return nil, err
	}
	guards, err := guardsOf(doc)
	if err != nil {
		return nil, err
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		return nil, fmt.Errorf("route by the contract: %w", err)
	}
	return &contract{router: router, guards: guards, unrouted: unrouted, version: doc.Info.Version}, nil
}

// validate refuses requests that don't fit the contract.
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

// checkRequest compares a request with its operation. If they differ, ok is false and p
// is the problem to answer. The library's validator ignores parameters that the
// operation doesn't have, and repeats of a parameter, so checkRequest finds those.
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
			AuthenticationFunc:  openapi3filter.NoopAuthenticationFunc, // authenticate runs before
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

// guardsOf reads what each operation asks of its caller. It fails if an operation under
// /v1 doesn't say it, or if the path names a stack that nobody would check.
func guardsOf(doc *openapi3.T) (map[string]guard, error) {
	guards := map[string]guard{}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			if !strings.HasPrefix(path, "/v1/") {
				continue
			}
			role, _ := op.Extensions[roleExtension].(string)
			limit, _ := op.Extensions[scopeExtension].(string)
			g := guard{authority.Role(role), scope(limit)}
			switch {
			case !slices.Contains([]scope{scopeStack, scopeListed, scopeCaller}, g.scope):
				return nil, fmt.Errorf("read the contract: %s %s has no scope", method, path)
			case g.scope != scopeCaller && !slices.Contains(authority.Roles, g.role):
				return nil, fmt.Errorf("read the contract: %s %s has no role", method, path)
			case strings.Contains(path, "{stack}") != (g.scope == scopeStack):
				return nil, fmt.Errorf("read the contract: %s %s: the scope stack belongs to paths that name one", method, path)
			}
			guards[exported(op.OperationID)] = g
		}
	}
	return guards, nil
}

func exported(operationID string) string {
	r := []rune(operationID)
	r[0] = unicode.ToUpper(r[0])
	return string(r)
}

// each returns the errors of a MultiError, or the one error itself.
func each(err error) []error {
	if err == nil {
		return nil
	}
	many, ok := err.(openapi3.MultiError) //nolint:errorlint // wrapped ones belong to one place
	if !ok {
		return []error{err}
	}
	var all []error
	for _, e := range many {
		all = append(all, each(e)...)
	}
	return all
}

// placesOf returns the places that an error concerns: a parameter, or places in the
// body. It omits the validator's own text, which quotes schemas and values.
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

// badQuery returns the problem of a query that isn't a list of names and values.
func badQuery(raw string) api.Problem {
	p := badRequest("write the query as name=value, joined by &, and percent-encode other characters")
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

// wrongQuery returns the parameters of a query that an operation doesn't have, and
// those that are given more than once. A misspelt filter must not select everything.
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
			wrong = append(wrong, parameterError(name, "is not a parameter of this operation; "+instead(name, names)))
		case len(query[name]) > 1:
			wrong = append(wrong, parameterError(name, "is given more than once; give it once"))
		}
	}
	return wrong
}

// wrongHeaders returns the headers of an operation that are given more than once.
func wrongHeaders(headers http.Header, known openapi3.Parameters) (wrong []api.ProblemError) {
	for _, p := range known {
		if p.Value.In == openapi3.ParameterInHeader && len(headers.Values(p.Value.Name)) > 1 {
			wrong = append(wrong, parameterError(p.Value.Name, "is given more than once; give it once"))
		}
	}
	return wrong
}

// instead suggests the parameter that the caller may have meant.
func instead(name string, known []string) string {
	if len(known) == 0 {
		return "it has none"
	}
	nearest := slices.MinFunc(known, func(a, b string) int { return typos(name, a) - typos(name, b) })
	if typos(name, nearest) <= max(1, len(nearest)/3) {
		return "use " + nearest
	}
	return "use one of " + strings.Join(known, ", ")
}

// typos returns the Levenshtein distance of two names, ignoring case.
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

// checkBody checks that a request has a body only if its operation takes one, and that
// it is unambiguous JSON; the validator checks the values. If the body is wrong, ok is
// false and p is the problem to answer.
func checkBody(r *http.Request, op *openapi3.Operation) (p api.Problem, ok bool) {
	body, err := io.ReadAll(r.Body)
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return problem(reasonBodyTooLarge, fmt.Sprintf("send at most %d bytes", tooLarge.Limit)), false
	}
	if err != nil {
		return badRequest("the body ended early; send it again"), false
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	switch {
	case len(body) == 0:
		return api.Problem{}, true // the validator knows whether that is allowed
	case op.RequestBody == nil:
		return badRequest("this operation takes no body; send none"), false
	case op.RequestBody.Value.Content.Get(r.Header.Get("Content-Type")) == nil:
		return problem("unsupported-media-type", "send JSON, with the header Content-Type: application/json"), false
	}
	if detail := ambiguous(body); detail != "" {
		return badRequest(detail), false
	}
	return api.Problem{}, true
}

// maxNesting bounds how deeply the values of a body are nested.
const maxNesting = 100

// ambiguous explains why parsers may read a body differently; it returns nothing if the
// body is one JSON value. Of two members with one name, or of two values, some parsers
// take the first and others the last.
func ambiguous(body []byte) string {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if detail := repeated(d, maxNesting); detail != "" {
		return detail
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return "the body holds more than one JSON value; send one object"
	}
	return ""
}

// repeated reads a value. It explains what is wrong if the value isn't JSON, if an
// object in it has two members with one name, or if it is nested deeper than levels.
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
		return fmt.Sprintf("the body is nested deeper than %d levels; flatten it", maxNesting)
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
