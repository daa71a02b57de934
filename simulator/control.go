package simulator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"time"

	"github.com/gantryhq/gantry/spacelift"
)

// The control API scripts an account over HTTP, for tests that are not written
// in Go and for people in the lab. It has no authentication: every client that
// reaches it controls the account. README.md describes it.

// Control is the path under which the control API lives.
const Control = "/simulator/v1"

const maxControlBody = 4 << 20

func (s *Simulator) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /graphql", s.serveGraphQL)
	c := control{s: s, mux: mux}
	c.account()
	c.events()
	c.stacks()
	c.stackParts()
	c.runs()
	c.logs()
	c.faults()
	c.clock()
	mux.HandleFunc(Control+"/", func(w http.ResponseWriter, r *http.Request) {
		writeProblem(w, http.StatusNotFound, fmt.Sprintf("the control API has no %s %s", r.Method, r.URL.Path))
	})
	return mux
}

type control struct {
	s   *Simulator
	mux *http.ServeMux
}

// none is the body of requests that have none.
type none struct{}

// on serves a route: it decodes the body, strictly, and encodes the answer.
func on[In any](c control, method, path string, f func(r *http.Request, in In) (any, error)) {
	c.mux.HandleFunc(method+" "+Control+path, func(w http.ResponseWriter, r *http.Request) {
		var in In
		if _, bodiless := any(in).(none); !bodiless {
			if status, err := readJSON(w, r, &in); err != nil {
				writeProblem(w, status, err.Error())
				return
			}
		}
		out, err := f(r, in)
		if err != nil {
			writeProblem(w, statusOf(err), err.Error())
			return
		}
		if out == nil {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		status := http.StatusOK
		if method == http.MethodPost {
			status = http.StatusCreated
		}
		writeJSON(w, status, out)
	})
}

// does serves a route without an answer.
func does[In any](c control, method, path string, f func(In) error) {
	on(c, method, path, func(_ *http.Request, in In) (any, error) { return nil, f(in) })
}

// adds serves a route that adds an object and answers with its id.
func adds[In, T any](c control, path string, add func(In) (T, error), id func(T) string) {
	on(c, "POST", path, func(_ *http.Request, in In) (any, error) {
		c.s.mu.Lock()
		defer c.s.mu.Unlock()
		made, err := add(in)
		if err != nil {
			return nil, err
		}
		return created{id(made)}, nil
	})
}

// onStackPath serves a route below a stack without an answer.
func onStackPath[In any](c control, method, path string, f func(spacelift.StackID, In) error) {
	on(c, method, "/stacks/{stack}"+path, func(r *http.Request, in In) (any, error) { return nil, f(pathStack(r), in) })
}

// makes serves a route below a stack that makes a run and answers with it.
func makes[In any](c control, path string, f func(spacelift.StackID, In) (spacelift.RunID, error)) {
	on(c, "POST", "/stacks/{stack}"+path, func(r *http.Request, in In) (any, error) {
		id, err := f(pathStack(r), in)
		if err != nil {
			return nil, err
		}
		return orError(c.s.Run(pathStack(r), id))
	})
}

// readJSON requires one JSON object without unknown fields; an absent body is an
// empty one. Asking for the content type keeps web pages from sending it.
func readJSON(w http.ResponseWriter, r *http.Request, in any) (status int, err error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxControlBody))
	if err != nil {
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
			return http.StatusRequestEntityTooLarge, fmt.Errorf("the body is larger than %d bytes", maxControlBody)
		}
		return http.StatusBadRequest, fmt.Errorf("read body: %w", err)
	}
	if len(body) == 0 {
		return 0, nil
	}
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/json" {
		return http.StatusUnsupportedMediaType, errors.New("the body must be application/json")
	}
	if err := strictJSON(body, in); err != nil {
		return http.StatusBadRequest, fmt.Errorf("read body: %w", err)
	}
	return 0, nil
}

func statusOf(err error) int {
	_, illegal := errors.AsType[*IllegalStateError](err)
	switch {
	case errors.Is(err, errBadInput): // first: it may wrap a refusal
		return http.StatusBadRequest
	case errors.Is(err, ErrNotFound):
		return http.StatusNotFound
	case illegal, errors.Is(err, ErrRefused):
		return http.StatusConflict
	}
	return http.StatusInternalServerError
}

var errBadInput = errors.New("bad input")

// writeProblem answers as RFC 9457 has it.
func writeProblem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_, _ = w.Write(encode(object{
		"type": "about:blank", "title": http.StatusText(status), "status": status, "detail": detail,
	}))
}

type created struct {
	ID string `json:"id"`
}

