package gantry_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/gen/gantry"
)

// wire answers requests one after the other, the last answer again and again.
type wire struct {
	answers []answer
	sent    []*http.Request
	bodies  []string
	at      []time.Time
}

type answer struct {
	status int
	kind   string // json if empty
	body   string
	header http.Header
	err    error
}

func problem(status int, kind string, header ...string) answer {
	a := answer{status: status, kind: "application/problem+json", header: http.Header{}}
	a.body = fmt.Sprintf(`{"type":"urn:gantry:problem:%s","title":"A title","status":%d,"detail":"a detail","requestId":"R"}`, kind, status)
	for i := 0; i+1 < len(header); i += 2 {
		a.header.Set(header[i], header[i+1])
	}
	return a
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	body := ""
	if r.Body != nil {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		body = string(text)
	}
	w.sent, w.bodies, w.at = append(w.sent, r), append(w.bodies, body), append(w.at, time.Now())
	a := w.answers[min(len(w.sent), len(w.answers))-1]
	if a.err != nil {
		return nil, a.err
	}
	response := &http.Response{StatusCode: a.status, Status: http.StatusText(a.status), Header: http.Header{}, Body: io.NopCloser(strings.NewReader(a.body)), Request: r}
	maps.Copy(response.Header, a.header)
	if response.Header.Set("Content-Type", "application/json"); a.kind != "" {
		response.Header.Set("Content-Type", a.kind)
	}
	return response, nil
}

func (w *wire) client(t *testing.T, options ...gantry.Option) *gantry.Client {
	t.Helper()
	c, err := gantry.New("https://gantry.example.com", append([]gantry.Option{gantry.WithTransport(w), gantry.WithToken("secret")}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var lost = answer{err: errors.New("connection reset")}

// A request waits as long as Gantry asks for and is sent again, whole and under one key.
func TestRequestsAreSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{answers: []answer{problem(503, "unanswered", "Retry-After", "7"), problem(429, "too-many-failures", "Retry-After", "20"), lost, {status: 200, body: `{"run":"01"}`}}}
		var notices []time.Duration
		c := w.client(t, gantry.WithRetryNotice(func(_ error, wait time.Duration) { notices = append(notices, wait) }))
		run, err := gantry.Answer[api.Run](c.DecideRun(t.Context(), "acme", "net", "01", nil, api.DecisionRequest{Verdict: "approve"}))
		if err != nil || run.Run != "01" || len(w.sent) != 4 {
			t.Fatalf("%+v, %v after %d requests", run.Run, err, len(w.sent))
		}
		key := w.sent[0].Header.Get("Idempotency-Key")
		for i, r := range w.sent {
			if r.Header.Get("Idempotency-Key") != key || len(key) < 20 || w.bodies[i] != w.bodies[0] || w.bodies[0] == "" || r.Header.Get("Authorization") != "Bearer secret" {
				t.Errorf("request %d: key %q, body %q", i, r.Header.Get("Idempotency-Key"), w.bodies[i])
			}
		}
		if first, second := w.at[1].Sub(w.at[0]), w.at[2].Sub(w.at[1]); first != 7*time.Second || second != 20*time.Second || len(notices) != 3 {
			t.Errorf("it waited %s and %s, with %d notices", first, second, len(notices))
		}
	})
}

func TestTheCallersKeyIsKept(t *testing.T) {
	w := &wire{answers: []answer{{status: 200, body: `{}`}}}
	if _, err := gantry.Answer[api.Run](w.client(t).StopRun(t.Context(), "acme", "net", "01", &api.StopRunParams{IdempotencyKey: new("mine")}, api.ActionRequest{})); err != nil {
		t.Fatal(err)
	}
	if got := w.sent[0].Header.Get("Idempotency-Key"); got != "mine" {
		t.Errorf("the key is %q", got)
	}
	if _, err := gantry.Answer[api.Caller](w.client(t).GetCaller(t.Context())); err != nil || w.sent[1].Header.Get("Idempotency-Key") != "" {
		t.Errorf("a read has the key %q, %v", w.sent[1].Header.Get("Idempotency-Key"), err)
	}
}

