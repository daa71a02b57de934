package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.temporal.io/api/serviceerror"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/decide/managed"
	"github.com/gantryhq/gantry/gen/api"
	"github.com/gantryhq/gantry/server"
	"github.com/gantryhq/gantry/spacelift"
)

// stream is a client that follows a run.
type stream struct {
	req   *http.Request
	w     *httptest.ResponseRecorder
	mu    sync.Mutex // orders what the server writes and tests read, even for the race detector
	leave context.CancelFunc
	ended chan struct{}
}

// follow starts to follow the run. It must be called in a synctest bubble.
func (r *rig) follow() *stream { return r.followAs(viewerToken, "") }

// followAs follows the run with a token, after the last event that the client received.
func (r *rig) followAs(token, lastEvent string) *stream {
	return r.open(runPath+"/events", token, lastEvent)
}

// open opens a stream with a token, after the last event that the client received.
func (r *rig) open(path, token, lastEvent string) *stream {
	header := http.Header{"Authorization": {"Bearer " + token}}
	if lastEvent != "" {
		header.Set("Last-Event-ID", lastEvent)
	}
	return r.openWith(path, header)
}

func (r *rig) openWith(path string, header http.Header) *stream {
	ctx, leave := context.WithCancel(r.t.Context())
	req := httptest.NewRequestWithContext(ctx, http.MethodGet, path, nil)
	req.Header = header
	s := &stream{req: req, w: httptest.NewRecorder(), leave: leave, ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		r.handler.ServeHTTP(streamWriter{s.w, &s.mu}, req)
	}()
	synctest.Wait()
	return s
}

// streamWriter writes what a stream's client records.
type streamWriter struct {
	*httptest.ResponseRecorder
	mu *sync.Mutex
}

func (w streamWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ResponseRecorder.Write(p)
}

// over reports whether the server has ended the stream.
func (s *stream) over() bool {
	synctest.Wait()
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

// events returns the names and states of the events so far.
func (s *stream) events(t *testing.T) (events []string) {
	t.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	answersAsDocumented(t, s.req, s.w)
	for block := range strings.SplitSeq(strings.TrimSuffix(s.w.Body.String(), "\n\n"), "\n\n") {
		fields := fieldsOf(block)
		switch {
		case fields["retry"] != "":
			continue
		case fields["data"] == "":
			events = append(events, block)
			continue
		}
		var run api.Run
		if err := json.Unmarshal([]byte(fields["data"]), &run); err != nil {
			t.Fatalf("%q: %v", block, err)
		}
		events = append(events, fields["event"]+" "+run.State)
	}
	return events
}

// fieldsOf returns the fields of an event.
func fieldsOf(event string) map[string]string {
	fields := map[string]string{}
	for line := range strings.SplitSeq(event, "\n") {
		name, value, _ := strings.Cut(line, ": ")
		fields[name] = value
	}
	return fields
}

// lastID returns the id of the last event.
func (s *stream) lastID(t *testing.T) string {
	t.Helper()
	synctest.Wait()
	_, last, _ := strings.Cut(s.w.Body.String()[strings.LastIndex(s.w.Body.String(), "event: "):], "\n")
	id := fieldsOf(last)["id"]
	if id == "" {
		t.Fatalf("the last event has no id: %s", s.w.Body)
	}
	return id
}

func (s *stream) want(t *testing.T, events ...string) {
	t.Helper()
	if got := s.events(t); strings.Join(got, "|") != strings.Join(events, "|") {
		t.Errorf("events %q, want %q", got, events)
	}
}

func inState(state spacelift.RunState, phase managed.Phase) managed.RunStatus {
	s := asking()
	s.State, s.Phase = state, phase
	return s
}

// inBubble runs a test with a clock of its own.
func inBubble(t *testing.T, test func(*testing.T, *rig), options ...option) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, options...)
		r.temporal.set(asking())
		test(t, r)
	})
}

func TestStreamFollowsARunToItsEnd(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		s := r.follow()
		s.want(t, "run UNCONFIRMED")
		if ct := s.w.Header().Get("Content-Type"); ct != "text/event-stream" || !s.w.Flushed {
			t.Errorf("content type %q, flushed %t", ct, s.w.Flushed)
		}
		r.temporal.set(inState("APPLYING", managed.PhaseApplying))
		<-time.After(2 * time.Second)
		s.want(t, "run UNCONFIRMED", "run APPLYING")

		// Temporal being away is no reason to cut anybody off.
		r.temporal.fail(serviceerror.NewUnavailable("down"))
		<-time.After(10 * time.Second)
		s.want(t, "run UNCONFIRMED", "run APPLYING")
		r.temporal.fail(nil)

		r.temporal.set(inState("FINISHED", managed.PhaseDone))
		<-time.After(6 * time.Second)
		s.want(t, "run UNCONFIRMED", "run APPLYING", "end FINISHED")
		if !s.over() {
			t.Error("the stream continues after the end")
		}
	})
}

// While nothing changes the execution is asked less often, and the connection
// shows signs of life.
func TestAQuietStream(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		s := r.follow()
		<-time.After(time.Minute)
		s.want(t, "run UNCONFIRMED", ": nothing new", ": nothing new", ": nothing new")
		if asks := r.temporal.queries(); asks < 10 || asks > 20 {
			t.Errorf("asked %d times in a minute", asks)
		}
		s.leave()
		if !s.over() {
			t.Error("the client has disconnected and the stream continues")
		}
	})
}

