// Package conformance checks in tests that the answers of Gantry's API are what
// the contract says.
package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/openapi"
)

// Answer is an answer to a request.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Check returns what in an answer does not fit the contract. It is stricter than
// a client has to be: an answer has no member that the contract does not know, no
// word of Gantry's own that it does not list, no time before there was Gantry, and
// no problem that says the same thing twice. Answers to what is no operation fit.
func Check(req *http.Request, a Answer) error {
	strict := strictContract()
	route, params, err := strict.router.FindRoute(req)
	if err != nil {
		return nil //nolint:nilerr // not an operation
	}
	if kind, _, _ := mime.ParseMediaType(a.Header.Get("Content-Type")); kind == eventStream && a.Status == http.StatusOK {
		return eventsOf(req).read(a.Body)
	}
	err = openapi3filter.ValidateResponse(req.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route},
		Status:                 a.Status, Header: a.Header, Body: io.NopCloser(bytes.NewReader(a.Body)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true, SchemaValidationOptions: strict.options},
	})
	if err != nil || a.Status < http.StatusBadRequest {
		return err
	}
	var p api.Problem
	if json.Unmarshal(a.Body, &p) == nil && p.Detail != nil && SaysTwice(p.Title, *p.Detail) {
		return fmt.Errorf("the problem %s says the same thing twice: %q, %q", p.Type, p.Title, *p.Detail)
	}
	return nil
}

type contract struct {
	router  routers.Router
	options []openapi3.SchemaValidationOption
	schemas openapi3.Schemas
}

// strictContract is the contract with the rules that tests add. The version is
// set to 3.0.3, as the server does, and for the same reason.
var strictContract = sync.OnceValue(func() contract {
	doc, err := openapi3.NewLoader().LoadFromData(openapi.Document)
	if err != nil {
		panic(err)
	}
	doc.OpenAPI, doc.Servers = "3.0.3", nil
	for _, name := range slices.Sorted(maps.Keys(doc.Components.Schemas)) {
		switch name {
		case "RunState", "RunType": // Spacelift's words: new ones are passed through
		default:
			tighten(doc.Components.Schemas[name])
		}
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		panic(err)
	}
	return contract{router: router, schemas: doc.Components.Schemas, options: []openapi3.SchemaValidationOption{
		openapi3.EnableFormatValidation(),
		openapi3.WithStringFormatValidator("date-time", openapi3.NewCallbackValidator(checkTime)),
	}}
})

// tighten makes a schema refuse members that it does not list, and words.
func tighten(s *openapi3.SchemaRef) {
	if s == nil || s.Value == nil {
		return
	}
	if words, ok := s.Value.Extensions["x-extensible-enum"].([]any); ok {
		s.Value.Enum = words
	}
	if len(s.Value.Properties) > 0 {
		s.Value.AdditionalProperties = openapi3.BoolSchema{Has: new(false)}
	}
	for _, inner := range append(slices.Collect(maps.Values(s.Value.Properties)), s.Value.Items) {
		if inner != nil && inner.Ref == "" { // references are tightened as components
			tighten(inner)
		}
	}
}

// checkTime refuses text that is no time, and times before 2000: they stand for unknown.
func checkTime(text string) error {
	t, err := time.Parse(time.RFC3339, text)
	if err == nil && t.Year() < 2000 {
		return errors.New("it is a time that is not known; leave it out")
	}
	return err
}

// checkContent returns what in the content of an event does not fit a schema; without one,
// it must be empty.
func checkContent(schema string, text []byte) error {
	var content any
	if err := json.Unmarshal(text, &content); err != nil {
		return err
	}
	if schema == "" {
		if string(text) != "{}" {
			return fmt.Errorf("it has %.100q", text)
		}
		return nil
	}
	strict := strictContract()
	return strict.schemas[schema].Value.VisitJSON(content, append(slices.Clone(strict.options), openapi3.VisitAsResponse(), openapi3.MultiErrors())...)
}
