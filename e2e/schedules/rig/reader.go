package rig

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/gantryhq/gantry/e2e/schedules/history"
)

// Reader follows the event stream in somebody's name, and records what arrives.
type Reader struct {
	Who     string
	Session string // of a browser, in place of a token; empty for none

	client      *Client
	connections int
	last        string // id of the last event
}

// NewReader returns a reader of the stream.
func (c *Client) NewReader(who, session string) *Reader {
	return &Reader{Who: who, Session: session, client: c}
}

// Follow reads the stream of a replica from where the reader was, until ctx ends or the
// connection does. It reports whether there was one.
func (r *Reader) Follow(ctx context.Context, replica int) (connected bool) {
	g := r.client.balance(replica)
	r.connections++
	opened := history.Event{Reader: r.Who, Session: r.Session, Connection: r.connections, Replica: g.Name, Name: history.Opened, ID: r.last}
	began := r.client.history.Now()
	res, err := r.open(ctx, g)
	if err != nil {
		if ctx.Err() == nil {
			r.client.history.AddSince(began, history.Record{Event: &opened})
		}
		return false
	}
	defer res.Body.Close() //nolint:errcheck // it was only read
	opened.Status = res.StatusCode
	r.client.history.AddSince(began, history.Record{Event: &opened})
	if res.StatusCode != http.StatusOK {
		return false
	}
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	closed := opened
	closed.Name, closed.ID = history.Closed, ""
	for e := opened; lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch name {
		case "event":
			e = history.Event{Reader: r.Who, Session: r.Session, Connection: r.connections, Replica: g.Name, Name: value, Status: res.StatusCode}
		case "id":
			e.ID = value
		case "data":
			r.take(e, value)
		}
	}
	closed.Left = ctx.Err() != nil
	r.client.history.Add(history.Record{Event: &closed})
	return true
}

// take records an event.
func (r *Reader) take(e history.Event, data string) {
	r.last = e.ID
	var shown struct{ Stack, Run, State, Phase string }
	_ = json.Unmarshal([]byte(data), &shown) // marks have no content
	e.Stack, e.Run, e.State, e.Phase = shown.Stack, shown.Run, shown.State, shown.Phase
	r.client.history.Add(history.Record{Schedule: history.ScheduleOf(e.Stack), Event: &e})
}

func (r *Reader) open(ctx context.Context, g *Gantry) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.URL+"/v1/events?account="+Account, nil)
	if err != nil {
		return nil, err
	}
	if err := r.client.authenticate(req, Ask{Who: r.Who, Session: r.Session}); err != nil {
		return nil, err
	}
	if r.last != "" {
		req.Header.Set("Last-Event-ID", r.last)
	}
	return r.client.streams.Do(req)
}

// FollowAround reads the stream until ctx ends, on one replica after the other: a while
// at each, and elsewhere after a pause.
func (r *Reader) FollowAround(ctx context.Context, turn func(time.Time) (replica int, until time.Time)) {
	for ctx.Err() == nil {
		replica, until := turn(time.Now())
		if replica < 0 {
			wait(ctx, time.Until(until))
			continue
		}
		there, leave := context.WithDeadline(ctx, until)
		if !r.Follow(there, replica) {
			wait(there, time.Second/2)
		}
		leave()
	}
}
