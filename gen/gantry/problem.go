package gantry

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gantryhq/gantry/gen/api"
)

// problemTypePrefix begins the type of every problem.
const problemTypePrefix = "urn:gantry:problem:"

// Problem is the error of a request that Gantry refused or could not serve: a problem
// document (RFC 9457). Its Type is stable; its Detail says what to do.
//
// An answer that is not Gantry's, such as that of a proxy, is a Problem of the type
// about:blank.
type Problem struct {
	api.Problem

	// RetryAfter is the wait that Gantry asks for; 0 if it doesn't.
	RetryAfter time.Duration
}

// Error returns, on one line, the title, the detail, each mistake in the request, and the
// id of the request if Gantry's log may say more.
func (p *Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.Title)
	if p.Detail != nil {
		b.WriteString(": " + *p.Detail)
	}
	for _, e := range p.Errors {
		fmt.Fprintf(&b, "; %s: %s", cmp.Or(orEmpty(e.Parameter), orEmpty(e.Pointer), "request"), e.Detail)
	}
	if p.RequestID != nil && (p.Status >= http.StatusInternalServerError || p.Status == http.StatusUnauthorized) {
		fmt.Fprintf(&b, " (request %s)", *p.RequestID)
	}
	return strings.NewReplacer("\n", " ", "\r", " ").Replace(b.String())
}

// Kind returns the last part of the type, such as not-found; empty for an answer that is
// not Gantry's. docs/reference/problems.md lists the kinds.
func (p *Problem) Kind() string {
	kind, ours := strings.CutPrefix(p.Type, problemTypePrefix)
	if !ours {
		return ""
	}
	return kind
}

// IsProblem reports whether an error is a problem of one of some kinds, such as not-found.
func IsProblem(err error, kinds ...string) bool {
	p, ok := errors.AsType[*Problem](err)
	if !ok {
		return false
	}
	for _, kind := range kinds {
		if p.Kind() == kind {
			return true
		}
	}
	return false
}

// problemOf returns the problem in a response whose body was read; nil if it is an answer.
func problemOf(response *http.Response, body []byte) *Problem {
	kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	p := &Problem{RetryAfter: retryAfter(response.Header.Get("Retry-After"))}
	switch {
	case kind == "application/problem+json":
		if json.Unmarshal(body, &p.Problem) == nil && p.Type != "" && p.Title != "" {
			return p
		}
	case response.StatusCode == http.StatusNoContent, response.StatusCode == http.StatusNotModified:
		return nil
	case kind == "application/json" && (response.StatusCode < http.StatusMultipleChoices || readiness(response)):
		return nil
	case response.StatusCode == http.StatusOK && (kind == "text/event-stream" || kind == "text/plain"):
		return nil
	}
	detail := fmt.Sprintf("%s answers %s, which is not an answer of Gantry; check the address", response.Request.URL.Host, response.Status)
	p.Problem = api.Problem{Type: "about:blank", Title: "Not Gantry", Status: response.StatusCode, Detail: &detail}
	return p
}

// readiness reports whether a response is that of /readyz of a Gantry that is not ready.
func readiness(response *http.Response) bool {
	return response.StatusCode == http.StatusServiceUnavailable && strings.HasSuffix(response.Request.URL.Path, "/readyz")
}

// retryAfter reads the header Retry-After: seconds or a date; 0 for none.
func retryAfter(header string) time.Duration {
	if seconds, err := strconv.Atoi(header); err == nil {
		return max(0, time.Duration(seconds)*time.Second)
	}
	if at, err := http.ParseTime(header); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
