package server

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
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
	s.run, s.chain = spacelift.RunID(deref(p.Run)), spacelift.RunID(deref(p.Chain))
	ref := spacelift.RunRef{Account: spacelift.Account(deref(p.Account)), Stack: spacelift.StackID(deref(p.Stack)), Run: s.run}
	switch {
	case s.run != "" && (p.Account == nil || p.Stack == nil || strings.Contains(*p.Stack, "*") || p.Chain != nil):
		return nil, &refusal{badPlaces(parameterError("run", "needs account and stack, without chain"))}
	case s.run != "":
		s.watches = managed.ManageRunID(ref)
	case s.chain != "" && p.Account == nil:
		return nil, &refusal{badPlaces(parameterError("chain", "needs account"))}
	case s.chain != "":
		ref.Run = s.chain
		s.watches = managed.ChainID(ref)
	}
	s.may = s.look
	return s, s.look(ctx)
}

// eventStream answers with the events of a hub that its caller may see.
type eventStream struct {
	stream

	accounts []spacelift.Account
	where    authority.Where
	run      spacelift.RunID // only events of this run; empty for all
	chain    spacelift.RunID // only events of the chain that this run began; empty for all
	watches  string          // see listener
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
	l, complete := s.h.hub.listen(s.ctx, s.last, s.watches)
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
	entries, missed, progress := s.h.hub.take(l)
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
	if progress != "" && s.view.principal.May(authority.RoleViewer, s.view.known.stack(s.accounts[0], progress)) {
		return s.mark("progress", began)
	}
	return nil
}

// about reports whether an entry is of the run or the chain that the caller asked for.
func (s *eventStream) about(e entry) bool {
	switch {
	case s.run != "":
		return e.run != nil && e.run.ref.Run == s.run
	case s.chain != "" && e.run != nil:
		return e.run.inChain(s.chain)
	case s.chain != "":
		return e.chain != nil && e.chain.Run == string(s.chain)
	}
	return true
}

// show returns the name and content of an event; nil for one that the caller may not see
// or has not asked for.
func (s *eventStream) show(e entry) (name string, content any) {
	account, stack := e.stack()
	if !s.about(e) {
		return "", nil
	}
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