// Patience ends, at most the longest wait (15 seconds) early, and so does the caller's.
func TestRequestsAreGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{answers: []answer{problem(503, "temporal-unavailable", "Retry-After", "5")}}
		began := time.Now()
		_, err := gantry.Answer[api.Caller](w.client(t).GetCaller(t.Context()))
		if took := time.Since(began); !gantry.IsProblem(err, "temporal-unavailable") || took < 105*time.Second || took > 2*time.Minute {
			t.Errorf("after %s: %v", took, err)
		}
		w = &wire{answers: []answer{lost}}
		if _, err := gantry.Answer[api.Caller](w.client(t, gantry.WithPatience(0)).GetCaller(t.Context())); err == nil || len(w.sent) != 1 || !strings.Contains(err.Error(), "connection reset") {
			t.Errorf("without patience: %v after %d requests", err, len(w.sent))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		w, began = &wire{answers: []answer{problem(503, "unanswered", "Retry-After", "60")}}, time.Now()
		if _, err := gantry.Answer[api.Caller](w.client(t).GetCaller(ctx)); !errors.Is(err, context.DeadlineExceeded) || !gantry.IsProblem(err, "unanswered") || time.Since(began) > 11*time.Second {
			t.Errorf("after the caller's deadline: %v after %s", err, time.Since(began))
		}
	})
}

// refusedDial is the error of a connection that nobody takes.
var refusedDial = answer{err: &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}}

// A program that a person waits for says immediately that nothing is at the address. What was
// sent may have counted, so it is sent again.
func TestWithoutRedial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{answers: []answer{refusedDial, {status: 200, body: `{}`}}}
		c := w.client(t, gantry.WithRetryNotice(func(error, time.Duration) {}))
		impatient := c.With(gantry.WithoutRedial())
		if _, err := gantry.Answer[api.Caller](impatient.GetCaller(t.Context())); !errors.Is(err, gantry.ErrUnreached) || len(w.sent) != 1 {
			t.Errorf("%v after %d requests", err, len(w.sent))
		}
		w.sent = nil
		if _, err := gantry.Answer[api.Caller](c.GetCaller(t.Context())); err != nil || len(w.sent) != 2 {
			t.Errorf("the client that it was made of: %v after %d requests", err, len(w.sent))
		}
		w = &wire{answers: []answer{lost, {status: 200, body: `{}`}}}
		impatient = w.client(t, gantry.WithoutRedial())
		if _, err := gantry.Answer[api.Run](impatient.StopRun(t.Context(), "acme", "net", "01", nil, api.ActionRequest{})); err != nil || len(w.sent) != 2 {
			t.Errorf("a lost connection: %v after %d requests", err, len(w.sent))
		}
	})
}

// Something else is at the address: that doesn't pass.
func TestMisdirectedRequestsAreNotSentAgain(t *testing.T) {
	for _, misdirected := range []error{&tls.CertificateVerificationError{Err: errors.New("unknown authority")}, tls.RecordHeaderError{Msg: "no TLS"}, http.ErrSchemeMismatch} {
		w := &wire{answers: []answer{{err: misdirected}}}
		if _, err := gantry.Answer[api.Caller](w.client(t).GetCaller(t.Context())); !errors.Is(err, gantry.ErrUnreached) || len(w.sent) != 1 {
			t.Errorf("%v after %d requests", err, len(w.sent))
		}
	}
}

