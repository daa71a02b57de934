package simulator

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/graph-gophers/graphql-go"
	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/parser"

	"github.com/gantryhq/gantry/spacelift"
)

// parsedSchema is the schema bound to resolvers. They find their simulator in
// the context, so that one parsing serves them all.
var parsedSchema = sync.OnceValue(func() *graphql.Schema {
	return graphql.MustParseSchema(spacelift.Schema, &resolver{},
		graphql.UseStringDescriptions(), graphql.UseFieldResolvers(), graphql.MaxDepth(20))
})

const (
	maxQuery       = 1 << 20
	metadataHeader = "Spacelift-User-Provided-Run-Metadata"
)

type graphqlRequest struct {
	Query         string         `json:"query"`
	OperationName string         `json:"operationName"`
	Variables     map[string]any `json:"variables"`
}

// caller is the API key that sent a request, and the request's metadata.
type caller struct {
	sim      *Simulator
	key      APIKey
	metadata string
	origin   string
	address  string
	pretend  bool // a NoEffect fault has struck
}

// actor returns the key with the address its request came from.
func (c *caller) actor() actor {
	who := c.key.actor()
	who.address, who.pretends = c.address, c.pretend
	return who
}

type callerKey struct{}

func callerOf(ctx context.Context) *caller { return ctx.Value(callerKey{}).(*caller) }

func (s *Simulator) serveGraphQL(w http.ResponseWriter, r *http.Request) {
	var req graphqlRequest
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxQuery))
	if err == nil {
		err = json.Unmarshal(body, &req)
	}
	if err != nil {
		writeJSON(w, http.StatusBadRequest, graphqlErrors("invalid request body", ""))
		return
	}

	record := describe(req)
	record.At = s.clock.Now()
	record.Metadata, record.UserAgent = r.Header.Get(metadataHeader), r.UserAgent()
	key, signedIn := s.authenticate(r)
	if signedIn {
		record.Actor = key.actor().name
	}
	fault, struck := s.strikeAPI(record.Kind, record.Fields)
	record.Fault = fault.Kind
	s.record(record)

	if struck && !fault.After && fault.Kind != LostResponse && !s.proceed(w, r, record, fault, outcome{}) {
		return
	}
	if !allowed(record, key, signedIn) {
		s.unauthorized(w, record, 0, outcome{})
		return
	}
	c := &caller{
		sim: s, key: key, metadata: record.Metadata, origin: origin(r), address: clientAddress(r), pretend: fault.Kind == NoEffect,
	}
	ctx := context.WithValue(r.Context(), callerKey{}, c)
	answer := parsedSchema().Exec(ctx, req.Query, req.OperationName, req.Variables)
	messages := make([]string, 0, len(answer.Errors))
	for _, e := range answer.Errors {
		messages = append(messages, e.Message)
	}
	done := outcome{errors: messages, executed: !c.pretend && (len(messages) == 0 || len(answer.Data) > 0), data: answer.Data}
	switch {
	case fault.Kind == LostResponse:
		s.wait(r.Context(), time.Duration(fault.Delay))
		s.answered(record, 0, done)
		panic(http.ErrAbortHandler) // the server breaks the connection
	case fault.After && !s.proceed(w, r, record, fault, done):
		return
	}
	status := http.StatusOK
	if slices.Contains(messages, ErrUnauthorized.Error()) {
		status = s.opts.UnauthorizedStatus
	}
	s.answered(record, status, done)
	writeJSON(w, status, answer)
}

// proceed applies a fault, before or after the request is carried out. It reports
// false if it has answered. done is the outcome so far.
func (s *Simulator) proceed(w http.ResponseWriter, r *http.Request, record *Request, f APIFault, done outcome) bool {
	switch f.Kind {
	case RateLimited:
		if f.RetryAfter > 0 {
			seconds := math.Ceil(time.Duration(f.RetryAfter).Seconds())
			w.Header().Set("Retry-After", strconv.Itoa(int(seconds)))
		}
		s.answered(record, http.StatusTooManyRequests, done)
		http.Error(w, "too many requests", http.StatusTooManyRequests)
		return false
	case ServerError:
		status := cmp.Or(f.Status, http.StatusBadGateway)
		s.answered(record, status, done)
		http.Error(w, http.StatusText(status), status)
		return false
	case Unauthorized:
		s.unauthorized(w, record, f.Status, done)
		return false
	case NotExecutable:
		message := cmp.Or(f.Message, "something went wrong")
		s.answered(record, http.StatusOK, done.or(message))
		writeJSON(w, http.StatusOK, graphqlErrors(message, firstOf(record.Fields)))
		return false
	case Slow:
		s.wait(r.Context(), time.Duration(f.Delay))
		if r.Context().Err() != nil { // the client has given up
			s.answered(record, 0, done)
			return false
		}
	case Hang:
		select {
		case <-r.Context().Done():
		case <-s.ctx.Done():
		}
		s.answered(record, 0, done)
		if r.Context().Err() == nil {
			panic(http.ErrAbortHandler) // the simulator is closed: the server breaks the connection
		}
		return false
	}
	return true
}