func (c control) account() {
	s := c.s
	adds(c, "/spaces", s.addSpace, func(sp *space) string { return sp.ID })
	adds(c, "/contexts", s.addContext, func(made *bundle) string { return made.ID })
	adds(c, "/policies", func(in Policy) (*policy, error) { return s.addPolicy(s.ctx, in) }, func(p *policy) string { return p.ID })
	adds(c, "/webhooks", func(in namedHookInput) (*namedWebhook, error) { return s.addNamedWebhook(in.webhook()) },
		func(w *namedWebhook) string { return w.ID })
	on(c, "POST", "/worker-pools", func(_ *http.Request, in WorkerPool) (any, error) {
		if in.ID == "" {
			return nil, fmt.Errorf("%w: a worker pool needs an id", errBadInput)
		}
		return created{in.ID}, s.AddWorkerPool(in)
	})
	on(c, "POST", "/api-keys", func(_ *http.Request, in keyInput) (any, error) {
		k := s.AddAPIKey(in.key())
		return object{"id": k.ID, "secret": k.Secret}, nil
	})
	does(c, "DELETE", "/tokens", func(none) error { s.RevokeTokens(); return nil })
	on(c, "GET", "/webhooks", func(*http.Request, none) (any, error) { return object{"webhooks": s.NamedWebhooks()}, nil })
	on(c, "POST", "/webhooks/{webhook}/enable", func(r *http.Request, _ none) (any, error) {
		return nil, s.EnableNamedWebhook(r.PathValue("webhook"))
	})
}

func (c control) events() {
	s := c.s
	on(c, "GET", "/inbox", func(*http.Request, none) (any, error) {
		return object{"notices": append([]Notice{}, s.Inbox()...)}, nil
	})
	does(c, "POST", "/internal-errors", s.SendInternalError)
	does(c, "POST", "/module-versions", s.PublishModuleVersion)
	on(c, "PUT", "/external-dependencies/{name}", func(r *http.Request, in struct {
		Status string `json:"status"`
	}) (any, error) {
		return nil, s.MarkExternalDependency(r.PathValue("name"), in.Status)
	})
}

func (c control) logs() {
	on(c, "GET", "/deliveries", func(r *http.Request, _ none) (any, error) {
		return object{"deliveries": filter(r, c.s.Deliveries(), map[string]func(Delivery) string{
			"webhook": func(d Delivery) string { return d.Webhook },
			"stack":   func(d Delivery) string { return string(d.Run.Stack) },
			"run":     func(d Delivery) string { return string(d.Run.Run) },
			"state":   func(d Delivery) string { return string(d.State) },
			"outcome": func(d Delivery) string { return string(d.Outcome) },
		})}, nil
	})
	on(c, "GET", "/requests", func(r *http.Request, _ none) (any, error) {
		return object{"requests": filter(r, c.s.Requests(), map[string]func(Request) string{
			"kind":      func(q Request) string { return q.Kind },
			"operation": func(q Request) string { return q.Operation },
			"field":     func(q Request) string { return firstOf(q.Fields) },
		})}, nil
	})
}

func (c control) faults() {
	s := c.s
	on(c, "POST", "/faults/deliveries", func(_ *http.Request, in DeliveryFault) (any, error) { return armedID(s.InjectDelivery(in)) })
	on(c, "POST", "/faults/api", func(_ *http.Request, in APIFault) (any, error) { return armedID(s.InjectAPI(in)) })
	does(c, "DELETE", "/faults", func(none) error { s.ClearFaults(); return nil })
	on(c, "DELETE", "/faults/{fault}", func(r *http.Request, _ none) (any, error) {
		s.ClearFaults(r.PathValue("fault"))
		return nil, nil
	})
}

func (c control) clock() {
	clock, manual := c.s.clock.(*ManualClock)
	on(c, "GET", "/clock", func(*http.Request, none) (any, error) {
		return object{"now": c.s.clock.Now(), "manual": manual}, nil
	})
	on(c, "POST", "/clock/advance", func(r *http.Request, in struct {
		By Duration `json:"by"`
	}) (any, error) {
		switch {
		case !manual:
			return nil, refuse("this simulator runs on the real clock")
		case in.By < 0:
			return nil, fmt.Errorf("%w: time does not go backwards", errBadInput)
		}
		ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
		defer cancel()
		clock.Advance(time.Duration(in.By))
		if err := c.s.Flush(ctx); err != nil {
			return nil, err
		}
		return object{"now": clock.Now(), "manual": true}, nil
	})
}

// armedID answers with a fault's id. An invalid fault is bad input.
func armedID(id string, err error) (any, error) {
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errBadInput, err)
	}
	return created{id}, nil
}

// filter returns the items that match the request's query parameters.
func filter[T any](r *http.Request, list []T, fields map[string]func(T) string) []T {
	for name, value := range fields {
		if want := r.URL.Query().Get(name); want != "" {
			list = slices.DeleteFunc(list, func(item T) bool { return value(item) != want })
		}
	}
	return append([]T{}, list...)
}

func strictJSON(body []byte, in any) error {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(in); err != nil {
		return err
	}
	if decoder.More() {
		return errors.New("something follows the JSON object")
	}
	return nil
}

func pathStack(r *http.Request) spacelift.StackID { return spacelift.StackID(r.PathValue("stack")) }

func pathRun(r *http.Request) spacelift.RunID { return spacelift.RunID(r.PathValue("run")) }