// Nothing but an answer of Gantry's passes for one.
func TestWhatIsNoAnswerIsAnError(t *testing.T) {
	for name, tt := range map[string]struct {
		answer answer
		status int
		kind   string
		says   string
	}{
		"no token":             {problem(401, "unauthenticated"), 401, "unauthenticated", "A title: a detail (request R)"},
		"several lines":        {answer{status: 400, kind: "application/problem+json", body: `{"type":"urn:gantry:problem:x","title":"A title","status":400,"detail":"one\ngantry: forged"}`}, 400, "x", "A title: one gantry: forged"},
		"a refusal":            {problem(409, "stale-plan"), 409, "stale-plan", "A title: a detail"},
		"a page of a proxy":    {answer{status: 200, kind: "text/html", body: "<html>"}, 200, "", "is not an answer of Gantry; check the address"},
		"a proxy's own JSON":   {answer{status: 403, body: `{"message":"Forbidden"}`}, 403, "", "is not an answer of Gantry"},
		"a proxy's own error":  {answer{status: 502, kind: "text/plain", body: "bad gateway"}, 502, "", "is not an answer of Gantry"},
		"a redirect":           {answer{status: 302, kind: "text/html", header: http.Header{"Location": {"https://login.example.com"}}}, 302, "", "is not an answer of Gantry"},
		"a broken problem":     {answer{status: 409, kind: "application/problem+json", body: "{"}, 409, "", "is not an answer of Gantry"},
		"a problem of another": {answer{status: 404, kind: "application/problem+json", body: `{"type":"about:blank","title":"Nope","status":404}`}, 404, "", "Nope"},
	} {
		t.Run(name, func(t *testing.T) {
			w := &wire{answers: []answer{tt.answer}}
			_, err := gantry.Answer[api.Caller](w.client(t).GetCaller(t.Context()))
			p, ok := errors.AsType[*gantry.Problem](err)
			if !ok || p.Status != tt.status || p.Kind() != tt.kind || !strings.Contains(err.Error(), tt.says) || len(w.sent) != 1 {
				t.Errorf("%v (%+v) after %d requests", err, p, len(w.sent))
			}
		})
	}
}

// A Gantry that isn't ready says why; that is its answer.
func TestReadiness(t *testing.T) {
	w := &wire{answers: []answer{{status: 503, body: `{"status":"unavailable","inbox":{"writable":false,"problem":"no space left"}}`}}}
	ready, err := gantry.Answer[api.Readiness](w.client(t).GetReadiness(t.Context()))
	if err != nil || ready.Status != "unavailable" || len(w.sent) != 1 {
		t.Errorf("%+v, %v", ready, err)
	}
}

func TestTokensAreAskedForEachTime(t *testing.T) {
	w, n := &wire{answers: []answer{{status: 200, body: `{}`}}}, 0
	c := w.client(t, gantry.WithTokenSource(func(context.Context) (string, error) {
		if n++; n > 2 {
			return "", errors.New("no token is left")
		}
		return strings.Repeat("t", n), nil
	}))
	var sent []string
	for range 3 {
		_, err := gantry.Answer[api.Caller](c.GetCaller(t.Context()))
		if len(w.sent) == n {
			sent = append(sent, w.sent[n-1].Header.Get("Authorization"))
		} else if err == nil || !strings.Contains(err.Error(), "no token is left") {
			t.Errorf("without a token: %v", err)
		}
	}
	if want := []string{"Bearer t", "Bearer tt"}; !slices.Equal(sent, want) {
		t.Errorf("sent %v", sent)
	}
}