// wait blocks for d of the simulator's time, or until the client disconnects.
func (s *Simulator) wait(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	over := make(chan struct{})
	stop := s.clock.AfterFunc(d, func() { close(over) })
	defer stop()
	select {
	case <-over:
	case <-ctx.Done():
	case <-s.ctx.Done():
	}
}

// allowed reports whether the key may send these fields. Exchanging a key and
// introspection need none.
func allowed(r *Request, key APIKey, signedIn bool) bool {
	for _, field := range r.Fields {
		switch field {
		case "apiKeyUser", "__schema", "__type", "__typename":
			continue
		}
		if !signedIn || r.Kind == "mutation" && !key.may(field) {
			return false
		}
	}
	return true
}

// unauthorized refuses a request with this status, or with that of the options
// when it is 0.
func (s *Simulator) unauthorized(w http.ResponseWriter, record *Request, status int, done outcome) {
	status = cmp.Or(status, s.opts.UnauthorizedStatus)
	message := ErrUnauthorized.Error()
	s.answered(record, status, done.or(message))
	writeJSON(w, status, graphqlErrors(message, firstOf(record.Fields)))
}

func graphqlErrors(message, field string) object {
	e := object{"message": message}
	if field != "" {
		e["path"] = []any{field}
	}
	return object{"data": nil, "errors": []any{e}}
}

func firstOf(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(encode(v), '\n')) // the client may be gone
}

// describe returns the record of a request, without its secrets. A document that
// can't be parsed has no fields; executing it returns the reason.
func describe(req graphqlRequest) *Request {
	record := &Request{Operation: req.OperationName, Fields: []string{}}
	document, err := parser.ParseQuery(&ast.Source{Input: req.Query})
	if err != nil || len(document.Operations) == 0 {
		return record
	}
	operation := document.Operations[0]
	if named := document.Operations.ForName(req.OperationName); req.OperationName != "" && named != nil {
		operation = named
	}
	record.Kind, record.Operation = string(operation.Operation), operation.Name
	variables := defaults(operation)
	maps.Copy(variables, req.Variables)
	for _, field := range rootFields(document, operation.SelectionSet, 0) {
		record.Fields = append(record.Fields, field.Name)
		if record.Arguments == nil {
			record.Arguments = map[string]any{}
			for _, arg := range field.Arguments {
				if value, err := arg.Value.Value(variables); err == nil {
					record.Arguments[arg.Name] = redact(arg.Name, value)
				}
			}
		}
	}
	return record
}

func defaults(operation *ast.OperationDefinition) map[string]any {
	variables := map[string]any{}
	for _, v := range operation.VariableDefinitions {
		if v.DefaultValue != nil {
			if value, err := v.DefaultValue.Value(nil); err == nil {
				variables[v.Variable] = value
			}
		}
	}
	return variables
}

// rootFields returns the fields of a selection, those of fragments included.
func rootFields(document *ast.QueryDocument, selection ast.SelectionSet, depth int) (fields []*ast.Field) {
	if depth > 10 { // fragments that include each other
		return nil
	}
	for _, sel := range selection {
		switch sel := sel.(type) {
		case *ast.Field:
			fields = append(fields, sel)
		case *ast.InlineFragment:
			fields = append(fields, rootFields(document, sel.SelectionSet, depth+1)...)
		case *ast.FragmentSpread:
			if f := document.Fragments.ForName(sel.Name); f != nil {
				fields = append(fields, rootFields(document, f.SelectionSet, depth+1)...)
			}
		}
	}
	return fields
}

// redact blanks possible secrets: those called so, and the values of headers and
// environment variables.
func redact(name string, v any) any {
	switch v := v.(type) {
	case string:
		if name == "secret" || name == "value" {
			return "***"
		}
	case []any:
		out := make([]any, 0, len(v))
		for _, e := range v {
			out = append(out, redact(name, e))
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = redact(k, e)
		}
		return out
	}
	return v
}
