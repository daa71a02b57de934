package gantry

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gantryhq/gantry/gen/api"
)

// Event is an event of a stream. For Events, the contract says which model of package api
// the data of each kind is.
type Event struct {
	Kind string // such as run
	ID   string // for Last-Event-ID
	Data json.RawMessage
}

// Events yields the events of everything that the caller may see and params select. It
// opens the stream again behind the last event when it is lost, so a program that keeps
// the ID of an event continues there later, by params.LastEventID. An event may come
// twice. After an event of the kind reset, list anew. A stream that was open once is opened
// again until ctx ends, even if Gantry is away for long; any other error ends it.
func (c *Client) Events(ctx context.Context, params *api.StreamEventsParams) iter.Seq2[Event, error] {
	p := copyOf(params)
	return c.follow(ctx, orEmpty(p.LastEventID), func(ctx context.Context, last *string) (*http.Response, error) {
		p.LastEventID = last
		return c.StreamEvents(ctx, &p)
	})
}

const (
	// reconnectAfter is the wait before a lost stream is opened again, if Gantry names none.
	reconnectAfter = 5 * time.Second

	// maxSilence ends a stream of which nothing arrives: Gantry sends something every 15
	// seconds.
	maxSilence = time.Minute
)

// FollowRun yields a run as it is, and after every change until it has ended. It opens
// the stream again when it is lost, as Events does, and misses nothing but states in
// between. An error ends it.
func (c *Client) FollowRun(ctx context.Context, account, stack, run string) iter.Seq2[api.Run, error] {
	events := c.follow(ctx, "", func(ctx context.Context, last *string) (*http.Response, error) {
		return c.StreamRun(ctx, account, stack, run, &api.StreamRunParams{LastEventID: last})
	})
	return func(yield func(api.Run, error) bool) {
		for e, err := range events {
			var state api.Run
			if err == nil && e.Kind != "run" && e.Kind != "end" { // of a later version
				continue
			}
			if err == nil {
				if err = json.Unmarshal(e.Data, &state); err != nil {
					err = fmt.Errorf("read an event of run %s: %w", run, err)
				}
			}
			if !yield(state, err) || err != nil || e.Kind == "end" {
				return
			}
		}
	}
}

// WaitForRun waits until a run has ended, and returns it. ctx bounds the wait.
func (c *Client) WaitForRun(ctx context.Context, account, stack, run string) (api.Run, error) {
	var last api.Run
	for state, err := range c.FollowRun(ctx, account, stack, run) {
		if err != nil {
			return last, err
		}
		last = state
	}
	return last, nil
}

type streamKey struct{}

// streams reports whether the answer to a request may be a stream.
func streams(ctx context.Context) bool { return ctx.Value(streamKey{}) != nil }

// follower is a stream of events over several connections.
type follower struct {
	open func(ctx context.Context, last *string) (*http.Response, error)
	last *string       // id of the last event; nil for none
	wait time.Duration // before a lost stream is opened again
	met  bool          // whether the stream was ever open
}

// follow yields the events of a stream, and opens it again behind the last event when it
// is lost. It ends when Gantry says that there are no more (204).
func (c *Client) follow(ctx context.Context, last string, open func(ctx context.Context, last *string) (*http.Response, error)) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		f := &follower{open: open, wait: reconnectAfter}
		if last != "" {
			f.last = &last
		}
		for tries := 0; ; {
			more, err := f.connect(ctx, yield)
			wait := f.wait
			switch {
			case err != nil && ctx.Err() == nil && f.met && passing(err):
				wait = backoff(tries)
				tries++
				if c.sender.notice != nil {
					c.sender.notice(err, wait)
				}
			case err != nil:
				yield(Event{}, err)
				return
			case !more:
				return
			default:
				tries = 0
			}
			if err := pause(ctx, wait); err != nil {
				yield(Event{}, fmt.Errorf("follow Gantry's events: %w", err))
				return
			}
		}
	}
}

// passing reports whether a stream that was open may be opened again after an error: while
// Gantry restarts nothing answers, or a proxy does.
func passing(err error) bool {
	p, ok := errors.AsType[*Problem](err)
	if !ok {
		return errors.Is(err, ErrUnreached)
	}
	return p.Kind() == "" || p.Status == http.StatusTooManyRequests || p.Status >= http.StatusInternalServerError
}

// connect yields the events of one connection. It reports whether to connect again.
func (f *follower) connect(ctx context.Context, yield func(Event, error) bool) (more bool, err error) {
	attempt, stop := context.WithCancelCause(context.WithValue(ctx, streamKey{}, true))
	defer stop(nil)
	response, err := f.open(attempt, f.last)
	if err != nil {
		return false, err // the sender has tried for long
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode == http.StatusNoContent {
		return false, nil
	}
	f.met = true
	silence := time.AfterFunc(maxSilence, func() { stop(errors.New("gantry sent nothing for a minute")) })
	defer silence.Stop()
	lines := bufio.NewReader(response.Body)
	var e Event
	for {
		line, err := lines.ReadString('\n')
		if err != nil { // io.EOF too: the stream was lost
			return true, ended(ctx)
		}
		silence.Reset(maxSilence)
		line = strings.TrimRight(line, "\r\n")
		if line != "" {
			e.take(line, &f.wait)
			continue
		}
		if e.Data != nil {
			if e.ID != "" {
				f.last = new(e.ID)
			}
			if !yield(e, nil) {
				return false, nil
			}
		}
		e = Event{}
	}
}

// ended returns the error of a caller who no longer waits.
func ended(ctx context.Context) error {
	if off := context.Cause(ctx); off != nil {
		return fmt.Errorf("follow Gantry's events: %w", off)
	}
	return nil
}

// take takes a line of an event (https://html.spec.whatwg.org/multipage/server-sent-events.html).
func (e *Event) take(line string, wait *time.Duration) {
	name, value, _ := strings.Cut(line, ":")
	value = strings.TrimPrefix(value, " ")
	switch name {
	case "event":
		e.Kind = value
	case "id":
		e.ID = value
	case "data":
		if e.Data != nil {
			e.Data = append(e.Data, '\n')
		}
		e.Data = append(e.Data, value...)
	case "retry":
		if ms, err := strconv.Atoi(value); err == nil {
			*wait = time.Duration(ms) * time.Millisecond
		}
	}
}