// A lost stream is opened again behind its last event, and ends with the run.
func TestFollowRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream := func(body string) answer { return answer{status: 200, kind: "text/event-stream", body: body} }
		w := &wire{answers: []answer{
			stream("retry: 3000\n\n: hello\n\nevent: run\nid: a\ndata: {\"state\":\n"), // cut off: no event
			stream("event: run\nid: b\ndata: {\"state\":\ndata: \"PLANNING\"}\n\nevent: news\nid: c\ndata: {}\n\n"),
			problem(429, "too-many-streams", "Retry-After", "30"),
			stream("event: end\nid: d\ndata: {\"state\":\"FINISHED\"}\n\n"),
		}}
		began := time.Now()
		var states []string
		for run, err := range w.client(t).FollowRun(t.Context(), "acme", "net", "01") {
			if err != nil {
				t.Fatal(err)
			}
			states = append(states, run.State)
		}
		if !slices.Equal(states, []string{"PLANNING", "FINISHED"}) || time.Since(began) != 36*time.Second {
			t.Errorf("%v after %s", states, time.Since(began))
		}
		var last []string
		for _, r := range w.sent {
			last = append(last, r.Header.Get("Last-Event-ID"))
		}
		if want := []string{"", "", "c", "c"}; !slices.Equal(last, want) {
			t.Errorf("opened behind %q, want %q", last, want)
		}
	})
}

// A stream that was open is opened again however long Gantry is away, and whatever answers
// in its place.
func TestStreamsOutliveARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stream := answer{status: 200, kind: "text/event-stream", body: "event: ready\nid: a\ndata: {}\n\n"}
		away := slices.Repeat([]answer{refusedDial, lost, problem(503, "temporal-unavailable"), {status: 502, kind: "text/html", body: "<html>"}}, 100)
		w := &wire{answers: append(append([]answer{stream}, away...), stream)}
		began, notices, opened := time.Now(), 0, 0
		c := w.client(t, gantry.WithPatience(0), gantry.WithRetryNotice(func(error, time.Duration) { notices++ }))
		for e, err := range c.Events(t.Context(), nil) {
			if opened++; err != nil || e.Kind != "ready" {
				t.Fatalf("%+v, %v", e, err)
			}
			if opened == 2 {
				break
			}
		}
		if opened != 2 || notices != len(away) || time.Since(began) < 30*time.Minute || w.sent[len(w.sent)-1].Header.Get("Last-Event-ID") != "a" {
			t.Errorf("opened %d times after %s with %d notices", opened, time.Since(began), notices)
		}
		w = &wire{answers: []answer{stream, problem(401, "unauthenticated")}}
		var last error
		for _, err := range w.client(t).Events(t.Context(), nil) {
			last = err
		}
		if !gantry.IsProblem(last, "unauthenticated") {
			t.Errorf("after the token's end: %v", last)
		}
		w = &wire{answers: []answer{refusedDial}}
		for _, err := range w.client(t, gantry.WithPatience(0)).Events(t.Context(), nil) {
			last = err
		}
		if !errors.Is(last, gantry.ErrUnreached) || len(w.sent) != 1 {
			t.Errorf("a stream that never was open: %v after %d requests", last, len(w.sent))
		}
	})
}

// A program continues behind the event that it kept, and each walk begins there.
func TestEventsContinue(t *testing.T) {
	w := &wire{answers: []answer{{status: 200, kind: "text/event-stream", body: "event: ready\nid: b\ndata: {}\n\nevent: run\nid: c\ndata: {\"run\":\"01\"}\n\n"}}}
	events := w.client(t).Events(t.Context(), &api.StreamEventsParams{Account: new("acme"), LastEventID: new("a")})
	for range 2 {
		var seen []string
		for e, err := range events {
			if err != nil {
				t.Fatal(err)
			}
			if seen = append(seen, e.Kind+" "+e.ID+" "+string(e.Data)); e.Kind == "run" {
				break
			}
		}
		if want := []string{"ready b {}", `run c {"run":"01"}`}; !slices.Equal(seen, want) {
			t.Errorf("events %q", seen)
		}
	}
	for _, r := range w.sent {
		if r.Header.Get("Last-Event-ID") != "a" || r.URL.RawQuery != "account=acme" {
			t.Errorf("opened behind %q with %s", r.Header.Get("Last-Event-ID"), r.URL.RawQuery)
		}
	}
}

