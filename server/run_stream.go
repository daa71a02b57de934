package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"go.temporal.io/api/serviceerror"

	"github.com/gantryhq/gantry/decide/managed"
	genserver "github.com/gantryhq/gantry/gen/server"
	"github.com/gantryhq/gantry/spacelift"
)

// A stream polls its run less often while nothing changes.
const (
	followFastest = time.Second
	followSlowest = 5 * time.Second
)

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
	s := &runStream{stream: stream{ctx: ctx, h: h, may: h.mayView(callOf(ctx))}, ref: ref, status: status}
	if deref(req.Params.LastEventID) == eventID(run) {
		if status.Phase == managed.PhaseDone {
			return genserver.StreamRun204Response{}, nil
		}
		s.sent = run
	}
	return s, nil
}

// eventID returns the id of the event that shows a run. It depends on the run and the
// caller alone, so that any replica recognises it.
func eventID(run []byte) string { return digest(run)[:16] }

// runStream answers with the events of one run.
type runStream struct {
	stream

	ref    spacelift.RunRef
	status managed.RunStatus // the first one
	sent   []byte            // the last run that the client has
}

// VisitStreamRunResponse serves the stream.
func (s *runStream) VisitStreamRunResponse(w http.ResponseWriter) error {
	return s.serve(w, s.h.runStreams, s.follow)
}

// follow sends the run now and after each change. It returns when the run has ended, when
// Temporal no longer has it, when the caller may no longer see it, or when the client
// disconnects.
func (s *runStream) follow() error {
	status, wait := s.status, followFastest
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
		if err := s.check(); err != nil {
			return err
		}
		next, err := s.h.run(s.ref).recentStatus(s.ctx)
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
		return false, s.beat()
	}
	name := "run"
	if status.Phase == managed.PhaseDone {
		name = "end"
	}
	s.sent = run
	return true, s.event(name, eventID(run), run)
}
