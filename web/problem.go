package web

import (
	"errors"
	"net/http"
	"strings"

	"github.com/gantryhq/gantry/gen/api"
)

// problems has the texts of pages that explain a refusal, by status. Others keep the
// title of the API.
var problems = map[int]struct{ title, text string }{
	http.StatusForbidden:           {"You can't see this", "Your roles don't include it. Ask an administrator of Gantry if you need it."},
	http.StatusNotFound:            {"There's nothing here", "The run may be older than Temporal's retention, or the address has a typo."},
	http.StatusServiceUnavailable:  {"Gantry can't answer right now", "It keeps every event that Spacelift sends, and continues by itself. Load the page again in a moment."},
	http.StatusTooManyRequests:     {"Too many requests", "Wait a moment, then load the page again."},
	http.StatusInternalServerError: {"Something went wrong in Gantry", "Its log has the cause, under the request's id."},
}

// fail answers with the page of a problem; without a caller, it leads to the sign-in page.
func (p *Pages) fail(w http.ResponseWriter, r *http.Request, err error) {
	refusal, ok := errors.AsType[*Refusal](err)
	if !ok {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			refusal = &Refusal{api.Problem{Title: "Form too large", Status: http.StatusRequestEntityTooLarge, Detail: new("send less at a time")}}
		} else {
			p.Log.ErrorContext(r.Context(), "page failed", "requestId", w.Header().Get(requestID), "path", r.URL.Path, "error", err)
			refusal = &Refusal{api.Problem{Title: http.StatusText(http.StatusInternalServerError), Status: http.StatusInternalServerError}}
		}
	}
	if id := w.Header().Get(requestID); id != "" {
		refusal.RequestID = &id
	}
	p.write(w, r, refusal.Status, problemPage(refusal))
}

// Refuse answers a request without a caller: it leads people to the sign-in page, with
// the way back.
func (p *Pages) Refuse(w http.ResponseWriter, r *http.Request) {
	securityHeaders(w)
	back := ""
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		back = r.URL.RequestURI()
	} else if from := strings.TrimSpace(r.URL.Path); from != "" {
		back = r.URL.EscapedPath()
	}
	redirect(w, r, signInAddress(depthOf(r), back))
}

// Problem answers a request with the page of a problem.
func (p *Pages) Problem(w http.ResponseWriter, r *http.Request, problem api.Problem) {
	securityHeaders(w)
	c, err := p.begin(w, r)
	if err != nil { // nobody, or the API is away: neither changes what the problem is
		viewOf(c.Context()).me = nil
	}
	p.fail(w, c.Request, &Refusal{problem})
}