func TestStreamsEnd(t *testing.T) {
	w := &wire{answers: []answer{{status: 204, kind: "-"}}}
	for run, err := range w.client(t).FollowRun(t.Context(), "acme", "net", "01") {
		t.Errorf("after 204: %+v, %v", run, err)
	}
	w = &wire{answers: []answer{problem(401, "unauthenticated")}}
	if _, err := w.client(t).WaitForRun(t.Context(), "acme", "net", "01"); !gantry.IsProblem(err, "unauthenticated") {
		t.Errorf("without a token: %v", err)
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		w := &wire{answers: []answer{{status: 200, kind: "text/event-stream", body: "event: run\nid: a\ndata: {\"state\":\"PLANNING\"}\n\n"}}}
		run, err := w.client(t).WaitForRun(ctx, "acme", "net", "01")
		if !errors.Is(err, context.DeadlineExceeded) || run.State != "PLANNING" {
			t.Errorf("after the caller's deadline: %s, %v", run.State, err)
		}
	})
}

func TestPagesEnd(t *testing.T) {
	w := &wire{answers: []answer{{status: 200, body: `{"runs":[{"run":"3"},{"run":"2"}],"nextPageToken":"p"}`}, {status: 200, body: `{"runs":[],"nextPageToken":"q"}`}, {status: 200, body: `{"runs":[{"run":"1"}]}`}}}
	params := &api.ListRunsParams{Stack: new("net")}
	runs := w.client(t).Runs(t.Context(), params)
	var all []string
	for run, err := range runs {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, run.Run)
	}
	var queries []string
	for _, r := range w.sent {
		queries = append(queries, r.URL.RawQuery)
	}
	if want := []string{"stack=net", "stack=net&pageToken=p", "stack=net&pageToken=q"}; !slices.Equal(all, []string{"3", "2", "1"}) || !slices.Equal(queries, want) || params.PageToken != nil {
		t.Errorf("%v by %v", all, queries)
	}
	w.answers = []answer{problem(401, "unauthenticated")}
	for run, err := range runs {
		if !gantry.IsProblem(err, "unauthenticated") {
			t.Errorf("%+v, %v", run, err)
		}
	}
	if w.sent[3].URL.RawQuery != "stack=net" {
		t.Errorf("a second walk begins at %s", w.sent[3].URL.RawQuery)
	}
}

func TestAddresses(t *testing.T) {
	for _, address := range []string{"", "gantry.example.com", "ftp://gantry.example.com", "https://"} {
		if _, err := gantry.New(address); err == nil || !strings.Contains(err.Error(), "https://gantry.example.com") {
			t.Errorf("%q: %v", address, err)
		}
	}
}

// Pages are read as they are wanted, and the token says where to continue.
func TestPages(t *testing.T) {
	book := map[string][]int{"": {1, 2}, "b": nil, "c": {3}}
	following := map[string]string{"": "b", "b": "c"}
	for _, tt := range []struct {
		stopAt, reads int
		broken        string
		want          []int
		token         string
	}{
		{stopAt: 9, reads: 3, want: []int{1, 2, 3}},
		{stopAt: 1, reads: 1, want: []int{1, 2}, token: "b"},
		{stopAt: 9, reads: 2, broken: "b", want: []int{1, 2}, token: "b"},
	} {
		var token *string
		var got []int
		reads, failed := 0, false
		for items, err := range gantry.Pages(&token, func() ([]int, *string, error) {
			reads++
			at := ""
			if token != nil {
				at = *token
			}
			if at != "" && at == tt.broken {
				return nil, nil, errors.New("away")
			}
			if next := following[at]; next != "" {
				return book[at], &next, nil
			}
			return book[at], nil, nil
		}) {
			failed = err != nil
			if got = append(got, items...); len(got) >= tt.stopAt {
				break
			}
		}
		if !slices.Equal(got, tt.want) || reads != tt.reads || failed != (tt.broken != "") || (token == nil) != (tt.token == "") || token != nil && *token != tt.token {
			t.Errorf("%+v: got %v in %d reads, failed %t, token %v", tt, got, reads, failed, token)
		}
	}
}