func TestStreamOfAnEndedRun(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.temporal.set(inState("FAILED", managed.PhaseDone))
		s := r.follow()
		s.want(t, "end FAILED")
		if !s.over() {
			t.Error("the stream continues after the end")
		}
	})
}

// A server that shuts down does not wait for streams.
func TestStreamsEndWithTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stopping := make(chan struct{})
		r := newRig(t, func(c *server.Config) { c.Stopping = stopping })
		r.temporal.set(asking())
		s := r.follow()
		close(stopping)
		if !s.over() {
			t.Error("the stream continues")
		}
	})
}

// A stream doesn't outlive the credentials that it was opened with.
func TestStreamsEndWithTheirToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(c *server.Config) {
			c.Tokens[0].Expires = authority.Instant(time.Now().Add(time.Minute).UTC().Format(time.RFC3339))
		})
		r.temporal.set(asking())
		s := r.follow()
		<-time.After(50 * time.Second)
		if s.over() {
			t.Error("it ended before the token did")
		}
		<-time.After(20 * time.Second)
		if !s.over() {
			t.Error("it goes on without a token")
		}
	})
}

func TestStreamsAreBounded(t *testing.T) {
	tokens := func(c *server.Config) {
		for i := range 10 {
			token := "gantry_viewer_" + strconv.Itoa(i)
			c.Tokens = append(c.Tokens, authority.Token{Name: token, Role: authority.RoleViewer, Hash: authority.TokenHash(token)})
		}
	}
	inBubble(t, func(t *testing.T, r *rig) {
		var first *stream
		for i := range 100 {
			if s := r.followAs("gantry_viewer_"+strconv.Itoa(i/10), ""); i == 0 {
				first = s
			} else {
				defer s.leave()
			}
		}
		refused := r.follow()
		if !refused.over() || refused.w.Header().Get("Retry-After") == "" {
			t.Error("the 101st stream is not refused")
		}
		if p := wantProblem(t, refused.w, http.StatusTooManyRequests, "too-many-streams"); !strings.Contains(*p.Detail, "replica") {
			t.Errorf("it says %s", *p.Detail)
		}
		first.leave()
		synctest.Wait()
		next := r.follow()
		next.want(t, "run UNCONFIRMED")
		next.leave()
		synctest.Wait()
	}, tokens)
}

// One token can't take the places of all others.
func TestStreamsOfAToken(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		first := r.follow()
		for range 9 {
			defer r.follow().leave()
		}
		refused := r.follow()
		if !refused.over() || refused.w.Header().Get("Retry-After") == "" {
			t.Error("the 11th stream is not refused")
		}
		p := wantProblem(t, refused.w, http.StatusTooManyRequests, "too-many-streams")
		if p.Title != "Too many streams" || !strings.Contains(*p.Detail, "vera") || !strings.Contains(*p.Detail, "close one") {
			t.Errorf("it says %s", show(p))
		}
		other := r.followAs(operatorToken, "")
		other.want(t, "run UNCONFIRMED")
		other.leave()
		first.leave()
		synctest.Wait()
		next := r.follow()
		next.want(t, "run UNCONFIRMED")
		next.leave()
		synctest.Wait()
	})
}

// A client that comes back with the id of its last event receives what it missed, and
// nothing twice.
func TestStreamsResume(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		s := r.follow()
		s.want(t, "run UNCONFIRMED")
		if !strings.HasPrefix(s.w.Body.String(), "retry: 5000\n\n") {
			t.Errorf("it does not say when to come back: %s", s.w.Body)
		}
		seen := s.lastID(t)
		s.leave()

		s = r.followAs(viewerToken, seen)
		s.want(t, ": nothing new")
		r.temporal.set(inState("APPLYING", managed.PhaseApplying))
		<-time.After(2 * time.Second)
		s.want(t, ": nothing new", "run APPLYING")
		s.leave()

		for _, other := range []string{seen, "of another server"} {
			s = r.followAs(viewerToken, other)
			s.want(t, "run APPLYING")
			s.leave()
		}
		r.temporal.set(inState("FINISHED", managed.PhaseDone))
		s = r.followAs(viewerToken, seen)
		s.want(t, "end FINISHED")

		// A browser comes back after the end too, unless the answer is 204.
		s = r.followAs(viewerToken, s.lastID(t))
		if !s.over() || s.w.Code != http.StatusNoContent || s.w.Body.Len() > 0 {
			t.Errorf("after the end: %d %s", s.w.Code, s.w.Body)
		}
		answersAsDocumented(t, s.req, s.w)
	})
}

func TestStreamOfAnUnknownRun(t *testing.T) {
	wantProblem(t, newRig(t).get(runPath+"/events", viewerToken), http.StatusNotFound, "not-found")
}

// A stream outlives the time that the server gives to answers, and each event
// is there when it happens.
func TestStreamOverAConnection(t *testing.T) {
	r := newRig(t)
	r.temporal.set(asking())
	srv := httptest.NewUnstartedServer(r.handler)
	srv.Config.WriteTimeout = 10 * time.Millisecond
	srv.Start()
	defer srv.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+runPath+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+viewerToken)
	answer, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var once sync.Once
	var names []string
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		if name, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			names = append(names, name)
			once.Do(func() { r.temporal.set(inState("FINISHED", managed.PhaseDone)) })
		}
	}
	if strings.Join(names, " ") != "run end" {
		t.Errorf("events %v", names)
	}
}
