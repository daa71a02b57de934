package server

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/gantryhq/gantry/authority"
	"github.com/gantryhq/gantry/decide/managed"
	genserver "github.com/gantryhq/gantry/gen/server"
	"github.com/gantryhq/gantry/spacelift"
)

// StreamEvents follows all that the caller may see.
func (h *handlers) StreamEvents(ctx context.Context, req genserver.StreamEventsRequestObject) (genserver.StreamEventsResponseObject, error) {
	p := req.Params
	accounts, err := h.accounts(ctx, p.Account)
	if err != nil {
		return nil, err
	}
	s := &eventStream{stream: stream{ctx: ctx, h: h}, accounts: accounts, last: timeOfEvent(deref(p.LastEventID)), first: p.LastEventID == nil}
	s.where.Accounts = words(accounts)
	if p.Stack != nil {
		s.where.Stacks = []string{*p.Stack}
	}
	s.may = s.look
	return s, s.look(ctx)
}

// eventStream answers with the events of a hub that its caller may see.
type eventStream struct {
	stream

	accounts []spacelift.Account
	where    authority.Where
	view     view
	last     string // time of the last event that the client received; empty for none
	first    bool   // the client begins
}

// look reads what the caller may see.
func (s *eventStream) look(ctx context.Context) (err error) {
	s.view, err = s.h.view(ctx, false, s.accounts...)
	return err
}

// VisitStreamEventsResponse serves the stream.
func (s *eventStream) VisitStreamEventsResponse(w http.ResponseWriter) error {
	return s.serve(w, s.h.eventStreams, s.follow)
}

func (s *eventStream) follow() error {
	began := time.Now()
	l, complete := s.h.hub.listen(s.ctx, s.last)
	defer s.h.hub.leave(l)
	// A client that comes back has an id, until it has received what it missed.
	switch {
	case s.first:
		if err := s.mark("ready", began); err != nil {
			return err
		}
	case s.last == "" || !complete:
		if err := s.mark("reset", began); err != nil {
			return err
		}
	}
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return context.Cause(s.ctx)
		case <-s.h.stopping:
			return nil
		case <-l.signal:
			if err := s.send(l); err != nil {
				return err
			}
		case <-tick.C:
			if err := s.check(); err != nil {
				return err
			}
			if err := s.beat(); err != nil {
				return err
			}
		}
	}
}

// mark sends an event without content, after which a client has everything if it lists
// what there is.
func (s *eventStream) mark(name string, at time.Time) error {
	return s.event(name, managed.ListedTime(at), []byte("{}"))
}

// send sends what waits for the listener.
func (s *eventStream) send(l *listener) error {
	began := time.Now()
	entries, missed := s.h.hub.take(l)
	if missed {
		if err := s.mark("reset", began); err != nil {
			return err
		}
	}
	for _, e := range entries {
		name, content := s.show(e)
		if content == nil {
			continue
		}
		data, err := json.Marshal(content)
		if err != nil {
			return err
		}
		if err := s.event(name, e.id(string(data)), data); err != nil {
			return err
		}
	}
	return nil
}

// show returns the name and content of an event; nil for one that the caller may not see
// or has not asked for.
func (s *eventStream) show(e entry) (name string, content any) {
	account, stack := e.stack()
	if e.account != nil {
		if len(s.where.Stacks) > 0 || !s.where.HoldsIn(e.account.Name) || !s.view.principal.Rules(authority.RoleViewer, e.account.Name) {
			return "", nil
		}
		return "account", e.account
	}
	known := s.view.known.stack(account, stack)
	switch {
	case !s.where.Holds(known), !s.view.principal.May(authority.RoleViewer, known):
		return "", nil
	case e.chain != nil:
		return "chain", e.chain
	}
	return "run", s.view.toAPIRun(e.run)
}
