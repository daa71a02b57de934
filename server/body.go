package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/gantryhq/gantry/gen/api"
)

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
