package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"go.temporal.io/api/serviceerror"

	"github.com/gantryhq/gantry/decide/managed"
	genserver "github.com/gantryhq/gantry/gen/server"
	"github.com/gantryhq/gantry/spacelift"
)

// Each open stream polls the run's execution, so their number is bounded, and they poll
// less often while nothing changes.
const (
	maxStreams      = 100
	maxTokenStreams = 10 // so that no token takes the places of all others
	followFastest   = time.Second
	followSlowest   = 5 * time.Second
	heartbeat       = 15 * time.Second // proxies close connections after a minute or so of silence
	streamPatience  = 10 * time.Second // before a client that does not read is cut off
	reconnectAfter  = 5 * time.Second  // how long a client waits before it connects again
)

// openStreams counts the streams that are open, by token.
type openStreams struct {
	mu      sync.Mutex
	all     int
	byToken map[string]int
}

func newOpenStreams() *openStreams { return &openStreams{byToken: map[string]int{}} }

// open takes a place for a stream of a token. The caller must call done at its end.
func (s *openStreams) open(token string) (done func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.byToken[token] >= maxTokenStreams:
		return nil, &tooManyStreamsError{fmt.Sprintf("%s has %d open; close one, or read the run instead", token, maxTokenStreams)}
	case s.all >= maxStreams:
		return nil, &tooManyStreamsError{"this replica serves no more now; read the run instead, or try again later"}
	}
	s.all++
	s.byToken[token]++
	return func() { s.close(token) }, nil
}

func (s *openStreams) close(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all--
	if s.byToken[token]--; s.byToken[token] == 0 {
		delete(s.byToken, token)
	}
}

// tooManyStreamsError explains why a stream is refused.
type tooManyStreamsError struct{ why string }

func (e *tooManyStreamsError) Error() string { return e.why }

// StreamRun follows a run until it ends or the client disconnects. A client that comes
// back after the end receives nothing more.
func (h *handlers) StreamRun(ctx context.Context, req genserver.StreamRunRequestObject) (genserver.StreamRunResponseObject, error) {
	ref := callOf(ctx).run
	status, err := h.run(ref).status(ctx)
	if err != nil {
		return nil, err
	}
	run, err := json.Marshal(h.toAPIRun(ctx, status))
	if err != nil {
		return nil, err
	}
	s := &runStream{ctx: ctx, h: h, ref: ref, status: status}
	if deref(req.Params.LastEventID) == eventID(run) {
		if status.Phase == managed.PhaseDone {
			return genserver.StreamRun204Response{}, nil
		}
		s.sent = run
	}
	return s, nil
}

// eventID returns the id of the event that shows a run. It depends on the run alone, so
// that any replica recognises it.
func eventID(run []byte) string { return digest(run)[:16] }

// runStream answers with the events of one run.
type runStream struct {
	ctx    context.Context
	h      *handlers
	ref    spacelift.RunRef
	status managed.RunStatus // the first one

	w    http.ResponseWriter
	sent []byte    // the last run that the client has
	at   time.Time // of the last write
}

// VisitStreamRunResponse serves the stream. It answers errors before the first byte as
// problems; later ones only end the stream.
func (s *runStream) VisitStreamRunResponse(w http.ResponseWriter) error {
	done, err := s.h.streams.open(personOf(s.ctx).Name)
	if err != nil {
		return err
	}
	defer done()
	s.w = w
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would buffer the events
	w.WriteHeader(http.StatusOK)
	if headOnly(s.ctx) {
		return nil
	}
	if err := s.follow(); err != nil {
		s.h.log.DebugContext(s.ctx, "stream ended", "requestId", requestIDOf(w), "run", s.ref.String(), "error", err)
	}
	return nil
}

// follow sends the run now and after each change. It returns when the run has ended, when
// Temporal no longer has it, when the client's credentials no longer count, or when the
// client disconnects.
func (s *runStream) follow() error {
	status, wait := s.status, followFastest
	if err := s.write(fmt.Sprintf("retry: %d\n\n", reconnectAfter.Milliseconds())); err != nil {
		return err
	}
	s.at = time.Time{} // show a sign of life now, even if the client knows the run
	for {
		changed, err := s.send(status)
		if err != nil || status.Phase == managed.PhaseDone {
			return err
		}
		wait = min(wait*3/2, followSlowest)
		if changed {
			wait = followFastest
		}
		select {
		case <-s.ctx.Done():
			return context.Cause(s.ctx)
		case <-s.h.stopping:
			return nil
		case <-time.After(wait):
		}
		if _, err := principalNow(s.ctx); err != nil {
			return err
		}
		next, err := s.h.run(s.ref).status(s.ctx)
		if _, gone := errors.AsType[*serviceerror.NotFound](err); gone {
			return err
		}
		if err == nil { // otherwise keep the last status: Temporal may answer soon
			status = next
		}
	}
}

// send sends a status that differs from the last one, or a heartbeat after a silence.
func (s *runStream) send(status managed.RunStatus) (changed bool, err error) {
	run, err := json.Marshal(s.h.toAPIRun(s.ctx, status))
	if err != nil {
		return false, err
	}
	if bytes.Equal(run, s.sent) {
		if time.Since(s.at) < heartbeat {
			return false, nil
		}
		return false, s.write(": nothing new\n\n")
	}
	name := "run"
	if status.Phase == managed.PhaseDone {
		name = "end"
	}
	s.sent = run
	return true, s.write(fmt.Sprintf("event: %s\nid: %s\ndata: %s\n\n", name, eventID(run), run))
}

func (s *runStream) write(text string) error {
	s.at = time.Now()
	c := http.NewResponseController(s.w)
	// The server's own deadline is for answers, not for streams.
	if err := c.SetWriteDeadline(s.at.Add(streamPatience)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := s.w.Write([]byte(text)); err != nil {
		return err
	}
	return c.Flush()
}
